"""What a pure statement is equal to: a constant, one of its arguments, or a simpler statement. Exact, for all words.

Every rule holds for all 256-bit values (tests/evm/test_algebra.py tries each on random ones against the EVM's meaning);
`bits` tells how many low bits of a variable can be set at all, which removes masks that compilers write twice.
"""

from __future__ import annotations

from collections.abc import Callable

from whet.evm.tac import WORD, Operand, Statement
from whet.evm.words import ADDRESS, ONE, TWO

_Simpler = Operand | tuple[str, tuple[Operand, ...]] | None
"""An operand it equals; or (op, args) to be computed instead; or None."""

ADDRESS_BITS = ADDRESS.bit_length()

NARROW = {
    **dict.fromkeys(("ADDRESS", "CALLER", "ORIGIN", "COINBASE"), ADDRESS_BITS),
    **dict.fromkeys(("LT", "GT", "SLT", "SGT", "EQ", "ISZERO"), 1),
    **dict.fromkeys(("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"), 1),
    **dict.fromkeys(("CREATE", "CREATE2"), ADDRESS_BITS),
    "BYTE": 8,
    "CLZ": 9,
}
"""How many low bits the result of an instruction can have, where that is fewer than 256 whatever its arguments."""

COMMUTATIVE = frozenset({"ADD", "MUL", "EQ", "AND", "OR", "XOR"})


def bits_of(statement: Statement, bits: dict[str, int]) -> int:
    """How many low bits of the result can be set."""
    op, args = statement.op, statement.args

    def width(operand: Operand) -> int:
        return operand.bit_length() if isinstance(operand, int) else bits.get(operand, 256)

    if op == "AND":
        return min(width(args[0]), width(args[1]))
    if op in ("OR", "XOR"):
        return max(width(args[0]), width(args[1]))
    if op == "SHR" and isinstance(args[0], int):
        return max(0, width(args[1]) - args[0])
    if op == "SHL" and isinstance(args[0], int):
        return min(256, width(args[1]) + args[0])
    if op == "ADD":
        return min(256, 1 + max(width(args[0]), width(args[1])))
    if op == "DIV" or op == "MOD":
        return min(width(args[0]), width(args[1])) if op == "MOD" else width(args[0])
    return NARROW.get(op, 256)


def simplify(
    op: str, args: tuple[Operand, ...], makers: dict[str, Statement], bits: dict[str, int]
) -> _Simpler:
    """A simpler form of `op(args)`. makers: {variable: the pure statement that computes it}."""
    if op in ONE:
        return _unary(op, args[0], makers, bits)
    if op not in TWO:
        return None
    a, b = args
    if isinstance(a, int) and isinstance(b, int):
        return TWO[op](a, b)
    if op in COMMUTATIVE and isinstance(b, int):
        a, b = b, a
    rule = _RULES.get(op)
    return rule(a, b, makers, bits) if rule is not None else None


def _unary(op: str, a: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if isinstance(a, int):
        return ONE[op](a)
    inner = makers.get(a)
    if inner is None or inner.op != op or op == "CLZ":
        return None
    x = inner.args[0]
    is_boolean = isinstance(x, str) and bits.get(x, 256) <= 1
    return x if op == "NOT" or is_boolean else None


def _and(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if a == b:
        return a
    if not isinstance(a, int) or not isinstance(b, str):
        return None
    if a == 0:
        return 0
    width = bits.get(b, 256)
    if a & ((1 << width) - 1) == (1 << width) - 1:
        return b
    inner = _constant_of(makers.get(b), "AND")
    if inner is not None:
        return ("AND", (a & inner[0], inner[1]))
    return None


def _or(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return b if a == 0 or a == b else None


def _xor(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return b if a == 0 else 0 if a == b else None


def _add(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if a == 0:
        return b
    if not isinstance(a, int) or not isinstance(b, str):
        return None
    maker = makers.get(b)
    inner = _constant_of(maker, "ADD")
    if inner is not None:
        return ("ADD", ((a + inner[0]) & WORD, inner[1]))
    if maker is not None and maker.op == "SUB" and isinstance(maker.args[1], int):
        left = (a - maker.args[1]) & WORD
        return maker.args[0] if left == 0 else ("ADD", (left, maker.args[0]))
    return None


def _sub(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if b == 0:
        return a
    if a == b:
        return 0
    if isinstance(a, str):
        inner = _constant_of(makers.get(a), "ADD")
        if inner is not None and isinstance(b, int):
            left = (inner[0] - b) & WORD
            return inner[1] if left == 0 else ("ADD", (left, inner[1]))
        if inner is not None and inner[1] == b:
            return inner[0]
    return None


def _mul(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return 0 if a == 0 else b if a == 1 else None


def _div(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if b == 1:
        return a
    if isinstance(b, int) and b >= 256 and b & (b - 1) == 0 and (b.bit_length() - 1) % 8 == 0:
        return ("SHR", (b.bit_length() - 1, a))
    return 0 if b == 0 else None


def _exp(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return 1 if b == 0 else a if b == 1 else None


def _eq(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return 1 if a == b else ("ISZERO", (b,)) if a == 0 else None


def _shl(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    return b if a == 0 else 0 if b == 0 else None


def _shr(a: Operand, b: Operand, makers: dict[str, Statement], bits: dict[str, int]) -> _Simpler:
    if a == 0 or b == 0:
        return b
    maker = makers.get(b) if isinstance(b, str) else None
    if isinstance(a, int) and a < 256 and maker is not None and maker.op == "SHL" and maker.args[0] == a:
        return ("AND", ((1 << (256 - a)) - 1, maker.args[1]))
    return None


def _constant_of(maker: Statement | None, op: str) -> tuple[int, Operand] | None:
    """(constant, the other) of a statement `op` with one constant argument."""
    if maker is None or maker.op != op:
        return None
    a, b = maker.args
    if isinstance(a, int):
        return a, b
    return (b, a) if isinstance(b, int) else None


_RULES: dict[str, Callable[[Operand, Operand, dict[str, Statement], dict[str, int]], _Simpler]] = {
    "AND": _and,
    "OR": _or,
    "XOR": _xor,
    "ADD": _add,
    "SUB": _sub,
    "MUL": _mul,
    "DIV": _div,
    "EXP": _exp,
    "EQ": _eq,
    "SHL": _shl,
    "SHR": _shr,
}
