"""Strings of older compilers that keep what memory held behind them: `revert("...")` pads with zeros.

Such a string is copied out of the code, and nothing is written behind it. Free memory holds zeros, unless a call
of another contract came before, whose input was put there.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.tac import Block, Function
from whet.evm.terms import Revert, Text

CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"})


def padded_otherwise(function: Function, known: FunctionMeaning, calling: Mapping[str, bool]) -> set[Place]:
    """Places of reverts with a string that may have other bytes behind it. calling: functions that call contracts."""
    told = {
        block
        for (block, index), form in known.forms.items()
        if index == END and isinstance(form, Revert) and any(isinstance(arg, Text) for arg in form.args)
    }
    dirty = {name for name in told if _keeps_bytes(function.blocks[name])}
    if not dirty:
        return set()
    before = function.predecessors()
    found = set[Place]()
    for name in dirty:
        ways, work = {name}, [name]
        while work:
            new = set(before[work.pop()]) - ways
            ways |= new
            work += new
        statements = [s for way in ways for s in function.blocks[way].statements]
        if any(s.op in CALLS or (s.op == "CALLPRIVATE" and calling[s.function]) for s in statements):
            found.add((name, END))
    return found


def _keeps_bytes(block: Block) -> bool:
    """Whether it copies code that ends within a word."""
    lengths = [s.args[2] for s in block.statements if s.op == "CODECOPY"]
    return any(isinstance(length, int) and length % 32 for length in lengths)
