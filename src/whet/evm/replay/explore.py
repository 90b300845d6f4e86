"""Calls that take a branch which no call has taken: those before it are traced, conditions inverted (generational search,
Godefroid, Levin and Molnar, "Automated Whitebox Fuzz Testing", NDSS 2008).

A condition on the way whose other side is new is turned round, with the conditions before it kept; what that asks of the
inputs makes a new call, which is traced in turn. Where it leaves the way early (another slot is read now), the condition
there is turned back, `ROUNDS` times at most. No solver: `whet.evm.replay.inverse`. All budgets are units of work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from whet.evm.interpret import Block, Transaction
from whet.evm.program import Program
from whet.evm.replay.cases import BALANCE, LATEST, MOST_WEI, Case
from whet.evm.replay.inverse import options
from whet.evm.replay.mocks import FORWARDER, INSIDE, MOCKS, MOST_ANSWERED, RECORDER, REFUSER, script
from whet.evm.replay.symbols import Given, Leaf, Work, evaluate
from whet.evm.replay.trace import Trace, trace
from whet.evm.replay.tracer import Decision, Place
from whet.evm.tac import Contract, Function
from whet.evm.world import World

STEPS = 10_000
"""Statements of one call that are traced."""
TRIES = 4
"""For one branch: calls that it is looked for from."""
ROUNDS = 6
"""For each of them: times that the call found is corrected."""
ANSWERS = 3
"""Calls that are tried in one round."""
WORK = 6_000
"""Operations evaluated in one round."""
PAST = 24
"""Checks at which a call fails, and that other calls have passed, that are turned round."""
DEEP, WIDE = 6, 8
"""Conditions on the way that are repaired one after the other, ways tried for each."""
FAILS = ("REVERT", "INVALID")
MOST_DATA = 4 + 32 * 48
Start = Callable[[Case], tuple[World, Transaction, Block]]


class Explorer:
    """For one function of a contract. wanted: branches that are looked for; start: what a call begins with; charge: gets
    the statements that were executed."""

    def __init__(
        self, contract: Contract, wanted: set[Place], start: Start, charge: Callable[[int], None]
    ) -> None:
        self.contract, self.wanted = contract, wanted
        self.start, self.charge = start, charge
        self.programs: dict[int | bytes, Program] = {}
        self.tries: Counter[Place] = Counter()
        self._new: list[Case] = []
        self._open: list[tuple[Case, Trace, int]] = []
        """Conditions still to be turned round; the last is the next."""
        self._past = 0
        self._lost: dict[str, set[str]] = {}
        """By function: blocks from which every way ends in a revert."""
        self._traced: dict[int, tuple[Case, Trace]] = {}
        """By the identity of a case that was found: itself and its trace."""

    def learn(self, case: Case) -> None:
        """A call that took a branch which none had taken."""
        self._new.append(case)

    def next(self, seen: set[Place]) -> Case | None:
        """A call that takes a wanted branch that is not among those seen; None where none is found any more."""
        while self._new or self._open:
            if self._new:
                self._look(self._new.pop(0), seen)
                continue
            case, traced, index = self._open.pop()
            goal = traced.decisions[index].other
            if goal in seen:
                if found := self._passed(case, traced, index, seen):
                    return found
                continue
            if self.tries[goal] >= TRIES:
                continue
            self.tries[goal] += 1
            found = self._reach(case, traced, index)
            if found:
                return found
        return None

    def _passed(self, case: Case, traced: Trace, index: int, seen: set[Place]) -> Case | None:
        """A call that passes the check at which that one fails, though others have passed it before: behind it, for this
        caller, may be what nobody has seen."""
        if index != self._fails_at(traced) or self._past >= PAST or not self.wanted - seen:
            return None
        self._past += 1
        if found := self._reach(case, traced, index, again=True):
            self._new.append(found)
        return found

    def _fails_at(self, traced: Trace) -> int | None:
        """The decision behind which every way ends in a revert, if there is one."""
        for index, decision in enumerate(traced.decisions):
            if self._is_lost(decision.to) and not self._is_lost(decision.other):
                return index
        return None

    def _is_lost(self, place: Place) -> bool:
        name, block = place
        if name not in self._lost:
            self._lost[name] = lost(self.contract.functions[name])
        return block in self._lost[name]

    def _look(self, case: Case, seen: set[Place]) -> None:
        known = self._traced.pop(id(case)) if id(case) in self._traced else None
        traced = known[1] if known else self._trace(case)
        others: dict[Place, int] = {}
        for index, decision in enumerate(traced.decisions):
            if decision.other in self.wanted - seen and self.tries[decision.other] < TRIES:
                others[decision.other] = index
        self._open += [(case, traced, index) for index in sorted(others.values())]
        fails_at = self._fails_at(traced)
        if fails_at is not None and fails_at not in others.values():
            self._open.insert(0, (case, traced, fails_at))

    def _trace(self, case: Case) -> Trace:
        world, tx, block = self.start(case)
        traced = trace(self.contract, world, tx, block, STEPS, self.programs)
        self.charge(traced.statements)
        return traced

    def _reach(self, case: Case, traced: Trace, index: int, again: bool = False) -> Case | None:
        """A call that goes the way of the trace up to that decision, and there the other way. again: other calls have gone
        there, and that one may have on another way."""
        goal = traced.decisions[index].other
        way = [decision.to for decision in traced.decisions[:index]] + [goal]
        for _ in range(ROUNDS):
            best: tuple[int, Case, Trace] | None = None
            for given, _ in zip(self._solved(case, traced.decisions, index), range(ANSWERS), strict=False):
                new = applied(case, given, traced)
                followed = self._trace(new)
                if _went(way, followed.decisions) if again else goal in followed.visited:
                    self._traced[id(new)] = new, followed
                    return new
                left = _left(way, followed.decisions)
                if left is not None and (best is None or left > best[0]):
                    best = left, new, followed
            if best is None:
                return None
            index, case, traced = best
        return None

    def _solved(self, case: Case, decisions: list[Decision], index: int) -> Iterator[Given]:
        """Inputs that turn that condition round and leave those before it; last, some that do not leave them."""
        work, target = Work(WORK), decisions[index]

        def broken(given: Given) -> tuple[int, bool] | None:
            if bool(evaluate(target.word, given, work)) == target.taken:
                return target.word, not target.taken
            for one in decisions[:index]:
                if bool(evaluate(one.word, given, work)) != one.taken:
                    return one.word, one.taken
            return None

        def repaired(given: Given, deep: int) -> Iterator[Given]:
            wrong = broken(given)
            if wrong is None:
                yield given
            elif deep and work.left > 0:
                ways = (more for more in options(*wrong, given, work) if _allowed(case, more))
                for more, _ in zip(ways, range(WIDE), strict=False):
                    yield from repaired(given | more, deep - 1)

        found = False
        for given in repaired({}, DEEP):
            found = True
            yield given
        if not found:
            ways = (more for more in options(target.word, not target.taken, {}, Work(WORK)))
            yield from (more for more in ways if _allowed(case, more))


def lost(function: Function) -> set[str]:
    """Blocks from which every way ends in a revert."""
    before = function.predecessors()
    todo = [
        id_ for id_, block in function.blocks.items() if not block.end.targets and block.end.op not in FAILS
    ]
    alive = set(todo)
    while todo:
        new = set(before[todo.pop()]) - alive
        alive |= new
        todo += new
    return set(function.blocks) - alive


def _went(way: list[Place], decisions: list[Decision]) -> bool:
    return len(decisions) >= len(way) and all(d.to == place for place, d in zip(way, decisions, strict=False))


def _left(way: list[Place], decisions: list[Decision]) -> int | None:
    """The decision in which a call left the way and from which the other way out leads back: the first that is another, or
    a later one, where calls of its own lie between."""
    for index, (place, decision) in enumerate(zip(way, decisions, strict=False)):
        if decision.to != place:
            later = range(index, len(decisions))
            return next((at for at in later if decisions[at].other == place), None)
    return None


def _allowed(case: Case, given: Given) -> bool:
    return all(_may_be(case, leaf, value) for leaf, value in given.items())


def _may_be(case: Case, leaf: Leaf, value: int) -> bool:
    """Whether that input can have that value."""
    kind, *at = leaf
    if kind == "data":
        return 4 <= at[0] <= MOST_DATA - 32
    if kind == "size":
        return 4 <= value <= MOST_DATA
    if kind == "caller":
        return 0xFFFF < value < 1 << 160 and value not in (INSIDE, RECORDER, REFUSER)
    if kind in ("timestamp", "number"):
        return 0 < value < LATEST
    if kind == "chain":
        return 0 < value < 1 << 63
    if kind == "value":
        return value <= MOST_WEI
    if kind == "success":
        return value < 2
    if kind == "answered":
        return value <= MOST_ANSWERED
    if kind == "word":
        return 32 * at[2] < MOST_ANSWERED
    return kind != "slot" or at[0] not in (*MOCKS, RECORDER, FORWARDER)


def applied(case: Case, given: Given, traced: Trace) -> Case:
    """The case with those inputs."""
    new = replace(case, slots=dict(case.slots))
    answers = dict(traced.answers)
    for leaf, value in sorted(given.items()):
        kind, *at = leaf
        if kind == "data":
            new.data, new.plain = _patched(new.data, at[0], value), False
        elif kind == "size":
            new.data, new.plain = new.data[:value].ljust(value, b"\0"), False
        elif kind == "slot":
            new.slots[at[0], at[1]] = value
        elif kind == "balance":
            new.slots[at[0], BALANCE] = max(value - traced.drift.get(leaf, 0), 0)
        elif kind in ("word", "answered", "success"):
            answers[at[0], at[1]] = _answer(kind, at, value, *answers[at[0], at[1]])
            new.slots |= script(at[0], at[1], *answers[at[0], at[1]])
        else:
            setattr(new, kind, value)  # caller, value, timestamp, number, chain
    return new


def _patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at].ljust(at, b"\0") + value.to_bytes(32, "big") + data[at + 32 :]


def _answer(kind: str, at: list[int], value: int, success: bool, answer: bytes) -> tuple[bool, bytes]:
    if kind == "word":
        return success, _patched(answer, 32 * at[2], value)
    if kind == "answered":
        return success, answer[:value].ljust(value, b"\0")
    return bool(value), answer
