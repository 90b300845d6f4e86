"""The public functions of a contract as its ABI has them: names, arguments, results, mutability.

Read twice: first by code alone, by which known signatures are believed or not; then, where none is known, with what the
whole contract says of its words, what known signatures tell too.
"""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.meaning.abi import arguments, is_strict
from whet.evm.meaning.abi_types import head_words, is_dynamic, types_of
from whet.evm.meaning.behaviour import entered_with_value, mutability
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.given_back import returns
from whet.evm.meaning.kinds import Kinds, kinds_of
from whet.evm.meaning.saying import Known
from whet.evm.meaning.standards import declared
from whet.evm.meaning.told import told
from whet.evm.tac import Contract


@dataclass(slots=True)
class PublicFunction:
    """signature: the known one, "" without. returns: None where code does not tell."""

    signature: str
    arguments: tuple[str, ...]
    returns: tuple[str, ...] | None
    mutability: str

    @property
    def name(self) -> str:
        """ "" for unknown."""
        return self.signature.partition("(")[0]


def interface(
    contract: Contract, walks: dict[str, Uses], known: Known
) -> tuple[dict[str, PublicFunction], Kinds]:
    """{name: what is said of the public function}, of those that were walked, and the kinds of all words.

    walks: of all functions that are not private, by `tac.Function.name`.
    """
    public = {name: uses for name, uses in walks.items() if contract.functions[name].kind == "public"}
    strict = is_strict(contract, public.values())
    signatures = {
        name: _signature(contract.functions[name].selector or 0, arguments(uses, strict), known)
        for name, uses in public.items()
    }
    tellings = (one for name, uses in walks.items() for one in told(uses, signatures.get(name, ""), known))
    kinds = kinds_of(walks.values(), tellings)
    payable = set() if _is_library(contract) else entered_with_value(contract.entry)
    found = {}
    for name, uses in public.items():
        signature = signatures[name]
        types = types_of(signature) if signature else arguments(uses, strict)
        mutable = _as_declared(mutability(uses, name in payable, len(types)), signature)
        found[name] = PublicFunction(signature, types, returns(uses, types, signature), mutable)
    return found, kinds


def _is_library(contract: Contract) -> bool:
    """Whether the code begins with asking for its own address, as only that of libraries does, whose functions are never
    payable but do not check it either."""
    return any(s.op == "ADDRESS" for s in contract.entry.blocks["b0"].statements)


_STRICTEST_FIRST = ("pure", "view", "nonpayable")


def _as_declared(found: str, signature: str) -> str:
    """A function may do less than its standard lets it; it is declared as the standard has it."""
    standard = declared(signature)
    if standard is None or found not in _STRICTEST_FIRST:
        return found
    return max(found, standard.mutability, key=_STRICTEST_FIRST.index)


def _signature(selector: int, found: tuple[str, ...], known: Known) -> str:
    """The first known signature that takes as many words in the same places as the code does; "" for none.

    Four bytes that agree with a name and its shape are better evidence than the bits that one function looks at."""
    for signature in known.functions(selector):
        if _shape(found) == _shape(types_of(signature)):
            return signature
    return ""


def _shape(types: tuple[str, ...]) -> list[tuple[int, bool]]:
    return [(head_words(kind), is_dynamic(kind)) for kind in types]
