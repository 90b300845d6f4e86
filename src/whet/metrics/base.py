"""What every metric promises: a ratio of sums over documents, from the loss alone.

A metric sees totals (loss, scored tokens, bytes of text) and never single documents, so that its value
on a resample of documents is the same formula on the resample's totals. Metrics that need generated
text are not of this kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from whet.errors import DataError
from whet.registry import Registry

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Metric(ABC):
    """One figure of a model. It has no settings and no state: the class itself is used.

    NAME is what recipes write, SUMMARY one line for lists, UNITS what the value is measured in,
    EXAMPLE the line under `evaluate:` in a recipe that asks for it.
    """

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    UNITS: ClassVar[str] = ""
    EXAMPLE: ClassVar[str] = ""
    LOWER_IS_BETTER: ClassVar[bool] = True

    @staticmethod
    @abstractmethod
    def value(nll_nats: FloatArray, tokens: FloatArray, text_bytes: FloatArray) -> FloatArray:
        """The metric of each set of totals: three arrays of one shape in, the same shape out.

        Totals that leave nothing to divide by give NaN or infinity, without a warning.
        """


@dataclass(frozen=True, slots=True, eq=False)
class DocumentScores:
    """What a model lost on each document: three arrays of one length.

    `nll_nats` float64, the summed negative log-likelihood; `tokens` int64, how many tokens that sum
    covers; `text_bytes` int64, the document's raw text in UTF-8, whatever the tokenizer.
    Raises DataError when lengths differ or a value is not finite or is negative.
    """

    nll_nats: FloatArray
    tokens: IntArray
    text_bytes: IntArray

    def __post_init__(self) -> None:
        columns = (self.nll_nats, self.tokens, self.text_bytes)
        if any(column.shape != (len(self),) for column in columns):
            shapes = ", ".join(str(column.shape) for column in columns)
            raise DataError(f"scores of documents need three arrays of one length; these have {shapes}")
        for name, column in zip(("loss", "tokens", "bytes"), columns, strict=True):
            bad = np.flatnonzero(~(np.isfinite(column) & (column >= 0)))
            if len(bad):
                raise DataError(f"{name} of a document is {column[bad[0]]}", where=f"document {bad[0]}")

    def __len__(self) -> int:
        return len(self.nll_nats)

    def summed(self, of: IntArray) -> DocumentScores:
        """The scores of groups of documents: document i is of group of[i], counted from 0 without gaps."""
        count = int(of.max(initial=-1)) + 1
        nll, tokens, text_bytes = np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64)
        np.add.at(nll, of, self.nll_nats)
        np.add.at(tokens, of, self.tokens)
        np.add.at(text_bytes, of, self.text_bytes)
        return DocumentScores(nll, tokens, text_bytes)

    def columns(self) -> FloatArray:
        """(documents, 3) float64: loss, tokens, bytes. Sums of the integers stay exact up to 2**53."""
        return np.stack([self.nll_nats, self.tokens, self.text_bytes], axis=1).astype(np.float64)

    def totals(self) -> tuple[float, int, int]:
        """Summed loss in nats, tokens, bytes."""
        return float(self.nll_nats.sum()), int(self.tokens.sum()), int(self.text_bytes.sum())


METRICS: Registry[Metric] = Registry(Metric, "whet.metrics", ("UNITS", "EXAMPLE"))
