"""A contract that runs out of gas where a variable is outside of its range, and does the same as before everywhere else.

So what is said of variables is tried by running: the checked contract must agree with the bytecode in every call.
Left out: contracts that read MSIZE may see a word more of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from whet.evm.meaning.ranges import Range
from whet.evm.tac import Block, Contract, Function, Operand, Statement

_FAR = 200
"""A read from 2**200 costs more than any gas."""


def checked(contract: Contract, ranges: Mapping[str, Mapping[str, Range]]) -> Contract:
    """The contract with a check of every variable behind where it is assigned. ranges: {function: {variable: range}}."""
    functions = {
        name: _checked_function(function, ranges.get(name, {}))
        for name, function in contract.functions.items()
    }
    return replace(contract, functions=functions)


def _checked_function(function: Function, ranges: Mapping[str, Range]) -> Function:
    blocks: dict[str, Block] = {}
    for id_, block in function.blocks.items():
        names = [*(function.params if id_ == "b0" else ()), *(phi.result for phi in block.phis)]
        statements = [check for name in names for check in _checks(name, ranges)]
        for s in block.statements:
            statements.append(s)
            statements += [check for name in s.results for check in _checks(name, ranges)]
        blocks[id_] = replace(block, statements=statements)
    return replace(function, blocks=blocks)


def _checks(name: str, ranges: Mapping[str, Range]) -> list[Statement]:
    if name not in ranges:
        return []
    made: list[Statement] = []

    def say(op: str, *args: Operand) -> str:
        made.append(Statement(op, args, (f"{name}_{len(made)}",), 0))
        return made[-1].results[0]

    for dirty in _dirt(name, ranges[name], say):
        say("MLOAD", say("SHL", _FAR, say("ISZERO", say("ISZERO", dirty))))
    return made


def _dirt(name: str, known: Range, say: Callable[..., str]) -> list[str]:
    """Variables that are 0 if `name` is in the range."""
    found: list[str] = []
    if known.low < 0:
        found.append(say("SHR", known.high, name))
    elif max(known.low, known.high) < 255:
        shift = 255 - max(known.low, known.high)
        found.append(say("SUB", say("SAR", shift, say("SHL", shift, name)), name))
    if known.zeros:
        found.append(say("SHL", 256 - known.zeros, name))
    return found
