"""What is known of variables on one way through a function: their intervals, and which of two of them is less.

A loop that asks `i < length` makes the check of an index in it superfluous, and `length - 1` cannot wrap there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from whet.evm.tac import Operand
from whet.evm.verify.intervals import Interval, hull

MOST = 24
"""Orders that are kept of one place."""

Order: TypeAlias = tuple[str, str, bool]
"""(the lesser word, the larger one, whether they cannot be equal)."""


class Env(dict[str, Interval]):
    """Intervals by name, and `orders`."""

    __slots__ = ("orders",)

    def __init__(
        self,
        known: Iterable[tuple[str, Interval]] | dict[str, Interval] = (),
        orders: frozenset[Order] = frozenset(),
    ):
        super().__init__(known)
        self.orders = orders

    def fork(self) -> Env:
        return Env(self, self.orders)

    def note(self, small: Operand, large: Operand, *, strict: bool) -> None:
        """small < large, or <= where it is not strict."""
        if isinstance(small, str) and isinstance(large, str) and small != large and len(self.orders) < MOST:
            self.orders |= {(small, large, strict)}

    def forget(self, names: Iterable[str]) -> None:
        """Words that are others from here on."""
        gone = set(names)
        if any(gone & {small, large} for small, large, _ in self.orders):
            self.orders = frozenset(one for one in self.orders if not gone & {one[0], one[1]})

    def above(self, word: Operand) -> list[str]:
        """Words that are known to be larger."""
        return sorted(large for small, large, strict in self.orders if small == word and strict)

    def less(self, small: Operand, large: Operand) -> bool | None:
        """Whether small < large; None where that is not known."""
        if not isinstance(small, str) or not isinstance(large, str):
            return None
        if self._leads(small, large, strictly=True):
            return True
        return False if self._leads(large, small, strictly=False) else None

    def _leads(self, start: str, goal: str, strictly: bool) -> bool:
        """Whether steps from lesser to larger words lead there, at least one of them strict."""
        work = [(start, not strictly)]
        seen = set(work)
        while work:
            at, enough = work.pop()
            if at == goal and enough and (at != start or strictly):
                return True
            for small, large, strict in self.orders:
                step = (large, enough or strict)
                if small == at and step not in seen:
                    seen.add(step)
                    work.append(step)
        return False


def joined(one: Env, other: Env) -> Env:
    """What holds on both ways."""
    both = {name: hull(one[name], other[name]) for name in one if name in other}
    return Env(both, one.orders & other.orders)
