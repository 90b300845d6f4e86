"""Variables that are assigned once become variables as people write them: phis are assignments on the ways in.

Variables that a phi joins become one where they are never needed at the same time, so that a loop says `i = i + 1`.
After B. Boissinot et al., Revisiting Out-of-SSA Translation, CGO 2009, without its cost model.
"""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.draft.effects import PURE
from whet.evm.draft.nouns import Draft, DraftBlock, DraftEnd, Line, used_by_end
from whet.evm.structure.graph import reverse_postorder
from whet.evm.terms import Expression, Value, replaced, variables

Copies = list[tuple[str, Expression]]
"""Assignments done at once."""


def assign(draft: Draft) -> None:
    """Takes the phis out. A way from a branch gets a block of its own for its assignments."""
    order = reverse_postorder(draft.successors())
    joined = _Joined(draft, order)
    names = {name: joined.find(name) for name in joined.known}
    draft.joined = {name: tuple(members) for name, members in joined.members.items() if len(members) > 1}
    for block in list(draft.blocks.values()):
        for target in dict.fromkeys(block.end.targets):
            copies = _copies(draft.blocks[target], block.id, names)
            if copies:
                _place(draft, block, target, copies)
    for block in draft.blocks.values():
        block.phis = {}
        for line in block.lines:
            line.form = replaced(line.form, names)
            line.results = tuple(names.get(result, result) for result in line.results)
        end = block.end
        end.args = tuple(replaced(argument, names) for argument in end.args)
        end.form = None if end.form is None else replaced(end.form, names)
    draft.params = tuple(names.get(param, param) for param in draft.params)


def _copies(target: DraftBlock, source: str, names: dict[str, str]) -> Copies:
    found: Copies = []
    for phi, incoming in target.phis.items():
        value: Expression = replaced(incoming[source], names)
        if value != names[phi]:
            found.append((names[phi], value))
    return found


def _place(draft: Draft, block: DraftBlock, target: str, copies: Copies) -> None:
    lines = [Line(Value(value), (name,), PURE) for name, value in in_sequence(copies)]
    if block.end.op == "JUMP":
        block.lines += lines
        return
    name = f"{block.id}>{target}"
    draft.blocks[name] = DraftBlock(name, {}, lines, DraftEnd("JUMP", (), (target,)))
    block.end.targets = tuple(name if t == target else t for t in block.end.targets)


def in_sequence(copies: Copies) -> Copies:
    """Assignments done at once as assignments one after another; a cycle needs one more variable ("NAME.old")."""
    waiting, done = dict(copies), list[tuple[str, Expression]]()
    while waiting:
        needed = [name for value in waiting.values() for name in variables(value)]
        free = next((n for n, v in waiting.items() if needed.count(n) == list(variables(v)).count(n)), None)
        if free is not None:
            done.append((free, waiting.pop(free)))
            continue
        stuck = next(iter(waiting))
        done.append((f"{stuck}.old", stuck))
        waiting = {name: replaced(value, {stuck: f"{stuck}.old"}) for name, value in waiting.items()}
    return done


class _Joined:
    """Which variables become one. Only those that phis join are looked at (`known`)."""

    def __init__(self, draft: Draft, order: dict[str, int]) -> None:
        self.known: set[str] = set()
        for block in draft.blocks.values():
            for phi, incoming in block.phis.items():
                self.known |= {phi, *(value for value in incoming.values() if isinstance(value, str))}
        self.root = {name: name for name in self.known}
        self.members = {name: [name] for name in self.known}
        self.conflicts: dict[str, set[str]] = {name: set() for name in self.known}
        if self.known:
            self._find_conflicts(draft, order)
            self._join(draft, order)

    def find(self, name: str) -> str:
        return self.root[name]

    def _join(self, draft: Draft, order: dict[str, int]) -> None:
        for name in order:
            for phi, incoming in draft.blocks[name].phis.items():
                back_first = sorted(incoming, key=lambda source: -order[source])
                for source in back_first:
                    value = incoming[source]
                    if isinstance(value, str):
                        self._try(phi, value)

    def _try(self, one: str, other: str) -> None:
        first, second = self.root[one], self.root[other]
        if first == second:
            return
        both = set(self.members[second])
        if any(self.conflicts[member] & both for member in self.members[first]):
            return
        for member in self.members[second]:
            self.root[member] = first
        self.members[first] += self.members.pop(second)

    def _find_conflicts(self, draft: Draft, order: dict[str, int]) -> None:
        after = self._live_after(draft, order)
        for name in order:
            block = draft.blocks[name]
            live = set(after[name]) | self._of(used_by_end(block.end))
            for line in reversed(block.lines):
                live -= self._conflict(line.results, live)
                live |= self._of(variables(line.form))
            live -= self._conflict(block.phis, live)
            if name == draft.first:
                self._conflict(draft.params, live)

    def _conflict(self, assigned: Iterable[str], live: set[str]) -> set[str]:
        here = self._of(assigned)
        for name in here:
            for other in (live | here) - {name}:
                self.conflicts[name].add(other)
                self.conflicts[other].add(name)
        return here

    def _live_after(self, draft: Draft, order: dict[str, int]) -> dict[str, set[str]]:
        """{block: variables that are needed behind it}, those that go into phis of the next block too."""
        after: dict[str, set[str]] = {name: set() for name in order}
        before = {name: self._needed_before(draft.blocks[name], set()) for name in order}
        work = dict.fromkeys(reversed(list(order)))
        predecessors = draft.predecessors()
        while work:
            name = next(iter(work))
            del work[name]
            block = draft.blocks[name]
            needed: set[str] = set()
            for target in block.end.targets:
                phis = draft.blocks[target].phis
                needed |= before[target] - phis.keys()
                needed |= self._of(v for incoming in phis.values() for v in variables(incoming[name]))
            after[name] = needed
            new = self._needed_before(block, needed)
            if new != before[name]:
                before[name] = new
                work |= dict.fromkeys(predecessors[name])
        return after

    def _needed_before(self, block: DraftBlock, after: set[str]) -> set[str]:
        needed = after | self._of(used_by_end(block.end))
        for line in reversed(block.lines):
            needed = (needed - set(line.results)) | self._of(variables(line.form))
        return needed

    def _of(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name in self.known}
