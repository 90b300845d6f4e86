"""Which writes to memory must stay though a form says what they are for: Solidity writes memory of its own.

A form that Solidity writes (an event, a hash) makes its bytes itself, in memory that is free. Writes that were for the
form alone can go, with the pointer they were made at. They stay where anything else still uses that pointer, and so
does the step that moves the free pointer behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whet.evm.draft import Readable
from whet.evm.draft.begin import begin
from whet.evm.draft.inline import live
from whet.evm.draft.nouns import Draft
from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Function, Operand, Statement
from whet.evm.terms import Expression, Form, Operation, Value, children

FREE_POINTER = 0x40
_RESERVED = 0x80
"""Where memory begins that objects are made in. Code of people hashes across what Solidity keeps below."""


def asks_for_memory(body: Readable) -> bool:
    """Whether a plain instruction reads the pointer to free memory, or writes where somebody else read it."""
    for block in body.draft.blocks.values():
        terms = [line.form for line in block.lines]
        terms += [block.end.form] if block.end.form is not None else list(block.end.args)  # type: ignore[arg-type]
        if any(_is_pointer(term) for term in terms):
            return True
    return False


def writes_memory(function: Function, known: FunctionMeaning) -> bool:
    """Whether plain instructions write to memory at a place that was computed."""
    return any(
        s.op in _PLACED and not isinstance(s.args[0], int)
        for block in function.blocks.values()
        for index, s in enumerate(block.statements)
        if (block.id, index) not in known.absorbed and (block.id, index) not in known.forms
    )


def _is_pointer(term: Expression | Form) -> bool:
    if isinstance(term, Operation) and (
        term.op in _PLACED or (term.op == "MLOAD" and term.args == (FREE_POINTER,))
    ):
        return not isinstance(term.args[0], int) or term.op == "MLOAD"
    return any(_is_pointer(child) for child in children(term))


def keeping_memory(function: Function, known: FunctionMeaning) -> FunctionMeaning:
    """The meaning with fewer writes absorbed."""
    if not known.absorbed:
        return known
    made = {r: s for s in function.statements() for r in s.results}
    said = {r for form in known.forms.values() if isinstance(form, Value) for r in form.results or ()}
    roots = {
        place: _roots(statement, made)
        for place in known.absorbed
        if not set((statement := _at(function, place)).results) & said
    }
    absorbed = set(known.absorbed)
    while True:
        trial = replace(known, absorbed=absorbed)
        draft = begin(function, trial)
        used = live(draft)
        again = _read_again(function, draft, trial)
        back = {p for p in absorbed & roots.keys() if roots[p] & used or ("" in roots[p] and p in again)}
        if not back:
            return trial
        absorbed -= back


def _at(function: Function, place: Place) -> Statement:
    return function.blocks[place[0]].statements[place[1]]


def _roots(statement: Statement, made: dict[str, Statement]) -> set[str]:
    """The variables that an address was computed from, as far as it was only computed; "" for scratch space."""
    if statement.op == "CALLPRIVATE":
        return {name for name in _sources(statement.args, made) if name in made}
    if statement.op == "MSTORE" and statement.args[0] == FREE_POINTER:
        return _sources(statement.args[1:], made) or {""}
    address = statement.args[0] if statement.args else 0
    if isinstance(address, int):
        return {""} if address < _RESERVED else set()
    return _sources((address,), made)


def _sources(operands: tuple[Operand, ...], made: dict[str, Statement]) -> set[str]:
    found: set[str] = set()
    seen: set[str] = set()
    work = [operand for operand in operands if isinstance(operand, str)]
    while work:
        name = work.pop()
        if name in seen:
            continue
        seen.add(name)
        statement = made.get(name)
        if statement is not None and statement.op in PURE:
            work += [arg for arg in statement.args if isinstance(arg, str)]
        elif statement is None or statement.op == "MLOAD":
            found.add(name)
    return found


def _read_again(function: Function, draft: Draft, known: FunctionMeaning) -> set[Place]:
    """The absorbed writes below RESERVED that a plain instruction may read: it follows them with nothing that overwrites all
    of them in between."""
    steps = {name: list(_steps(function.blocks[name], draft, known)) for name in draft.blocks}
    if not any(reads for inside in steps.values() for _, reads, _ in inside):
        return set()
    found: set[Place] = set()
    alive: dict[str, set[Place]] = {name: set() for name in steps}
    ranges: dict[Place, _Range] = {}
    work = list(steps)
    while work:
        name = work.pop()
        state = set(alive[name])
        for place, reads, written in steps[name]:
            found |= {p for p in state if any(_overlap(ranges[p], read) for read in reads)}
            if written is not None:
                state = {p for p in state if not _covers(written, ranges[p])}
                if place in known.absorbed:
                    ranges[place] = written
                    state.add(place)
        for target in function.blocks[name].end.targets:
            if target in alive and not state <= alive[target]:
                alive[target] |= state
                work.append(target)
    return found


_Range = tuple[int, int]
"""Bytes of memory, from and to."""


def _overlap(one: _Range, other: _Range) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _covers(one: _Range, other: _Range) -> bool:
    return one[0] <= other[0] and other[1] <= one[1]


def _steps(
    block: Block, draft: Draft, known: FunctionMeaning
) -> Iterator[tuple[Place, list[_Range], _Range | None]]:
    """(place, what a plain instruction there reads of low memory, what is written to it for sure) in order."""
    for index, s in enumerate(block.statements):
        place = (block.id, index)
        plain = place not in known.forms and place not in known.absorbed
        reads = [_range(s.args[at], s.args[size]) for at, size in _READS.get(s.op, ())] if plain else []
        if plain and s.op == "MLOAD":
            reads = [_range(s.args[0], 32)]
        size = {"MSTORE": 32, "MSTORE8": 1}.get(s.op, s.args[2] if s.op in _COPIES else None)
        written = _range(s.args[0], size) if isinstance(size, int) else None
        yield place, [r for r in reads if r is not None], written
    end = draft.blocks[block.id].end
    if end.op in ("RETURN", "REVERT") and end.form is None:
        read = _range(block.end.args[0], block.end.args[1])
        yield (block.id, END), [read] if read is not None else [], None


def _range(start: Operand, size: Operand) -> _Range | None:
    """Of low memory; None where it does not begin there, or nowhere that is known."""
    if not isinstance(start, int) or start >= _RESERVED or size == 0:
        return None
    return start, start + size if isinstance(size, int) else 1 << 256


_PLACED = frozenset(
    {"MSTORE", "MSTORE8", "MCOPY", "CALLDATACOPY", "RETURNDATACOPY", "CODECOPY", "EXTCODECOPY"}
)
_COPIES = frozenset({"CALLDATACOPY", "RETURNDATACOPY", "CODECOPY", "MCOPY"})
_READS = {
    **dict.fromkeys(("KECCAK256", "LOG0", "LOG1", "LOG2", "LOG3", "LOG4"), ((0, 1),)),
    **dict.fromkeys(("CREATE", "CREATE2", "MCOPY"), ((1, 2),)),
    **dict.fromkeys(("CALL", "CALLCODE"), ((3, 4),)),
    **dict.fromkeys(("DELEGATECALL", "STATICCALL"), ((2, 3),)),
}
"""{instruction: (which argument says where it reads, which how much)}."""
