"""What every metric of written Solidity promises: a figure for each pair of a written function and the true one."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from whet.metrics.solidity.syntax import Solidity, parse
from whet.registry import Registry


@dataclass(frozen=True)
class Pair:
    """A function as a model wrote it, and as its author did."""

    written: str
    true: str

    @cached_property
    def candidate(self) -> Solidity:
        return parse(self.written)

    @cached_property
    def reference(self) -> Solidity:
        return parse(self.true)


class SolidityMetric(ABC):
    """One figure of a written function. It has no settings and no state.

    NAME is what recipes and tables write, SUMMARY one line for lists, UNITS what the values are measured in.
    """

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    UNITS: ClassVar[str] = ""
    LOWER_IS_BETTER: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        """The figure of each pair, in their order; finite, also for texts that are empty or cannot be read."""

    @classmethod
    def overall(cls, pairs: Sequence[Pair], values: Sequence[float]) -> float:
        """The figure of all of them together: their mean, unless a metric says otherwise. Not for no pairs."""
        return statistics.fmean(values)


SOLIDITY_METRICS: Registry[SolidityMetric] = Registry(SolidityMetric, "whet.metrics.solidity", ("UNITS",))
