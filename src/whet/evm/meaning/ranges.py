"""Which words can be: bounds that hold on every way, proved from masks, comparisons and checks, across calls.

A `Range` says of a word x, read as a signed number: -2**low <= x < 2**high, where low is -1 for x >= 0, and its lowest
`zeros` bits are 0. So a clean uint8 is (-1, 8, 0), a clean int16 (15, 15, 0), a clean bytes4 (255, 255, 224).
Each rule holds for all words (tests/evm/test_ranges.py tries them). Left out: relations between variables, but for
`a < b` and `a == b` where they are asked; what memory and storage hold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from whet.evm.algebra import NARROW
from whet.evm.words import signed


class Range(NamedTuple):
    """-2**low <= signed(x) < 2**high (low -1: x >= 0); the lowest `zeros` bits are 0."""

    low: int
    high: int
    zeros: int = 0


ANY = Range(255, 255)
ZERO = Range(-1, 0, 256)


@lru_cache(4096)
def of_word(word: int) -> Range:
    """The range of a constant."""
    if not word:
        return ZERO
    number = signed(word)
    zeros = (word & -word).bit_length() - 1
    return (
        Range((-number - 1).bit_length(), 0, zeros) if number < 0 else Range(-1, number.bit_length(), zeros)
    )


def either(a: Range, b: Range) -> Range:
    """Of a word that is in one of them."""
    return Range(max(a.low, b.low), max(a.high, b.high), min(a.zeros, b.zeros))


def both(a: Range, b: Range) -> Range:
    """Of a word that is in both."""
    return Range(min(a.low, b.low), min(a.high, b.high), max(a.zeros, b.zeros))


def unsigned(bits: int, zeros: int = 0) -> Range:
    """Of a word below 2**bits."""
    return Range(-1, bits, zeros) if bits < 256 else Range(255, 255, zeros)


def bits_of(a: Range) -> int:
    """How many low bits of the word can be set."""
    return a.high if a.low < 0 else 256


@lru_cache(1024)
def of_type(kind: str) -> Range | None:
    """Of a clean value of bool, address, uintN, intN, bytesN; None for other types."""
    if kind in ("bool", "address"):
        return unsigned(1 if kind == "bool" else 160)
    family, digits = kind.rstrip("0123456789"), kind.lstrip("abcdefghijklmnopqrstuvwxyz")
    if not digits.isdigit():
        return None
    if family == "uint":
        return unsigned(int(digits))
    if family == "int":
        return Range(int(digits) - 1, int(digits) - 1)
    return Range(255, 255, 256 - 8 * int(digits)) if family == "bytes" else None


def fits(a: Range, kind: str) -> bool:
    """Whether every word in the range is a clean value of the type."""
    clean = of_type(kind)
    return clean is not None and a.low <= clean.low and a.high <= clean.high and a.zeros >= clean.zeros


# Results of instructions.


def result(op: str, args: tuple[Range, ...], words: tuple[int | None, ...]) -> Range:
    """Of `op(args)`. words: the arguments that are constants."""
    rule = _RULES.get(op)
    return rule(args, words) if rule is not None else _FIXED.get(op, ANY)


def fixed(op: str) -> Range | None:
    """What an instruction gives whatever its arguments are; None for one where they matter."""
    return None if op in _RULES else _FIXED.get(op, ANY)


_FIXED = {op: Range(-1, bits) for op, bits in NARROW.items()}
_Args = tuple[Range, ...]
_Words = tuple[int | None, ...]


def _sum(a: Range, b: Range) -> Range:
    zeros = min(a.zeros, b.zeros)
    low = max(a.low, b.low) + (a.low >= 0 and b.low >= 0)
    high = max(a.high, b.high) + (a.high > 0 and b.high > 0)
    return Range(low, high, zeros) if max(low, high) < 256 else Range(255, 255, zeros)


def _negated(a: Range) -> Range:
    """Of -x; -(-2**255) does not wrap here, as 256 is more than any range has."""
    return Range(a.high if a.high else -1, a.low + 1 if a.low >= 0 else 0, a.zeros)


def _difference(args: _Args, words: _Words) -> Range:
    return _sum(args[0], _negated(args[1]))


def _product(args: _Args, words: _Words) -> Range:
    a, b = args
    zeros = min(256, a.zeros + b.zeros)
    bits = max(a.low, a.high) + max(b.low, b.high)
    if a.low < 0 and b.low < 0:
        return unsigned(bits, zeros)
    return Range(bits, bits + 1, zeros) if bits < 255 else Range(255, 255, zeros)


def _quotient(args: _Args, words: _Words) -> Range:
    bits, by = bits_of(args[0]), words[1]
    return unsigned(max(0, bits - (by.bit_length() - 1 if by else 0)))


def _rest(args: _Args, words: _Words) -> Range:
    """MOD, ADDMOD, MULMOD: less than the last argument, or 0."""
    bits = bits_of(args[-1])
    return unsigned(min(bits, bits_of(args[0])) if len(args) == 2 else bits)


def _signed_quotient(args: _Args, words: _Words) -> Range:
    a, b = args
    if a.low < 0 and b.low < 0:
        return _quotient(args, words)
    bits = max(a.low, a.high)
    return Range(bits, bits + 1) if bits < 255 else ANY


def _signed_rest(args: _Args, words: _Words) -> Range:
    return Range(args[0].low, args[0].high)


def _and(args: _Args, words: _Words) -> Range:
    a, b = args
    zeros = max(a.zeros, b.zeros)
    if a.low < 0 or b.low < 0:
        return Range(-1, min(x.high for x in args if x.low < 0), zeros)
    return _bitwise(args, zeros)


def _bitwise(args: _Args, zeros: int) -> Range:
    """What fits as a signed number of some bits fits after AND, OR and XOR too."""
    bits = max(max(x.low, x.high) for x in args)
    return Range(-1 if all(x.low < 0 for x in args) else bits, bits, zeros)


def _not(args: _Args, words: _Words) -> Range:
    return Range(args[0].high, max(args[0].low, 0))


def _signextend(args: _Args, words: _Words) -> Range:
    size, a = words[0], args[1]
    if size is None or size >= 31:
        return a if size is not None else ANY
    bits = 8 * size + 7
    return a if max(a.low, a.high) <= bits else Range(bits, bits, a.zeros)


def _shl(args: _Args, words: _Words) -> Range:
    shift, a = words[0], args[1]
    if shift is None or shift > 255:
        return ZERO if shift is not None else Range(255, 255, a.zeros)
    zeros = min(256, a.zeros + shift)
    low, high = a.low + shift if a.low >= 0 else -1, a.high + shift if a.high else 0
    return Range(low, high, zeros) if max(low, high) < 256 else Range(255, 255, zeros)


def _shr(args: _Args, words: _Words) -> Range:
    shift, a = words[0], args[1]
    if shift is None:
        return Range(a.low, a.high) if a.low < 0 else ANY
    return unsigned(max(0, bits_of(a) - shift), max(0, a.zeros - shift)) if shift < 256 else ZERO


def _sar(args: _Args, words: _Words) -> Range:
    shift, a = words[0], args[1]
    if shift is None:
        return Range(a.low, a.high)
    low = max(a.low - shift, 0) if a.low >= 0 else -1
    return Range(low, max(a.high - shift, 0), max(0, a.zeros - shift))


_RULES: dict[str, Callable[[_Args, _Words], Range]] = {
    "ADD": lambda args, words: _sum(*args),
    "SUB": _difference,
    "MUL": _product,
    "DIV": _quotient,
    "SDIV": _signed_quotient,
    "MOD": _rest,
    "ADDMOD": _rest,
    "MULMOD": _rest,
    "SMOD": _signed_rest,
    "AND": _and,
    "OR": lambda args, words: _bitwise(args, min(a.zeros for a in args)),
    "XOR": lambda args, words: _bitwise(args, min(a.zeros for a in args)),
    "NOT": _not,
    "SIGNEXTEND": _signextend,
    "SHL": _shl,
    "SHR": _shr,
    "SAR": _sar,
}
