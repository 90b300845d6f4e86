"""Members of enums: words that code asks to be small, and panics if they are not, before it converts or encodes them."""

from __future__ import annotations

from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.symbols import Node, Word
from whet.evm.tac import Block, Contract

_NO_MEMBER = 0x21
"""Solidity's Panic for a value that no member of an enum has."""

_DEEPEST = 3


def is_enum(uses: Uses, word: Word | None) -> bool:
    """Whether a word is asked to be less than a number of at most 256, on the way to a panic for enums, or to INVALID as
    compilers older than 0.8 have it."""
    if not isinstance(word, Node):
        return False
    contract = uses.walk.contract
    for condition, function, block, _ in uses.walk.conditions:
        if isinstance(condition, Node) and _compares(condition, word):
            blocks = contract.functions[function].blocks
            if any(_panics(contract, blocks[target], _DEEPEST) for target in blocks[block].end.targets):
                return True
    return False


def _compares(condition: Node, word: Node) -> bool:
    while condition.op == "ISZERO" and isinstance(condition.args[0], Node):
        condition = condition.args[0]
    return (
        condition.op in ("LT", "GT")
        and word in condition.args
        and any(isinstance(arg, int) and 0 < arg <= 256 for arg in condition.args)
    )


def _panics(contract: Contract, block: Block, depth: int) -> bool:
    if any(s.op == "MSTORE" and s.args == (4, _NO_MEMBER) for s in block.statements):
        return block.end.op == "REVERT"
    called = [s.function for s in block.statements if s.op == "CALLPRIVATE"]
    if block.end.op == "INVALID" and called and depth:
        return _panics(contract, contract.functions[called[-1]].entry, depth - 1)
    return block.end.op == "INVALID" and not block.end.why and not block.statements
