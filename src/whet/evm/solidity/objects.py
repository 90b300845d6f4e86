"""All that is known of a contract's objects in memory: where they are made, what points to them, what is given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from whet.evm.meaning.base import FunctionMeaning, Meaning
from whet.evm.meaning.shapes import Shapes
from whet.evm.solidity.creation import Creation, results_of, with_creations
from whet.evm.solidity.elements import with_elements
from whet.evm.solidity.references import references
from whet.evm.solidity.samples import Samples
from whet.evm.solidity.stretches import Stretches
from whet.evm.solidity.types import is_value
from whet.evm.tac import Contract, Function


@dataclass(slots=True)
class Objects:
    """creations, results: by function. references: {function: {variable: type}}."""

    creations: dict[str, list[Creation]] = field(default_factory=dict)
    results: dict[str, tuple[str, ...]] = field(default_factory=dict)
    references: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, function: str) -> dict[str, str]:
        """{variable: type of the object that it points to}."""
        return self.references.get(function, {})

    def said(self, function: Function, known: FunctionMeaning) -> FunctionMeaning:
        """The meaning with objects instead of the memory that they are made of."""
        known = with_creations(function, known, self.creations[function.name])
        return with_elements(function, known, self.of(function.name))

    def with_results(self, name: str, known: FunctionMeaning) -> FunctionMeaning:
        """What is known of a function, and what its RETURNs were found to give."""
        return replace(known, returns=self.results.get(name) or known.returns)


def _shapes(types: tuple[str, ...]) -> list[str]:
    """What an encoding shows of types: words, bytes, arrays."""
    return ["word" if is_value(kind) else "array" if kind.endswith("]") else "bytes" for kind in types]


def objects_of(
    contract: Contract,
    functions: Mapping[str, Function],
    meaning: Meaning,
    kept: Mapping[str, FunctionMeaning],
) -> Objects:
    """functions: those that are looked at. kept: what of their meaning Solidity can say."""
    found = Objects()
    helpers = {name: meaning.of(name).name for name in contract.functions}
    shapes = Shapes(contract)
    for name, function in functions.items():
        known = kept[name]
        made = list(Stretches(Samples(contract, shapes, helpers, function), known).found())
        said = with_creations(function, known, made)
        found.creations[name] = made
        if function.kind == "public" and known.body is None:
            results = results_of(function, said) or ()
            said_before = known.returns or ()
            has_objects = any(not is_value(kind) for kind in results) or not said_before
            if has_objects and "(" not in "".join(said_before) and _shapes(results) != _shapes(said_before):
                found.results[name] = results
    kinds = {
        (name, pointer): one.type
        for name, made in found.creations.items()
        for one in made
        if one.pointer
        for pointer in (one.pointer, *one.aliases.values())
    }
    every = {name: meaning.of(name) for name in contract.functions}
    found.references = references(contract, every, kinds)
    return found
