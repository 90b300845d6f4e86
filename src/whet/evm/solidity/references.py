"""Which variables point to objects in memory, and of what type, over all functions of a contract.

In Solidity a variable of type `bytes memory` is the pointer itself, so a word that is declared so stays the same word;
what is gained is that its length, its elements and what it is handed to need no assembly. A wrong type would cost
conversions, never meaning.

Types flow from where pointers come from: the ABI's parameters and objects that are made; through phis, arguments and
results of private functions. A variable to which several types flow, or a word that is no pointer, has none. Where
nothing flows, what is read behind the pointer tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from whet.evm.meaning.base import FunctionMeaning
from whet.evm.tac import Contract, Function, Operand
from whet.evm.terms import Expression, Form, InMemory, Name, Value, children

Variable = tuple[str, str]
"""(function, variable)."""

ZERO_SLOT = 0x60
"""What empty objects that nobody made point to."""

_KIND = re.compile(r"bytes|string|(bytes|string|(uint|int|bytes)\d+|address|bool)\[\]")
_WORD = "word"


def references(
    contract: Contract, known: Mapping[str, FunctionMeaning], made: Mapping[Variable, str]
) -> dict[str, dict[str, str]]:
    """{function: {variable: "bytes", "uint256[]" ...}}. known: by function. made: types of objects that are made, "" for
    an empty one, "Words2" for two words that are no array."""
    flow = _Flow(contract, known, made)
    flow.settle()
    if asked := flow.asked():
        made = {**made, **asked}
        flow = _Flow(contract, known, made)
    flow.finish()
    if numbers := flow.numbers():
        flow = _Flow(contract, known, made)
        flow.kinds |= dict.fromkeys(numbers, _WORD)
        flow.finish()
    found: dict[str, dict[str, str]] = {}
    for (name, variable), kind in flow.kinds.items():
        if kind != _WORD and (name, variable) not in flow.hoisted:
            found.setdefault(name, {})[variable] = kind
    return found


class _Flow:
    """kinds: of variables, as far as known; a word that is no pointer, or may be several things, is _WORD."""

    def __init__(
        self, contract: Contract, known: Mapping[str, FunctionMeaning], made: Mapping[Variable, str]
    ) -> None:
        self.known, self.made = known, made
        self.sources: dict[Variable, list[tuple[str, Operand]]] = {}
        self.kinds: dict[Variable, str] = {}
        self.functions = [f for f in contract.functions.values() if f.name in known]
        self.phis: set[Variable] = set()
        self.params = {(f.name, param) for f in self.functions if f.kind == "private" for param in f.params}
        self.same: dict[Variable, tuple[str, Operand]] = {}
        """{result: the argument that the function that was called gave back}."""
        self.inner: set[Variable] = set()
        """Sums: words, but maybe pointers into objects; they do not keep a parameter from being a pointer."""
        for function in self.functions:
            self._connect(contract, function)
            self._begin(function)
        self.kinds |= {variable: kind for variable, kind in made.items() if kind}

    @property
    def hoisted(self) -> set[Variable]:
        """Structs that would be declared before they are assigned, which takes memory."""
        return {one for one in self.phis if self.kinds.get(one, "").startswith("Words")}

    def _connect(self, contract: Contract, function: Function) -> None:
        name = function.name
        for block in function.blocks.values():
            for phi in block.phis:
                self.phis.add((name, phi.result))
                self._from((name, phi.result), name, phi.incoming.values())
            for s in block.statements:
                if s.op == "CALLPRIVATE":
                    callee = contract.functions[s.function]
                    for param, arg in zip(callee.params, s.args, strict=False):
                        self._from((callee.name, param), name, [arg])
                    ends = [b.end.args for b in callee.blocks.values() if b.end.op == "RETURNPRIVATE"]
                    for position, result in enumerate(s.results):
                        given = [args[position] for args in ends]
                        self._from((name, result), callee.name, given)
                        if len(given) == 1 and given[0] in callee.params:
                            self.same[name, result] = (name, s.args[callee.params.index(given[0])])

    def _from(self, one: Variable, function: str, operands: Iterable[Operand]) -> None:
        self.sources.setdefault(one, []).extend((function, operand) for operand in operands)

    def _begin(self, function: Function) -> None:
        """What is known of single variables by where they come from."""
        name, known = function.name, self.known[function.name]
        declared = {p.name: p.type for p in known.parameters or ()}
        for variable, fact in known.variables.items():
            if fact.type and fact.type != "uint256":
                self.kinds[name, variable] = _WORD
        for block in function.blocks.values():
            for index, s in enumerate(block.statements):
                form = known.forms.get((block.id, index))
                given = form.expression if isinstance(form, Value) else None
                if isinstance(given, Name) and _KIND.fullmatch(kind := declared.get(given.name, "")):
                    self.kinds[name, s.results[0]] = _normal(kind)
                elif s.op not in ("CALLPRIVATE", "MLOAD"):
                    if s.op in ("ADD", "SUB"):
                        self.inner |= {(name, r) for r in s.results}
                    self.kinds |= {(name, r): _WORD for r in s.results if (name, r) not in self.made}

    def settle(self) -> None:
        """Lets types flow until nothing changes; a variable changes twice at most."""
        changed = True
        while changed:
            changed = False
            for one, sources in self.sources.items():
                before = self.kinds.get(one)
                if before == _WORD:
                    continue
                left = [s for s in sources if one not in self.params or s not in self.inner]
                kinds = {kind for source in left if (kind := self._kind(*source))}
                now = kinds.pop() if len(kinds) == 1 else _WORD if kinds else before
                if now is not None and now != before:
                    self.kinds[one] = now if before is None else _WORD
                    changed = True
            for phi in self.phis:
                if self.kinds.get(phi) == _WORD:
                    changed |= self._moved(self.sources[phi])

    def _moved(self, sources: list[tuple[str, Operand]]) -> bool:
        """Parameters that a loop goes on from become words: the text has one variable for both."""
        typed = set[Variable]()
        for source in sources:
            while source in self.same:
                source = self.same[source]
            typed |= {one for one in [source] if one in self.params and self.kinds.get(one, _WORD) != _WORD}
        self.kinds |= dict.fromkeys(typed, _WORD)
        return bool(typed)

    def _kind(self, function: str, operand: Operand) -> str:
        if isinstance(operand, int):
            return "" if operand == ZERO_SLOT else _WORD
        return self.kinds.get((function, operand), "")

    def finish(self) -> None:
        """All that is known by flow, then by use."""
        self.settle()
        self.guess()
        self.settle()

    def guess(self) -> None:
        """What is known by use of variables to which nothing flows."""
        for variable, kind in self._uses():
            self.kinds.setdefault(variable, kind)
        for variable in self.made:
            self.kinds.setdefault(variable, "bytes")

    def _uses(self) -> Iterator[tuple[Variable, str]]:
        """(variable, type) by what is done with it."""
        for function in self.functions:
            known = self.known[function.name]
            told = {
                inner.pointer: inner.type
                for term in known.forms.values()
                for inner in _objects(term)
                if isinstance(inner.pointer, str)
            }
            likely = {n: v.likely.removesuffix(" memory") for n, v in known.variables.items()}
            for variable, kind in {**likely, **told}.items():
                if _KIND.fullmatch(kind):
                    yield (function.name, variable), _normal(kind)

    def numbers(self) -> set[Variable]:
        """Parameters that pointers flow to and that are only counted with, where as words they cost fewer conversions."""
        wanted = {variable for variable, _ in self._uses()}
        left = list(wanted)
        while left:
            sources = {(f, o) for f, o in self.sources.get(left.pop(), []) if isinstance(o, str)} - wanted
            wanted |= sources
            left += sources
        used = Counter(
            (function.name, arg)
            for function in self.functions
            for block in function.blocks.values()
            for s in block.statements
            for arg in s.args
        )
        return {one for one in self.params - wanted if self._is_cheaper(one, used[one])}

    def _is_cheaper(self, one: Variable, used: int) -> bool:
        if self.kinds.get(one, _WORD) == _WORD:
            return False
        words = [self._kind(*source) in ("", _WORD) for source in self.sources[one]]
        return words.count(False) < words.count(True) + used

    def asked(self) -> dict[Variable, str]:
        """Objects made as so many words that are used as bytes or arrays."""
        wanted = dict(self._uses())
        changed = True
        while changed:
            changed = False
            for one, sources in self.sources.items():
                for source in sources:
                    is_words = isinstance(source[1], str) and self._kind(*source).startswith("Words")
                    if one in wanted and is_words and source not in wanted:
                        wanted[source] = wanted[one]  # type: ignore[index]
                        changed = True
        return {
            one: wanted[one] for one, kind in self.made.items() if kind.startswith("Words") and one in wanted
        }


def _normal(kind: str) -> str:
    return "bytes" if kind == "string" else kind


def _objects(term: Expression | Form) -> Iterator[InMemory]:
    if isinstance(term, InMemory):
        yield term
    for child in children(term):
        yield from _objects(child)


def words_structs(lines: Iterable[str]) -> list[str]:
    """Declarations of the structs for objects of so many words that a text speaks of."""
    counts = {int(count) for line in lines for count in re.findall(r"\bWords(\d+)\b", line)}
    return [
        f"struct Words{count} {{ {' '.join(f'uint256 f{i};' for i in range(count))} }}"
        for count in sorted(counts)
    ]
