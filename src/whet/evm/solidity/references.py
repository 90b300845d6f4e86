"""Which variables point to objects in memory, and of what type, over all functions of a contract.

In Solidity a variable of type `bytes memory` is the pointer itself, so a word that is declared so stays the same word;
what is gained is that its length, its elements and what it is handed to need no assembly. A wrong type would cost
conversions, never meaning.

Variables that phis, arguments and results of private functions join have one type. It is told by the ABI's parameters,
by objects that are made or consumed (`InMemory`) and, more weakly, by what is read behind the pointer. Nothing is said of
variables that are also computed (a pointer into an object), and where strong evidence does not agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from whet.evm.meaning.base import FunctionMeaning
from whet.evm.tac import Contract, Function, Operand, Statement
from whet.evm.terms import Expression, Form, InMemory, Name, Value, children

Variable = tuple[str, str]
"""(function, variable)."""

ZERO_SLOT = 0x60
"""What empty objects that nobody made point to."""

_KIND = re.compile(r"bytes|string|(bytes|string|(uint|int|bytes)\d+|address|bool)\[\]")
_STRONG, _WEAK = 1000, 1


def references(
    contract: Contract, known: Mapping[str, FunctionMeaning], made: Mapping[Variable, str]
) -> dict[str, dict[str, str]]:
    """{function: {variable: "bytes", "uint256[]" ...}}. known: by function. made: types of objects that are made."""
    classes = _Classes()
    for function in contract.functions.values():
        if function.name in known:
            _join(contract, function, classes)
            _tell(function, known[function.name], made, classes)
    for variable, kind in made.items():
        classes.tell(variable, kind, _STRONG)
    found: dict[str, dict[str, str]] = {}
    for (name, variable), kind in classes.settled().items():
        found.setdefault(name, {})[variable] = kind
    return found


class _Classes:
    """Variables that are one and the same pointer."""

    def __init__(self) -> None:
        self.parents: dict[Variable, Variable] = {}
        self.told: dict[Variable, Counter[str]] = {}
        self.words: set[Variable] = set()

    def find(self, one: Variable) -> Variable:
        while (parent := self.parents.setdefault(one, one)) != one:
            self.parents[one] = self.parents[parent] if parent in self.parents else parent
            one = parent
        return one

    def join(self, function: str, one: str, other_function: str, other: Operand) -> None:
        """other: a constant says that these are words, unless it is the empty object."""
        if isinstance(other, str):
            self.parents[self.find((function, one))] = self.find((other_function, other))
        elif other != ZERO_SLOT:
            self.words.add((function, one))

    def tell(self, one: Variable, kind: str, weight: int) -> None:
        self.find(one)
        self.told.setdefault(one, Counter())[kind] += weight

    def settled(self) -> dict[Variable, str]:
        votes: dict[Variable, Counter[str]] = {}
        for one, told in self.told.items():
            votes.setdefault(self.find(one), Counter()).update(told)
        words = {self.find(one) for one in self.words}
        kinds = {root: _settled(told) for root, told in votes.items() if root not in words}
        return {one: kind for one in list(self.parents) if (kind := kinds.get(self.find(one), ""))}


def _settled(told: Counter[str]) -> str:
    (kind, most), *rest = told.most_common()
    return "" if rest and rest[0][1] >= _STRONG and most >= _STRONG else kind


def _join(contract: Contract, function: Function, classes: _Classes) -> None:
    name = function.name
    for block in function.blocks.values():
        for phi in block.phis:
            for value in phi.incoming.values():
                classes.join(name, phi.result, name, value)
        for s in block.statements:
            if s.op == "CALLPRIVATE":
                callee = contract.functions[s.function]
                for param, arg in zip(callee.params, s.args, strict=False):
                    classes.join(callee.name, param, name, arg)
                _join_results(callee, s, name, classes)


def _join_results(callee: Function, s: Statement, caller: str, classes: _Classes) -> None:
    for block in callee.blocks.values():
        if block.end.op == "RETURNPRIVATE":
            for result, value in zip(s.results, block.end.args, strict=False):
                classes.join(caller, result, callee.name, value)


def _tell(
    function: Function, known: FunctionMeaning, made: Mapping[Variable, str], classes: _Classes
) -> None:
    name = function.name
    declared = {p.name: p.type for p in known.parameters or ()}
    for block in function.blocks.values():
        for index, s in enumerate(block.statements):
            form = known.forms.get((block.id, index))
            given = form.expression if isinstance(form, Value) else None
            if isinstance(given, Name) and _KIND.fullmatch(kind := declared.get(given.name, "")):
                classes.tell((name, s.results[0]), _normal(kind), _STRONG)
            elif s.op not in ("CALLPRIVATE", "MLOAD"):
                classes.words |= {(name, result) for result in s.results if (name, result) not in made}
    for term in known.forms.values():
        for inner in _objects(term):
            if isinstance(inner.pointer, str) and _KIND.fullmatch(inner.type):
                classes.tell((name, inner.pointer), _normal(inner.type), _STRONG)
    for variable, fact in known.variables.items():
        kind = fact.likely.removesuffix(" memory")
        if fact.likely.endswith(" memory") and _KIND.fullmatch(kind):
            classes.tell((name, variable), _normal(kind), _WEAK)
        elif fact.type and fact.type != "uint256":
            classes.words.add((name, variable))


def _normal(kind: str) -> str:
    return "bytes" if kind == "string" else kind


def _objects(term: Expression | Form) -> Iterator[InMemory]:
    if isinstance(term, InMemory):
        yield term
    for child in children(term):
        yield from _objects(child)
