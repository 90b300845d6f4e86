"""Bytecode as text: hex digits, with or without 0x, in lines or not, with placeholders of libraries that are not linked.

A placeholder is 40 characters from "__" on in place of an address: `__$` and 34 digits of a hash `$__` (solc since
0.5), or the library's name filled up with underscores (before). Each becomes an address of its own that is made from
its text, so that two libraries stay two and the result is the same every time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from whet import limits
from whet.errors import CodeError
from whet.evm.keccak import keccak256

_HEX = re.compile(r"[0-9a-fA-F]*")
_PLACEHOLDER = re.compile(r"__.{38}")
_SOURCE = re.compile(
    r"^[ \t]*(pragma\s+solidity|//\s*SPDX|import\s+[\"'{]|(abstract\s+)?contract\s+\w+|library\s+\w+|interface\s+\w+"
    r"|#\s*@version|#\s*pragma|@(external|deploy|internal|view)\b|object\s+\")",
    re.MULTILINE,
)
_MNEMONICS = re.compile(r"\b(PUSH\d+|MSTORE|CALLDATASIZE)\b.*\b(PUSH\d+|MSTORE|JUMPI)\b", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Link:
    """A library that is not linked. name: what the placeholder says, or the artifact. offsets: bytes where its address
    belongs. address: what stands there instead."""

    name: str
    offsets: tuple[int, ...]
    address: str


_LOOKED_AT = 20_000
"""Characters of a text that is no hex in which signs of source text are looked for."""


def looks_like_hex(text: str) -> bool:
    """Whether `text` is nothing but hex digits, placeholders and white space; the number of digits may be odd."""
    return _HEX.fullmatch(_linked(_digits(text))) is not None


def parse_hex(text: str, where: str) -> tuple[bytes, tuple[Link, ...]]:
    """The bytes, and the libraries that are not linked. Raises CodeError that says what is wrong and at which character."""
    digits = _digits(text)
    if not digits:
        raise CodeError(
            "no code: there is not one byte",
            where=where,
            fix="an address without code, an interface and an abstract contract have none; name one that has",
        )
    if not _HEX.fullmatch(_linked(digits)):
        raise _not_hex(text, where)
    if len(digits) > 2 * limits.CODE_BYTES:
        raise too_large(len(digits) // 2, where)
    if len(digits) % 2:
        raise CodeError(
            f"an odd number of hex digits ({len(digits):,}): half a byte is missing",
            where=where,
            fix=f"was the text cut short? It ends with ...{digits[-12:]}",
        )
    links = _links(digits)
    addresses = {link.name: link.address[2:] for link in links}
    return bytes.fromhex(_PLACEHOLDER.sub(lambda found: addresses[_name(found[0])], digits)), links


def too_large(size_bytes: int, where: str) -> CodeError:
    """The error for code that is not looked at."""
    return CodeError(
        f"{size_bytes:,} bytes of code; at most {limits.CODE_BYTES:,} are read",
        where=where,
        fix="contracts have at most 24,576 bytes (EIP-170); is this something else?",
    )


def _digits(text: str) -> str:
    digits = "".join(text.removeprefix("\ufeff").split())
    return digits[2:] if digits[:2] in ("0x", "0X") else digits


def _linked(text: str) -> str:
    return _PLACEHOLDER.sub("0" * 40, text)


def _links(digits: str) -> tuple[Link, ...]:
    offsets: dict[str, list[int]] = {}
    for found in _PLACEHOLDER.finditer(digits):
        offsets.setdefault(_name(found[0]), []).append(found.start() // 2)
    return tuple(
        Link(name, tuple(places), f"0x{keccak256(name.encode())[:20].hex()}")
        for name, places in offsets.items()
    )


def _name(placeholder: str) -> str:
    return printable(placeholder.strip("_") or placeholder)


def printable(name: str) -> str:
    """A name as it may be shown in a terminal, whoever wrote it."""
    return name if name.isprintable() else ascii(name)


def _not_hex(text: str, where: str) -> CodeError:
    if _SOURCE.search(text, 0, _LOOKED_AT):
        return CodeError(
            "this is source text, not bytecode",
            where=where,
            fix="compile it first, e.g. `solc --bin-runtime FILE` or `forge build`, and give what that writes",
        )
    if _MNEMONICS.search(text[:1000]):
        return CodeError(
            "these are names of instructions, not bytecode", where=where, fix="give the code as hex digits"
        )
    at = _first_bad(text)
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    around = " ".join(text[max(0, at - 12) : at + 12].split())
    return CodeError(
        f"{text[at]!r} at position {at + 1} (line {line}, character {column}) is no hex digit: {around!r}",
        where=where,
        fix="bytecode is hex digits, in text, in a file, or in an artifact (JSON) of a compiler",
    )


def _first_bad(text: str) -> int:
    """The index of the first character that is neither a digit nor part of a placeholder or of the 0x before them."""
    start = len(text) - len(text.removeprefix("\ufeff").lstrip())
    start += 2 if text[start : start + 2] in ("0x", "0X") else 0
    found = re.compile(r"[^0-9a-fA-F\s]").search(_linked(text), start)
    return found.start() if found else start
