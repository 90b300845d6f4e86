"""What is read from storage or memory that was read or written before, with nothing in between that may have changed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from whet.evm.tac import Function, Operand, Statement


@dataclass(slots=True)
class Shape:
    """What is the same in all walks of a function. same: {variable: the first one of equal value, or "CALLER" and the like};
    made: by what; given: {index of a result: index of the parameter that it always is}."""

    same: dict[str, str] = field(default_factory=dict)
    made: dict[str, Statement] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    free: frozenset[str] = frozenset()
    """Variables that always point to where free memory began, or behind it: behind all that parameters point to."""
    older: dict[str, frozenset[str]] = field(default_factory=dict)
    """{where free memory began: what private calls had given before, which points to memory that was taken then}."""
    numbers: dict[str, int] = field(default_factory=dict)
    """{variable: the number that was written where it is read}."""
    held: dict[int, tuple[Operand | None, ...]] = field(default_factory=dict)
    """{id of a private call's statement, or of the end that goes back from one: of each argument the word that memory holds
    where it points to; None: not known}"""

    def name(self, operand: Operand) -> Operand:
        """What all of equal value are called."""
        return self.same.get(operand, operand) if isinstance(operand, str) else operand

    def stepped(self, statement: Statement) -> tuple[str, int] | None:
        """(word, step) of what is a word and a small constant more, or less; None for others."""
        if statement.op not in ("ADD", "SUB") or len(statement.args) != 2:
            return None
        first, second = statement.args
        if statement.op == "ADD" and isinstance(first, int):
            first, second = second, first
        if not isinstance(first, str) or not isinstance(second, int):
            return None
        step = -second if statement.op == "SUB" else second
        step = step - (1 << 256) if step >> 255 == 1 else step
        return (first, step) if 0 < abs(step) < 1 << 32 else None


def free_pointers(function: Function) -> frozenset[str]:
    """`Shape.free`."""
    begins = {s.results[0] for s in function.statements() if s.op == "MLOAD" and s.args == (0x40,)}
    sums = [s for s in function.statements() if s.op == "ADD"]
    phis = [phi for block in function.blocks.values() for phi in block.phis]
    free = begins | {s.results[0] for s in sums} | {phi.result for phi in phis}
    while True:  # what is taken away leaves less for the others
        found = begins | {s.results[0] for s in sums if free & set(s.args)}
        found |= {phi.result for phi in phis if free.issuperset(phi.incoming.values())}
        if found >= free:
            return frozenset(free)
        free &= found


def older_places(function: Function) -> dict[str, frozenset[str]]:
    """`Shape.older`, as far as it shows within a block, or in the first one."""
    found: dict[str, frozenset[str]] = {}
    first: frozenset[str] = frozenset()
    for block in function.blocks.values():
        given = first
        for s in block.statements:
            if s.op == "CALLPRIVATE":
                given |= set(s.results)
            if s.op == "MLOAD" and s.args == (0x40,):
                found[s.results[0]] = given
        first = given if block.id == "b0" else first
    return found


CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "CREATE", "CREATE2"})
"""Those in which anything may change; not a STATICCALL."""
_COPIES = dict.fromkeys(("CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "MCOPY", "MSTORE8"), 0) | {
    "EXTCODECOPY": 1
}
"""{what writes bytes to memory: which of its arguments says where to}."""
_SPOILS = {
    "SLOAD": CALLS | {"SSTORE"},
    "TLOAD": CALLS | {"TSTORE"},
    "MLOAD": CALLS | _COPIES.keys() | {"STATICCALL", "MSTORE"},
}
"""{what reads: all that may write there}."""
_STORES = {"SSTORE": "SLOAD", "TSTORE": "TLOAD", "MSTORE": "MLOAD"}
_SMALL = 1 << 64
_FIRST_FREE, _FIRST_EVER_FREE = 0x80, 0x60
"""Where Solidity's memory begins that pointers point to; before 0.4.22 it began earlier."""

_SCRATCH = "SCRATCH"
"""Stands for writing to memory below `_FIRST_FREE`."""

Known = dict[tuple[str, Operand], Operand]
"""{(what reads, where): the variable, or the number, that it is}."""


