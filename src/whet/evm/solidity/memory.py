"""Which writes to memory must stay though a form says what they are for: Solidity writes memory of its own.

A form that Solidity writes (an event, a hash) makes its bytes itself, in memory that is free. Writes that were for the
form alone can go, with the pointer they were made at. They stay where anything else still uses that pointer, and so
does the step that moves the free pointer behind them.
"""

from __future__ import annotations

from dataclasses import replace

from whet.evm.draft import Readable
from whet.evm.draft.begin import begin
from whet.evm.draft.inline import live
from whet.evm.draft.nouns import Draft
from whet.evm.meaning.base import FunctionMeaning, Place
from whet.evm.opcodes import PURE
from whet.evm.tac import Function, Operand, Statement
from whet.evm.terms import Expression, Form, Operation, Value, children

FREE_POINTER = 0x40
SCRATCH = 0x40
"""Bytes from 0 that hold nothing between two of Solidity's statements."""
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
        scratch = _reads_scratch(function, draft, trial)
        back = {p for p in absorbed & roots.keys() if roots[p] & used or (scratch and "" in roots[p])}
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


def _reads_scratch(function: Function, draft: Draft, known: FunctionMeaning) -> bool:
    """Whether a plain instruction that can be reached reads memory at a constant below SCRATCH."""
    for name in draft.blocks:
        block = function.blocks[name]
        plain = [
            s
            for index, s in enumerate(block.statements)
            if (name, index) not in known.forms and (name, index) not in known.absorbed
        ]
        if any(s.op in _READS and isinstance(s.args[0], int) and s.args[0] < SCRATCH for s in plain):
            return True
        end = draft.blocks[name].end
        if end.op in ("RETURN", "REVERT") and end.form is None and end.args[1] != 0:
            written = any(
                s.op in _WRITES and isinstance(s.args[0], int) and s.args[0] < SCRATCH for s in plain
            )
            if isinstance(end.args[0], int) and end.args[0] < SCRATCH and not written:
                return True
    return False


_PLACED = frozenset(
    {"MSTORE", "MSTORE8", "MCOPY", "CALLDATACOPY", "RETURNDATACOPY", "CODECOPY", "EXTCODECOPY"}
)
_READS = frozenset({"KECCAK256", "MLOAD", "LOG0", "LOG1", "LOG2", "LOG3", "LOG4"})
_WRITES = frozenset({"MSTORE", "RETURNDATACOPY"})
