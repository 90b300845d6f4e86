"""Models measured on any text, without a run: with the very functions of the evaluate room.

    scores = score("runs/mine", ["a text", "another"])         # or Path("held_out/"), or a source
    estimate("bits_per_byte", scores)                          # value, and its 95 % interval
    difference("bits_per_byte", scores, score("other", texts)) # paired, on the same texts
    floors(training_texts, texts, "runs/mine")                 # what counting n-grams achieves, by order

What is left out: conversations, whose answers a run measures, and generated text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whet.errors import DataError
from whet.evaluate import floors as floor
from whet.evaluate.compare import Estimate as Estimate
from whet.evaluate.compare import difference as difference
from whet.evaluate.compare import estimate as estimate
from whet.evaluate.score import score as score_store
from whet.evaluate.texts import Texts, stored
from whet.metrics.base import DocumentScores as DocumentScores
from whet.progress import Reporter
from whet.use.model import OpenModel
from whet.use.run import open_model, tokenizer_of

LONGEST = 2048
"""Positions that are read at once where nobody says, or the model's context if that is less."""


def score(
    model: str | Path | OpenModel,
    texts: Texts,
    *,
    length: int | None = None,
    stride: int | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> DocumentScores:
    """What the model of a run, in a folder, or an open one loses on each text, every token scored once.

    Windows of `length` tokens (default: the context, at most LONGEST), of which all but the first score their last
    `stride` (default: half), as `evaluate` does with a stage's `sequence_length`. The reporter is told what was dropped.
    Raises DataError if there is no text or a window does not fit, and what `open_model` raises.
    """
    reporter = reporter or Reporter()
    with _open(model, device, reporter) as opened:
        store = stored(texts, opened.tokenizer, reporter.notice)
        length, stride = _windows(length, stride, opened.decoder.context)
        with reporter.task("score", store.learned_tokens()) as task:
            return score_store(
                opened.decoder,
                store,
                length=length,
                stride=stride,
                pad_id=opened.tokenizer.special_ids["pad"],
                task=task,
            )


def floors(
    training: Texts,
    held_out: Texts,
    model: str | Path | OpenModel,
    *,
    order: int = 5,
    reporter: Reporter | None = None,
) -> list[DocumentScores]:
    """What Kneser-Ney models of orders 1 to `order` lose on each held-out text, counted on the training texts.

    Both are read with the model's tokenizer; nothing else of the model is loaded. Raises as `score` does.
    """
    if order < 1:
        raise DataError(f"must be at least 1, not {order}", where="order")
    reporter = reporter or Reporter()
    tokenizer = model.tokenizer if isinstance(model, OpenModel) else tokenizer_of(model, say=reporter.say)
    counted = floor.counted_on(stored(training, tokenizer, reporter.notice), reporter.notice)
    held = stored(held_out, tokenizer, reporter.notice)
    return floor.floor_scores(
        counted, held, vocab_size=tokenizer.vocab_size, order=order, notice=reporter.notice
    )


def _windows(length: int | None, stride: int | None, context: int) -> tuple[int, int]:
    length = min(LONGEST, context) if length is None else length
    stride = max(1, length // 2) if stride is None else stride
    if not 1 <= stride <= length <= context:
        raise DataError(
            f"windows of {length} with a stride of {stride} do not fit together, or into the context of {context}",
            where="score",
            fix="1 <= stride <= length <= context",
        )
    return length, stride


@contextmanager
def _open(model: str | Path | OpenModel, device: str, reporter: Reporter) -> Iterator[OpenModel]:
    if isinstance(model, OpenModel):
        yield model
        return
    with open_model(model, device=device, say=reporter.say) as opened:
        yield opened
