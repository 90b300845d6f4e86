"""Length difference: by how many characters the written text is longer, on canonical text; negative if it is shorter.

The mean of signed differences hides both tails, so `overall` is the mean of their sizes. The share within 50 characters,
the median and the spread are read off the values.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric


class LengthDifference(SolidityMetric):
    """Characters of the written text less those of the true one."""

    NAME = "length_difference"
    SUMMARY = "characters that the written text is longer"
    UNITS = "characters; overall without their sign"
    LOWER_IS_BETTER = True

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return [float(len(pair.candidate.canonical) - len(pair.reference.canonical)) for pair in pairs]

    @classmethod
    def overall(cls, pairs: Sequence[Pair], values: Sequence[float]) -> float:
        return statistics.fmean(abs(value) for value in values)
