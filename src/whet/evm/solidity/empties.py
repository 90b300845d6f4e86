"""Branches that only tell an empty object from another.

`if (returndatasize() != 0) { v = returned(); ... }`, where the other way does the same with the empty object that
nobody made (at 0x60): an object of no bytes is as empty, so that control always goes the first way. And the branch
behind `v = new bytes(n)` around the code that fills it with zeros, which Solidity's `new` does too.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.solidity.references import ZERO_SLOT
from whet.evm.solidity.sums import sum_of
from whet.evm.tac import Block, Function, Operand, Statement

_CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2", "CALLPRIVATE"})
_ZEROS = {"CALLDATACOPY": "CALLDATASIZE", "CODECOPY": "CODESIZE"}
"""Copies that give zeros from that offset on."""


def only_where_returned(function: Function, block: Block, behind: int, pointer: str) -> str:
    """The block whose branch skips `block` where a call gave nothing back, and does the same with an empty object; "".

    behind: the first statement of the block behind the object; pointer: the object."""
    came = function.predecessors()[block.id]
    if len(came) != 1:
        return ""
    asking = function.blocks[came[0]]
    if asking.end.op != "BRANCH" or not _asks_for_data(asking, block.id):
        return ""
    (other,) = [t for t in asking.end.targets if t != block.id] or [""]
    if not other:
        return ""
    same = _same_way(function, block, behind, function.blocks[other], asking.id, {pointer: ZERO_SLOT})
    return asking.id if same else ""


def _asks_for_data(block: Block, then: str) -> bool:
    """Whether control goes to `then` where the last call gave data, and only there."""
    made = {r: s for s in block.statements for r in s.results}
    condition, holds = block.end.args[0], block.end.targets[0] == then
    s = made.get(condition) if isinstance(condition, str) else None
    while s is not None and (s.op == "ISZERO" or (s.op == "EQ" and 0 in s.args)):
        inner = next((arg for arg in s.args if isinstance(arg, str)), "")
        s, holds = made.get(inner), not holds
    if s is None or s.op != "RETURNDATASIZE" or not holds:
        return False
    return not any(later.op in _CALLS for later in block.statements[block.statements.index(s) :])


def _same_way(
    function: Function, block: Block, behind: int, other: Block, asking: str, values: dict[str, Operand]
) -> bool:
    """Whether the rest of a block does what the other block does. values: what variables of the first are there."""
    same = dict(values)
    first = block.statements[behind:]
    if other.id in block.end.targets and not first and block.end.op == "JUMP":
        return _same_phis(other, block.id, asking, same)
    if len(first) != len(other.statements) or function.predecessors()[other.id] != [asking] or other.phis:
        return False
    for one, two in zip(first, other.statements, strict=True):
        if one.op != two.op or one.function != two.function or _there(one.args, same) != two.args:
            return False
        same |= zip(one.results, two.results, strict=True)
    end, its = block.end, other.end
    if end.op != its.op or _there(end.args, same) != its.args or end.targets != its.targets:
        return False
    return all(_same_phis(function.blocks[t], block.id, other.id, same) for t in end.targets)


def _there(args: tuple[Operand, ...], values: Mapping[str, Operand]) -> tuple[Operand, ...]:
    return tuple(values.get(arg, arg) if isinstance(arg, str) else arg for arg in args)


def _same_phis(target: Block, one: str, other: str, values: Mapping[str, Operand]) -> bool:
    return all(_there((phi.incoming[one],), values) == (phi.incoming[other],) for phi in target.phis)


def zeroed(
    function: Function, block: Block, pointer: str, length: str
) -> tuple[str, str, tuple[str, int]] | None:
    """(type, the block where ways meet, the statement that fills it with zeros) of an object that a branch fills."""
    made = {r: s for s in function.statements() for r in s.results}
    if block.end.op != "BRANCH":
        return None
    condition, holds = block.end.args[0], True
    while isinstance(condition, str) and (s := made.get(condition)) is not None and s.op == "ISZERO":
        condition, holds = s.args[0], not holds
    fills, meets = (function.blocks[t] for t in block.end.targets[:: 1 if holds else -1])
    if condition != length or function.predecessors()[fills.id] != [block.id] or fills.phis:
        return None
    if (
        fills.end.op != "JUMP"
        or fills.end.targets != (meets.id,)
        or not _same_phis(meets, fills.id, block.id, {})
    ):
        return None
    copies = [(i, s) for i, s in enumerate(fills.statements) if s.op in _ZEROS]
    if len(copies) != 1 or any(s.op not in _QUIET for s in fills.statements if s is not copies[0][1]):
        return None
    index, copy = copies[0]
    size = sum_of(copy.args[2], made, {length})
    if not _is_zeros(copy, made) or sum_of(copy.args[0], made, {pointer}) != (32, ((pointer, 1),)):
        return None
    kinds = {(0, ((length, 1),)): "bytes", (0, ((length, 32),)): "uint256[]"}
    return (kinds[size], meets.id, (fills.id, index)) if size in kinds else None


def _is_zeros(copy: Statement, made: Mapping[str, Statement]) -> bool:
    source = copy.args[1]
    s = made.get(source) if isinstance(source, str) else None
    return s is not None and s.op == _ZEROS[copy.op]


_QUIET = frozenset({"ADD", "MUL", "SHL", "CALLDATASIZE", "CODESIZE", "MLOAD"})
