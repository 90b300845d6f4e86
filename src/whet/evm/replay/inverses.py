"""Inverses of single instructions: what an operand may be for the result to be a given word.

`INVERSES[op](index, value, now)` yields words for operand `index`, the operands being `now`; none is promised to be right,
the whole expression is evaluated afterwards. Left out: EXP, ADDMOD, MULMOD, CLZ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from whet.evm.tac import WORD
from whet.evm.words import TWO


def _add(index: int, value: int, now: list[int]) -> Iterator[int]:
    yield value - now[1 - index]


def _sub(index: int, value: int, now: list[int]) -> Iterator[int]:
    yield value + now[1] if index == 0 else now[0] - value


def _mul(index: int, value: int, now: list[int]) -> Iterator[int]:
    other = now[1 - index]
    if other and value % other == 0:
        yield value // other
    elif other % 2:
        yield value * pow(other, -1, 1 << 256)
    elif other:
        yield value // other + 1


def _div(index: int, value: int, now: list[int]) -> Iterator[int]:
    if index == 0:
        yield value * now[1] if value * now[1] <= WORD else WORD
    elif value:
        yield now[0] // value
    else:
        yield now[0] + 1


def _mod(index: int, value: int, now: list[int]) -> Iterator[int]:
    if index == 0:
        yield value
    elif now[0] > value:
        yield now[0] - value


def _and(index: int, value: int, now: list[int]) -> Iterator[int]:
    mask = now[1 - index]
    if not value & ~mask:
        yield now[index] & ~mask | value
        yield value
    elif mask:
        yield now[index] | mask & -mask


def _or(index: int, value: int, now: list[int]) -> Iterator[int]:
    if now[1 - index] & ~value == 0:
        yield value & ~now[1 - index]
        yield value


def _xor(index: int, value: int, now: list[int]) -> Iterator[int]:
    yield value ^ now[1 - index]


def _not(index: int, value: int, now: list[int]) -> Iterator[int]:
    yield ~value & WORD


def _shl(index: int, value: int, now: list[int]) -> Iterator[int]:
    shift = now[0]
    if index == 1 and shift < 256 and not value & (1 << shift) - 1:
        kept = now[1] & ~(WORD >> shift)
        yield kept | value >> shift
    elif index == 0 and now[1]:
        yield value.bit_length() - now[1].bit_length()


def _shr(index: int, value: int, now: list[int]) -> Iterator[int]:
    shift = now[0]
    if index == 1 and shift < 256 and value << shift <= WORD:
        yield value << shift | now[1] & (1 << shift) - 1
    elif index == 0:
        yield max(now[1].bit_length() - value.bit_length(), 0)


def _byte(index: int, value: int, now: list[int]) -> Iterator[int]:
    if index == 1 and now[0] < 32 and value < 256:
        shift = 248 - 8 * now[0]
        yield now[1] & ~(255 << shift) | value << shift


def _signextend(index: int, value: int, now: list[int]) -> Iterator[int]:
    if index == 1 and TWO["SIGNEXTEND"](now[0], value) == value:
        yield value


INVERSES: dict[str, Callable[[int, int, list[int]], Iterator[int]]] = {
    "ADD": _add,
    "SUB": _sub,
    "MUL": _mul,
    "DIV": _div,
    "SDIV": _div,
    "MOD": _mod,
    "SMOD": _mod,
    "AND": _and,
    "OR": _or,
    "XOR": _xor,
    "NOT": _not,
    "SHL": _shl,
    "SHR": _shr,
    "SAR": _shr,
    "BYTE": _byte,
    "SIGNEXTEND": _signextend,
}
