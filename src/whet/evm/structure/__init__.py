"""A function's blocks as a tree of conditions and loops that does the same, for text and for Solidity.

`structured` takes how blocks end and gives a tree (`whet.evm.structure.tree`) whose leaves are blocks. It works for
every graph; goto stands only where control jumps into the middle of a cycle, or where parts would be nested too deeply,
and both are counted. What it leaves out: blocks that cannot be reached. It costs about as much as reading the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from whet.evm import tac
from whet.evm.structure.build import Builder
from whet.evm.structure.graph import Way, flow_of, reverse_postorder
from whet.evm.structure.short_circuit import merge_branches
from whet.evm.structure.tidy import tidy
from whet.evm.structure.tree import Goto, Node, Scope, Structured, Test, walk

NESTING = 40
"""Deeper parts are written at the end of the function and reached by goto."""


def structured(
    ends: Mapping[str, tac.End],
    bare: Set[str] = frozenset(),
    copies: Set[str] = frozenset(),
    guards: Set[str] = frozenset(),
    nesting: int = NESTING,
) -> Structured:
    """The tree of a function.

    ends: how each block ends, first the one where the function begins.
    bare: blocks that do nothing but to look at the condition at their end: two such in a row may become && or ||.
    copies: blocks without successors, small enough to stand wherever they are entered.
    guards: blocks that rather stand in an `if` than behind it, all else being equal.
    """
    ways = {block: _way(block, end) for block, end in ends.items()}
    order = reverse_postorder({block: way.targets for block, way in ways.items()})
    ways = {block: ways[block] for block in order}
    merge_branches(ways, bare)
    flow = flow_of({block: way.targets for block, way in ways.items()})
    ends_here = copies & {block for block, way in ways.items() if not way.targets}
    body = Builder(ways, flow, ends_here, guards, nesting).build()
    return _counted(tidy(body, bare), flow.cut)


def _way(block: str, end: tac.End) -> Way:
    if end.op == "SWITCH":
        return Way(end.targets, cases=end.cases)
    if end.op == "BRANCH" and end.targets[0] != end.targets[1]:
        return Way(end.targets, Test(block))
    return Way(end.targets[:1])


def _counted(body: list[Node], cut: set[tuple[str, str]]) -> Structured:
    gotos = [node.label for node in walk(body) if isinstance(node, Goto)]
    into_cycles = {target for _, target in cut}
    irreducible = sum(label in into_cycles for label in gotos)
    labels = sum(isinstance(node, Scope) for node in walk(body))
    return Structured(body, irreducible, len(gotos) - irreducible, labels)
