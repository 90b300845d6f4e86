"""How far a figure can be trusted, and whether two models differ: the cluster bootstrap over documents.

Tokens of one document resemble one another, and so do the answers of one conversation, which is why they count as one
document here (`whet.evaluate.score`); whole documents are drawn with replacement and the metric
is computed anew from each draw's totals; the interval is the middle `level` of these values (percentile
method; Efron & Tibshirani 1993, chapter 13). Two models are compared on the same draws, which cancels
what makes a document hard for both.

Not covered: the spread between training runs (other seeds, other data order), and documents that depend
on one another, such as copies: both make the true uncertainty larger. With few documents (below about
20) percentile intervals are too narrow.
Cost: resamples x documents random draws; memory is bounded by BLOCK_CELLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.errors import DataError, WhetError
from whet.metrics.base import METRICS, DocumentScores, FloatArray, Metric

BLOCK_CELLS = 4_000_000
"""Draws held at once: resamples x documents of one block (64 MB)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value on all documents and its interval.

    `low` and `high` are None when there is no interval; `note` then says why.
    """

    value: float
    low: float | None
    high: float | None
    note: str = ""

    def __str__(self) -> str:
        between = f"{self.low:.4g} to {self.high:.4g}" if self.low is not None else self.note
        return f"{self.value:.4g} ({between})"

    def as_dict(self) -> dict[str, Any]:
        """For a record: plain types; `note` only where there is one."""
        fields = {"value": self.value, "low": self.low, "high": self.high}
        return {**fields, "note": self.note} if self.note else fields


def estimate(
    metric: str | type[Metric],
    scores: DocumentScores,
    *,
    seed: int = 42,
    resamples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """The metric, by its name or itself, over all documents, with its bootstrap interval.

    Raises DataError where the metric has no finite value: no documents, or nothing scored; WhetError for an unknown name, or
    numbers with which nothing can be drawn.
    """
    _require_possible(seed, resamples, level)
    metric = METRICS.get(metric) if isinstance(metric, str) else metric
    value = _value(metric, scores.columns().sum(axis=0))
    if len(scores) < 2:
        return _without_interval(value, len(scores))
    totals = _resampled(scores.columns(), resamples, seed)
    return _interval(value, metric.value(*totals.T), level)


def difference(
    metric: str | type[Metric],
    a: DocumentScores,
    b: DocumentScores,
    *,
    seed: int = 42,
    resamples: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Metric of `a` less metric of `b`, paired: each resample draws the same documents for both.

    An interval that leaves out zero is a difference at this level. The same documents in the same order
    are required; DataError if their sizes in bytes differ, or if a metric has no finite value.
    """
    _require_possible(seed, resamples, level)
    metric = METRICS.get(metric) if isinstance(metric, str) else metric
    if not np.array_equal(a.text_bytes, b.text_bytes):
        raise DataError(
            "the two models were not scored on the same documents (their sizes in bytes differ)",
            fix="score both on the same split, in the same order",
        )
    value = _value(metric, a.columns().sum(axis=0)) - _value(metric, b.columns().sum(axis=0))
    if len(a) < 2:
        return _without_interval(value, len(a))
    totals = _resampled(np.hstack([a.columns(), b.columns()]), resamples, seed)
    return _interval(value, metric.value(*totals[:, :3].T) - metric.value(*totals[:, 3:].T), level)


def _require_possible(seed: int, resamples: int, level: float) -> None:
    if seed < 0:
        raise WhetError(f"must be at least 0, not {seed}", where="seed")
    if resamples < 1:
        raise WhetError(f"must be at least 1, not {resamples}", where="resamples")
    if not 0 < level < 1:
        raise WhetError(f"must be between 0 and 1, not {level}", where="level", fix="0.95 is usual")


def _value(metric: type[Metric], totals: FloatArray) -> float:
    value = float(metric.value(*totals))
    if not np.isfinite(value):
        loss, tokens, text_bytes = totals
        found = f"loss {loss:g} nats, {tokens:g} tokens, {text_bytes:g} bytes"
        raise DataError(f"{metric.NAME} has no finite value ({found})")
    return value


def _resampled(columns: FloatArray, resamples: int, seed: int) -> FloatArray:
    """(resamples, columns): the column sums of as many documents, drawn with replacement.

    Only the seed and the number of documents decide which are drawn.
    """
    random = np.random.default_rng(seed)
    documents = len(columns)
    chances = np.full(documents, 1 / documents)
    block = max(1, BLOCK_CELLS // documents)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate([random.multinomial(documents, chances, size) @ columns for size in sizes])


def _interval(value: float, resampled: FloatArray, level: float) -> Estimate:
    if not np.all(np.isfinite(resampled)):
        return Estimate(value, None, None, "no interval: some resamples hold nothing to divide by")
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _without_interval(value: float, documents: int) -> Estimate:
    return Estimate(value, None, None, f"no interval: it needs 2 documents or more, there is {documents}")
