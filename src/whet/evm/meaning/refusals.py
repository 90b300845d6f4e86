"""Branches of which one side gives up: a revert without data, with data, or with those that a call gave back."""

from __future__ import annotations

from typing import NamedTuple

from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Contract, End, Function, Statement

_QUIET = PURE | {"MLOAD", "MSTORE", "RETURNDATASIZE", "RETURNDATACOPY"}
_STILL = PURE | {"MLOAD", "RETURNDATASIZE"}
_DEEPEST = 3
EMPTY, DATA, FORWARDED = "empty", "data", "forwarded"


class Refusal(NamedTuple):
    """good: the block where control goes on. when: whether it is refused where the condition is not 0.

    what: EMPTY for `revert(0, 0)`, FORWARDED for one with all that the last call gave back, DATA for other reverts."""

    good: str
    when: bool
    what: str


def refusal(contract: Contract, function: Function, block: Block) -> Refusal | None:
    """Of a BRANCH; None where neither side gives up, or both do."""
    if block.end.op != "BRANCH":
        return None
    true, false = block.end.targets
    kinds = [_refuses(contract, function, target, 0) for target in (true, false)]
    if (kinds[0] is None) == (kinds[1] is None):
        return None
    if kinds[0] is not None:
        return Refusal(false, True, kinds[0])
    return Refusal(true, False, kinds[1] or "")


def _refuses(contract: Contract, function: Function, name: str, depth: int) -> str | None:
    """How control that comes to a block is sure to revert; None where it is not."""
    block = function.blocks[name]
    calls = [s for s in block.statements if s.op == "CALLPRIVATE"]
    if depth == _DEEPEST:
        return None
    if block.end.op == "JUMP" and not block.statements:
        return _refuses(contract, function, block.end.targets[0], depth + 1)
    if block.end.op == "INVALID" and len(calls) == 1 and block.statements[-1] is calls[0]:
        callee = contract.functions[calls[0].function]
        return _refuses(contract, callee, "b0", depth + 1) if callee.returns is None else None
    if block.end.op != "REVERT" or any(s.op not in _QUIET for s in block.statements if s not in calls):
        return None
    if block.end.args == (0, 0):
        return DATA if calls else EMPTY
    return FORWARDED if not calls and forwards(block.statements, block.end) else DATA


def forwards(statements: list[Statement], end: End) -> bool:
    """Whether control ends with all that the last call gave back: `returndatacopy(p, 0, returndatasize())`, then a
    `revert(p, returndatasize())` or return, with nothing behind the copy that could change what that is."""
    copies = [index for index, s in enumerate(statements) if s.op == "RETURNDATACOPY"]
    if not copies or len(end.args) != 2:
        return False
    behind = statements[copies[-1] + 1 :]
    before = statements[: copies[-1]]
    calls = [index for index, s in enumerate(before) if s.op not in _STILL | {"MSTORE"}]
    asked = [*before[calls[-1] + 1 if calls else 0 :], *behind]
    sizes = {s.results[0] for s in asked if s.op == "RETURNDATASIZE"}
    to, start, length = statements[copies[-1]].args
    return (
        all(s.op in _STILL for s in behind)
        and (to, start) == (end.args[0], 0)
        and {length, end.args[1]} <= sizes
    )
