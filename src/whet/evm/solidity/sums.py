"""Words as sums of variables, to compare places in memory by their parts."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TypeAlias

from whet.evm.tac import Operand, Statement

_DEEPEST = 6
Sum: TypeAlias = tuple[int, tuple[tuple[str, int], ...]]
"""(constant, ((variable, factor), ...)), variables in the order of their names."""


def sum_of(
    operand: Operand, made: Mapping[str, Statement], whole: Container[str] = (), depth: int = 0
) -> Sum:
    """An operand by its parts. made: what assigns each variable; whole: variables that are not looked into."""
    if isinstance(operand, int):
        return operand, ()
    s = made.get(operand)
    if s is None or operand in whole or depth == _DEEPEST:
        return 0, ((operand, 1),)
    if s.op == "ADD":
        one, other = (sum_of(arg, made, whole, depth + 1) for arg in s.args)
        return added(one, other)
    if s.op == "SHL" and isinstance(s.args[0], int) and s.args[0] < 16:
        return times(sum_of(s.args[1], made, whole, depth + 1), 1 << s.args[0])
    if s.op == "MUL":
        for factor, other_arg in (s.args, s.args[::-1]):
            if isinstance(factor, int) and factor < 1 << 16:
                return times(sum_of(other_arg, made, whole, depth + 1), factor)
    return 0, ((operand, 1),)


def added(one: Sum, other: Sum) -> Sum:
    factors = dict(one[1])
    for name, factor in other[1]:
        factors[name] = factors.get(name, 0) + factor
    return one[0] + other[0], tuple(sorted((n, f) for n, f in factors.items() if f))


def times(one: Sum, factor: int) -> Sum:
    return one[0] * factor, tuple((name, factor * each) for name, each in one[1])
