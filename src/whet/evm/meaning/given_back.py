"""Types of what public functions give back, from the words that their RETURNs take out of memory.

A word is what it was made of: a comparison, an address, a hash, a field of storage. Told of dynamic results is only
whether they are an array, or bytes (said: string). Not told: what code gives back that memory is not followed for.
"""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.meaning.abi_types import is_dynamic
from whet.evm.meaning.evidence import (
    WORD_TYPES,
    Uses,
    checked_type,
    cleaned_type,
    full_type,
    mask_type,
    value_type,
)
from whet.evm.meaning.memory import FREE_POINTER, Payload
from whet.evm.meaning.standards import declared
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.meaning.walk import Effect


def returns(uses: Uses, arguments: tuple[str, ...], signature: str = "") -> tuple[str, ...] | None:
    """The types that the function gives back; None where its RETURNs do not tell or do not agree.

    arguments: their types; what a function makes of bytes is said to be bytes, other text string.
    signature: the known one; what its standard declares is said where that can be what the code gives back.
    """
    found = _returns(uses)
    ended = any(effect.op in ("RETURN", "STOP") for effect in uses.walk.effects)
    standard = declared(signature)
    if standard is not None and (not ended or _agrees(found, standard.results)):
        return standard.results
    if found is not None and "bytes" in arguments:
        return tuple("bytes" if kind == "string" else kind for kind in found)
    return found if ended or uses.walk.cut else ()


def _agrees(found: tuple[str, ...] | None, results: tuple[str, ...]) -> bool:
    if found is None:
        return len(results) > 0
    return len(found) == len(results) and any(map(is_dynamic, found)) == any(map(is_dynamic, results))


def _returns(uses: Uses) -> tuple[str, ...] | None:
    found: tuple[str, ...] | None = None
    for effect in uses.walk.effects:
        if effect.op == "STOP" or (effect.op == "RETURN" and effect.args[1] == 0):
            types: tuple[str, ...] | None = ()
        elif effect.op == "RETURN" and effect.payload is not None:
            types = _types(_Encoding(uses, effect.payload, apart=_encodes_apart(uses, effect)))
        else:
            continue
        if types is None or (found is not None and len(found) != len(types)):
            return None
        found = types if found is None else tuple(_joined(a, b) for a, b in zip(found, types, strict=True))
    if found is None:
        return None
    return tuple(_BOOLS.get(kind, kind) or "uint256" for kind in found)


_BOOLS = {"0": "", "1": "bool"}
"""What the constants 0 and 1 are taken for where nothing else is given back."""


def _joined(a: str, b: str) -> str:
    if a in _BOOLS or b in _BOOLS:
        other = b if a in _BOOLS else a
        return "bool" if other in ("bool", *_BOOLS) and a != b else other
    return a if a == b or not b else (b if not a else "uint256")


@dataclass(slots=True)
class _Encoding:
    """What a RETURN gives back. apart: `_encodes_apart`."""

    uses: Uses
    payload: Payload
    apart: bool

    def kind(self, at: int) -> str:
        """The type of a word; "" where nothing tells."""
        word, pc = self.payload.words[at], self.payload.stored[at]
        if pc < 0:
            return _kind(self.uses, word)
        cleanup = self.uses.walk.contract.cleaned.get(pc)
        if cleanup is None:
            return _whole(self.uses, word) if self.apart else _kind(self.uses, word)
        return _left_by(*cleanup) or _kind(self.uses, word)


def _encodes_apart(uses: Uses, effect: Effect) -> bool:
    """Whether what is given back is encoded in a basic block of its own, so that a cleanup that is not there was not needed.

    So does solc but for its pipeline via Yul: it comes back from the function's body, encodes, and reads the free pointer again
    for where to RETURN from."""
    function = uses.walk.contract.functions[effect.function]
    block = function.blocks[effect.block]
    offset, length = block.end.args
    if len(block.statements) < 2:
        return False
    pointer, size = block.statements[-2:]
    return (pointer.op, pointer.args, pointer.results) == ("MLOAD", (FREE_POINTER,), (offset,)) and (
        size.op,
        size.args[1:],
        size.results,
    ) == ("SUB", (offset,), (length,))


def _left_by(op: str, constant: int) -> str:
    """The type that a cleanup leaves."""
    if op == "AND":
        return mask_type(constant)
    return {"SIGNEXTEND": f"int{8 * constant + 8}", "ISZERO": "bool"}.get(op, "")


