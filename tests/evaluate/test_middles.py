"""Middles: chosen evenly and again the same, prompts that fit, matches byte for byte, and a model that learns it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import generated_module
from tests.test_fill_in_the_middle import CONTENTS, SENTINEL, TOKENIZER, write

from whet import pipeline
from whet.evaluate import middles
from whet.evaluate.middles import choose, filled, judged, wilson
from whet.evaluate.run import run as evaluate
from whet.fill_in_the_middle import prompt_ids, sentinel_ids
from whet.models.build import new_model
from whet.models.shape import Shape
from whet.progress import Reporter
from whet.recipe.schema import Recipe
from whet.tokenstore import TokenStore

TEXTS = [
    *(generated_module(seed).replace("\n", "\r\n" if seed % 2 else "\n") for seed in range(30)),
    "\n\n  \n",
    "é中文 \U0001f600 " * 300,
    "one\x0ctwo\u2028three\n",
    "x",
]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return write(tmp_path_factory.mktemp("held") / "out", TOKENIZER.encode_documents(TEXTS))


def test_middles_are_ends_of_lines(held_out: TokenStore) -> None:
    """The three texts are the document; one a document; no line break, no blank; bounded; the same again."""
    chosen, unusable = choose(held_out, TOKENIZER, count=100, new_tokens=12, seed=5)
    assert (len(chosen), unusable) == (len(TEXTS) - 1, 1)
    assert len({middle.document for middle in chosen}) == len(chosen)
    for middle in chosen:
        assert middle.prefix + middle.expected + middle.suffix == TEXTS[middle.document]
        assert middle.expected.strip()
        assert not set(middle.expected) & set("\r\n")
        assert middle.suffix[:1] in ("", "\r", "\n")
        assert 1 <= len(TOKENIZER.encode_parts([middle.expected])[0]) <= 12
    again, _ = choose(held_out, TOKENIZER, count=10, new_tokens=12, seed=5)
    assert again == chosen[:10]
    other, _ = choose(held_out, TOKENIZER, count=10, new_tokens=12, seed=6)
    assert other != again


def test_generating_asks_as_evaluating_does(held_out: TokenStore) -> None:
    sentinels = sentinel_ids(TOKENIZER, "here")
    for middle in choose(held_out, TOKENIZER, count=100, new_tokens=12, seed=5)[0]:
        evaluated, whole = middles._prompt(middle, TOKENIZER, sentinels, room=100_000)
        assert whole == (True, True)
        assert prompt_ids(TOKENIZER, middle.prefix, middle.suffix, "here") == evaluated


@pytest.mark.parametrize("room", [11, 40, 100, 5000])
def test_prompts_are_as_in_training_and_fit(held_out: TokenStore, room: int) -> None:
    """Cut from the outside only; what is whole begins with <bos>; no room is left unused while text is missing."""
    pre, mid, suf = SENTINEL["<fim_prefix>"], SENTINEL["<fim_middle>"], SENTINEL["<fim_suffix>"]
    bos = TOKENIZER.special_ids["bos"]
    for middle in choose(held_out, TOKENIZER, count=100, new_tokens=12, seed=5)[0]:
        prompt, (prefix_whole, suffix_whole) = middles._prompt(middle, TOKENIZER, (pre, mid, suf), room=room)
        assert len(prompt) <= room
        assert (prefix_whole and suffix_whole) or len(prompt) == room
        assert (prompt[0] == bos) == prefix_whole
        start = prompt.index(pre)
        assert start == int(prefix_whole)
        before, after = prompt[start + 1 : prompt.index(suf)], prompt[prompt.index(suf) + 1 : -1]
        assert prompt[-1] == mid
        own_prefix, own_suffix = TOKENIZER.encode_parts([middle.prefix, middle.suffix])
        assert before == own_prefix[len(own_prefix) - len(before) :]
        assert after == own_suffix[: len(after)]
        assert (before == own_prefix) == prefix_whole or not own_prefix
        assert (after == own_suffix) == suffix_whole
        if not prefix_whole and not suffix_whole:
            assert abs(len(before) - len(after)) <= 1


@pytest.mark.parametrize(
    ("change", "exact"),
    [
        (lambda ids: ids, True),
        (lambda ids: [*ids, *TOKENIZER.encode_parts([" "])[0]], False),
        (lambda ids: [*TOKENIZER.encode_parts([" "])[0], *ids], False),
        (lambda ids: [*ids, SENTINEL["<fim_prefix>"]], False),
        (lambda ids: ids[:-1], False),
        (lambda ids: [CONTENTS.index(bytes([byte])) for token in ids for byte in CONTENTS[token]], True),
    ],
)
def test_a_match_is_every_byte_and_nothing_else(held_out: TokenStore, change: Any, exact: bool) -> None:
    """Any tokens that spell the same bytes; no stripping; a control token that shows no text is no match."""
    for middle in choose(held_out, TOKENIZER, count=100, new_tokens=60, seed=5)[0]:
        new = change(TOKENIZER.encode_parts([middle.expected])[0])
        assert judged(middle, new, TOKENIZER, ended=True)["exact"] == exact
        assert not judged(middle, new, TOKENIZER, ended=False)["exact"], "what never ends is no match"


def test_a_real_model_answers_within_its_context(held_out: TokenStore) -> None:
    """Untrained, with long documents and a short context: nothing exact, cuts counted, no prompt too long."""
    import torch

    shape = Shape(
        norm="rmsnorm", positions="rope", d_model=32, layers=1, heads=2, d_ff=32, context=48, vocab_size=420
    )
    decoder = new_model(shape, TOKENIZER.special_ids, seed=1, device=torch.device("cpu"), precision="fp32")
    found = filled(decoder, TOKENIZER, held_out, count=6, new_tokens=64, length=48, seed=5, where="here")
    assert found["count"] == 6
    assert found["matches"] == 0
    assert found["new_tokens"] == 24
    assert found["prefixes_cut"] + found["suffixes_cut"] >= 6
    assert found["share"]["value"] == 0


@pytest.mark.parametrize(
    ("matches", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_is_the_published_interval(matches: int, count: int, low: float, high: float) -> None:
    """The last row is Newcombe's (1998) example 81/263: 0.2553 to 0.3662."""
    found = wilson(matches, count)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    assert found["value"] == matches / count
    assert wilson(0, 0) == {"value": None, "low": None, "high": None}
    assert wilson(matches, count, count) == found
    assert wilson(2 * matches, 2 * count, count) == found


