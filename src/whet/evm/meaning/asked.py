"""What a check of returned data asks: how much came back, whether unused bits are 0, whether there is room in memory."""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.meaning.evidence import mask_type
from whet.evm.meaning.symbols import Node, Word, inside, linear, mask_bits

_HIGHEST_MEMORY = (1 << 64) - 1
_ROOM = frozenset(
    {"SUM", "AND", "SHL", "SHR", "MLOAD", "POINTER", "CHOICE", "RETURNDATASIZE", "PARAM", "RESULT"}
)
"""What an address of memory behind returned data is made of."""

Sizes = Mapping[Word, int | None]
"""{word that is as large as what came back: at most that, None for no limit}"""


def plain(word: Word) -> tuple[Word, bool]:
    """(word without ISZEROs, whether it is not 0 where `word` is not 0)."""
    holds = True
    while isinstance(word, Node) and word.op == "ISZERO":
        word, holds = word.args[0], not holds
    return word, holds


def least_size(condition: Word, sizes: Sizes) -> int | None:
    """n for a condition that holds where less than n bytes came back."""
    if not isinstance(condition, Node) or condition.op not in ("LT", "SLT", "GT", "SGT"):
        return None
    size, limit = condition.args if condition.op in ("LT", "SLT") else condition.args[::-1]
    if not isinstance(limit, int) or size not in sizes:
        return None
    most = sizes[size]
    return limit if most is None or most >= limit else None


def is_full(condition: Word, sizes: Sizes) -> bool:
    """Whether it holds only where the free pointer would come near to 2**64."""
    if not isinstance(condition, Node):
        return False
    if condition.op == "OR":
        return all(is_full(part, sizes) for part in condition.args)
    if condition.op not in ("LT", "GT"):
        return False
    low, high = condition.args if condition.op == "LT" else condition.args[::-1]
    if low == _HIGHEST_MEMORY:
        return _is_room(high, sizes)
    return _is_moved(low, high) and _is_room(low, sizes)


def _is_moved(word: Word, by: Word) -> bool:
    """Whether it is `by` and something more; less than that only behind 2**256."""
    (constant, terms), (least, parts) = linear(word), linear(by)
    return constant >= least and set(parts) <= set(terms) and word != by


def _is_room(word: Word, sizes: Sizes) -> bool:
    """Whether it is an address of memory, moved on by the size of what came back."""
    if not isinstance(word, Node):
        return False
    parts = list(inside(word))
    return any(part in sizes for part in parts) or all(part.op in _ROOM for part in parts)


def cleaned(condition: Word, fails: bool) -> tuple[Node, str] | None:
    """(word, type) of a check that a word is clean as a value of that type. fails: refused where it is not 0."""
    if not isinstance(condition, Node):
        return None
    if condition.op == "SHR" and fails and isinstance(condition.args[0], int):
        bits = condition.args[0]
        kind = "address" if bits == 160 else f"uint{bits}" if bits % 8 == 0 else ""
        return _kind(condition.args[1], kind)
    if condition.op == "GT" and fails and isinstance(condition.args[1], int):
        bits = mask_bits(condition.args[1]) or 0
        kind = "bool" if bits == 1 else mask_type(condition.args[1]) if bits else ""
        return _kind(condition.args[0], kind)
    if (condition.op == "EQ") == fails:
        return None
    if condition.op == "SUM":
        if condition.args[0] or sorted(factor for _, factor in condition.args[1]) != [1, (1 << 256) - 1]:
            return None
        parts = [node for node, _ in condition.args[1]]
    elif condition.op in ("EQ", "XOR"):
        parts = list(condition.args)
    else:
        return None
    for word, other in (parts, parts[::-1]):
        kind = cleaning(other, word)
        if kind:
            return _kind(word, kind)
    return None


def _kind(word: Word, kind: str) -> tuple[Node, str] | None:
    return (word, kind) if kind and isinstance(word, Node) else None


def cleaning(cleaned: Word, word: Word) -> str:
    """The type to which `cleaned` cuts the word; "" if it does not."""
    if not isinstance(cleaned, Node):
        return ""
    if cleaned.op == "AND" and cleaned.args[1] is word and isinstance(cleaned.args[0], int):
        return mask_type(cleaned.args[0])
    if cleaned.op == "SIGNEXTEND" and cleaned.args[1] is word and isinstance(cleaned.args[0], int):
        return f"int{8 * cleaned.args[0] + 8}"
    if cleaned.op == "ISZERO" and isinstance(cleaned.args[0], Node) and cleaned.args[0].op == "ISZERO":
        return "bool" if cleaned.args[0].args[0] is word else ""
    return ""
