"""Stretches of a block run on samples: which words, lengths and pointers they get, and what may stand in them.

A stretch computes and writes memory, helpers of the compiler's included, and does nothing else. Words that come from
outside are pointers to objects where something is read behind them, small where lengths or the step of the free pointer
are computed from them, any words otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from whet.evm.meaning.base import Place
from whet.evm.meaning.shapes import Shapes
from whet.evm.meaning.slices import FREE, LENGTHS, SPACE, Run, Slice, computed, run
from whet.evm.opcodes import PURE
from whet.evm.solidity.memory import FREE_POINTER
from whet.evm.structure.graph import dominators, reverse_postorder
from whet.evm.tac import Block, Contract, Function, Statement
from whet.evm.terms import Expression, Operation

RUNS = 6
_DEEPEST = 6
_MEMORY = frozenset(
    [
        "MLOAD",
        "MSTORE",
        "MSTORE8",
        "MCOPY",
        "CALLDATACOPY",
        "SLOAD",
        "TLOAD",
        "RETURNDATASIZE",
        "RETURNDATACOPY",
    ]
)
_ASKED = """
CALLDATALOAD ADDRESS ORIGIN CALLER CALLVALUE GASPRICE COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT CHAINID BASEFEE
BLOBBASEFEE
"""
ASKED = frozenset(_ASKED.split())
"""Instructions that ask for something of the call or the block: any word, in `Run.given` by their names too."""
_ALLOCATING = ("allocate_memory", "finalize_allocation")
"""Helpers of the compiler's that move the free pointer and may panic as Solidity does."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Statements start .. stop of a block, both included."""

    block: Block
    start: int
    stop: int

    @property
    def statements(self) -> list[Statement]:
        return self.block.statements[self.start : self.stop + 1]

    @property
    def places(self) -> list[tuple[Place, Statement]]:
        return [((self.block.id, self.start + i), s) for i, s in enumerate(self.statements)]


