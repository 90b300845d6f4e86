"""From a graph to a tree, by the dominator tree. After N. Ramsey, Beyond Relooper, ICFP 2022.

A block stands inside the tree of the block that dominates it: directly where it is entered if there is one way in,
otherwise behind a scope that all ways in leave. That is always possible in a reducible graph. Two things are changed
for the reader: what follows a loop stands behind it, not inside where the loop is left; and of two ways on, the smaller
stands inside the `if` and the larger behind it, so nesting by conditions grows with the logarithm of the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from whet.evm.structure.graph import Flow, Way, dominated
from whet.evm.structure.tree import (
    Code,
    Continue,
    Exit,
    Goto,
    If,
    Label,
    Leave,
    Loop,
    Node,
    Scope,
    Switch,
    inner,
    negated,
    walk,
)

Work = list[tuple[str, list[Node], int]]
"""(block, the sequence that it goes to, how deep that is nested)."""

MOST_BEHIND = 16
"""More blocks than this behind one block's part are reached by goto: each nests what stands before it once more."""


@dataclass(slots=True)
class Builder:
    """`copies`: blocks without a way on that may stand in several places. `guards`: blocks that rather stand in an `if`.
    `nesting`: the deepest tree wanted."""

    ways: Mapping[str, Way]
    flow: Flow
    copies: Set[str]
    guards: Set[str]
    nesting: int
    behind: dict[str, list[str]] = field(default_factory=dict)
    """{block: blocks that stand behind its part of the tree, in order}."""
    followers: set[str] = field(default_factory=set)
    """All of them."""
    sizes: dict[str, int] = field(default_factory=dict)
    """{block: blocks that it dominates, with itself}."""
    labelled: set[str] = field(default_factory=set)
    """Targets of gotos."""
    taken_out: dict[str, None] = field(default_factory=dict)
    """Blocks whose part stands at the end, since it would be nested too deeply."""

    def build(self) -> list[Node]:
        """The tree. Every sequence in it ends with a jump, even where falling off its end would do the same."""
        self._measure()
        self._place()
        body: list[Node] = []
        self._emit(next(iter(self.flow.order)), body)
        done: set[str] = set()
        while waiting := [block for block in self.taken_out if block not in done]:
            done.add(waiting[0])
            self._emit(waiting[0], body)
        self._leave_by_goto(body)
        return self._with_labels(body)

    def _measure(self) -> None:
        self.sizes = dict.fromkeys(self.flow.order, 1)
        for block in reversed(self.flow.order):
            above = self.flow.dominator[block]
            if above != block:
                self.sizes[above] += self.sizes[block]

    def _place(self) -> None:
        """Which blocks stand behind a scope or a loop, and of which block's part of the tree."""
        self.behind = {block: [] for block in self.flow.order}
        exits: dict[str, list[str]] = {}
        for above, children in dominated(self.flow.dominator).items():
            for child in children:
                left = self._loop_left(above, child)
                if self._entered_often(child):
                    self.behind[left or above].append(child)
                elif left and (child not in self.copies or len(self.flow.predecessors[child]) == 1):
                    exits.setdefault(left, []).append(child)
        for header, candidates in exits.items():
            self._place_main_exit(header, candidates)
        for blocks in self.behind.values():
            blocks.sort(key=self.flow.order.__getitem__)
            for block in blocks[MOST_BEHIND:]:
                self.taken_out[block] = None
            del blocks[MOST_BEHIND:]
            self.followers.update(blocks)
        self.labelled.update(self.taken_out)

    def _place_main_exit(self, header: str, candidates: list[str]) -> None:
        """Where a loop is left for blocks entered once, the largest stands behind the loop, if nothing larger does."""
        direct = self.ways[header].targets
        candidates = [block for block in candidates if block in direct or block not in self.guards]
        if not candidates:
            return
        main = max(candidates, key=lambda b: (self.sizes[b], b in direct, -self.flow.order[b]))
        if all(self.sizes[main] > self.sizes[other] for other in self._behind_loop(header)):
            self.behind[header].append(main)

    def _loop_left(self, block: str, child: str) -> str:
        """The header of the outermost loop that `block` is in and `child` is not, or ""."""
        if self.flow.loop[block] == self.flow.loop[child]:
            return ""
        kept = set(self.flow.loops_around(child))
        return next((h for h in reversed(self.flow.loops_around(block)) if h not in kept), "")

    def _behind_loop(self, header: str) -> list[str]:
        return [b for b in self.behind[header] if header not in self.flow.loops_around(b)]

    def _entered_often(self, block: str) -> bool:
        if block in self.copies:
            return False
        ways_in = [p for p in self.flow.predecessors[block] if not self.flow.backward(p, block)]
        return len(ways_in) > 1 or any(self.ways[p].targets.count(block) > 1 for p in ways_in)

    def _emit(self, first: str, body: list[Node]) -> None:
        work: Work = [(first, body, 0)]
        while work:
            block, out, depth = work.pop()
            if depth > self.nesting and block not in self.copies:
                out.append(Goto(block))
                self.labelled.add(block)
                self.taken_out[block] = None
                continue
            out, depth = self._open(block, out, depth, work)
            out.append(Code(block))
            self._end(block, out, depth, work)

    def _open(self, block: str, out: list[Node], depth: int, work: Work) -> tuple[list[Node], int]:
        """Opens what stands around a block: scopes for what follows its loop, the loop, scopes inside of it."""
        after = self._behind_loop(block) if block in self.flow.parent else []
        for follow in reversed(after):
            out, depth = _scope(follow, out, depth, work)
        if block in self.flow.parent:
            loop = Loop(block, [])
            out.append(loop)
            out, depth = loop.body, depth + 1
        for follow in reversed(self.behind[block]):
            if follow not in after:
                out, depth = _scope(follow, out, depth, work)
        return out, depth

    def _end(self, block: str, out: list[Node], depth: int, work: Work) -> None:
        way = self.ways[block]
        if way.condition is not None:
            held, failed = way.targets
            condition, near, far = way.condition, held, failed
            if self._weight(block, failed) < self._weight(block, held):
                condition, near, far = negated(condition), failed, held
            branch = If(condition, [])
            out.append(branch)
            self._go(block, near, branch.then, depth + 1, work)
            self._go(block, far, out, depth, work)
        elif way.cases:
            switch = Switch(block, [(case, []) for case in way.cases])
            out.append(switch)
            for (_, part), target in zip(switch.cases, way.targets, strict=True):
                self._go(block, target, part, depth + 1, work)
        elif way.targets:
            self._go(block, way.targets[0], out, depth, work)
        else:
            out.append(Exit(block))

    def _weight(self, block: str, target: str) -> tuple[int, bool]:
        """How much text stands where a block goes there."""
        return (0 if self._jump(block, target) else self.sizes[target]), target not in self.guards

    def _jump(self, block: str, target: str) -> Node | None:
        """The jump to a block that stands elsewhere; None for one that stands where the jump would."""
        if (block, target) in self.flow.cut or target in self.taken_out:
            return Goto(target)
        if self.flow.backward(block, target):
            return Continue(target)
        return Leave(target) if target in self.followers else None

    def _go(self, block: str, target: str, out: list[Node], depth: int, work: Work) -> None:
        jump = self._jump(block, target)
        if jump is None:
            work.append((target, out, depth))
            return
        out.append(jump)
        if isinstance(jump, Goto):
            self.labelled.add(target)

    def _leave_by_goto(self, body: list[Node]) -> None:
        """Parts that were taken out are no longer inside what they leave: those jumps become gotos."""
        stack: list[tuple[list[Node], frozenset[Node]]] = [(body, frozenset())]
        while stack:
            nodes, known = stack.pop()
            for place, node in enumerate(nodes):
                if isinstance(node, Leave | Continue) and node not in known:
                    nodes[place] = Goto(node.label)
                    self.labelled.add(node.label)
                here = known
                if isinstance(node, Scope):
                    here = known | {Leave(node.label)}
                elif isinstance(node, Loop):
                    here = known | {Continue(node.label)}
                stack += [(part, here) for part in inner(node)]

    def _with_labels(self, body: list[Node]) -> list[Node]:
        if self.labelled:
            for nodes in [body, *(part for node in walk(body) for part in inner(node))]:
                for place in reversed(range(len(nodes))):
                    node = nodes[place]
                    if isinstance(node, Code) and node.block in self.labelled:
                        nodes.insert(place, Label(node.block))
        return body


def _scope(follow: str, out: list[Node], depth: int, work: Work) -> tuple[list[Node], int]:
    scope = Scope(follow, [])
    out.append(scope)
    work.append((follow, out, depth))
    return scope.body, depth + 1
