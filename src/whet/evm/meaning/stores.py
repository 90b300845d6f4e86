"""What is stored in a word of storage: which of its fields are replaced, by what, and what of the old word is kept."""

from __future__ import annotations

from whet.evm.meaning.evidence import value_type
from whet.evm.meaning.fields import Field, run
from whet.evm.meaning.symbols import Node, Word
from whet.evm.tac import WORD


def written_how(word: Word) -> str:
    """ "part" of a word that keeps something of an old one, "whole" of one that does not and may need all bits, "narrow" of
    one that does not need them; "" where that is not told."""
    if not isinstance(word, Node):
        return ""
    parts = _alternatives(word)
    if any(isinstance(part, Node) and part.op == "AND" and _is_old(part.args[1]) for part in parts):
        return "part"
    if len(parts) > 1 or word.op == "CHOICE":
        return ""
    return "whole" if _span(word) is None and word.op not in ("AND", "SHL") else "narrow"


def _is_old(word: Word) -> bool:
    return isinstance(word, Node) and word.op in ("SLOAD", "TLOAD", "OR", "AND")


def keeps_bits(word: Word) -> bool:
    """Whether it keeps an old word but for a hole that begins or ends within a byte."""
    for part in _alternatives(word) if isinstance(word, Node) else ():
        if isinstance(part, Node) and part.op == "AND" and isinstance(part.args[0], int):
            hole = run(part.args[0] ^ WORD)
            inner = part.args[1]
            if hole and (hole[0] % 8 or hole[1] % 8) and isinstance(inner, Node) and inner.op == "SLOAD":
                return True
    return False


def fields_written(word: Word, slot: Word) -> list[Field]:
    """The fields that a word consists of that is stored in `slot`."""
    if isinstance(word, int):
        return []
    kept = 0
    parts: list[Word] = []
    for part in _alternatives(word):
        if (
            isinstance(part, Node)
            and part.op == "AND"
            and isinstance(part.args[0], int)
            and _is_loaded(part.args[1], slot)
        ):
            kept |= part.args[0]
        else:
            parts.append(part)
    if not kept and len(parts) == 1:
        return [Field(0, 256, value_type(parts[0]) if value_type(parts[0]) not in ("", "bool") else "")]
    spans = [_span(part) for part in parts]
    free = run(kept ^ WORD) if kept else None
    if free is not None and len(parts) < 2 and free[0] % 8 == 0 and free[1] % 8 == 0:
        return [Field(*free, _part_type(parts[0], free) if parts else _cleared(free))]
    return [
        Field(*span, _part_type(part, span))
        for part, span in zip(parts, spans, strict=True)
        if span and span[0] % 8 == 0
    ]


def stored_field(word: Word) -> tuple[int, int, Word, Node] | None:
    """(low, high, value, SLOAD) of a word in which one field is replaced: `sload & keep | value << low`."""
    kept: Node | None = None
    parts: list[Word] = []
    for part in _alternatives(word) if isinstance(word, Node) else ():
        if isinstance(part, Node) and part.op == "AND" and isinstance(part.args[0], int) and kept is None:
            inner = part.args[1]
            if isinstance(inner, Node) and inner.op in ("SLOAD", "TLOAD"):
                kept = part
                continue
        parts.append(part)
    if kept is None or len(parts) > 1:
        return None
    span = run(kept.args[0] ^ WORD)
    if span is None or span[0] % 8 or span[1] % 8:
        return None
    value = _unshifted(parts[0], span) if parts else 0
    return (*span, value, kept.args[1]) if value is not None else None


def _unshifted(part: Word, span: tuple[int, int]) -> Word | None:
    """What stands in the bits of `span`."""
    low, high = span
    if isinstance(part, int):
        return part >> low if part >> high == 0 and part & ((1 << low) - 1) == 0 else None
    reach = _span(part)
    if reach is None or reach[0] < low or reach[1] > high:
        return None
    if not low:
        return part
    return part.args[1] if part.op == "SHL" and part.args[0] == low else None


def _cleared(span: tuple[int, int]) -> str:
    return "bool" if span[1] - span[0] == 8 else ""


def _alternatives(word: Node) -> list[Word]:
    parts: list[Word] = []
    work: list[Word] = [word]
    while work:
        part = work.pop()
        if isinstance(part, Node) and part.op == "OR" and len(parts) + len(work) < 32:
            work.extend(part.args)
        else:
            parts.append(part)
    return parts


def _is_loaded(word: Word, slot: Word, depth: int = 0) -> bool:
    """Comes out of that slot, perhaps with masks around."""
    if depth > 8:
        return False
    while isinstance(word, Node) and word.op == "AND" and isinstance(word.args[0], int):
        word = word.args[1]
    if isinstance(word, Node) and word.op == "OR":
        return any(_is_loaded(arg, slot, depth + 1) for arg in word.args)
    return isinstance(word, Node) and word.op in ("SLOAD", "TLOAD") and word.args[0] == slot


def _span(word: Word, depth: int = 0) -> tuple[int, int] | None:
    """The bits that can be 1 in a word."""
    if isinstance(word, int) or depth > 8:
        return None
    if word.op in ("ISZERO", "EQ", "LT", "GT", "SLT", "SGT"):
        return 0, 8
    if word.op in ("CALLER", "ADDRESS", "ORIGIN", "COINBASE", "CREATE", "CREATE2"):
        return 0, 160
    if word.op == "AND" and isinstance(word.args[0], int):
        return run(word.args[0])
    if word.op == "SHL" and isinstance(word.args[0], int):
        inner = _span(word.args[1], depth + 1)
        return (inner[0] + word.args[0], min(inner[1] + word.args[0], 256)) if inner else (word.args[0], 256)
    if word.op == "SUM" and len(word.args[1]) == 1 and not word.args[0]:
        inner = _span(word.args[1][0][0], depth + 1)
        shift = word.args[1][0][1].bit_length() - 1
        return (inner[0] + shift, inner[1] + shift) if inner and 1 << shift == word.args[1][0][1] else None
    return None


def _part_type(word: Word, span: tuple[int, int]) -> str:
    bits = span[1] - span[0]
    if bits == 160:
        return "address"
    while isinstance(word, Node):
        if word.op == "SHL" or (word.op == "AND" and isinstance(word.args[0], int)):
            word = word.args[1]
        elif word.op == "SUM" and len(word.args[1]) == 1 and not word.args[0]:
            word = word.args[1][0][0]
        else:
            break
    kind = value_type(word)
    if bits == 8 and isinstance(word, int):
        return "bool" if word >> span[0] in (0, 1) else "uint8"
    if kind == "bool" and bits == 8:
        return kind
    if kind == f"int{bits}":
        return kind
    if isinstance(word, Node) and word.op == "SHR" and word.args[0] == 256 - bits and bits < 256:
        return f"bytes{bits // 8}"
    return ""
