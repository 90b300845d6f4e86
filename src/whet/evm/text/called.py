"""Which functions a text needs: those that are entered from outside, and private ones that shown lines call."""

from __future__ import annotations

from collections.abc import Iterator

from whet.evm.draft.nouns import Draft
from whet.evm.meaning.base import Meaning
from whet.evm.tac import Contract
from whet.evm.terms import Expression, Form, Invoke, Name, children


def reached(contract: Contract, meaning: Meaning, drafts: dict[str, Draft]) -> set[str]:
    """Names of the functions to show. Of helpers that are called by one name only the first is needed."""
    by_name: dict[str, str] = {}
    for name, function in contract.functions.items():
        if function.kind == "private":
            by_name.setdefault(meaning.of(name).name or name, name)
            by_name.setdefault(name, name)
    found: set[str] = set()
    functions = contract.functions.values()
    somewhere = {s.function for f in functions for s in f.statements() if s.function != f.name}
    work = [f.name for f in functions if f.kind != "private" or f.name not in somewhere]
    while work:
        name = work.pop()
        if name not in found:
            found.add(name)
            if meaning.of(name).body is None:
                work += [by_name[called] for called in _calls(drafts[name]) if called in by_name]
    return found


def _calls(draft: Draft) -> Iterator[str]:
    for block in draft.blocks.values():
        for line in block.lines:
            yield from _named(line.form)
        for term in [block.end.form] if block.end.form is not None else block.end.args:
            yield from _named(term)


def _named(term: Expression | Form) -> Iterator[str]:
    if isinstance(term, Invoke) and isinstance(term.callee, Name):
        yield term.callee.name
    for child in children(term):
        yield from _named(child)
