"""Which forms mean the same in Solidity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whet.evm.meaning.base import FunctionMeaning, Place
from whet.evm.solidity.narrow import as_words
from whet.evm.solidity.storage import Declared
from whet.evm.solidity.within import Within, indexes, kind_of
from whet.evm.tac import Contract, Function
from whet.evm.terms import DECODED, Assign, Do, Expression, Form, Invoke, Name, Value, children


def panics(function: Function, code: int) -> bool:
    """Whether it writes the code of a Panic where Solidity's reverts have it."""
    return any(s.op == "MSTORE" and s.args == (4, code) for s in function.statements())


def exact_forms(
    contract: Contract, function: Function, known: FunctionMeaning, storage: Declared
) -> FunctionMeaning:
    """The meaning without the forms that Solidity would not do exactly.

    Checked arithmetic that does not give up with Solidity's Panic (a library's, with its own text) stays the call that it
    is; a variable that no declaration could place stays a slot, and so does an element whose index nobody checks, and a
    variable of few bits where the whole word of its slot is read or written. The text of an error is padded with zeros, also
    where an older compiler left other bytes behind it.
    """
    lost = storage.lost
    unsure = {
        place for place, form in known.forms.items() if not _is_exact(contract, function, place, form, lost)
    }
    within, kinds = Within(contract, function, known), {n: kind for n, (_, kind) in storage.texts.items()}
    unsure |= {
        place
        for place, form in known.forms.items()
        if not all(within.checks(place, key) for key in indexes(form, kinds, storage.members))
    }
    types = {
        place: kind_of(form.target if isinstance(form, Assign) else form.expression, kinds, storage.members)
        for place, form in known.forms.items()
        if isinstance(form, Assign | Value)
    }
    unsure |= as_words(function, known.forms, types)
    forms = {
        place: _by_its_name(function, place, form)
        for place, form in known.forms.items()
        if place not in unsure
    }
    return replace(known, forms=forms, body=None if known.body and _speaks(known.body, lost) else known.body)


def _by_its_name(function: Function, place: Place, form: Form) -> Form:
    """A call of a helper as a call of this very function: several may be helpers of one name."""
    block, index = place
    if index < 0 or not isinstance(form, Value | Do):
        return form
    statement, call = function.blocks[block].statements[index], form.expression
    if (
        statement.op != "CALLPRIVATE"
        or not isinstance(call, Invoke)
        or _is_checked(call)
        or call.callee == DECODED
    ):
        return form
    return replace(form, expression=Invoke(Name(statement.function), statement.args))


def _is_exact(contract: Contract, function: Function, place: Place, form: Form, lost: list[str]) -> bool:
    if _speaks(form, lost):
        return False
    block, index = place
    if index < 0 or not isinstance(form, Value):
        return True
    statement = function.blocks[block].statements[index]
    if statement.op != "CALLPRIVATE" or not _is_checked(form.expression):
        return True
    return gives_panic(contract, statement.function)


def _is_checked(term: Expression) -> bool:
    return (
        isinstance(term, Invoke)
        and isinstance(term.callee, Name)
        and term.callee.name.partition("_")[0] == "checked"
    )


def _speaks(term: Expression | Form, names: list[str]) -> bool:
    return bool(names) and any(name in names for name in _names(term))


def _names(term: Expression | Form) -> Iterator[str]:
    if isinstance(term, Name):
        yield term.name
    for child in children(term):
        yield from _names(child)


def gives_panic(contract: Contract, name: str, depth: int = 0) -> bool:
    """Whether a function that gives up does so with Panic(0x11) or, for divisions, Panic(0x12)."""
    if depth > 4:
        return False
    found = False
    for block in contract.functions[name].blocks.values():
        calls = [s.function for s in block.statements if s.op == "CALLPRIVATE"]
        for called in calls:
            if contract.functions[called].returns is None:
                if not gives_panic(contract, called, depth + 1):
                    return False
                found = True
        if block.end.op == "REVERT":
            stores = {s.args[0]: s.args[1] for s in block.statements if s.op == "MSTORE"}
            if stores.get(0) != 0x4E487B71 << 224 or stores.get(4) not in (0x11, 0x12):
                return False
            found = True
        elif block.end.op == "INVALID" and not calls:
            return False
    return found
