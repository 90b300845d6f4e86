"""Constants that solc keeps in the code: loaded into the first word of memory, which then gets back what it held.

Its optimiser does so where the copy is shorter than the constant is, each time that it occurs ("CODECOPY method").
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

from whet.evm.meaning.exits import with_values
from whet.evm.tac import Block, Contract, Function, Operand, Phi, Statement

_LOAD = ("MLOAD", "CODECOPY", "MLOAD", "MSTORE")


def in_place(contract: Contract) -> Contract:
    """The contract with such constants where they are used; functions without any are the same objects."""
    functions = {name: _in_place(contract, function) for name, function in contract.functions.items()}
    return replace(contract, functions=functions)


def of_code(contract: Contract, offset: int, length: int) -> bytes:
    """Bytes of the code; b"" where the contract does not keep all of them."""
    for start, part in contract.data.items():
        if start <= offset and offset + length <= start + len(part):
            return part[offset - start : offset - start + length]
    return b""


def _in_place(contract: Contract, function: Function) -> Function:
    if all(s.op != "CODECOPY" for s in function.statements()):
        return function
    values: dict[str, Operand] = {}
    blocks = function.blocks.values()
    used = Counter(arg for block in blocks for s in block.statements for arg in s.args)
    used += Counter(arg for block in blocks for arg in block.end.args)
    used += Counter(one for block in blocks for phi in block.phis for one in phi.incoming.values())
    kept: dict[str, list[Statement]] = {}
    for id_, block in function.blocks.items():
        statements = list(block.statements)
        at = 0
        while at + len(_LOAD) <= len(statements):
            word = _loaded(contract, statements[at : at + len(_LOAD)])
            if word is None or used[statements[at].results[0]] != 1:
                at += 1
                continue
            values[statements[at + 2].results[0]] = word
            del statements[at : at + len(_LOAD)]
        kept[id_] = statements
    if not values:
        return function
    return replace(function, blocks={i: _with(values, b, kept[i]) for i, b in function.blocks.items()})


def _loaded(contract: Contract, statements: list[Statement]) -> int | None:
    """The word that these four statements load."""
    if tuple(s.op for s in statements) != _LOAD:
        return None
    before, copy, load, restore = statements
    offset = copy.args[1]
    if (
        copy.args != (0, offset, 32)
        or (before.args, load.args) != ((0,), (0,))
        or not isinstance(offset, int)
    ):
        return None
    if restore.args != (0, before.results[0]):
        return None
    data = of_code(contract, offset, 32)
    return int.from_bytes(data, "big") if data else None


def _with(values: dict[str, Operand], block: Block, statements: list[Statement]) -> Block:
    said = partial(with_values, values)
    phis = [
        Phi(p.result, dict(zip(p.incoming, said(tuple(p.incoming.values())), strict=True)))
        for p in block.phis
    ]
    made = [replace(s, args=said(s.args)) for s in statements]
    return replace(block, phis=phis, statements=made, end=replace(block.end, args=said(block.end.args)))
