"""Prompts of several lengths, continued together: each as it is continued alone, in every decoding."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.models.test_families import KINDS, small_decoder
from whet.models.generation import POSITIONS, TOGETHER, Written, generate_all, together
from whet.recipe.decoding import AnyDecoding, Beam, Greedy, Sample

PROMPTS = [[7], [11, 12, 13, 14, 15, 16, 17], [21, 22, 23]]
DECODINGS: dict[str, Any] = {
    "greedy": lambda **more: Greedy(kind="greedy", **more),
    "sample": lambda **more: Sample(
        kind="sample", top_k=1, **more
    ),  # what is drawn depends on the neighbours
    "beam": lambda **more: Beam(kind="beam", beams=3, **more),
}


def written(decoder: Any, prompts: list[list[int]], decoding: AnyDecoding) -> list[Written]:
    return generate_all(decoder, prompts, decoding, new_tokens=12, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.6},
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"repetition_penalty": 1.3, "no_repeat_ngram": 3, "min_new_tokens": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", DECODINGS)
@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_together_as_alone(norm: str, positions: str, kind: str, more: dict[str, Any]) -> None:
    """What pads a prompt is the token that ends a text: taken for a part of it, it would be written less, or never."""
    decoder, decoding = small_decoder(norm, positions, tied=False), DECODINGS[kind](**more)
    decoder.stop_ids = ()
    decoder.stop_ids = (written(decoder, PROMPTS[:1], DECODINGS[kind]())[0].ids[2],)
    alone = [written(decoder, [prompt], decoding)[0] for prompt in PROMPTS]
    assert written(decoder, PROMPTS, decoding) == alone


@pytest.mark.parametrize("kind", DECODINGS)
def test_no_run_of_tokens_comes_twice(kind: str) -> None:
    """Prompts count as well; without the rule this model repeats itself."""
    decoder = small_decoder("rmsnorm", "rope")

    def repeated(decoding: AnyDecoding) -> list[bool]:
        texts = [
            [*prompt, *found.ids]
            for prompt, found in zip(PROMPTS, written(decoder, PROMPTS, decoding), strict=True)
        ]
        pairs = [list(pairwise(text)) for text in texts]
        return [len(set(own)) < len(own) for own in pairs]

    assert any(repeated(DECODINGS[kind]()))
    assert not any(repeated(DECODINGS[kind](no_repeat_ngram=2)))


def test_how_many_are_continued_together_follows_from_their_length() -> None:
    lengths = range(1, 2 * POSITIONS, 97)
    found = [together(length) for length in lengths]
    assert (found[0], found[-1]) == (TOGETHER, 1)
    assert all(many >= fewer for many, fewer in pairwise(found))
    assert all(
        count == 1 or count * length <= POSITIONS for count, length in zip(found, lengths, strict=True)
    )
