"""What the model writes: the same words again and again, or text that is no better than chance.

Sampled texts are judged where there are some: greedy decoding makes small models loop that are otherwise well. What a
reference repeats too is no fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from whet.doctor.case import Case
from whet.doctor.finding import CannotLook, Check, Finding
from whet.progress import amount
from whet.text.repetition import loop, repeated_share, words

LOOPING, INCOHERENT = "looping output", "incoherent output"
FEWEST_WORDS = 20
"""Shorter texts cannot be judged."""
MOST_WORDS = 1000
"""Of longer texts the end is judged: the work grows with the square."""
FEWEST_TEXTS = 2
LOOP_SHARE, REPEATED_SHARE = 0.5, 0.5
"""Of the words: within a loop at the end, or in runs of four that stood before."""
BEYOND_REFERENCE = 0.25
"""Of the runs of four: tables and code repeat themselves, so a text may do so as much as its reference and more."""
NO_BETTER = 0.97
"""Of the loss of guessing: a model whose own texts surprise it as much has learned nothing."""
NEW_TOKENS = 64
PROMPTS = (
    "The town lies on a river, and most of the people",
    "def area(width, height):\n    return ",
    "function transfer(address to, uint256 amount) public returns (bool) {\n",
)


class Output(Check):
    """Looks at the evaluation's samples; without any, and thoroughly, at what the model writes now."""

    NAME = "output"
    SUMMARY = "looping or incoherent output"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs an evaluation with samples, or a model that may be asked."""
        if case.folder is not None:
            record = case.evaluation
            yield from _worse_than_counting(record)
            tuned = case.recipe is not None and case.recipe.tuned is not None
            texts = [(text, sample["reference"]) for sample, text in _texts(record, greedy=tuned)]
            yield from _empty(texts, "the evaluation")
            yield from _looping(texts, "the evaluation")
        elif case.model is not None and case.thorough:
            yield from _asked(case)
        else:
            raise CannotLook(
                "there is no model to ask yet" if case.model is None else "the model was not asked"
            )


def _texts(record: dict[str, Any], *, greedy: bool) -> Iterator[tuple[dict[str, Any], str]]:
    """Sampled texts where there are some, else (of models whose base could write before) those decoded otherwise."""
    for sample in record["samples"]:
        sampled = [one for one in sample["outputs"] if one["decoding"].startswith("sample")]
        for one in sampled or (sample["outputs"] if greedy else ()):
            yield sample, one["text"]


def _empty(texts: list[tuple[str, str]], where: str) -> Iterator[Finding]:
    """Where the reference says something, and the model nothing."""
    asked = [text for text, reference in texts if reference.strip()]
    empty = sum(not text.strip() for text in asked)
    if len(asked) >= FEWEST_TEXTS and 2 * empty > len(asked):
        yield Finding(
            name=INCOHERENT,
            where=where,
            evidence=f"{empty} of {len(asked)} texts are empty where the held-out text goes on",
            cause="the model ends at once: it learned the end of text where an answer begins, or wrong ids for it",
            todo="look at what is learned with whet preview; compare eos_token_id with the tokenizer's",
        )


def _looping(texts: list[tuple[str, str]], where: str) -> Iterator[Finding]:
    judged = [(text, reference) for text, reference in texts if len(_end(text)) >= FEWEST_WORDS]
    if len(judged) < FEWEST_TEXTS:
        raise CannotLook(
            f"fewer than {FEWEST_TEXTS} texts of {FEWEST_WORDS} words to judge (evaluate.samples, new_tokens, and a "
            "decoding that samples)"
        )
    looping = [text for text, reference in judged if _loops(text, reference)]
    if 2 * len(looping) <= len(judged):
        return
    worst = max((_end(text) for text in looping), key=repeated_share)
    stretch, times = loop(worst)
    shown = " ".join(stretch)[:60]
    yield Finding(
        name=LOOPING,
        where=where,
        evidence=f"{len(looping)} of {len(judged)} texts repeat themselves; one says {shown!r} {times} times at its end, "
        f"{repeated_share(worst):.0%} of its runs of four words stood before",
        cause="too many passes over little data, a learning rate that was too high, or answers that never ended in training",
        todo="train shorter or on more data; check that answers end (stop tokens); in use a sampled preset, "
        "repetition_penalty or no_repeat_ngram",
    )


def _end(text: str) -> list[str]:
    return words(text)[-MOST_WORDS:]


def _loops(text: str, reference: str) -> bool:
    said, meant = _end(text), _end(reference)
    if _looped(meant) >= LOOP_SHARE:
        return False
    usual = max(REPEATED_SHARE, repeated_share(meant) + BEYOND_REFERENCE)
    return _looped(said) >= LOOP_SHARE or repeated_share(said) >= min(usual, 1.0)


def _looped(said: list[str]) -> float:
    """The share of the words within a loop at the end."""
    stretch, times = loop(said)
    return len(stretch) * times / max(1, len(said))


def _worse_than_counting(record: dict[str, Any]) -> Iterator[Finding]:
    """A stage's model on its own domain: worse than single tokens' frequencies, or than what it began with."""
    bits = record["matrix"].get("bits_per_byte", {})
    for domain in record["domains"]:
        if domain not in bits:
            continue
        own, (begun, before) = bits[domain][domain], next(iter(bits.items()))
        floors = record["floors"].get(domain, [])
        others = [("counting single tokens", floors[0]["bits_per_byte"])] if floors else []
        for name, other in [*others, (f"the {begun} model", before[domain])]:
            if own["low"] is not None and other["high"] is not None and own["low"] > other["high"]:
                yield Finding(
                    name=INCOHERENT,
                    where=f"stage {domain}",
                    evidence=f"{own['value']:.3g} bits per byte on its own held-out text; {name} has {other['value']:.3g}",
                    cause="training went wrong, or it ended long before the model could write",
                    todo="look at the loss (whet report); train longer, or at another learning rate",
                    explains=(LOOPING,),
                )
                break


def _asked(case: Case) -> Iterator[Finding]:
    """What it writes by itself, and how much that surprises it: whoever guesses is surprised by every token."""
    from whet.models.generation import generate
    from whet.recipe.decoding import Sample
    from whet.use.run import open_model

    plain = Sample(kind="sample", temperature=1.0)
    _require_room(case)
    with open_model(case.result, device="cpu") as model:
        chance, context = math.log(model.decoder.model.config.vocab_size), model.decoder.context
        surprise, texts = [], []
        for seed, prompt in enumerate(PROMPTS):
            ids = model.tokenizer.encode_prompt(prompt)[: context // 2]
            new = generate(model.decoder, ids, plain, new_tokens=min(NEW_TOKENS, context // 2), seed=seed)
            surprise += _nats_each(model, ids, new)
            texts.append((model.tokenizer.decode(new), ""))
    found = sum(surprise) / max(1, len(surprise))
    if surprise and found > NO_BETTER * chance:
        yield Finding(
            name=INCOHERENT,
            where=str(case.result),
            evidence=f"its own texts surprise it by {found:.2f} nats a token; guessing among all ids has {chance:.2f}",
            cause="its weights are untrained or damaged",
            todo="compare the files with where they came from, or train it",
            explains=(LOOPING,),
        )
    else:
        yield from _looping(texts, str(case.result))


def _require_room(case: Case) -> None:
    """Raise CannotLook where asking would download a base, or load more than there is memory for."""
    from whet.train.probe import free_bytes

    folder = case.result
    if case.is_adapter:
        folder = case.base
        if not any(folder.glob("*.safetensors")):
            raise CannotLook("the weights of its base are not on this machine")
    size, free = sum(file.stat().st_size for file in folder.glob("*.safetensors")), free_bytes()
    if free is not None and 2 * size > free:
        raise CannotLook(
            f"its {amount(size, 'B')} of weights are not loaded where {amount(free, 'B')} are free"
        )


def _nats_each(model: Any, prompt: list[int], written: list[int]) -> list[float]:
    """The negative log likelihood of each written token."""
    import numpy as np

    from whet.packing import IGNORED, Batch

    ids = [*prompt, *written]
    inputs, labels = (np.asarray([part], np.int64) for part in (ids[:-1], ids[1:]))
    labels[:, : len(prompt) - 1] = IGNORED
    positions = np.arange(inputs.shape[1])[None]
    found: list[float] = model.decoder.nll_each(
        Batch(inputs, labels, positions, np.ones_like(inputs), (0,))
    ).tolist()
    return found
