"""Which elements of arrays may be said as `a[i]`: Solidity checks the index, so the original must have checked it too.

An index counts as checked where every way to the element compares it, or calls a function with it that compares that
parameter. With what it is compared is not looked at: executing finds that out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whet.evm.meaning.base import FunctionMeaning, Place
from whet.evm.solidity.types import element_types
from whet.evm.structure.graph import flow_of
from whet.evm.tac import Contract, Function, Statement
from whet.evm.terms import Expression, Form, Index, Member, Name, Value, children

Kinds = Mapping[str, str]
"""{storage variable: its type}."""
Members = Mapping[str, Kinds]
"""{struct: {member: type}}."""


class Within:
    """The elements of one function."""

    def __init__(self, contract: Contract, function: Function, known: FunctionMeaning) -> None:
        self.contract, self.function = contract, function
        self.above: dict[str, str] = {}
        """{block: the nearest that dominates it}, made when it is first asked for."""
        self.arguments: dict[object, Expression] = {}
        """{variable: the argument of the ABI that it is}."""
        for (block, index), form in known.forms.items():
            if isinstance(form, Value) and isinstance(form.expression, Name) and index >= 0:
                results = form.results or function.blocks[block].statements[index].results
                self.arguments |= dict.fromkeys(results, form.expression)

    def checks(self, place: Place, key: Expression) -> bool:
        """Whether an index was compared before, on every way to a place."""
        if isinstance(key, int):
            return True
        block, index = place
        blocks = self.function.blocks
        if any(self._compares(s, key) for s in blocks[block].statements[: index if index >= 0 else None]):
            return True
        if not self.above:
            self.above = flow_of({b.id: b.end.targets for b in blocks.values()}).dominator
        while (before := self.above.get(block, block)) != block:
            block = before
            if any(self._compares(s, key) for s in blocks[block].statements):
                return True
        return False

    def _compares(self, s: Statement, key: Expression) -> bool:
        places = [at for at, arg in enumerate(s.args) if key in (arg, self.arguments.get(arg))]
        if s.op == "CALLPRIVATE":
            called = self.contract.functions[s.function]
            return any(_is_compared(called, called.params[at]) for at in places)
        return bool(places) and s.op in ("LT", "GT")


def _is_compared(function: Function, parameter: str) -> bool:
    return any(s.op in ("LT", "GT") and parameter in s.args for s in function.statements())


def indexes(term: Expression | Form, kinds: Kinds, members: Members) -> Iterator[Expression]:
    """The indexes of all elements of arrays in storage that a term speaks of."""
    if isinstance(term, Index) and kind_of(term.base, kinds, members).endswith("]"):
        yield term.key
    for child in children(term):
        yield from indexes(child, kinds, members)


def kind_of(term: Expression, kinds: Kinds, members: Members) -> str:
    """The type of what lies in storage; "" for anything else."""
    if isinstance(term, Name):
        return kinds.get(term.name, "")
    if isinstance(term, Index):
        inner = element_types(kind_of(term.base, kinds, members))
        return inner[1] if inner else ""
    if isinstance(term, Member):
        return members.get(kind_of(term.base, kinds, members), {}).get(term.name, "")
    return ""
