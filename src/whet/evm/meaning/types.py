"""Types of variables, of parameters and of results of private functions.

`Variable.type` is proved: on every way the variable holds a clean value of it (`ranges`), so a program may declare it.
What it is called among the types of that size (bool or uint8, address or uint160) is by evidence: how it is computed,
what callers give, what is done with it. `Variable.likely` is what evidence alone says: a type not proved, or what a
pointer points to. Left out: variables of which nothing is known, and those where only "a word" is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from whet.evm.meaning.base import FunctionMeaning, Meaning, Variable
from whet.evm.meaning.bounds import Known
from whet.evm.meaning.evidence import Uses, checked_type, mask_type, masked_type, number_type
from whet.evm.meaning.pointers import pointer_type
from whet.evm.meaning.ranges import ANY, Range, bits_of, fits
from whet.evm.meaning.symbols import Node
from whet.evm.tac import Contract, Function, Operand, Statement
from whet.evm.terms import Assign, Expression, Form, Group, Index, Member, Name, Value, children

_FULL = frozenset({"uint256", "int256", "bytes32"})
"""Types of which every word is a clean value."""

_MADE: dict[str, str] = {
    **dict.fromkeys(("ISZERO", "EQ", "LT", "GT", "SLT", "SGT"), "bool"),
    **dict.fromkeys(("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"), "bool"),
    **dict.fromkeys(("CALLER", "ADDRESS", "ORIGIN", "COINBASE", "CREATE", "CREATE2"), "address"),
    **dict.fromkeys(("KECCAK256", "EXTCODEHASH", "BLOCKHASH", "BLOBHASH"), "bytes32"),
    **dict.fromkeys(
        ("DIV", "MOD", "MUL", "EXP", "ADDMOD", "MULMOD", "TIMESTAMP", "NUMBER", "CALLVALUE"), "uint256"
    ),
    **dict.fromkeys(("BALANCE", "SELFBALANCE", "GAS", "CHAINID", "BASEFEE", "EXTCODESIZE"), "uint256"),
    **dict.fromkeys(("SDIV", "SMOD", "SAR"), "int256"),
}
"""By the instruction that computes a word."""

_POINTERS = frozenset({"memory", "storage", "calldata"})

_HELPER = re.compile(
    r"(?:checked_\w+|increment|decrement|cleanup)_(u?int\d+|bytes\d+|bool|address)(_reversed)?"
)
_MAPPING = re.compile(r"mapping\((.*?) => (.*)\)")


@dataclass(slots=True)
class _Scope:
    """One function: {variable: kind}, a kind being a type that evidence says, proved or not."""

    function: Function
    known: Known
    uses: Uses | None
    meaning: FunctionMeaning
    kinds: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    """{variable: type of the place where it is stored, of the mapping whose key it is}"""
    results: tuple[str, ...] = ()
    sizeless: set[str] = field(default_factory=set)
    """Variables whose size tells nothing of their type: results of arithmetic, parameters that are given constants alone."""
    arguments: dict[str, str] = field(default_factory=dict)
    """{name of an argument by the ABI: its type}"""


def name_types(
    contract: Contract,
    meaning: Meaning,
    known: Mapping[str, Known],
    walks: Mapping[str, Uses],
    helpers: Mapping[str, str],
) -> None:
    """Fills `variables` of all functions, and `returns` of private ones."""
    _Types(contract, meaning, known, walks, helpers).run()


class _Types:
    def __init__(
        self,
        contract: Contract,
        meaning: Meaning,
        known: Mapping[str, Known],
        walks: Mapping[str, Uses],
        helpers: Mapping[str, str],
    ) -> None:
        self.contract, self.helpers = contract, helpers
        self.stored = {variable.name: variable.type for variable in meaning.storage}
        self.scopes = {
            name: _Scope(one.function, one, walks.get(name), meaning.functions[name])
            for name, one in known.items()
            if name in meaning.functions
        }

    def run(self) -> None:
        for scope in self.scopes.values():
            scope.arguments = {one.name: one.type for one in scope.meaning.parameters or ()}
            self._needs(scope)
            scope.kinds = {name: self._used(scope, name) for name in scope.function.params}
        for name in self.scopes:  # known: callees first
            self._forward(self.scopes[name])
        for name in reversed(self.scopes):
            self._params(self.scopes[name])
            self._forward(self.scopes[name])
        for scope in self.scopes.values():
            self._write(scope)

    # Evidence.

    def _needs(self, scope: _Scope) -> None:
        for form in scope.meaning.forms.values():
            if isinstance(form, Assign) and isinstance(form.value, str):
                scope.needs.setdefault(form.value, self._type_of(scope, form.target))
            for term in _indexes(form):
                kind = _MAPPING.fullmatch(self._type_of(scope, term.base))
                if kind and isinstance(term.key, str):
                    scope.needs.setdefault(term.key, kind[1])

    def _type_of(self, scope: _Scope, term: Expression) -> str:
        """Of what is in storage, and of arguments; "" for everything else."""
        if isinstance(term, Name):
            return scope.arguments.get(term.name) or self.stored.get(term.name, "")
        if isinstance(term, Index):
            base = self._type_of(scope, term.base)
            inner = _MAPPING.fullmatch(base)
            return inner[2] if inner else base.removesuffix("[]") if base.endswith("[]") else ""
        return "uint256" if isinstance(term, Member) and term.name == "length" else ""

    def _used(self, scope: _Scope, name: str) -> str:
        """The kind of a parameter by what is done with it, here and in what is called from here."""
        if scope.uses is None:
            return scope.needs.get(name, "")
        word = scope.uses.walk.words.get(name)
        if not isinstance(word, Node):
            return ""
        pointer = pointer_type(scope.uses, word)
        kind = checked_type(scope.uses, word) or masked_type(scope.uses, word)
        return pointer or kind or scope.needs.get(name, "") or number_type(scope.uses, word)

    def _forward(self, scope: _Scope) -> None:
        """Kinds of all that is computed, in the order in which it is."""
        kinds = scope.kinds
        for id_, block in scope.function.blocks.items():
            for phi in block.phis:
                kinds[phi.result] = self._joined(scope, list(phi.incoming.values()))
            for index, s in enumerate(block.statements):
                if s.op == "CALLPRIVATE":
                    said = self._decoded(scope, s, scope.meaning.forms.get((id_, index)))
                    kinds.update(zip(s.results, said or self._called(scope, s), strict=True))
                elif s.results:
                    kinds[s.results[0]] = self._made(scope, s, scope.meaning.forms.get((id_, index)))
                    scope.sizeless.add(s.results[0])
        ends = [b.end.args for b in scope.function.blocks.values() if b.end.op == "RETURNPRIVATE"]
        scope.results = tuple(self._joined(scope, list(ways)) for ways in zip(*ends, strict=True))

    def _decoded(self, scope: _Scope, s: Statement, form: Form | None) -> tuple[str, ...]:
        """Of the ABI's arguments, where the call is the decoder's."""
        if not isinstance(form, Value) or form.results is not None:
            return ()
        terms = form.expression.items if isinstance(form.expression, Group) else (form.expression,)
        kinds = tuple(self._argument(scope, term) for term in terms)
        return kinds if len(kinds) == len(s.results) and any(kinds) else ()

    @staticmethod
    def _argument(scope: _Scope, term: Expression) -> str:
        if isinstance(term, Member) and isinstance(term.base, Name) and term.base.name in scope.arguments:
            return "calldata" if term.name == "offset" else "uint256"
        kind = scope.arguments.get(term.name, "") if isinstance(term, Name) else ""
        return f"{kind} memory" if kind in ("bytes", "string") or kind.endswith(("]", ")")) else kind

    def _called(self, scope: _Scope, s: Statement) -> tuple[str, ...]:
        said = _HELPER.fullmatch(self.helpers.get(s.function, ""))
        if said is not None:
            return (said[1],) * len(s.results)
        callee = self.scopes.get(s.function)
        found = callee.results if callee is not None else ()
        return found if len(found) == len(s.results) else ("",) * len(s.results)

    def _made(self, scope: _Scope, s: Statement, form: Form | None) -> str:
        if isinstance(form, Value) and form.results is None:
            kind = self._type_of(scope, form.expression)
            if kind:
                return "" if kind.startswith("mapping") or kind.endswith("]") else kind
        if s.op == "AND":
            mask = s.args[0] if isinstance(s.args[0], int) else s.args[1]
            kinds = {scope.kinds.get(str(arg), "") for arg in s.args}
            return mask_type(mask) if isinstance(mask, int) else "bool" if kinds == {"bool"} else ""
        if s.op == "OR":
            return "bool" if all(scope.kinds.get(str(arg)) == "bool" for arg in s.args) else ""
        if s.op == "SIGNEXTEND" and isinstance(s.args[0], int):
            return f"int{8 * (s.args[0] + 1)}"
        if s.op == "SHR" and s.args[0] == 96:
            return "address"
        return _MADE.get(s.op, "")

    def _joined(self, scope: _Scope, operands: list[Operand]) -> str:
        """The one kind that they have, constants and unknown ones aside."""
        kinds = {scope.kinds.get(o, "") for o in operands if isinstance(o, str)} - {""}
        if len(kinds) == 1:
            return kinds.pop()
        numbers = all(kind.startswith("uint") and kind.isalnum() for kind in kinds)
        return max(kinds, key=lambda kind: int(kind[4:])) if kinds and numbers else ""

    def _params(self, scope: _Scope) -> None:
        """What callers give, where what is done with it says nothing that is proved."""
        if scope.function.kind != "private":
            return
        calls = [
            (self.scopes[caller], self.contract.functions[caller].blocks[block].statements[index].args)
            for caller, block, index in scope.known.sites
            if caller in self.scopes
        ]
        for position, name in enumerate(scope.function.params):
            args = [(caller, args[position]) for caller, args in calls]
            given = {caller.kinds.get(arg, "") for caller, arg in args if isinstance(arg, str)} - {""}
            if args and all(isinstance(arg, int) for _, arg in args):
                scope.sizeless.add(name)
            scope.kinds[name] = _chosen(scope.known.ranges.get(name, ANY), scope.kinds[name], given)

    # Results.

    def _write(self, scope: _Scope) -> None:
        ranges = scope.known.ranges
        for name, kind in scope.kinds.items():
            known = ranges.get(name, ANY)
            proved, likely = _settled(known, kind) if name not in scope.sizeless or kind else ("", "")
            if proved or likely:
                scope.meaning.variables[name] = Variable(type=proved, likely=likely)
        if scope.function.kind == "private" and scope.results:
            returns = zip(scope.known.results, scope.results, strict=True)
            scope.meaning.returns = tuple(_settled(known, kind)[0] or "uint256" for known, kind in returns)


def _indexes(term: Expression | Form) -> list[Index]:
    found: list[Index] = []
    work: list[Expression | Form] = [term]
    while work:
        part = work.pop()
        if isinstance(part, Index):
            found.append(part)
        work += children(part)
    return found


def _chosen(known: Range, used: str, given: set[str]) -> str:
    """The kind of a parameter: what is proved goes before what is not, the use before what callers give."""
    narrow = [kind for kind in (used, *sorted(given)) if kind not in _FULL and kind and fits(known, kind)]
    if used == "uint256":  # computed with
        narrow = [kind for kind in narrow if kind.startswith("uint")]
    if narrow:
        return narrow[0]
    places = sorted(kind for kind in given if not kind.isalnum())
    if (used in _POINTERS or not used) and places:
        return places[0] if len(places) == 1 else used
    if used or not given:
        return used
    return given.pop() if len(given) == 1 else ""


def _settled(known: Range, kind: str) -> tuple[str, str]:
    """(type that is proved, what is likely besides)."""
    if kind in _FULL:
        return kind, ""
    if kind and fits(known, kind):
        return kind, ""
    likely = kind if kind in ("bool", "address") or not kind.isalnum() or kind in _POINTERS else ""
    return ("", likely) if likely else (_by_size(known), "")


def _by_size(known: Range) -> str:
    """The type of a word that is known to be as narrow as a type is."""
    bits = bits_of(known)
    if bits == 1:
        return "bool"
    if bits == 160:
        return "address"
    if bits < 256:
        return f"uint{bits}" if bits and bits % 8 == 0 else ""
    if known.low == known.high and known.high < 255 and known.high % 8 == 7:
        return f"int{known.high + 1}"
    return f"bytes{32 - known.zeros // 8}" if known.zeros and known.zeros % 8 == 0 else ""
