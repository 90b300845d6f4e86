"""Objects in memory that one expression of Solidity makes instead of the code that does: `v = abi.encode(a, b);`

`stretches` finds them. Here they become forms, as far as nothing else needs what is then not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from whet.evm.draft.begin import begin
from whet.evm.draft.inline import live
from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.solidity.types import WORD_TYPE
from whet.evm.tac import Function
from whet.evm.terms import Expression, Form, InMemory, Invoke, Name, Return, Revert, Value


@dataclass(slots=True)
class Creation:
    """An object that is made at a place. pointer: the variable that gets it; hidden: what is not shown for it."""

    place: Place
    pointer: str
    type: str
    form: Form
    hidden: set[Place]
    aliases: dict[Place, str] = field(default_factory=dict)
    """{place: pointer}: the same pointer, read again."""
    skipped: dict[str, str] = field(default_factory=dict)
    """{block: where its branch always goes}."""


def with_creations(function: Function, known: FunctionMeaning, found: list[Creation]) -> FunctionMeaning:
    """The meaning with objects instead of the code that makes them, as far as nothing else needs that code."""
    while found:
        forms, absorbed, skipped = dict(known.forms), set(known.absorbed), dict(known.skipped)
        for one in found:
            skipped |= one.skipped
            absorbed |= one.hidden - {one.place}
            forms[one.place] = one.form
            for place in one.aliases:
                forms[place] = Value(one.pointer, pure=True)
        trial = replace(known, forms=forms, absorbed=absorbed, skipped=skipped)
        needed = live(begin(function, trial))
        kept = [one for one in found if not needed & _lost(function, one)]
        if len(kept) == len(found):
            for one in found:
                if one.pointer and not needed & {one.pointer, *one.aliases.values()}:
                    del forms[one.place]
                    absorbed.add(one.place)
            return trial
        found[:] = kept
    return known


def results_of(function: Function, known: FunctionMeaning) -> tuple[str, ...] | None:
    """The types of what a public function gives back, by what its RETURNs are said to encode; None if that is not known
    of all of them."""
    found: set[tuple[str, ...]] = set()
    for block in function.blocks.values():
        form = known.forms.get((block.id, END))
        if block.end.op == "STOP" or (block.end.op == "RETURN" and not isinstance(form, Return)):
            return None
        if isinstance(form, Return):
            if form.raw:
                return None
            found.add(tuple(v.type if isinstance(v, InMemory) else WORD_TYPE for v in form.values))
    return found.pop() if len(found) == 1 else None


def _lost(function: Function, one: Creation) -> set[str]:
    """Results of what is not shown, the pointer aside."""
    places = one.hidden - one.aliases.keys() - {one.place}
    made = {r for block, index in places for r in function.blocks[block].statements[index].results}
    return made - {one.pointer}


def ending(op: str, term: Expression) -> Form:
    """What is done with bytes instead of plain memory."""
    if op == "KECCAK256":
        return Value(Invoke(Name("keccak256"), (term,)), pure=False)
    if op == "REVERT":
        return Revert("", (term,), None, ("bytes",))
    is_encoded = isinstance(term, Invoke) and term.callee == Name("abi.encode")
    return Return(term.args) if is_encoded else Return((term,), raw=True)  # type: ignore[union-attr]
