"""Words as short as they can be read.

Decimal below 2**16 and for round numbers (`1e18`, `3600000`), hexadecimal otherwise; `~x` and `-x` for words near the
top; `0x08c379a0 << 224` for what stands in the upper bytes; text in quotes where a word holds text.
"""

from __future__ import annotations

from whet.evm.tac import WORD

SMALL = 1 << 16
ATOM = 100
"""How tightly a text holds together: higher than every operator."""


def number(value: int) -> tuple[str, int]:
    """The text of a word and how tightly it holds together (the precedence of its operator, see `expressions`)."""
    if value < SMALL:
        return str(value), ATOM
    if WORD - value < SMALL:
        return (
            (f"~{hex(WORD - value) if value != WORD else 0}", 90)
            if _mask(value)
            else (f"-{WORD + 1 - value}", 90)
        )
    if text := _text(value):
        return text, ATOM
    if rounded := _round(value):
        return rounded, ATOM
    zeros = (value & -value).bit_length() - 1
    if zeros >= 32 and _digits(value >> zeros // 8 * 8) * 2 < _digits(value):
        return _shifted(value, zeros)
    if _digits(WORD - value) * 2 < _digits(value):
        return f"~{_grouped(WORD - value)}", 90
    return hexadecimal(value), ATOM


def hexadecimal(value: int) -> str:
    """In hexadecimal digits; what may be a selector with all eight."""
    return f"0x{value:08x}" if 1 << 24 <= value < 1 << 32 else hex(value)


def _grouped(value: int) -> str:
    text, tightness = number(value)
    return text if tightness == ATOM else f"({text})"


def _mask(value: int) -> bool:
    """Whether the zeros of a word near the top are whole bytes at its end, or none."""
    low = WORD - value
    return low & (low + 1) == 0 and low.bit_length() % 8 == 0


def _digits(value: int) -> int:
    return (value.bit_length() + 3) // 4


def _round(value: int) -> str:
    digits = str(value)
    kept = digits.rstrip("0")
    zeros = len(digits) - len(kept)
    return f"{kept}e{zeros}" if zeros >= 5 and len(kept) <= 6 else ""


def _shifted(value: int, zeros: int) -> tuple[str, int]:
    low = value >> zeros
    if low & (low + 1) == 0 and low > 1:  # a run of ones: whole hexadecimal digits, or (1 << n) - 1
        width = low.bit_length()
        ones = hex(low) if width <= 32 else f"((1 << {width}) - 1)"
        return f"{ones} << {zeros}", 60
    zeros = 8 * (zeros // 8) if value >> (zeros // 8 * 8) > 0xFF else zeros
    kept = value >> zeros
    return f"{hexadecimal(kept) if kept > 9 else kept} << {zeros}", 60


def _text(value: int) -> str:
    """A word whose upper bytes are printable ASCII and the rest 0, as a string."""
    raw = value.to_bytes(32, "big")
    kept = raw.rstrip(b"\0")
    if len(kept) >= 5 and all(32 <= byte < 127 for byte in kept) and any(chr(b).isalpha() for b in kept):
        return quoted(kept.decode("ascii"))
    return ""


def quoted(text: str) -> str:
    """In double quotes, escaped as in Solidity; everything that is not printable ASCII as \\u or \\x."""
    out = []
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif 32 <= ord(character) < 127:
            out.append(character)
        elif character in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character])
        else:
            out.append("".join(f"\\u{unit:04x}" for unit in _utf16(character)))
    return f'"{"".join(out)}"'


def _utf16(character: str) -> list[int]:
    raw = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


def typed(value: int, type_: str) -> str:
    """A word as a literal of a Solidity type; "" for a type that has no way of its own to write it."""
    if type_ == "bool" and value < 2:
        return "true" if value else "false"
    if type_ == "address":
        return f"0x{value:040x}" if value else "address(0)"
    if type_.startswith("int") and value >> 255:
        return f"-{WORD + 1 - value}"
    if type_.startswith("bytes") and type_[5:].isdigit():
        size = int(type_[5:])
        return (
            f"0x{value >> 8 * (32 - size):0{2 * size}x}" if value & ((1 << 8 * (32 - size)) - 1) == 0 else ""
        )
    if type_ == "uint256" and value == WORD:
        return "type(uint256).max"
    return ""
