"""The range of every variable of a contract, proved: over branches, phis, loops, and calls of private functions.

Begins with functions of which nothing is known and goes through the call graph, callees first, then callers first, ...:
what is known after any round holds, so that rounds may end at any time. Assumed: private functions are called by
CALLPRIVATE alone. In a loop what still grows after `_PATIENCE` times is taken to be anything. Left out: what memory and
storage hold; functions one by one for each of their callers. Cost: two to four visits of each statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whet.evm.meaning.facts import Facts, learn
from whet.evm.meaning.ranges import ANY, Range, both, either, fixed, of_word, result
from whet.evm.structure.graph import dominators
from whet.evm.tac import Block, Contract, Function, Operand, Statement

_ROUNDS = 4
_PATIENCE = 3
_PASSES = 6
"""Over one function's blocks; then every phi at the head of a loop is anything."""

STEPS = 1_000_000
"""Statements visited for one contract."""


@dataclass(slots=True)
class Known:
    """Of one function. params, results: ranges; checked: what holds of its params once it has come back."""

    function: Function
    dominator: dict[str, str]
    sources: dict[str, list[str]]
    heads: frozenset[str]
    makers: dict[str, Statement]
    params: tuple[Range, ...]
    results: tuple[Range, ...]
    checked: tuple[Range, ...]
    ranges: dict[str, Range] = field(default_factory=dict)
    sites: dict[tuple[str, str, int], tuple[Range, ...]] = field(default_factory=dict)
    """{(caller, block, index): ranges of the arguments}"""


def bounds(contract: Contract, steps: int = STEPS) -> dict[str, Known]:
    """{function: what is known}, callees first; nothing for a contract of more than `steps` statements."""
    known = {name: _start(function) for name, function in contract.functions.items()}
    sizes = {name: sum(1 for _ in one.function.statements()) + 1 for name, one in known.items()}
    if sum(sizes.values()) > steps:
        return {}
    order = _callees_first(contract)
    callers: dict[str, set[str]] = {name: set() for name in known}
    for name, function in contract.functions.items():
        for s in function.statements():
            if s.op == "CALLPRIVATE":
                callers[s.function].add(name)
    stale = set(known)
    for number in range(_ROUNDS):
        for name in order if number % 2 == 0 else reversed(order):
            if name not in stale or steps < sizes[name]:
                continue
            stale.discard(name)
            before = known[name].results, known[name].checked
            run = _Run(known, known[name])
            steps -= sizes[name] * run.passes
            if (known[name].results, known[name].checked) != before:
                stale |= callers[name]
            if number:
                stale |= run.told()
        if not number:
            stale |= {name for name, one in known.items() if _take_params(one)}
    return {name: known[name] for name in order}


def _start(function: Function) -> Known:
    sources = function.predecessors()
    order = {id_: position for position, id_ in enumerate(function.blocks)}
    heads = frozenset(id_ for id_, found in sources.items() if any(order[s] >= order[id_] for s in found))
    makers = {r: s for s in function.statements() if s.op != "CALLPRIVATE" for r in s.results}
    anything = (ANY,) * len(function.params)
    return Known(
        function,
        dominators(order, sources),
        sources,
        heads,
        makers,
        anything,
        (ANY,) * (function.returns or 0),
        anything,
    )


