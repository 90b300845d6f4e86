"""Hashes of words where a function's own assembly writes to free memory: `abi.encode` would take that memory from it."""

from __future__ import annotations

from dataclasses import replace

from whet.evm.draft import readable
from whet.evm.meaning.base import FunctionMeaning
from whet.evm.solidity.memory import asks_for_memory, keeping_memory
from whet.evm.tac import Function
from whet.evm.terms import Expression, Form, Invoke, Name, children

IN_SCRATCH = ("hash", "hashPair")
"""Helpers that hash one word, two words, in memory that is free between two statements."""


def without_wide_hashes(
    function: Function, known: FunctionMeaning, exact: FunctionMeaning
) -> FunctionMeaning:
    """`known` where its hashes can be said, else `exact` without those of more words than fit into scratch space.

    exact: the forms of `known`, with all that they absorb."""
    wide = {place for place, form in exact.forms.items() if _hashes_more(form)}
    if not wide or not asks_for_memory(readable(function, known)):
        return known
    forms = {place: form for place, form in exact.forms.items() if place not in wide}
    return keeping_memory(function, replace(exact, forms=forms))


def _hashes_more(term: Expression | Form) -> bool:
    if isinstance(term, Invoke) and term.callee == Name("keccak256") and len(term.args) > len(IN_SCRATCH):
        return True
    return any(_hashes_more(child) for child in children(term))