def _whole(uses: Uses, word: Word | None) -> str:
    """Of a word of which all bits count: bytes32 or int256; "" for uint256."""
    kind = _kind(uses, word)
    return kind if kind in WORD_TYPES else ""


def _types(encoding: _Encoding) -> tuple[str, ...] | None:
    words, length = encoding.payload.words, encoding.payload.length
    if isinstance(length, int) and length % 32 == 0:
        if len(words) > 1 and words[0] == 32:
            return ("string",)
        return tuple(encoding.kind(at) for at in range(len(words)))
    return _dynamic(encoding, 0)


def _dynamic(encoding: _Encoding, start: int) -> tuple[str, ...] | None:
    """Of an encoding whose size is known only when running, and that begins with the word `start`: the first offset says
    how many heads there are."""
    payload = encoding.payload
    words = payload.words[start:]
    first = next((at for at, word in enumerate(words[:_MOST_HEADS]) if _is_offset(word, at)), None)
    if first is None:
        return None
    heads = words[first] // 32  # type: ignore[operator]
    if heads > len(words):
        return None
    terms = {node for node, _ in linear(payload.length)[1]}
    types = []
    for at, word in enumerate(words[:heads]):
        if at == first:
            types.append(_content(encoding, start + heads))
        elif isinstance(word, Node) and terms.issuperset(node for node, _ in linear(word)[1]):
            types.append("uint256[]" if types and types[-1].endswith("[]") else "string")
        else:
            types.append(encoding.kind(start + at))
    return tuple(types)


_MOST_HEADS = 16


def _is_offset(word: Word | None, at: int) -> bool:
    """Whether it can say where something begins behind `at` heads and more."""
    return isinstance(word, int) and word % 32 == 0 and at < word // 32 <= _MOST_HEADS


def _content(encoding: _Encoding, start: int) -> str:
    """bytes, string, an array or a struct, by how the length of the whole depends on that of the content."""
    uses, payload = encoding.uses, encoding.payload
    length = payload.words[start] if start < len(payload.words) else None
    if isinstance(length, int) and _is_offset(length, 0):
        inner = _dynamic(encoding, start)
        return f"({','.join(_BOOLS.get(kind, kind) or 'uint256' for kind in inner)})" if inner else "string"
    total = payload.length
    if isinstance(length, Node):
        factor = dict(linear(total)[1]).get(length, 0)
        if factor and factor % 32 == 0:
            return f"{_element(uses)}[]"
    if any(node.op == "LOOP" for node, _ in linear(total)[1]):
        return f"{_element(uses)}[]"
    return "string"


def _element(uses: Uses) -> str:
    """What an encoder leaves of each word that a loop reads out of memory: the only cleanup there is of such words."""
    found = set()
    for node in uses.walk.symbols.nodes:
        if node.op == "MLOAD" and any(part.op == "LOOP" for part, _ in linear(node.args[0])[1]):
            found |= {_cleaned(uses, user) for user in uses.users.get(node, ())}
    found.discard("")
    return found.pop() if len(found) == 1 else "uint256"


def _cleaned(uses: Uses, user: Node) -> str:
    """The type that a cleanup leaves whose result is used for nothing but being stored."""
    if user.op == "ISZERO":
        twice = uses.of(user, "ISZERO")
        return "bool" if twice and not uses.users.get(twice[0]) else ""
    unused = not uses.users.get(user) and not uses.sums.get(user)
    return cleaned_type(uses, user) if unused else ""


def _kind(uses: Uses, word: Word | None, depth: int = 0) -> str:
    if word is None or depth > 8:
        return ""
    if isinstance(word, int):
        if word in (0, 1):
            return str(word)
        if 1 << 128 <= word < 1 << 160:
            return "address"
        if not word & ((1 << 248) - 1):
            return "bytes1"
        return "bytes4" if not word & ((1 << 224) - 1) else ""
    if word.op == "CALLDATALOAD":
        return checked_type(uses, word) or full_type(uses, word)
    if word.op == "SHR" and word.args[0] in range(128, 256, 8) and word.args[1].op == "SLOAD":
        return f"uint{256 - word.args[0]}"
    if word.op == "CHOICE":
        kinds = [_kind(uses, part, depth + 1) for part in word.args[:-1]]
        joined = kinds[0]
        for kind in kinds[1:]:
            joined = _joined(joined, kind)
        return joined
    kind = value_type(word) or uses.kind_of(word)
    return "" if kind in ("bytes", "string") else kind
