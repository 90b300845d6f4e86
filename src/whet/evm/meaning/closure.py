"""What becomes of the variables of code that is no longer shown: whether anything that stays still reads them."""

from __future__ import annotations

from collections.abc import Set

from whet.evm.meaning.base import END, Place
from whet.evm.opcodes import PURE
from whet.evm.tac import Function


def spread(function: Function, stale: Set[str], hidden: Set[Place]) -> set[str] | None:
    """All variables that depend on the stale ones; None where something that is not hidden, and does more than
    compute, reads one. hidden: places (END for the end of a block) that are not shown, or shown as something else."""
    found = set(stale)
    while True:
        before = len(found)
        for block in function.blocks.values():
            found |= {phi.result for phi in block.phis if found & set(phi.incoming.values())}
            for index, s in enumerate(block.statements):
                if (block.id, index) in hidden or not found & set(s.args):
                    continue
                if s.op not in PURE:
                    return None
                found.update(s.results)
            if found & set(block.end.args) and (block.id, END) not in hidden:
                return None
        if len(found) == before:
            return found
