"""Fields of a storage word: place, size and type, by how words are taken apart and put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whet.evm.meaning.evidence import Uses, full_type, value_type
from whet.evm.meaning.symbols import Node, Word
from whet.evm.tac import WORD


class Field(NamedTuple):
    """bits from `low` to `high` of a word, 0 the lowest. type: "" where only the size is known."""

    low: int
    high: int
    type: str


@dataclass(slots=True)
class Word_:
    """A word of storage that was read: the fields that were taken, and how the word itself was used."""

    fields: list[Field]
    whole: bool
    lengthy: bool
    """Asked for its lowest bit, as the length of bytes and strings is."""
    bits: bool = False
    """Taken apart where no byte begins."""


def run(mask: int) -> tuple[int, int] | None:
    """(low, high) of a mask whose 1 bits stand in one run."""
    if not mask:
        return None
    low = (mask & -mask).bit_length() - 1
    return (low, mask.bit_length()) if (mask >> low) & ((mask >> low) + 1) == 0 else None


def fields_read(uses: Uses, word: Node) -> Word_:
    """What is taken out of a word that SLOAD gave."""
    found = Word_([], False, False)
    for user in uses.users.get(word, ()):
        taken = _taken(uses, word, user)
        if taken is None:
            found.whole |= user.op not in ("AND", "SHR", "SHL", "SIGNEXTEND", "OR", "CHOICE")
        else:
            found.fields += taken
        found.lengthy |= user.op == "AND" and user.args[0] == 1
        found.bits |= _is_uneven(uses, user)
    found.whole |= bool(uses.sums.get(word))
    return found


def _is_uneven(uses: Uses, user: Node, shift: int = 0) -> bool:
    """Whether a mask or a shift takes bits that begin or end within a byte; the lowest bit may be a string's."""
    if user.op == "AND" and isinstance(user.args[0], int):
        mask = user.args[0]
        return mask << shift != 1 and any(
            span is not None and ((span[0] + shift) % 8 > 0 or (span[1] + shift) % 8 > 0)
            for span in (run(mask), run(mask ^ WORD))
        )
    if user.op == "SHR" and isinstance(user.args[0], int) and not shift:
        return any(u.op == "AND" and _is_uneven(uses, u, user.args[0]) for u in uses.users.get(user, ()))
    return False


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


def _taken(uses: Uses, word: Node, user: Node) -> list[Field] | None:
    """Fields that one use takes; None for a use of the whole word."""
    if user.op == "AND" and isinstance(user.args[0], int):
        return _masked(uses, user, user.args[0], 0)
    if user.op == "SIGNEXTEND" and isinstance(user.args[0], int):
        return [Field(0, 8 * user.args[0] + 8, f"int{8 * user.args[0] + 8}")]
    if user.op == "SHR" and user.args[1] is word:
        return _shifted(uses, user, user.args[0])
    if user.op == "DIV" and user.args[0] is word and isinstance(user.args[1], Node):
        return _variable(uses, user) if user.args[1].op == "EXP" else None
    if user.op == "SHL" and isinstance(user.args[0], int) and user.args[1] is word:
        return [Field(0, 256 - user.args[0], _left(256 - user.args[0]))] if user.args[0] % 8 == 0 else []
    return None


def _left(bits: int) -> str:
    return "address" if bits == 160 else f"bytes{bits // 8}"


def _masked(uses: Uses, node: Node, mask: int, shift: int) -> list[Field]:
    """`word >> shift & mask`; without those masks that keep the rest of a word that is written."""
    if any(user.op == "OR" for user in uses.users.get(node, ())) or _is_stored(uses, node):
        return []
    span = run(mask)
    if span is None or span[0] % 8 or span[1] % 8 or span == (0, 256):
        return []
    low, high = span[0] + shift, span[1] + shift
    if span[0] and span[1] == 256:
        return []
    return [Field(low, high, use_type(uses, node, high - low))]


def _is_stored(uses: Uses, node: Node) -> bool:
    return any(e.op in ("SSTORE", "TSTORE") and e.args[1] is node for e in uses.walk.effects)


def _shifted(uses: Uses, node: Node, shift: Word) -> list[Field]:
    if not isinstance(shift, int):
        return _variable(uses, node)
    if shift % 8 or shift == 0:
        return []
    found: list[Field] = []
    rest = False
    for user in uses.users.get(node, ()):
        if user.op == "AND" and isinstance(user.args[0], int):
            found += _masked(uses, user, user.args[0], shift)
        elif user.op == "SIGNEXTEND" and isinstance(user.args[0], int):
            size = 8 * user.args[0] + 8
            found.append(Field(shift, shift + size, f"int{size}"))
        elif user.op == "SHL" and isinstance(user.args[0], int) and user.args[0] % 8 == 0:
            found.append(Field(shift, shift + 256 - user.args[0], _left(256 - user.args[0])))
        else:
            rest = True
    if rest or not found:
        found.append(Field(shift, 256, use_type(uses, node, 256 - shift)))
    return found


def _variable(uses: Uses, node: Node) -> list[Field]:
    """An element of a packed array: where it stands is known only when running, its size from the mask."""
    for user in uses.users.get(node, ()):
        if user.op == "AND" and isinstance(user.args[0], int):
            span = run(user.args[0])
            if span and span[0] == 0 and span[1] % 8 == 0:
                return [Field(-1, span[1] - 1, use_type(uses, user, span[1]))]
        if user.op == "SIGNEXTEND" and isinstance(user.args[0], int):
            return [Field(-1, 8 * user.args[0] + 7, f"int{8 * user.args[0] + 8}")]
    return []


def _is_packed(uses: Uses, node: Node, depth: int = 0) -> bool:
    """Goes into a word with others."""
    return any(
        u.op == "OR" or (u.op == "AND" and depth < 4 and _is_packed(uses, u, depth + 1))
        for u in uses.users.get(node, ())
    )


def use_type(uses: Uses, node: Node, bits: int) -> str:
    """The type of `bits` bits by how they are used."""
    users = uses.users.get(node, ())
    for user in users:
        if user.op == "SIGNEXTEND" and isinstance(user.args[0], int) and 8 * user.args[0] + 8 == bits:
            return f"int{bits}"
        if uses.sums.get(node):
            continue  # a number; only packed for its bytes
        if user.op == "SHL" and user.args[0] == 256 - bits and not _is_packed(uses, user):
            return _left(bits)
    if bits == 160:
        return "address"
    if bits == 8 and _is_truth(uses, node):
        return "bool"
    return full_type(uses, node) if bits == 256 else ""


def _is_truth(uses: Uses, node: Node) -> bool:
    """Only asked whether it is 0, never computed with."""
    users = uses.users.get(node, ())
    asked = uses.asked[node] > 0 or any(u.op == "ISZERO" for u in users)
    return asked and not uses.sums.get(node) and all(u.op in ("ISZERO", "AND", "OR", "CHOICE") for u in users)


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
