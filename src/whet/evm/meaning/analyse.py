"""Everything that is said about a contract: one walk of every function, then the analyses over these walks.

Assumed: memory is used as Solidity uses it (see `memory`). Lost: what lies behind the budget of a walk, and what `abi`,
`storage` and `behaviour` name. Cost: about as long as lifting takes; `steps` bounds it.
"""

from __future__ import annotations

from dataclasses import replace

from whet.evm.meaning.abi_types import head_words
from whet.evm.meaning.base import FunctionMeaning, Meaning, StateVariable, Variable
from whet.evm.meaning.behaviour import entered_with_value, skipped_checks
from whet.evm.meaning.bounds import bounds
from whet.evm.meaning.decoding import Head
from whet.evm.meaning.effects import effects
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.forms import Forms
from whet.evm.meaning.getters import got, name_variables
from whet.evm.meaning.helpers import helper_names
from whet.evm.meaning.interface import PublicFunction, interface
from whet.evm.meaning.kinds import Kinds
from whet.evm.meaning.locals import name_locals
from whet.evm.meaning.memory import Memory
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.saying import Known, fits, typed
from whet.evm.meaning.shapes import Shapes
from whet.evm.meaning.standards import standards
from whet.evm.meaning.storage import layouts, variables
from whet.evm.meaning.strings import string_getter
from whet.evm.meaning.structs import Struct, structs_of
from whet.evm.meaning.symbols import Symbols
from whet.evm.meaning.types import name_types
from whet.evm.meaning.walk import STEPS, Walk
from whet.evm.signatures import Signatures
from whet.evm.tac import Contract, Function
from whet.evm.terms import Name, Return

CONTRACT_STEPS = 400_000
"""Statements visited for one contract, over all its functions."""


def analyse(contract: Contract, signatures: Known | None = None, steps: int = CONTRACT_STEPS) -> Meaning:
    """What is known of the contract. signatures: names by hash; the table that comes along without.

    steps: statements that walks may visit in all; functions behind that are left plain, which is said in their notes.
    """
    known = signatures or Signatures.builtin()
    shapes = Shapes(contract)
    walks: dict[str, Uses] = {}
    meaning = Meaning()
    for function in _outer_first(contract):
        if steps <= 0:
            meaning.functions[function.name] = FunctionMeaning(notes=["not analysed: the budget was spent"])
            continue
        walk = Walk(shapes, function, Memory(Symbols()), min(STEPS, steps))
        steps -= (
            min(STEPS, steps)
            - max(walk.steps, 0)
            + 1
            + sum(len(b.statements) for b in function.blocks.values())
        )
        walks[function.name] = Uses(walk)
    outer = {name: uses for name, uses in walks.items() if contract.functions[name].kind != "private"}
    public, kinds = interface(contract, outer, known)
    _storage(meaning, contract, list(outer.values()), kinds)
    _functions(meaning, contract, shapes, walks, known, public)
    return meaning


def _outer_first(contract: Contract) -> list[Function]:
    functions = [f for f in contract.functions.values() if f.kind != "entry"]
    return sorted(functions, key=lambda f: f.kind == "private")


def _storage(meaning: Meaning, contract: Contract, outer: list[Uses], kinds: Kinds) -> None:
    permanent, transient = layouts(outer, kinds)
    meaning.storage, structs = variables(permanent)
    more, others = variables(transient, transient=True)
    meaning.storage += more
    meaning.declarations += [*structs, *(text for text in others if text not in structs)]
    meaning.declarations += [f"// {name}" for name in standards(set(contract.public))]


def _functions(
    meaning: Meaning,
    contract: Contract,
    shapes: Shapes,
    walks: dict[str, Uses],
    known: Known,
    public: dict[str, PublicFunction],
) -> None:
    payable = entered_with_value(contract.entry)
    helpers = helper_names(contract, shapes, walks)
    strings = _name_storage(meaning, contract, walks, public)
    structs = structs_of(meaning.declarations)
    slots = {v.slot: v.name for v in meaning.storage if v.size == 32 and not v.transient}
    for name, uses in walks.items():
        function, said = contract.functions[name], public.get(name)
        types = said.arguments if said else ()
        made = _forms(function, uses.walk, types, known, meaning.storage, structs, helpers)
        if said is not None:
            made.parameters = tuple(Variable(f"arg{i}", kind) for i, kind in enumerate(types))
            made.returns, made.name, made.mutability = said.returns, said.name, said.mutability
            if name in strings and strings[name] in slots:
                made.body = Return((Name(slots[strings[name]]),))
                made.returns = said.returns if said.returns in (("bytes",), ("string",)) else ("string",)
            _type_returns(made)
            made.skipped |= skipped_checks(uses, function, made.mutability)
        elif function.kind != "private":
            made.mutability = "payable" if name in payable else "nonpayable"
        else:
            made.name = helpers.get(name, "")
        if uses.walk.cut:
            made.notes.append("analysed in part: the budget of one function was spent")
        meaning.functions[name] = made
    _private(meaning, contract, walks, helpers)


def _private(meaning: Meaning, contract: Contract, walks: dict[str, Uses], helpers: dict[str, str]) -> None:
    """Types of all variables; what private functions give back, and whether they change anything."""
    known = bounds(contract)
    if not known:
        meaning.declarations.append("// variables have no types: the contract is too large for that")
    name_types(contract, meaning, known, walks, helpers)
    name_locals(contract, meaning, helpers)
    for name, said in effects(contract).items():
        if contract.functions[name].kind == "private":
            meaning.of(name).mutability = said


def _name_storage(
    meaning: Meaning, contract: Contract, walks: dict[str, Uses], public: dict[str, PublicFunction]
) -> dict[str, int]:
    """Names variables by their getters. {name of a function: the slot of the string that it gives back}."""
    read = [
        (said.name, got(walks[name].walk, len(said.arguments))) for name, said in public.items() if said.name
    ]
    strings = {
        name: slot
        for name, said in public.items()
        if not said.arguments
        and (slot := string_getter(contract, contract.functions[name], walks[name])) is not None
    }
    read += [(public[name].name, (slot, 0, 32)) for name, slot in strings.items() if public[name].name]
    name_variables(meaning.storage, [(name, span) for name, span in read if span is not None])
    return strings


def _type_returns(made: FunctionMeaning) -> None:
    """`return true` for `return 1` where a bool is given back."""
    for place, form in made.forms.items():
        if (
            isinstance(form, Return)
            and not form.raw
            and made.returns
            and len(made.returns) == len(form.values)
        ):
            pairs = zip(form.values, made.returns, strict=True)
            made.forms[place] = replace(
                form, values=tuple(typed(v, k) if fits(v, k) else v for v, k in pairs)
            )


def _forms(
    function: Function,
    walk: Walk,
    types: tuple[str, ...],
    known: Known,
    storage: list[StateVariable],
    structs: dict[str, Struct],
    helpers: dict[str, str],
) -> FunctionMeaning:
    heads: dict[int, tuple[str, str]] = {}
    arguments: list[Head] = []
    offset = 4
    for position, kind in enumerate(types):
        words = head_words(kind)
        arguments.append((offset, f"arg{position}", kind))
        if words == 1 and not kind.endswith(("]", ")")) and kind not in ("bytes", "string"):
            heads[offset] = (f"arg{position}", kind)
        offset += 32 * words
    return Forms(
        function, walk, Namer(function, walk, heads), known, storage, structs, helpers, arguments
    ).run()
