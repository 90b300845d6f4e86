"""Two branches in a row that lead to one place become one branch on `a && b` or `a || b`.

Only where the second block does nothing but look at its condition and is reached from the first alone.
"""

from __future__ import annotations

from collections.abc import Set

from whet.evm.structure.graph import Way
from whet.evm.structure.tree import Both, Condition, Either, Not, negated

MOST_TESTS = 32
"""Tests in one condition; nobody reads a longer one, and hostile code has thousands."""


MOST_JOINED = 8
"""Conditions in one `if`."""


def merge_branches(ways: dict[str, Way], bare: Set[str]) -> None:
    """Joins branches, in place, until none can be. `bare` blocks do nothing but their condition."""
    sources = _sources(ways)
    joined = dict.fromkeys(ways, 1)
    work = list(reversed(ways))
    while work:
        first = work.pop()
        second = _second(first, ways, bare, sources) if first in ways else None
        if second is None or joined[first] + joined[second] > MOST_JOINED:
            continue
        joined[first] += joined[second]
        gone = ways.pop(second)
        ways[first] = _joined(ways[first], second, gone)
        for target in gone.targets:
            sources[target].discard(second)
            sources[target].add(first)
        work += [*sorted(sources[first] & ways.keys()), first]


def _sources(ways: dict[str, Way]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {block: set() for block in ways}
    found[next(iter(ways))].add("")  # where the function is entered
    for block, way in ways.items():
        for target in way.targets:
            found[target].add(block)
    return found


def _second(first: str, ways: dict[str, Way], bare: Set[str], sources: dict[str, set[str]]) -> str | None:
    """The block behind `first` that can be joined with it."""
    if ways[first].condition is None:
        return None
    for target in ways[first].targets:
        way = ways[target]
        if way.condition is None or target not in bare or sources[target] != {first} or target == first:
            continue
        other = next(t for t in ways[first].targets if t != target)
        if _tests(ways[first].condition) + _tests(way.condition) > MOST_TESTS:
            continue
        if other in way.targets and target not in way.targets:
            return target
    return None


def _tests(condition: Condition | None) -> int:
    if isinstance(condition, Not):
        return _tests(condition.condition)
    if isinstance(condition, Both | Either):
        return _tests(condition.left) + _tests(condition.right)
    return 1


def _joined(first: Way, second: str, way: Way) -> Way:
    assert first.condition is not None
    assert way.condition is not None
    held, failed = first.targets
    condition: Condition
    if held == second:  # the first must hold, or control goes to `failed`
        right = way.condition if way.targets[1] == failed else negated(way.condition)
        condition, then = Both(first.condition, right), _other(way, failed)
        return Way((then, failed), condition)
    right = way.condition if way.targets[0] == held else negated(way.condition)
    condition = Either(first.condition, right)
    return Way((held, _other(way, held)), condition)


def _other(way: Way, target: str) -> str:
    return way.targets[1] if way.targets[0] == target else way.targets[0]
