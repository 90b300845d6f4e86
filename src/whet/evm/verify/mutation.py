"""Do the calls tell a wrong candidate from the right one? Mutants of its three-address code, replayed in the interpreter.

Each mutant has one change (`whet.evm.replay.mutants`) in a block that some call executed. It is

killed       if one of the calls of the verification shows a difference;
equivalent   if the change gave another value in at least `CHANGED_CALLS` calls, among them one that succeeded (where any
             did), and nothing observable came of it: the value is masked away, or nobody reads it;
a survivor   otherwise, and where it did not change any value: the calls are too weak, or it means the same in all of
             them; it counts against the candidate, as it cannot be told which.

Changes that mean the same are not made, nor those of how long calldata and answers must be (`needless`).
A store, log, call or end that was changed counts as changed wherever it is executed. Left out: changes where no call
came (counted as unreached), two changes at once. Cost: at most one run of the interpreter for each call and mutant.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from whet.errors import WhetError
from whet.evm.interpret import Result, run
from whet.evm.keccak import keccak256
from whet.evm.opcodes import PURE
from whet.evm.program import COMPARISONS_KEPT
from whet.evm.replay.cases import Case
from whet.evm.replay.compare import compare
from whet.evm.replay.mocks import TARGET
from whet.evm.replay.mutants import Change, mutant
from whet.evm.replay.reference import Outcome
from whet.evm.replay.run import State, home, reachable, transaction
from whet.evm.tac import Block, Contract, Operand, Statement
from whet.evm.verify.branches import Place
from whet.evm.verify.needless import means_the_same
from whet.evm.verify.nouns import Evidence
from whet.evm.verify.pair import Pair
from whet.evm.words import ONE, THREE, TWO
from whet.evm.world import World

CHANGED_CALLS = 3
STEADY_CALLS = 10
CALLS_SHOWN = 60
"""Calls that a mutant is shown, those of its own function first."""
TRIES = 4
"""For each mutant: blocks looked at until one is found in which something can be changed."""
MORE = 2
"""Times the statements of a call that a mutant of it may execute."""
MARK = int.from_bytes(keccak256(b"a changed value"), "big")
COMPUTED = frozenset({*ONE, *TWO, *THREE})
OPERANDS = tuple(int.from_bytes(keccak256(b"operand %d" % i), "big") for i in range(3))
"""What operands are compared with, to be seen in `Result.compared`."""

Kept = tuple[Case, State, set[tuple[int, str, str]], Outcome]


@dataclass(slots=True)
class Mutant:
    """A wrong candidate that no call has shown to be wrong so far. watched: it tells whether a value was changed; computed:
    the changed statement's result depends on its operands alone. shown: how many calls of its function it was shown;
    changed, changed_in_success, succeeded: of the calls that executed the changed place."""

    contract: Contract
    place: Place
    text: str
    watched: bool
    computed: bool
    shown: int = 0
    succeeded: int = 0
    changed: int = 0
    changed_in_success: int = 0
    executed: int = 0
    operands: set[frozenset[tuple[int, int]]] = field(default_factory=set)
    """Of each call the (word, which of `OPERANDS`) that the changed statement was given."""

    @property
    def equivalent(self) -> bool:
        if self.changed:
            return self.changed >= CHANGED_CALLS and bool(self.changed_in_success or not self.succeeded)
        return self.executed >= STEADY_CALLS and self.steady

    @property
    def steady(self) -> bool:
        """The operands were the same in every call, those of a loop in all its rounds."""
        return self.watched and self.computed and len(self.operands) == 1


class Mutants:
    """The mutants of one function of the candidate, `root`, and of what it calls."""

    def __init__(self, pair: Pair, root: str | None, kept: list[Kept], count: int) -> None:
        """Make up to `count` in what the calls `kept`, on which both sides agreed, executed."""
        self.pair, self.root, self.kept = pair, root, kept
        self.made = self.killed = self.unreached = 0
        self.alive: list[Mutant] = []
        self._turns: dict[int, tuple[int, list[Kept]]] = {}
        self._known: set[tuple[Place, str]] = set()
        self._rng = Random(int.from_bytes(keccak256((root or "").encode())[:4], "big"))
        self.make(count)

    def make(self, count: int) -> None:
        """Up to so many in all, and show them the calls."""
        if self.root and self.kept:
            self._make(self.root, count)
        self.show()

    def _make(self, root: str, count: int) -> None:
        visited = {(name, block) for *_, seen, _ in self.kept for at, name, block in seen if at == TARGET}
        inside = sorted(place for place in reachable(self.pair.other, root) if ">" not in place[1])
        for _ in range(TRIES * (count - self.made)):
            if self.made >= count:
                return
            place = self._rng.choice(inside)
            wrong, change = mutant(self.pair.other, place, self._rng)
            if not change or (place, change.text) in self._known:
                continue
            self._known.add((place, change.text))
            if means_the_same(self.pair.other, self.pair.sizes, place, change):
                continue
            if place not in visited or not _both_ways(self.pair.other, place, change, visited):
                self.unreached += 1
                continue
            self.made += 1
            watching = _watching(self.pair.other, wrong, place, change)
            computed = (
                change.at is not None
                and not change.dropped
                and _op(self.pair.other, place, change.at) in COMPUTED
            )
            self.alive.append(Mutant(watching or wrong, place, change.text, watching is not None, computed))

    def show(self) -> None:
        """Those that are alive are shown the calls that they have not seen."""
        if not self.pair.spent:
            self.alive = [one for one in self.alive if not self._kill(one)]
        self.killed = self.made - len(self.alive)

    def _in_turn(self, begin: int) -> list[Kept]:
        """The calls from that one on: first one of each that went another way, then the second of each, and so on."""
        if self._turns.get(begin, (0, []))[0] != len(self.kept):
            ways = Counter[frozenset[tuple[int, str, str]]]()
            turns = []
            for index, kept in enumerate(self.kept[begin:], begin):
                way = frozenset(kept[2])
                turns.append((ways[way], index))
                ways[way] += 1
            self._turns[begin] = len(self.kept), [self.kept[index] for _, index in sorted(turns)]
        return self._turns[begin][1]

    def _kill(self, one: Mutant) -> bool:
        programs = dict(self.pair.programs)
        calls = [kept for kept in self._in_turn(one.shown) if (TARGET, *one.place) in kept[2]]
        one.shown = len(self.kept)
        for case, state, _, outcome in calls[:CALLS_SHOWN]:
            world = self.pair.world(case, state)
            result = _replayed(self.pair, one.contract, case, world, programs)
            if result is None or compare(result, world, outcome):
                return True
            success = outcome.status == "success"
            changed = not one.watched or any(MARK in words for words in result.compared)
            one.executed += 1
            one.operands.add(frozenset(pair for pair in result.compared if pair[1] in OPERANDS))
            if len(result.compared) >= COMPARISONS_KEPT:
                one.operands |= {frozenset(), frozenset({(0, 0)})}  # not all are known
            one.succeeded += success
            one.changed += changed
            one.changed_in_success += success and changed
        return False

    @property
    def rate(self) -> float:
        """Killed, of those that are not equivalent."""
        equivalent = sum(one.equivalent for one in self.alive)
        return self.killed / (self.made - equivalent) if self.made > equivalent else 1.0

    def tell(self, evidence: Evidence) -> None:
        evidence.mutants, evidence.killed, evidence.unreached = self.made, self.killed, self.unreached
        evidence.equivalent = sum(one.equivalent for one in self.alive)
        evidence.survivors = [
            f"{' '.join(one.place)}: {one.text}" for one in self.alive if not one.equivalent
        ]


def _op(contract: Contract, place: Place, at: int) -> str:
    return contract.functions[place[0]].blocks[place[1]].statements[at].op


def _both_ways(contract: Contract, place: Place, change: Change, visited: set[Place]) -> bool:
    """A change of a branch, or of its condition, is reached where both of its ways are: that a check never fails in any
    call is what the coverage says, and none of the mutant's fault."""
    block = contract.functions[place[0]].blocks[place[1]]
    taken = all((place[0], target) in visited for target in block.end.targets)
    return taken or not (change.at is None or _decides(block, change.at))


