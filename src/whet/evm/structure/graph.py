"""Control flow as a graph: order, dominators, loops. Linear in blocks and jumps but for the depth of nesting."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from whet.evm.structure.tree import Condition

Successors = Mapping[str, tuple[str, ...]]
"""{block: where it may go}; the first block is where the function begins."""


@dataclass(slots=True)
class Way:
    """How a block goes on: nowhere (no targets), to one, by a condition to one of two (if it holds, if not), or by
    a value to one of several."""

    targets: tuple[str, ...] = ()
    condition: Condition | None = None
    cases: tuple[int, ...] = ()


@dataclass(slots=True)
class Flow:
    """What there is to know of a graph.

    order: {block: its number in reverse postorder}; unreachable blocks are not in it.
    dominator: {block: its immediate dominator}, the first block its own.
    cut: jumps into the middle of a cycle; dominators and loops are those of the graph without them.
    loop: {block: header of the innermost loop that it is in}, its own for a header; "" for none.
    parent: {header: header of the loop around its loop, or ""}.
    """

    order: dict[str, int]
    dominator: dict[str, str]
    predecessors: dict[str, list[str]]
    cut: set[tuple[str, str]]
    loop: dict[str, str]
    parent: dict[str, str]

    def backward(self, source: str, target: str) -> bool:
        """Whether a jump closes a loop."""
        return self.order[target] <= self.order[source]

    def loops_around(self, block: str) -> list[str]:
        """Headers of the loops that a block is in, the innermost first."""
        headers, header = [], self.loop[block]
        while header:
            headers.append(header)
            header = self.parent[header]
        return headers


def flow_of(successors: Successors) -> Flow:
    """Order, dominators and loops of a graph."""
    order = reverse_postorder(successors)
    cut = _irreducible(successors, order)
    predecessors = predecessors_of(successors, order, cut)
    dominator = dominators(order, predecessors)
    loop, parent = _loops(order, predecessors)
    return Flow(order, dominator, predecessors, cut, loop, parent)


def reverse_postorder(successors: Successors) -> dict[str, int]:
    """{reachable block: number}: every block before its successors, jumps back excepted."""
    first = next(iter(successors))
    seen, finished = {first}, []
    stack = [(first, iter(successors[first]))]
    while stack:
        block, targets = stack[-1]
        for target in targets:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(successors[target])))
                break
        else:
            finished.append(block)
            stack.pop()
    return {block: number for number, block in enumerate(reversed(finished))}


def predecessors_of(
    successors: Successors, order: Mapping[str, int], cut: Set[tuple[str, str]] = frozenset()
) -> dict[str, list[str]]:
    """{block: the blocks that go there}, each once, in reverse postorder."""
    found: dict[str, list[str]] = {block: [] for block in order}
    for block in order:
        for target in dict.fromkeys(successors[block]):
            if (block, target) not in cut:
                found[target].append(block)
    return found


def dominators(order: Mapping[str, int], predecessors: Mapping[str, list[str]]) -> dict[str, str]:
    """{block: immediate dominator}. Cooper, Harvey, Kennedy, A Simple, Fast Dominance Algorithm, 2001."""
    first = next(iter(order))
    found = {first: first}
    changed = True
    while changed:
        changed = False
        for block in order:
            if block == first:
                continue
            known = [p for p in predecessors[block] if p in found]
            nearest = known[0]
            for other in known[1:]:
                nearest = _meet(nearest, other, found, order)
            changed |= found.get(block) != nearest
            found[block] = nearest
    return found


def _meet(one: str, other: str, found: Mapping[str, str], order: Mapping[str, int]) -> str:
    while one != other:
        while order[one] > order[other]:
            one = found[one]
        while order[other] > order[one]:
            other = found[other]
    return one


def _irreducible(successors: Successors, order: Mapping[str, int]) -> set[tuple[str, str]]:
    """Jumps back to a block that does not dominate where they come from.

    Without them the graph is reducible: taking jumps away makes no dominator less of one.
    """
    back = [
        (block, target)
        for block in order
        for target in dict.fromkeys(successors[block])
        if order[target] <= order[block]
    ]
    if not back:
        return set()
    enter, leave = _intervals(dominators(order, predecessors_of(successors, order)))
    return {(b, t) for b, t in back if not enter[t] <= enter[b] < leave[t]}


def _intervals(dominator: Mapping[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """When a walk of the dominator tree enters and leaves a block: a dominates b if b lies within a."""
    inside = dominated(dominator)
    enter: dict[str, int] = {}
    leave: dict[str, int] = {}
    stack = [(next(iter(dominator)), False)]
    while stack:
        block, done = stack.pop()
        if done:
            leave[block] = len(enter)
            continue
        enter[block] = len(enter)
        stack.append((block, True))
        stack.extend((child, False) for child in inside[block])
    return enter, leave


def dominated(dominator: Mapping[str, str]) -> dict[str, list[str]]:
    """{block: the blocks that it dominates immediately}."""
    found: dict[str, list[str]] = {block: [] for block in dominator}
    for block, above in dominator.items():
        if block != above:
            found[above].append(block)
    return found


def _loops(
    order: Mapping[str, int], predecessors: Mapping[str, list[str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """{block: header of its innermost loop} and {header: header around}, inner loops first, each then one block."""
    loop = dict.fromkeys(order, "")
    parent: dict[str, str] = {}
    outermost = {
        block: block for block in order
    }  # the header of the largest loop found so far that a block is in
    for header in reversed(list(order)):
        latches = [p for p in predecessors[header] if order[p] >= order[header]]
        if not latches:
            continue
        loop[header], parent[header] = header, ""
        work = [_find(latch, outermost) for latch in latches]
        while work:
            block = work.pop()
            if block == header or outermost[block] != block:
                continue
            outermost[block] = header
            if block in parent:
                parent[block] = header
            else:
                loop[block] = header
            work += [_find(p, outermost) for p in predecessors[block]]
    return loop, parent


def _find(block: str, outermost: dict[str, str]) -> str:
    root = block
    while outermost[root] != root:
        root = outermost[root]
    while outermost[block] != root:
        outermost[block], block = root, outermost[block]
    return root
