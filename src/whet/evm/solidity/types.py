"""Solidity's value types and words: how one becomes the other without changing the 256 bits that the EVM sees.

A value of a type is the word that Solidity keeps for it: bool 0 or 1, intN sign-extended, bytesN left-aligned.
Source: https://docs.soliditylang.org/en/latest/types.html#conversions-between-elementary-types
"""

from __future__ import annotations

import re

from whet.evm.keccak import keccak256
from whet.evm.tac import WORD

WORD_TYPE = "uint256"
_VALUE = re.compile(r"(uint|int|bytes)(\d+)|bool|address")
ATOM, UNARY, ORDER, EQUAL, CHOICE = 100, 90, 30, 25, 10
"""How tightly a text holds together: without operators, by ~ or !, by <, by ==, by ?:."""


def is_value(kind: str) -> bool:
    """Whether a type is kept in one word that is the value itself."""
    return _VALUE.fullmatch(kind) is not None


def is_unsigned(kind: str) -> bool:
    return kind.startswith("uint")


def in_memory(kind: str) -> str:
    """The type of a parameter or result: references in memory."""
    return kind if is_value(kind) else f"{kind} memory"


def location(kind: str) -> str:
    """ " memory" or " calldata" of a type that has one; "" for what lies in storage, and for values."""
    return next((place for place in (" memory", " calldata") if kind.endswith(place)), "")


def element_types(kind: str) -> tuple[str, str] | None:
    """(type of the key, of the element) of a mapping or an array in storage; None for others."""
    if kind.startswith("mapping("):
        depth = 0
        for place in range(len("mapping("), len(kind)):
            depth += (kind[place] == "(") - (kind[place] == ")")
            if depth == 0 and kind.startswith(" => ", place):
                return kind[len("mapping(") : place], kind[place + 4 : -1]
        return None
    if kind.endswith("]"):
        return WORD_TYPE, kind[: kind.rindex("[")]
    return None


def bits(kind: str) -> int:
    """Of uintN, intN: N; of bytesN: 8 N."""
    found = _VALUE.fullmatch(kind)
    assert found is not None
    if kind in ("bool", "address"):
        return 1 if kind == "bool" else 160
    return int(found[2]) * (8 if found[1] == "bytes" else 1)


def mask_of(kind: str) -> int:
    """The bits of a word that a type keeps; for intN those that decide about all."""
    if kind == "bool":
        return 0xFF
    ones = (1 << bits(kind)) - 1
    return ones << 256 - bits(kind) if kind.startswith("bytes") else ones


def to_word(text: str, tightness: int, kind: str) -> tuple[str, int]:
    """A value of a type as uint256, with how tightly the text holds together."""
    if kind == WORD_TYPE:
        return text, tightness
    if kind == "bool":
        return f"uint256({_grouped(text, tightness, CHOICE + 1)} ? 1 : 0)", ATOM
    if kind == "address":
        return f"uint256(uint160({text}))", ATOM
    if kind == "int256" or is_unsigned(kind) or kind == "bytes32":
        return f"uint256({text})", ATOM
    return f"uint256({'bytes32' if kind.startswith('bytes') else 'int256'}({text}))", ATOM


def from_word(text: str, tightness: int, kind: str) -> tuple[str, int]:
    """A uint256 as a value of a type. Bits that the type has no place for are cut off, as Solidity does it."""
    if kind == WORD_TYPE:
        return text, tightness
    if kind == "bool":
        return f"{_grouped(text, tightness, EQUAL + 1)} != 0", EQUAL
    if kind == "address":
        return f"address(uint160({text}))", ATOM
    if kind == "int256" or is_unsigned(kind) or kind == "bytes32":
        return f"{kind}({text})", ATOM
    return f"{kind}({'bytes32' if kind.startswith('bytes') else 'int256'}({text}))", ATOM


def _grouped(text: str, tightness: int, around: int) -> str:
    return f"({text})" if tightness < around else text


def literal(value: int, kind: str) -> str | None:
    """A constant of a type; None where its bits are no value of it."""
    if kind == "bool":
        return {0: "false", 1: "true"}.get(value)
    if kind == "address":
        return None if value >> 160 else "address(0)" if not value else f"address({_checksummed(value)})"
    if kind.startswith("bytes"):
        size = int(kind[5:])
        if value & ((1 << 8 * (32 - size)) - 1):
            return None
        return f"{kind}({value >> 8 * (32 - size):#0{2 * size + 2}x})" if value else f"{kind}(0)"
    if kind.startswith("int"):
        number = value - (1 << 256) if value >> 255 else value
        return number_text(number) if -(1 << bits(kind) - 1) <= number < 1 << bits(kind) - 1 else None
    if value >> bits(kind):
        return None
    return number_text(value)


def _checksummed(value: int) -> str:
    """An address as EIP-55 writes it; Solidity refuses others."""
    digits = f"{value:040x}"
    mask = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) > 7 else d for d, m in zip(digits, mask, strict=False))


def number_text(value: int) -> str:
    """A number: decimal where that is short or round, else hexadecimal."""
    if value < 0:
        return f"-{number_text(-value)}"
    if value == WORD:
        return "type(uint256).max"
    digits = str(value)
    kept = digits.rstrip("0")
    if value < 1 << 16:
        return digits
    if len(digits) - len(kept) >= 5 and len(kept) <= 6:
        return f"{kept}e{len(digits) - len(kept)}"
    text = f"{value:x}"
    if 39 <= len(text) <= 41:
        return f"0x{value:064x}"  # else it would be read as an address
    return f"0x{text}" if len(text) % 2 == 0 else f"0x0{text}"