def _decides(block: Block, at: int) -> bool:
    """Whether the statement gives the condition at the block's end, or what that is the negation of."""
    made = {result: statement for statement in block.statements for result in statement.results}
    chain: set[Operand] = set(block.end.args) if block.end.op == "BRANCH" else set()
    todo = list(chain)
    while todo:
        statement = made.get(str(todo.pop()))
        if statement and statement.op == "ISZERO":
            chain |= set(statement.args)
            todo += statement.args
    return bool(chain & set(block.statements[at].results))


def _replayed(
    pair: Pair, wrong: Contract, case: Case, world: World, programs: dict[bytes | int, Any]
) -> Result | None:
    """None where the mutant does not come to an end, which it is noticed by."""
    where = home(world)
    world.accounts[where] = replace(world.accounts[where], contract=wrong)
    world.programs = programs
    try:
        result = run(None, world, *transaction(case), MORE * pair.steps)
    except WhetError:
        pair.charge(MORE * pair.steps)
        return None
    pair.charge(result.statements)
    return result


def _watching(right: Contract, wrong: Contract, place: Place, change: Change) -> Contract | None:
    """The mutant, computing the right value too and comparing MARK with 0 where the two are not equal; None where a
    change cannot be without effect on what is computed (a store, an end) or the right value is not at hand."""
    if change.at is None or change.dropped:
        return None
    name, block_id = place
    statement = right.functions[name].blocks[block_id].statements[change.at]
    if statement.op not in PURE | {"SLOAD", "TLOAD", "MLOAD"}:
        return None
    function = wrong.functions[name]
    block = function.blocks[block_id]
    statements = list(block.statements)
    statements[change.at + 1 : change.at + 1] = _watch(statement, statements[change.at])
    block = replace(block, statements=statements)
    return replace(
        wrong,
        functions=wrong.functions | {name: replace(function, blocks=function.blocks | {block_id: block})},
    )


def _watch(right: Statement, wrong: Statement) -> list[Statement]:
    (found,) = wrong.results
    names = [f"{found}!{i}" for i in range(4)]
    steps: list[tuple[str, tuple[Operand, ...]]] = [
        (right.op, right.args),
        ("XOR", (found, names[0])),
        ("ISZERO", (names[1],)),
        ("MUL", (names[2], MARK)),
        ("SUB", (names[3], MARK)),
    ]
    given = [arg for arg in right.args if isinstance(arg, str)]
    steps += [("SUB", (arg, mark)) for arg, mark in zip(given, OPERANDS, strict=False)]
    names = [f"{found}!{i}" for i in range(len(steps))]
    return [Statement(op, args, (name,), right.pc) for (op, args), name in zip(steps, names, strict=True)]