def read_again(function: Function, shape: Shape, does: Callable[[str], frozenset[str]]) -> None:
    """Notes in `shape.same` what is read twice. does: the instructions of a private function and of all it calls."""
    before: dict[str, Known | None] = dict.fromkeys(function.blocks)
    before["b0"] = {("MLOAD", param): held_at(param) for param in function.params}
    work = ["b0"]
    while work:
        id_ = work.pop()
        known = dict(before[id_] or {})
        for statement in function.blocks[id_].statements:
            _step(statement, known, shape, does)
        for target in function.blocks[id_].end.targets:
            old = before[target]
            new = known if old is None else {key: name for key, name in old.items() if known.get(key) == name}
            if new != old:
                before[target] = dict(new)
                work.append(target)
    found: dict[str, Operand] = {}
    for id_, begins in before.items():
        known = dict(begins or {})
        for statement in function.blocks[id_].statements if begins is not None else ():
            if statement.op == "CALLPRIVATE":
                shape.held[id(statement)] = _held(statement.args, known, shape)
            if (again := _step(statement, known, shape, does)) is not None:
                found[statement.results[0]] = again
        end = function.blocks[id_].end
        shape.held[id(end)] = _held(end.args, known, shape)
    for name in found:
        last: Operand = name
        while isinstance(last, str) and last in found and found[last] != name:
            last = found[last]
        last = shape.name(last)
        if isinstance(last, str):
            shape.same[name] = last
        else:
            shape.numbers[name] = last


def _held(args: tuple[Operand, ...], known: Known, shape: Shape) -> tuple[Operand | None, ...]:
    return tuple(known.get(("MLOAD", shape.name(arg))) for arg in args)


def held_at(variable: str) -> str:
    """The name of the word that memory holds where a parameter points to, when the function is called, or where what a
    private call gave points to, when that comes back."""
    return f"[{variable}]"


def writes(s: Statement) -> str:
    """The instruction, or `_SCRATCH`."""
    at = _COPIES.get(s.op, 0 if s.op == "MSTORE" else None)
    if at is None or not isinstance(s.args[at], int):
        return s.op
    size = {"MSTORE": 32, "MSTORE8": 1}.get(s.op, s.args[-1])
    return _SCRATCH if isinstance(size, int) and int(s.args[at]) + size <= _FIRST_FREE else s.op


def _step(s: Statement, known: Known, shape: Shape, does: Callable[[str], frozenset[str]]) -> Operand | None:
    """Goes on behind a statement; the variable that has already what it reads."""
    if s.op in _SPOILS:
        key = (s.op, shape.name(s.args[0]))
        found = known.get(key)
        if found is None:
            known[key] = s.results[0]
        return found
    if s.op in _STORES:
        _stored(s, known, shape)
        return None
    if s.op in _COPIES and _copied(s, known, shape):
        return None
    done = does(s.function) if s.op == "CALLPRIVATE" else frozenset({writes(s)})
    if _SCRATCH in done:
        for key in [key for key in known if key[0] == "MLOAD" and isinstance(key[1], int)]:
            del known[key]
    for reads, spoils in _SPOILS.items():
        if done & spoils:
            for key in [key for key in known if key[0] == reads]:
                del known[key]
    if s.op == "CALLPRIVATE":
        known.update({("MLOAD", shape.name(result)): held_at(result) for result in s.results})
    return None


def _stored(s: Statement, known: Known, shape: Shape) -> None:
    reads, place = _STORES[s.op], shape.name(s.args[0])
    for key in [key for key in known if key[0] == reads and _may_be(key[1], place, reads, shape)]:
        del known[key]
    known[reads, place] = s.args[1]


def _copied(s: Statement, known: Known, shape: Shape) -> bool:
    """Whether bytes go where little of what is known lies; that is forgotten then."""
    place = shape.name(s.args[_COPIES[s.op]])
    if isinstance(place, int) or not _is_computed(place, shape):
        return False
    for key in [key for key in known if key[0] == "MLOAD"]:
        if isinstance(key[1], int) or _may_be(key[1], place, "MLOAD", shape):
            del known[key]
    return True


def _may_be(read: Operand, written: Operand, reads: str, shape: Shape) -> bool:
    """Whether the two may be one place, or overlap."""
    if isinstance(read, int) and isinstance(written, int):
        return abs(read - written) < (32 if reads == "MLOAD" else 1)
    if reads == "MLOAD" and isinstance(written, int) and written < _FIRST_FREE:
        return False
    low = reads == "MLOAD" and isinstance(read, int) and read + 32 <= _FIRST_EVER_FREE
    if written in shape.free and (low or read in shape.params):
        return False
    if read in shape.older.get(str(written), ()):
        return False
    return not (_is_computed(written, shape) and not _is_computed(read, shape))


def _is_computed(place: Operand, shape: Shape) -> bool:
    """Whether it is a hash, or something away from another place."""
    if isinstance(place, int):
        return place >= _SMALL
    made = shape.made.get(place)
    return made is not None and made.op in ("KECCAK256", "ADD")
