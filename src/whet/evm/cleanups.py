"""What values are cleaned to directly before they are stored in memory: what is left of a type in code that encodes it.

An ABI encoder ends with `mstore(position, cleanup(value))`: a mask, a sign extension, ISZERO twice, or no cleanup where all 256
bits count. Of a constant, or of what is clean already, `fold` leaves no trace of it; so it is noted before. Looked at is
the basic block of the MSTORE alone, and private functions that do nothing but clean their argument, as code that was not
optimised has them. Costs one look at every statement.
"""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.blocks import Disassembly
from whet.evm.opcodes import PURE
from whet.evm.tac import Cleanup, Function, Operand, Statement
from whet.evm.words import ONE, TWO

_TRUTHS = frozenset({"ISZERO", "EQ", "LT", "GT", "SLT", "SGT"})

_DEEPEST = 4
"""Cleanups that call cleanups."""


def cleanups(functions: Iterable[Function], disassembly: Disassembly) -> dict[int, Cleanup]:
    """{offset of an MSTORE: the cleanup of its value}, of functions that were not folded.

    ("AND", mask), ("SIGNEXTEND", bytes - 1), ("ISZERO", 0) for a truth, ("", 0) where that does not tell: the value was
    computed or pushed there, so that a compiler may have seen that it is clean; nothing for a value that came from
    elsewhere and was stored as it was.
    """
    named = {function.name: function for function in functions}
    found: dict[int, Cleanup | None] = {}
    for function in named.values():
        called = {
            s.results[0]: s for s in function.statements() if s.op == "CALLPRIVATE" and len(s.results) == 1
        }
        for block in function.blocks.values():
            makers = _makers(block.statements)
            pushed = {value for _, name, value in disassembly.block(block.pc).instructions if name == "PUSH"}
            for s in block.statements:
                if s.op == "MSTORE":
                    value = s.args[1]
                    cleanup = ("", 0) if value in pushed else _of(value, makers, pushed, called, named)
                    found[s.pc] = cleanup if found.get(s.pc, cleanup) == cleanup else ("", 0)
    return {pc: cleanup for pc, cleanup in found.items() if cleanup is not None}


_Makers = dict[str, Statement]
"""{variable: the pure statement that makes it}"""


def _makers(statements: Iterable[Statement]) -> _Makers:
    return {s.results[0]: s for s in statements if s.op in PURE}


def _of(
    operand: Operand,
    makers: _Makers,
    pushed: set[int],
    called: dict[str, Statement],
    named: dict[str, Function],
) -> Cleanup | None:
    if isinstance(operand, int):
        return None
    if operand in makers:
        return _made(makers[operand], makers, pushed)
    call = called.get(operand)
    return _called(named[call.function], named, _DEEPEST) if call is not None else None


def _made(maker: Statement, makers: _Makers, pushed: set[int]) -> Cleanup:
    """pushed: constants of this block; others are values."""
    op = maker.op
    if op in ("AND", "SIGNEXTEND"):
        ours = [arg for arg in maker.args if arg in pushed or arg in makers]
        known = [word for word in (_constant(arg, makers) for arg in ours) if word is not None]
        return (op, known[0]) if known else ("", 0)
    return ("ISZERO", 0) if op in _TRUTHS else ("", 0)


def _constant(operand: Operand, makers: _Makers, depth: int = _DEEPEST) -> int | None:
    """A constant, or one that is computed: `(1 << 160) - 1` is shorter than the mask."""
    maker = None if isinstance(operand, int) else makers.get(operand)
    if isinstance(operand, int) or maker is None or depth == 0:
        return operand if isinstance(operand, int) else None
    words = [_constant(arg, makers, depth - 1) for arg in maker.args]
    known = [word for word in words if word is not None]
    if len(known) < len(words):
        return None
    if maker.op in ONE:
        return ONE[maker.op](*known)
    return TWO[maker.op](*known) if maker.op in TWO else None


def _called(function: Function, named: dict[str, Function], depth: int) -> Cleanup | None:
    """What a function of one argument cleans it to; None for functions that do anything else."""
    if len(function.params) != 1 or function.returns != 1 or depth == 0:
        return None
    statements = list(function.statements())
    if any(s.op not in PURE and s.op != "CALLPRIVATE" for s in statements):
        return None
    ends = [block.end for block in function.blocks.values() if block.end.op == "RETURNPRIVATE"]
    given = ends[0].args[0] if len(ends) == 1 else 0
    makers = _makers(statements)
    if given in makers:
        words = {arg for s in statements for arg in s.args if isinstance(arg, int)}
        cleanup = _made(makers[str(given)], makers, words)
        return cleanup if cleanup[0] else None
    call = next((s for s in statements if s.op == "CALLPRIVATE" and s.results == (given,)), None)
    return _called(named[call.function], named, depth - 1) if call is not None else None