RECIPE = """
name: lines
output: {folder}/runs
seed: 7
precision: fp32
compile: "off"
device: cpu
prepare:
  validation_share: 0.0
  test_share: 0.2
  near_duplicate_similarity: null
  cleaning: {{size: {{min_bytes: 1}}}}
tokenizer: {{vocab_size: 300}}
model: {{d_model: 64, layers: 2, heads: 2, d_ff: 128, context: 48}}
stages:
  - name: lines
    data: [{{source: text, path: material}}]
    fill_in_the_middle: {{share: 1.0, spm_share: 0.25}}
    batch_size: 16
    steps: 200
    learning_rate: 1e-2
    warmup_steps: 5
evaluate: {{samples: 0, floors: 0, resamples: 100, new_tokens: 24, middles: 32}}
"""


@pytest.mark.slow
def test_a_model_learns_to_fill_in(tmp_path: Path) -> None:
    """Through all rooms: lines that their beginning decides, in documents never seen. Untrained: none."""
    (tmp_path / "material").mkdir()
    phrases, draw = ("the red fox runs", "a blue whale sings", "my old car waits"), random.Random(1)
    for at, number in enumerate(draw.sample(range(10**4), 200)):
        (tmp_path / "material" / f"{at}.txt").write_text(f"{number} {phrases[at % 3]}\n", "utf-8")
    recipe = tmp_path / "lines.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path), "utf-8")
    run = pipeline.open_run(str(recipe))
    prepared, planned, models = pipeline.train(run)
    trained = evaluate(run.recipe, run.folder, prepared, planned, models, Reporter())
    found = trained.record["middles"]["lines"]
    assert found["count"] == 32
    assert found["share"]["low"] > 0.4
    assert found == json.loads((trained.folder / "evaluation.json").read_text())["middles"]["lines"]
    outcomes = models[0].record["fill_in_the_middle"]
    assert sum(outcomes["outcomes"].values()) == outcomes["pieces"]
    held_out = TokenStore.open(prepared.folder / "lines" / "test", 300)
    assert untrained(run.recipe, held_out, prepared.folder, planned)["matches"] == 0


def untrained(recipe: Recipe, store: TokenStore, folder: Path, planned: dict[str, Any]) -> dict[str, Any]:
    """The same middles by the weights that training began with."""
    import torch

    from whet.text import tokenizer as tokenizers

    tokenizer = tokenizers.load(folder / "tokenizer")
    decoder = new_model(
        Shape(**planned["model"]), tokenizer.special_ids, seed=7, device=torch.device("cpu"), precision="fp32"
    )
    return filled(decoder, tokenizer, store, count=32, new_tokens=24, length=48, seed=7, where="here")
