"""Which call to try next: coverage-guided, with the operands of comparisons as hints (input-to-state correspondence,
Aschermann et al., "REDQUEEN", NDSS 2019).

A `Case` is one call with everything around it. Cases that reach new blocks, or succeed, are parents of later ones: a
word of the calldata, of storage that was read, the caller, the time, the wei or a mock's answer is changed; where the
interpreter compared a word found in one of these with another, it is replaced by that other. No solver.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TypeVar

from whet.evm.replay.cases import LATEST, TIMES, Case, Tried
from whet.evm.replay.explore import Explorer
from whet.evm.replay.mocks import (
    ADDRESS,
    ALICE,
    ANSWERS,
    BOB,
    FORWARDER,
    MOCKS,
    MODE,
    OWNER,
    PEOPLE,
    REENTRY,
    SALT,
    TARGET,
    WORD,
)
from whet.evm.replay.mutants import SELECTOR_STEP
from whet.evm.replay.probes import between, by_others, probes
from whet.evm.replay.vectors import ADDRESSES, Method, Pool
from whet.evm.tac import WORD as MOST

T = TypeVar("T")
BOUNDS = 12
"""Comparisons of a call, the last ones, whose words are tried with their neighbours."""
PROBINGS = 3
"""Calls of a function that probes are made from, at most."""
EXPLORED = 0.7
"""Share of calls that look for a branch which nobody has taken, as long as there are some."""
WEI = (1, 10**9, 10**18, 3 * 10**18)


class Search:
    """Proposes cases for one method. Told of each by `learn`."""

    def __init__(self, method: Method, rng: Random, mined: list[int], states: int) -> None:
        self.method, self.rng, self.pool = method, rng, Pool(rng, mined)
        self.states = states
        self.parents: list[Tried] = []
        self.winners: list[Tried] = []
        self.seen: set[tuple[int, str, str]] = set()
        """(code address, function, block) of everything that calls of this method executed."""
        self.stale = 0
        """Calls since the last that executed something new."""
        self.calls = self.successes = 0
        self.explorers: dict[int, Explorer] = {}
        """By code address: what finds calls that take branches nobody has taken there."""
        self._probes: list[Case] = []
        """Still to be tried, each once."""
        self._probed: Tried | None = None
        """The call that the last probes were made from."""
        self._at_once: list[Case] = []
        """`by_others` of that call."""
        self._probings = 0
        self._allowed = False
        """Whether the contract that calls in its place was given what it reads, too."""
        self._bounds: set[int] = set()
        """Words that were put where they are compared, with their neighbours."""

    def learn(self, tried: Tried) -> None:
        new = tried.result.visited - self.seen
        self.seen |= tried.result.visited
        self.calls += 1
        self.stale = 0 if new else self.stale + 1
        if tried.result.status == "success":
            self.successes += 1
            self.winners = [*self.winners[-9:], tried]
        if new and (not tried.case.odd or tried.result.status == "success"):
            self.parents = [*self.parents[-29:], tried]
            self._probes += self._at_bounds(tried)
            for explorer in self.explorers.values():
                explorer.learn(tried.case)
        if self._probed and not self._allowed and tried.case.caller == FORWARDER:
            self._allow(tried, self._probed)

    def _allow(self, tried: Tried, winner: Tried) -> None:
        """Where a contract in between may not what the caller may: what the caller's call read, at what it reads instead."""
        if tried.result.status != "success" and tried.case.data == winner.case.data:
            words = zip(tried.result.reads, winner.result.reads.values(), strict=False)
            self._at_once.append(replace(tried.case, slots=tried.case.slots | dict(words)))
            self._allowed = True

    def next(self) -> Case:
        if not self.parents or self.calls < 4:
            return self.fresh()
        last = self.winners[-1] if self.winners else None
        if last and self._is_better(last):
            self._probed, self._allowed, self._probings = last, False, self._probings + 1
            self._probes += probes(self.method, last, self.rng)
            self._at_once = by_others(last)
        if self._at_once:
            return self._copy(self._at_once.pop())
        if self.rng.random() < EXPLORED and (found := self._explored()):
            return found
        if self._probes and self.rng.random() < 0.4:
            return self._copy(self._probes.pop())
        if self.winners and self.successes * 10 < self.calls * 6 and self.rng.random() < 0.6:
            return self._vary(self.rng.choice(self.winners))
        kind = self.rng.random()
        if kind < 0.1:
            return self.fresh()
        parent = self.rng.choice(self.parents[-6:] if kind < 0.6 else self.parents)
        return self._solve(parent) if self.rng.random() < 0.6 else self._vary(parent)

    def through(self, winner: Tried) -> None:
        """The next call is one that succeeded, through a contract that its caller calls; the one behind it, if that fails,
        with what it reads as the caller's call found it."""
        self._probed, self._allowed = winner, False
        self._at_once.append(between(winner.case))

    def _is_better(self, last: Tried) -> bool:
        """Whether probes of a call that succeeded tell more than those made so far: it writes, and they did not, or it is
        one of the first that went a new way."""
        if self._probed is None or not last.result.storage:
            return self._probed is None
        new = any(last is parent for parent in self.parents) and last is not self._probed
        return not self._probed.result.storage or (new and self._probings < PROBINGS)

    def _explored(self) -> Case | None:
        for where, explorer in self.explorers.items():
            seen = {(function, block) for at, function, block in self.seen if at == where}
            if found := explorer.next(seen):
                return found
        return None

    def _at_bounds(self, parent: Tried) -> list[Case]:
        """What a word of the calldata or of storage was compared with, put there, and one more and one less."""
        found = []
        pairs = [pair for pair in parent.result.compared if self.method.selector not in pair][-BOUNDS:]
        for a, b in [*pairs, *((b, a) for a, b in pairs)]:
            for bound in (b, (b + 1) & MOST, (b - 1) & MOST) if b not in self._bounds else ():
                case = self._copy(parent.case)
                if self._in_data(case, parent, a, bound) or self._in_slots(case, parent, a, bound):
                    found.append(case)
                    self._bounds.add(b)
        return found

    def fresh(self) -> Case:
        rng = self.rng
        case = Case(self.pool.calldata(self.method), rng.choice((OWNER, OWNER, OWNER, ALICE, BOB)))
        case.state = rng.randrange(self.states) if rng.random() < 0.7 else 0
        case.timestamp = rng.choice(TIMES) if rng.random() < 0.2 else case.timestamp
        if rng.random() < (0.4 if self.method.payable else 0.03):
            case.value, case.odd = rng.choice(WEI), not self.method.payable
        if rng.random() < 0.6:
            case.slots = {(mock, SALT): rng.randrange(1, 100) for mock in MOCKS}
        return case

    def _copy(self, case: Case) -> Case:
        return replace(case, slots=dict(case.slots))

    def _vary(self, parent: Tried) -> Case:
        case, kind = self._copy(parent.case), self.rng.randrange(12)
        if kind == 0 and len(case.data) >= 36:
            at = 4 + 32 * self.rng.randrange((len(case.data) - 4) // 32)
            case.data, case.plain = case.data[:at] + bytes(32) + case.data[at + 32 :], False
        elif kind < 3:
            case.data, case.plain = self.pool.calldata(self.method), True
        elif kind < 7 and parent.result.reads:
            for key in self._late(list(parent.result.reads)):
                case.slots[key] = self._seed(case)
        elif kind == 7:
            case.caller, case.origin = self.rng.choice((*PEOPLE, FORWARDER)), case.begun_by
        elif kind == 8:
            self._answer(case)
        elif kind == 9:
            case.timestamp, case.number = self.rng.choice(TIMES), self.rng.randrange(1, 1 << 30)
        elif kind == 10:
            case.value = self.rng.choice((0, *WEI)) if self.method.payable else 0
        else:
            return self._odd(case)
        return case

    def _odd(self, case: Case) -> Case:
        """Rarely: calldata that is no longer well-formed, wei for one that takes none, a state from another call."""
        kind = self.rng.random()
        if kind < 0.3:
            case.data, case.plain, case.odd = self.pool.malformed(case.data), False, True
        elif kind < 0.45:
            case.value, case.odd = 1, True
        else:
            case.state = self.rng.randrange(self.states)
        return case

    def _answer(self, case: Case) -> None:
        """What a mock will answer; a call back goes to this method."""
        mock = self.rng.choice(MOCKS)
        case.slots[mock, SALT] = self.rng.randrange(1, 100)
        if self.rng.random() < 0.4:
            return
        case.slots[mock, MODE] = self.rng.randrange(len(ANSWERS) + 1)
        case.slots[mock, WORD] = self.pool.word()
        case.slots[mock, ADDRESS] = self.rng.choice(ADDRESSES)
        case.slots[mock, REENTRY] = int.from_bytes(case.data[:32].ljust(32, b"\0"), "big")
        for i in (0, 1):
            word = case.data[4 + 32 * i : 36 + 32 * i].ljust(32, b"\0")
            case.slots[mock, REENTRY + 1 + i] = int.from_bytes(word, "big")

    def _late(self, items: list[T]) -> list[T]:
        """One to four of them; most often the last alone: what a call saw last is what it failed for."""
        if self.rng.random() < 0.5:
            return [self.rng.choice(items[-2:])]
        return self.rng.sample(items, self.rng.randint(1, min(4, len(items))))

    def _seed(self, case: Case) -> int:
        """A plausible content of a slot."""
        rng = self.rng
        address = rng.choice((case.caller, OWNER, *MOCKS, TARGET, ALICE))
        return rng.choice(
            (
                lambda: rng.choice((0, 1, 1, 2, 3, 10)),
                lambda: address,
                lambda: address | rng.choice((1, 1, rng.getrandbits(96))) << 160,
                lambda: address << 8 | 1,
                lambda: rng.choice((10**18, 1 << 64, (1 << 96) - 1, MOST)),
                self.pool.word,
                lambda: self._argument(case),
                self._string,
                lambda: rng.getrandbits(256),
                lambda: sum(rng.randrange(1, 200) << shift for shift in range(0, 256, 8)),
            )
        )()

    def _argument(self, case: Case) -> int:
        """A word of the calldata."""
        if len(case.data) < 36:
            return self.pool.word()
        at = 4 + 32 * self.rng.randrange((len(case.data) - 4) // 32)
        return int.from_bytes(case.data[at : at + 32], "big")

    def _string(self) -> int:
        """What stands in the slot of a string: short, its bytes and twice its length; long, twice its length and one."""
        size = self.rng.choice((1, 5, 31, 32, 33, 70))
        return int.from_bytes(b"z" * size + bytes(32 - size), "big") | 2 * size if size < 32 else 2 * size + 1

    def _solve(self, parent: Tried) -> Case:
        case = self._copy(parent.case)
        pairs = [pair for pair in parent.result.compared if self.method.selector not in pair]
        if not pairs:
            return self._vary(parent)
        a, b = self.rng.choice(pairs if self.rng.random() < 0.4 else pairs[-4:])
        if self.rng.random() < 0.5:
            a, b = b, a
        unit = 1 if b % SELECTOR_STEP else SELECTOR_STEP
        b = (b + self.rng.choice((0, 0, 0, unit, -unit))) & MOST
        ways = [
            way
            for way in (self._in_data, self._in_slots, self._around, self._in_answers)
            if way(self._copy(case), parent, a, b)
        ]
        if not ways:
            return self._vary(parent)
        self.rng.choice(ways)(case, parent, a, b)
        return case

    def _in_data(self, case: Case, parent: Tried, a: int, b: int) -> bool:
        """A word of the calldata that is `a` becomes `b`."""
        data = case.data
        places = [at for at in range(4, len(data) - 31, 32) if int.from_bytes(data[at : at + 32], "big") == a]
        if not places:
            return False
        at = self.rng.choice(places)
        case.data = data[:at] + b.to_bytes(32, "big") + data[at + 32 :]
        case.plain = False
        return True

    def _in_slots(self, case: Case, parent: Tried, a: int, b: int) -> bool:
        """A slot that was read and holds `a`, alone or as packed bytes, holds `b` there instead."""
        size = max((max(a, b).bit_length() + 7) // 8, 1)
        options = []
        for key, value in parent.result.reads.items():
            if value == a:
                options.append((key, b))
            for shift in range(0, 8 * (33 - size), 8) if value else ():
                field_mask = (1 << 8 * size) - 1
                if value >> shift & field_mask == a and a:
                    options.append((key, value & ~(field_mask << shift) | b << shift))
        if options:
            key, value = self.rng.choice(options)
            case.slots[key] = value & MOST
        return bool(options)

    def _in_answers(self, case: Case, parent: Tried, a: int, b: int) -> bool:
        """A mock that was called answers `b`: it may have been its answer that was compared."""
        asked = sorted({at for at, _, _ in parent.result.visited} & set(MOCKS))
        for mock in asked:
            case.slots[mock, MODE], case.slots[mock, WORD] = 1 + list(ANSWERS).index("word"), b
        return bool(asked)

    def _around(self, case: Case, parent: Tried, a: int, b: int) -> bool:
        """Caller, wei, time, number."""
        if a == case.caller and b in (*PEOPLE, FORWARDER):
            case.caller = b
        elif a == case.value and b <= 10**21 and self.method.payable:
            case.value = b
        elif a == case.timestamp and b < LATEST:
            case.timestamp = b
        elif a == case.number and b < LATEST:
            case.number = b
        else:
            return False
        return True
