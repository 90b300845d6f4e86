"""Types of what public functions give back: of all their ends together, and as their standard declares them.

Not told: what code gives back that memory is not followed for.
"""

from __future__ import annotations

from whet.evm.meaning.abi_types import is_dynamic
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.returned import TYPES, Encoding, joined
from whet.evm.meaning.standards import declared
from whet.evm.meaning.walk import Effect

_Types = tuple[str, ...]


def returns(uses: Uses, arguments: _Types, signature: str = "") -> _Types | None:
    """The types that the function gives back; None where its RETURNs do not tell or do not agree.

    arguments: their types; what a function makes of bytes is said to be bytes, other text string.
    signature: the known one; what its standard declares is said where that can be what the code gives back.
    """
    ends = [effect for effect in uses.walk.effects if effect.op in ("RETURN", "STOP")]
    found = _returns(uses, ends)
    standard = declared(signature)
    if standard is not None and (not ends or _agrees(found, standard.results)):
        return standard.results
    if found is not None and "bytes" in arguments:
        return tuple("bytes" if kind == "string" else kind for kind in found)
    return found if ends or uses.walk.cut else ()


def _agrees(found: _Types | None, results: _Types) -> bool:
    if found is None:
        return len(results) > 0
    return len(found) == len(results) and any(map(is_dynamic, found)) == any(map(is_dynamic, results))


def _returns(uses: Uses, ends: list[Effect]) -> _Types | None:
    found: _Types | None = None
    for effect in ends:
        if _is_raw(effect):
            continue
        types: _Types | None = ()
        if effect.op == "RETURN" and effect.args[1] != 0:
            types = Encoding(uses, effect).types()
        if types is None or (found is not None and len(found) != len(types)):
            return None
        found = types if found is None else tuple(joined(a, b) for a, b in zip(found, types, strict=True))
    if found is None:
        return () if ends else None
    return tuple(TYPES.get(kind, kind) for kind in found)


def _is_raw(effect: Effect) -> bool:
    """Whether it gives back what no encoder makes: all that a call gave back, or a part of a word."""
    if effect.op == "STOP" or effect.payload is None:
        return False
    length = effect.args[1]
    if isinstance(length, int):
        return length % 32 != 0
    return length.op == "RETURNDATASIZE" and [(at, node.op) for at, node in effect.payload.regions] == [
        (0, "RETURNDATA")
    ]
