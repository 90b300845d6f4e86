"""What a call gave back, copied to memory as `bytes`: the code that Solidity makes for `(bool ok, bytes memory data) = ...`.

Taken is a branch that asks whether anything came back, with a block that copies all of it behind the free pointer and one
that takes the empty object instead. That the block does this is shown by computing what it writes for some lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from whet.evm.meaning.base import FunctionMeaning, Place
from whet.evm.meaning.slices import computed
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Function, Operand, Statement
from whet.evm.terms import Invoke, Name, Value

RETURNED = Name("returned")
"""The helper that copies it."""

_EMPTY = 0x60
_WRITES = ("MLOAD", "MSTORE", "MSTORE", "RETURNDATACOPY")
_POINTER, _LENGTHS = 0x1000, (1, 31, 32, 33, 500)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy whose pointer is set at `place`. asks: the block that branches to it, which is `copies`."""

    place: Place
    pointer: str
    hidden: frozenset[Place]
    asks: str
    copies: str


def with_returned(function: Function, known: FunctionMeaning) -> FunctionMeaning:
    """The meaning with copies instead of the code that makes them."""
    found = copies(function)
    if not found:
        return known
    forms = {copy.place: Value(Invoke(RETURNED), (copy.pointer,)) for copy in found}
    hidden = set[Place]().union(*(copy.hidden for copy in found))
    skipped = {copy.asks: copy.copies for copy in found}
    return replace(
        known, forms=known.forms | forms, absorbed=known.absorbed | hidden, skipped=known.skipped | skipped
    )


def copies(function: Function) -> list[Copy]:
    """All of a function, in the order of its blocks."""
    if not any(s.op == "RETURNDATACOPY" for s in function.statements()):
        return []
    made = {r: s for s in function.statements() for r in s.results}
    before = function.predecessors()
    found = [_copy(function, block, before, made) for block in function.blocks.values()]
    return [copy for copy in found if copy is not None]


def _copy(
    function: Function, block: Block, before: Mapping[str, list[str]], made: Mapping[str, Statement]
) -> Copy | None:
    places = [(i, s) for i, s in enumerate(block.statements) if s.op not in PURE | {"RETURNDATASIZE"}]
    if tuple(s.op for _, s in places) != _WRITES or block.end.op != "JUMP" or len(before[block.id]) != 1:
        return None
    asks, (read, step, length, copy) = function.blocks[before[block.id][0]], [s for _, s in places]
    pointer = read.results[0]
    if read.args != (0x40,) or step.args[0] != 0x40 or asks.end.op != "BRANCH":
        return None
    try:
        for size in _LENGTHS:
            words = _Words(made, pointer, size)
            wanted = (_POINTER + (size + 0x3F & ~0x1F), _POINTER, size, _POINTER + 0x20, 0, size)
            operands = (step.args[1], *length.args, *copy.args)
            if tuple(map(words.of, operands)) != wanted or _goes_to(asks, words) != block.id:
                return None
        other = _goes_to(asks, _Words(made, pointer, 0))
    except KeyError:
        return None
    if other == block.id or not _takes_nothing(function, block, other, asks.id, pointer):
        return None
    hidden = frozenset((block.id, index) for index, _ in places[:3])
    return Copy((block.id, places[3][0]), pointer, hidden, asks.id, block.id)


def _takes_nothing(function: Function, block: Block, other: str, asks: str, pointer: str) -> bool:
    """Whether the other way leads to the same block without doing anything, with the empty object."""
    joined = function.blocks[block.end.targets[0]]
    way = asks
    if other != joined.id:
        between = function.blocks[other]
        if between.statements or between.phis or between.end.targets != (joined.id,):
            return False
        way = other
    ways = [(phi.incoming.get(block.id), phi.incoming.get(way)) for phi in joined.phis]
    differ = [pair for pair in ways if pair[0] != pair[1]]
    return differ == [(pointer, _EMPTY)]


def _goes_to(block: Block, words: _Words) -> str:
    return block.end.targets[0 if words.of(block.end.args[0]) else 1]


@dataclass(frozen=True, slots=True)
class _Words:
    """Values where the free pointer is _POINTER and `size` bytes came back; KeyError for what is known only when running."""

    made: Mapping[str, Statement]
    pointer: str
    size: int

    def of(self, operand: Operand) -> int:
        if isinstance(operand, int):
            return operand
        if operand == self.pointer:
            return _POINTER
        s = self.made[operand]
        if s.op == "RETURNDATASIZE":
            return self.size
        if s.op not in PURE:
            raise KeyError(operand)
        return computed(s.op, tuple(map(self.of, s.args)))
