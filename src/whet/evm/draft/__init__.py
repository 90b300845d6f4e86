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
from whet.evm.draft.table import tabulate
from whet.evm.meaning.base import FunctionMeaning
from whet.evm.structure import structured
from whet.evm.structure.tree import Structured

ROUNDS = 12
"""How deep && and ||, one in another, are looked for."""

COPIED_EXIT = 3
"""Lines, its end included, of a block that ends the function and may stand wherever it is entered."""


COPIED_MEETING = 2
"""Lines of a block in the middle that may stand on each way to it."""

MOST_TRIED = 16
"""Blocks in the middle that are tried so; each costs a tree."""


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
    if function.kind == "entry":
        tabulate(draft)
        inline.inline(draft)
    variables.assign(draft)
    shape.drop_empty_branches(draft)
    return _without_labels(Readable(draft, _tree(draft)))


def _without_labels(body: Readable) -> Readable:
    """Short blocks where ways meet are written on each way instead, if that spares leaving a scope by name."""
    tried, predecessors = 0, body.draft.predecessors() if body.tree.labels else {}
    for name in list(body.draft.blocks):
        if body.tree.labels == 0 or tried == MOST_TRIED:
            break
        copied = shape.copied_meeting(body.draft, name, predecessors[name], COPIED_MEETING)
        if copied is not None:
            tried += 1
            tree = _tree(copied)
            if tree.labels < body.tree.labels:
                body, predecessors = Readable(copied, tree), copied.predecessors()
    return body


def _tree(draft: Draft) -> Structured:
    ends = {b.id: tac.End(b.end.op, (), b.end.targets, cases=b.end.cases) for b in draft.blocks.values()}
    bare = {b.id for b in draft.blocks.values() if not b.lines}
    copies = {b.id for b in draft.blocks.values() if not b.end.targets and len(b.lines) < COPIED_EXIT}
    guards = {b.id for b in draft.blocks.values() if b.end.op in ("REVERT", "INVALID")}
    return structured(ends, bare, copies, guards)
