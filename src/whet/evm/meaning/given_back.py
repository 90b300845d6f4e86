"""Types of what public functions give back, from the words that their RETURNs take out of memory.

A word is what it was made of: a comparison, an address, a hash, a field of storage. Told of dynamic results is only
whether they are an array, or bytes (said: string). Not told: what code gives back that memory is not followed for.
"""

from __future__ import annotations

from whet.evm.meaning.abi_types import is_dynamic
from whet.evm.meaning.evidence import WORD_TYPES, Uses, checked_type, full_type, value_type
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.standards import declared
from whet.evm.meaning.symbols import Node, Word, linear


def returns(uses: Uses, signature: str = "") -> tuple[str, ...] | None:
    """The types that the function gives back; None where its RETURNs do not tell or do not agree.

    signature: the known one; what its standard declares is said where that can be what the code gives back.
    """
    found = _returns(uses)
    standard = declared(signature)
    return standard.results if standard is not None and _agrees(uses, found, standard.results) else found


def _agrees(uses: Uses, found: tuple[str, ...] | None, results: tuple[str, ...]) -> bool:
    if found is None:
        return any(effect.op == "RETURN" and effect.args[1] != 0 for effect in uses.walk.effects)
    return len(found) == len(results) and all(
        is_dynamic(a) == is_dynamic(b) and (is_dynamic(a) or a == "uint256" or a == b or b in WORD_TYPES)
        for a, b in zip(found, results, strict=True)
    )


def _returns(uses: Uses) -> tuple[str, ...] | None:
    found: tuple[str, ...] | None = None
    for effect in uses.walk.effects:
        if effect.op == "STOP" or (effect.op == "RETURN" and effect.args[1] == 0):
            types: tuple[str, ...] | None = ()
        elif effect.op == "RETURN" and effect.payload is not None:
            types = _types(uses, effect.payload)
        else:
            continue
        if types is None or (found is not None and len(found) != len(types)):
            return None
        found = types if found is None else tuple(_joined(a, b) for a, b in zip(found, types, strict=True))
    return tuple(_BOOLS.get(kind, kind) or "uint256" for kind in found) if found is not None else None


_BOOLS = {"0": "", "1": "bool"}
"""What the constants 0 and 1 are taken for where nothing else is given back."""


def _joined(a: str, b: str) -> str:
    if a in _BOOLS or b in _BOOLS:
        other = b if a in _BOOLS else a
        return "bool" if other in ("bool", *_BOOLS) and a != b else other
    return a if a == b or not b else (b if not a else "uint256")


def _types(uses: Uses, payload: Payload) -> tuple[str, ...] | None:
    words = payload.words
    if isinstance(payload.length, int) and payload.length % 32 == 0:
        if len(words) > 1 and words[0] == 32:
            return ("string",)
        return tuple(_kind(uses, word) for word in words)
    if not words or not isinstance(words[0], int) or words[0] % 32 or not 0 < words[0] <= 32 * 16:
        return None
    heads = words[0] // 32
    if heads > len(words):
        return None
    return tuple(_head(uses, payload, i, heads) for i in range(heads))


def _head(uses: Uses, payload: Payload, position: int, heads: int) -> str:
    word = payload.words[position]
    if position == 0:
        length = payload.words[heads] if heads < len(payload.words) else None
        return _sized(payload.length, length)
    return _kind(uses, word)


def _sized(total: Word, length: Word | None) -> str:
    """bytes, string or an array, by how the length of the whole depends on that of the content."""
    if isinstance(length, Node):
        factor = dict(linear(total)[1]).get(length, 0)
        if factor and factor % 32 == 0:
            return "uint256[]"
    if any(node.op == "LOOP" for node, _ in linear(total)[1]):
        return "uint256[]"
    return "string"


def _kind(uses: Uses, word: Word | None, depth: int = 0) -> str:
    if word is None or depth > 8:
        return ""
    if isinstance(word, int):
        if word in (0, 1):
            return str(word)
        return "bytes4" if not word & ((1 << 224) - 1) else ""
    if word.op == "CALLDATALOAD":
        return checked_type(uses, word) or full_type(uses, word)
    if word.op == "CHOICE":
        kinds = [_kind(uses, part, depth + 1) for part in word.args[:-1]]
        joined = kinds[0]
        for kind in kinds[1:]:
            joined = _joined(joined, kind)
        return joined
    return value_type(word)
