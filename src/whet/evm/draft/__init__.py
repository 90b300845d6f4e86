"""A function on its way to text: values inlined, `a && b` recovered, phis as assignments, control flow as a tree.

What it leaves out: values that nobody reads, and how often something that only computes is computed.
It assumes nothing about the code and is bounded by its size: every pass looks at each statement a few times.
"""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm import tac
from whet.evm.draft import inline, shape, variables
from whet.evm.draft.begin import begin
from whet.evm.draft.nouns import Draft
from whet.evm.meaning.base import FunctionMeaning
from whet.evm.structure import structured
from whet.evm.structure.tree import Structured

ROUNDS = 12
"""How deep && and ||, one in another, are looked for."""

COPIED_EXIT = 3
"""Lines, its end included, of a block that ends the function and may stand wherever it is entered."""


@dataclass(slots=True)
class Readable:
    """A function as a tree (`tree`) whose leaves are the blocks of a draft."""

    draft: Draft
    tree: Structured


def readable(function: tac.Function, meaning: FunctionMeaning | None = None) -> Readable:
    """What printers print: see `whet.evm.text`."""
    draft = begin(function, meaning or FunctionMeaning())
    shape.copy_exits(draft)
    for _ in range(ROUNDS):
        shape.join_chains(draft)
        inline.drop_single_phis(draft)
        inline.drop_unused(draft)
        inline.inline(draft)
        if not shape.choose(draft):
            break
    shape.join_chains(draft)
    inline.inline(draft)
    shape.join_equal_exits(draft)
    variables.assign(draft)
    return Readable(draft, _tree(draft))


def _tree(draft: Draft) -> Structured:
    ends = {b.id: tac.End(b.end.op, (), b.end.targets, cases=b.end.cases) for b in draft.blocks.values()}
    bare = {b.id for b in draft.blocks.values() if not b.lines}
    copies = {b.id for b in draft.blocks.values() if not b.end.targets and len(b.lines) < COPIED_EXIT}
    guards = {b.id for b in draft.blocks.values() if b.end.op in ("REVERT", "INVALID")}
    return structured(ends, bare, copies, guards)
