"""Which values a word may have: intervals (lowest, highest) of unsigned numbers, through instructions and conditions.

Taken for granted of the environment: what no chain has had and no call of ours gives (`ENVIRONMENT`), the caller not at
address 0, the contract where calls find it, and a free memory pointer (memory at 0x40, Solidity's) within what gas can pay for.
"""

from __future__ import annotations

from collections.abc import Callable

from whet.evm.replay.mocks import TARGET
from whet.evm.tac import WORD
from whet.evm.words import ONE, THREE, TWO

Interval = tuple[int, int]
ANY: Interval = (0, WORD)
BIT: Interval = (0, 1)
ADDRESS: Interval = (1, (1 << 160) - 1)
SIZE: Interval = (0, 1 << 32)
"""Of calldata, return data, memory, code: more cannot be paid for."""
HALF = 1 << 255

ENVIRONMENT: dict[str, Interval] = {
    "CALLER": ADDRESS,
    "ORIGIN": ADDRESS,
    "ADDRESS": (TARGET, TARGET),
    "CALLVALUE": (0, 1 << 127),
    "SELFBALANCE": (0, 1 << 127),
    "BALANCE": (0, 1 << 127),
    "CALLDATASIZE": SIZE,
    "RETURNDATASIZE": SIZE,
    "CODESIZE": SIZE,
    "EXTCODESIZE": SIZE,
    "MSIZE": SIZE,
    "GAS": (0, 1 << 40),
    "TIMESTAMP": (1, 1 << 40),
    "NUMBER": (1, 1 << 40),
    "CHAINID": (1, 1 << 64),
    "COINBASE": (0, (1 << 160) - 1),
    "KECCAK256": (1, WORD),
    **dict.fromkeys(("CREATE", "CREATE2"), (0, (1 << 160) - 1)),
    **dict.fromkeys(("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "SLT", "SGT", "EQ", "LT", "GT"), BIT),
}


def _fit(lowest: int, highest: int) -> Interval:
    """Between these, modulo 2^256."""
    return (lowest & WORD, highest & WORD) if lowest >> 256 == highest >> 256 else ANY


def _bits(highest: int) -> int:
    return (1 << highest.bit_length()) - 1


def _and(a: Interval, b: Interval) -> Interval:
    for one, other in ((a, b), (b, a)):
        mask = one[0]
        if one[0] == one[1] and mask & (mask + 1) == 0 and other[1] <= mask:
            return other
    return 0, min(a[1], b[1])


def _less(a: Interval, b: Interval) -> Interval:
    return (1, 1) if a[1] < b[0] else (0, 0) if a[0] >= b[1] else BIT


def _signed_less(a: Interval, b: Interval) -> Interval:
    return _less(a, b) if a[1] < HALF and b[1] < HALF else BIT


def _equal(a: Interval, b: Interval) -> Interval:
    if a[1] < b[0] or b[1] < a[0]:
        return 0, 0
    return (1, 1) if a == b and a[0] == a[1] else BIT


def _shift_left(by: Interval, a: Interval) -> Interval:
    return _fit(a[0] << by[0], a[1] << by[0]) if by[0] == by[1] < 256 else ANY


def _shift_right(by: Interval, a: Interval) -> Interval:
    return (a[0] >> min(by[1], 256), a[1] >> min(by[0], 256))


KNOWN: dict[str, Callable[..., int]] = {**ONE, **TWO, **THREE}
"""Instructions whose result is known where their arguments are."""
RULES: dict[str, Callable[..., Interval]] = {
    "ADD": lambda a, b: _fit(a[0] + b[0], a[1] + b[1]),
    "SUB": lambda a, b: _fit(a[0] - b[1], a[1] - b[0]),
    "MUL": lambda a, b: _fit(a[0] * b[0], a[1] * b[1]),
    "DIV": lambda a, b: (a[0] // b[1] if b[0] else 0, a[1] // max(b[0], 1)),
    "MOD": lambda a, b: (0, min(a[1], max(b[1] - 1, 0))),
    "AND": _and,
    "OR": lambda a, b: (max(a[0], b[0]), _bits(max(a[1], b[1]))),
    "XOR": lambda a, b: (0, _bits(max(a[1], b[1]))),
    "NOT": lambda a: (WORD - a[1], WORD - a[0]),
    "ISZERO": lambda a: (1, 1) if a[1] == 0 else (0, 0) if a[0] else BIT,
    "LT": _less,
    "GT": lambda a, b: _less(b, a),
    "SLT": _signed_less,
    "SGT": lambda a, b: _signed_less(b, a),
    "EQ": _equal,
    "SHL": _shift_left,
    "SHR": _shift_right,
    "BYTE": lambda i, a: (0, 255),
}
"""Instruction -> interval of its result, of the intervals of its arguments."""


def result_of(op: str, args: list[Interval]) -> Interval:
    """What the instruction may give."""
    if op in KNOWN and all(low == high for low, high in args):
        value = KNOWN[op](*(low for low, _ in args))
        return value, value
    if op in RULES:
        return RULES[op](*args)
    if op == "MLOAD" and args == [(0x40, 0x40)]:
        return SIZE
    return ENVIRONMENT.get(op, ANY)


def is_of_nobody(op: str, args: list[Interval]) -> bool:
    """Whether it is a call of address 0, without wei: it succeeds and gives no bytes back, as nobody can put code there."""
    without_wei = op in ("DELEGATECALL", "STATICCALL") or (op == "CALL" and args[2] == (0, 0))
    return without_wei and args[1] == (0, 0)


def meet(a: Interval, b: Interval) -> Interval | None:
    """What is in both; None for nothing."""
    found = max(a[0], b[0]), min(a[1], b[1])
    return found if found[0] <= found[1] else None


def hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def without(a: Interval, word: int) -> Interval | None:
    """The interval without that word, where it is one of its ends."""
    low, high = a[0] + (a[0] == word), a[1] - (a[1] == word)
    return (low, high) if low <= high else None


def compared(op: str, holds: bool, a: Interval, b: Interval) -> tuple[Interval | None, Interval | None]:
    """Both operands of EQ or LT, given that it holds or that it does not."""
    if op == "EQ" and holds:
        return meet(a, b), meet(a, b)
    if op == "EQ":
        return (without(a, b[0]) if b[0] == b[1] else a), (without(b, a[0]) if a[0] == a[1] else b)
    if holds:
        return meet(a, (0, b[1] - 1)) if b[1] else None, meet(b, (a[0] + 1, WORD)) if a[0] < WORD else None
    return meet(a, (b[0], WORD)), meet(b, (0, a[1]))