class Samples:
    """Of one function. helpers: {function: what of the compiler's it is}."""

    def __init__(
        self, contract: Contract, shapes: Shapes, helpers: Mapping[str, str], function: Function
    ) -> None:
        self.contract, self.shapes, self.helpers, self.function = contract, shapes, helpers, function
        self.made: dict[str, Statement] = {}
        self.where: dict[str, Place] = dict.fromkeys(self.function.params, ("", -1))
        for block in self.function.blocks.values():
            self.where |= {phi.result: (block.id, -1) for phi in block.phis}
            for index, s in enumerate(block.statements):
                self.made |= dict.fromkeys(s.results, s)
                self.where |= dict.fromkeys(s.results, (block.id, index))
        self.above = dominating(self.function)

    def may_hold(self, s: Statement) -> bool:
        """Whether a stretch may hold the statement."""
        if s.op == "CALLPRIVATE":
            return self.shapes.of[s.function].only_memory and (not self.moves(s) or self._allocates(s))
        return s.op in PURE or s.op in _MEMORY

    def moves(self, s: Statement) -> bool:
        return self.shapes.allocates(s)

    def _allocates(self, s: Statement) -> bool:
        return self.helpers.get(s.function, "").startswith(_ALLOCATING)

    def may_hide(self, s: Statement) -> bool:
        """Whether leaving out a call leaves out nothing but what Solidity does too."""
        if s.op != "CALLPRIVATE":
            return True
        return not self.shapes.of[s.function].halts or self._allocates(s)

    def reads_pointer(self, s: Statement) -> bool:
        """Whether it gives where free memory begins."""
        return (s.op == "MLOAD" and s.args == (FREE_POINTER,)) or (
            s.op == "CALLPRIVATE" and self.helpers.get(s.function, "").startswith("allocate_")
        )

    # Runs.

    def run(self, stretch: Stretch, number: int) -> Run:
        """The run of that number. Raises `whet.evm.meaning.slices.Stuck`."""
        block = stretch.block.id
        part = Slice({block: (stretch.start, stretch.stop + 1)}, block, block)
        sizes = self._sizes(stretch, number)
        made = run(self.contract, self.function, part, number, sizes)
        pointers = {made.values[name] // SPACE for name in made.free}
        read = {at // SPACE for at in made.read_at} & pointers
        source = random.Random(number * 7919 + stretch.stop)
        given = {
            name: (source.getrandbits(256) | 1 << 255) * (number != RUNS - 1)
            for name in made.free
            if made.values[name] // SPACE not in read
        }
        for s in stretch.statements:
            if s.op in ASKED:
                word = source.getrandbits(256) | 1 << 255
                given[s.results[0]] = given.setdefault(s.op, word) if not s.args else word
        return run(self.contract, self.function, part, number, {**given, **sizes})

    def runs(self, stretch: Stretch) -> list[Run]:
        return [self.run(stretch, number) for number in range(RUNS)]

    def _sizes(self, stretch: Stretch, number: int) -> dict[str, int]:
        """Values of variables from outside that lengths, and how far the free pointer moves, are computed from, and of
        what else is computed from these alone."""
        inside = stretch.statements
        work: list[str] = []
        for s in inside:
            if s.op == "CALLDATACOPY":
                work += [arg for arg in s.args[1:] if isinstance(arg, str)]
            elif s.op == "MSTORE" and s.args[0] == FREE_POINTER and isinstance(s.args[1], str):
                work.append(s.args[1])
            elif s.op == "CALLPRIVATE" and self.moves(s):
                work += [arg for arg in s.args if isinstance(arg, str)]
        found: dict[str, int] = {}
        seen: set[str] = set()
        while work:
            name = work.pop()
            if name in seen:
                continue
            seen.add(name)
            made = self.made.get(name)
            if made is not None and made.op in PURE and made.op != "CALLDATALOAD":
                work += [arg for arg in made.args if isinstance(arg, str)]
            elif made is None or made not in inside or made.op in ("CALLDATALOAD", "SLOAD"):
                found[name] = LENGTHS[(number + 3 * len(found)) % len(LENGTHS)]
        outside = {arg for s in inside for arg in s.args if isinstance(arg, str)} - found.keys()
        for name in outside - {r for s in inside for r in s.results}:
            value = self._computed(name, found, 0)
            if value is not None:
                found[name] = value
        return found

    def _computed(self, name: str, sizes: Mapping[str, int], depth: int) -> int | None:
        """The value of a variable that is computed from sizes and what is known of the call."""
        if name in sizes:
            return sizes[name]
        made = self.made.get(name)
        if made is None or made.op not in PURE or made.op in ASKED or depth > _DEEPEST:
            return None
        args = [arg if isinstance(arg, int) else self._computed(arg, sizes, depth + 1) for arg in made.args]
        return None if None in args else computed(made.op, tuple(args))  # type: ignore[arg-type]

    def said(self, name: str, place: Place, depth: int = 0) -> Expression | None:
        """A variable where an object is made; what it is computed from where it comes later."""
        where = self.where.get(name)
        if where is None or depth > _DEEPEST:
            return None
        block, index = where
        if (
            block == ""
            or (block == place[0] and index < place[1])
            or (block != place[0] and block in self.above.get(place[0], ()))
        ):
            return name
        s = self.made.get(name)
        if s is None or s.op not in PURE or s.op == "CALLDATALOAD" or block != place[0]:
            return None
        parts = [arg if isinstance(arg, int) else self.said(arg, place, depth + 1) for arg in s.args]
        return None if None in parts else Operation(s.op, tuple(parts))  # type: ignore[arg-type]


def moved(made: Run) -> int:
    """How far a run moved the free pointer, in bytes."""
    return int.from_bytes(made.read(FREE_POINTER, 32), "big") - FREE


def dominating(function: Function) -> dict[str, set[str]]:
    """{block: all that stand on every way to it}."""
    order = reverse_postorder({block.id: block.end.targets for block in function.blocks.values()})
    nearest = dominators(order, function.predecessors())
    found: dict[str, set[str]] = {}
    for name in order:
        above, at = set[str](), name
        while nearest.get(at, at) != at:
            at = nearest[at]
            above.add(at)
        found[name] = above
    return found
