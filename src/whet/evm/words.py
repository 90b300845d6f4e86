"""Arithmetic on 256-bit words, as the EVM defines it (Yellow Paper, appendix H.2): dividing by zero gives zero.

Words are ints, 0 <= word < 2**256; signed instructions read them as two's complement. `ONE`, `TWO` and `THREE` map the
name of an instruction to its function; arguments in the order of the Yellow Paper, top of the stack first. Left out:
everything that needs a state (memory, calls, environment).
"""

from __future__ import annotations

from collections.abc import Callable

from whet.evm.tac import WORD

SIGN = 1 << 255
"""The lowest word that is negative when read as a signed number."""

MODULUS = 1 << 256
ADDRESS = (1 << 160) - 1
"""The mask of an address's 20 bytes."""


def signed(word: int) -> int:
    """The word read as two's complement: -2**255 <= result < 2**255."""
    return word - MODULUS if word >= SIGN else word


def _sdiv(a: int, b: int) -> int:
    x, y = signed(a), signed(b)
    if not y:
        return 0
    quotient = abs(x) // abs(y)  # rounds towards zero; // rounds down
    return (quotient if (x < 0) == (y < 0) else -quotient) & WORD


def _smod(a: int, b: int) -> int:
    x, y = signed(a), signed(b)
    if not y:
        return 0
    rest = abs(x) % abs(y)
    return (-rest if x < 0 else rest) & WORD


def _signextend(size: int, word: int) -> int:
    """size: index of the byte that holds the sign, 0 the lowest."""
    if size >= 31:
        return word
    bit = 8 * size + 7
    low = word & ((1 << (bit + 1)) - 1)
    return low | (WORD ^ ((1 << (bit + 1)) - 1)) if word >> bit & 1 else low


def _byte(index: int, word: int) -> int:
    return word >> (248 - 8 * index) & 0xFF if index < 32 else 0


def _sar(shift: int, word: int) -> int:
    return signed(word) >> min(shift, 256) & WORD


ONE: dict[str, Callable[[int], int]] = {
    "ISZERO": lambda a: 0 if a else 1,
    "NOT": lambda a: a ^ WORD,
    "CLZ": lambda a: 256 - a.bit_length(),
}

TWO: dict[str, Callable[[int, int], int]] = {
    "ADD": lambda a, b: (a + b) & WORD,
    "MUL": lambda a, b: (a * b) & WORD,
    "SUB": lambda a, b: (a - b) & WORD,
    "DIV": lambda a, b: a // b if b else 0,
    "SDIV": _sdiv,
    "MOD": lambda a, b: a % b if b else 0,
    "SMOD": _smod,
    "EXP": lambda a, b: pow(a, b, MODULUS),
    "SIGNEXTEND": _signextend,
    "LT": lambda a, b: 1 if a < b else 0,
    "GT": lambda a, b: 1 if a > b else 0,
    "SLT": lambda a, b: 1 if signed(a) < signed(b) else 0,
    "SGT": lambda a, b: 1 if signed(a) > signed(b) else 0,
    "EQ": lambda a, b: 1 if a == b else 0,
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
    "BYTE": _byte,
    "SHL": lambda shift, word: word << shift & WORD if shift < 256 else 0,
    "SHR": lambda shift, word: word >> shift if shift < 256 else 0,
    "SAR": _sar,
}

THREE: dict[str, Callable[[int, int, int], int]] = {
    "ADDMOD": lambda a, b, n: (a + b) % n if n else 0,
    "MULMOD": lambda a, b, n: (a * b) % n if n else 0,
}