def _callees_first(contract: Contract) -> list[str]:
    """Functions of a cycle in no order that matters."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    for root in contract.functions:
        work = [(root, False)]
        while work:
            name, done = work.pop()
            if done:
                found[name] = None
            elif name not in seen:
                seen.add(name)
                work.append((name, True))
                work += [(s.function, False) for s in contract.functions[name].statements() if s.function]
    return list(found)


def _take_params(one: Known) -> bool:
    """Joins what the calls give; whether that is news."""
    if not one.sites or one.function.kind != "private":
        return False
    calls = iter(one.sites.values())
    now = next(calls)
    for args in calls:
        now = tuple(map(either, now, args))
    before, one.params = one.params, tuple(map(both, one.params, now))
    return one.params != before


class _Run:
    """One function, over all its blocks until nothing changes."""

    def __init__(self, known: Mapping[str, Known], one: Known) -> None:
        self.known, self.one, self.function = known, one, one.function
        self.ranges: dict[str, Range] = dict(zip(self.function.params, one.params, strict=True))
        self.ends: dict[str, Facts] = {}
        self.grown: dict[str, int] = {}
        self.called: dict[str, None] = {}
        self.passes, changed = 0, True
        while changed:
            self.passes += 1
            self.left: list[tuple[tuple[Range, ...], tuple[Range, ...]]] = []
            changed = self._pass()
        one.ranges = self.ranges
        if self.left:
            one.results = self._joined(one.results, [results for results, _ in self.left])
            one.checked = self._joined(one.checked, [checked for _, checked in self.left])

    @staticmethod
    def _joined(before: tuple[Range, ...], ways: list[tuple[Range, ...]]) -> tuple[Range, ...]:
        now = ways[0]
        for other in ways[1:]:
            now = tuple(map(either, now, other))
        return tuple(map(both, before, now))

    def told(self) -> set[str]:
        """The functions whose arguments are narrower now."""
        return {name for name in self.called if _take_params(self.known[name])}

    def _pass(self) -> bool:
        changed = False
        for id_, block in self.function.blocks.items():
            ways = [s for s in self.one.sources[id_] if s in self.ends]
            if id_ != "b0" and not ways:
                continue
            changed |= self._phis(block, ways)
            facts = {} if id_ == "b0" else dict(self.ends[self.one.dominator[id_]])
            if len(ways) == 1 and len(self.one.sources[id_]) == 1:
                facts |= self._edge(ways[0], id_)
            self._statements(block, facts)
            self.ends[id_] = facts
        return changed

    def _phis(self, block: Block, ways: list[str]) -> bool:
        """Whether a phi at the head of a loop is more than it was."""
        changed, head = False, block.id in self.one.heads
        at_ends = [(way, self._way(way, block.id)) for way in ways] if block.phis else []
        made: dict[str, Range] = {}
        for phi in block.phis:
            now: Range | None = None
            for way, facts in at_ends:
                here = self._at(phi.incoming[way], facts)
                now = here if now is None else either(now, here)
            assert now is not None
            before = self.ranges.get(phi.result)
            if head and before is not None and before != (now := either(before, now)):
                now = self._widened(phi.result, before, now)
                changed = True
            elif head and before is None:
                changed = True
            made[phi.result] = now
        self.ranges.update(made)
        return changed

    def _widened(self, name: str, before: Range, now: Range) -> Range:
        self.grown[name] = self.grown.get(name, 0) + 1
        if self.passes >= _PASSES:
            return ANY
        if self.grown[name] < _PATIENCE:
            return now
        low = 255 if now.low > before.low else now.low
        return Range(
            low, 255 if now.high > before.high else now.high, 0 if now.zeros < before.zeros else now.zeros
        )

    def _way(self, source: str, target: str) -> Facts:
        return self.ends[source] | self._edge(source, target)

    def _edge(self, source: str, target: str) -> Facts:
        """What the branch that leads there adds to the facts at the end of `source`."""
        end, facts = self.function.blocks[source].end, self.ends[source]
        if end.op != "BRANCH" or end.targets[0] == end.targets[1]:
            return {}
        found = learn(
            end.args[0], target == end.targets[0], self.one.makers, lambda operand: self._at(operand, facts)
        )
        return {name: both(self._at(name, facts), fact) for name, fact in found.items()}

    def _at(self, operand: Operand, facts: Facts) -> Range:
        if isinstance(operand, int):
            return of_word(operand)
        return facts.get(operand) or self.ranges.get(operand, ANY)

    def _statements(self, block: Block, facts: Facts) -> None:
        for index, s in enumerate(block.statements):
            if s.op == "CALLPRIVATE":
                self._call(block, index, s, facts)
            elif s.results:
                known = fixed(s.op)
                if known is not None:
                    self.ranges[s.results[0]] = known
                    continue
                args = tuple([self._at(arg, facts) for arg in s.args])
                words = tuple([arg if isinstance(arg, int) else None for arg in s.args])
                self.ranges[s.results[0]] = result(s.op, args, words)
        if block.end.op == "RETURNPRIVATE":
            results = tuple(self._at(arg, facts) for arg in block.end.args)
            self.left.append((results, tuple(self._at(name, facts) for name in self.function.params)))

    def _call(self, block: Block, index: int, s: Statement, facts: Facts) -> None:
        callee = self.known[s.function]
        callee.sites[self.function.name, block.id, index] = tuple(self._at(arg, facts) for arg in s.args)
        self.called[s.function] = None
        self.ranges.update(zip(s.results, callee.results, strict=True))
        for arg, checked in zip(s.args, callee.checked, strict=True):
            if isinstance(arg, str):
                facts[arg] = both(self._at(arg, facts), checked)
