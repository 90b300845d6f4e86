"""Ends of a call that several ways share, one for each way: the same program, in which each way says what it ends with.

Compilers merge the last instructions of all `require`s and of all `return`s, so that what is reverted with or given back
depends on the way there. Only short ends without a way on are copied; what the function does is the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from whet.evm.tac import Block, Contract, End, Function, Operand, Statement

_MOST_STATEMENTS = 12
_MOST_WAYS = 24
_ROUNDS = 3
"""How many merged blocks one behind another are taken apart."""


def apart(contract: Contract) -> Contract:
    """The contract with shared ends copied; functions without any are the same objects."""
    functions = {name: _apart(function) for name, function in contract.functions.items()}
    return replace(contract, functions=functions)


def _apart(function: Function) -> Function:
    for _ in range(_ROUNDS):
        changed = _round(function)
        if changed is function:
            break
        function = changed
    return function


def _round(function: Function) -> Function:
    came = function.predecessors()
    shared = {
        id_
        for id_, block in function.blocks.items()
        if 1 < len(came[id_]) <= _MOST_WAYS
        and id_ != "b0"
        and _is_short_end(block)
        and not _is_padded(function, came, came[id_])
    }
    if not shared:
        return function
    blocks: dict[str, Block] = {}
    for id_, block in function.blocks.items():
        if id_ in shared:
            for number, source in enumerate(came[id_]):
                blocks[f"{id_}_{number}"] = _copy(block, source, number)
        else:
            targets = tuple(f"{t}_{came[t].index(id_)}" if t in shared else t for t in block.end.targets)
            blocks[id_] = (
                block
                if targets == block.end.targets
                else replace(block, end=replace(block.end, targets=targets))
            )
    return replace(function, blocks=blocks)


def _is_short_end(block: Block) -> bool:
    """A RETURN or REVERT of something, with what computes it."""
    return (
        block.end.op in ("RETURN", "REVERT")
        and 0 < len(block.statements) <= _MOST_STATEMENTS
        and block.end.args[1] != 0
    )


def _is_padded(function: Function, came: dict[str, list[str]], ways: list[str]) -> bool:
    """Whether the two ways differ only in that one clears the bytes behind a string: `if (length % 32 != 0) ...`."""
    for pad, other in (ways, ways[::-1]) if len(ways) == 2 else ():
        ops = {s.op for s in function.blocks[pad].statements}
        if came[pad] == [other] and {"MLOAD", "MSTORE"} <= ops:
            return True
    return False


def with_values(values: dict[str, Operand], operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """The operands, with what is known of variables in their place."""
    return tuple(values.get(o, o) if isinstance(o, str) else o for o in operands)


def _copy(block: Block, source: str, number: int) -> Block:
    """The block as it is entered from `source`; its variables get names of their own."""
    values: dict[str, Operand] = {phi.result: phi.incoming[source] for phi in block.phis}
    values |= {r: f"{r}_{number}" for s in block.statements for r in s.results}

    said = partial(with_values, values)
    statements = [
        Statement(s.op, said(s.args), tuple(f"{r}_{number}" for r in s.results), s.pc, s.function)
        for s in block.statements
    ]
    end = End(block.end.op, said(block.end.args), (), block.end.pc, (), block.end.function, block.end.why)
    return Block(f"{block.id}_{number}", block.pc, [], statements, end)
