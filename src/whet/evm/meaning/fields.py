"""Fields of a storage word: place, size and type, by how words that were read are taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whet.evm.meaning.evidence import Uses, full_type
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
