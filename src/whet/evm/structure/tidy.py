"""A tree made shorter and more pleasant, doing the same: no needless jumps, `else`, `while`, `do`, `for`, flat guards.

`falls` are the jumps that do what falling off the end of a sequence does; there they are left out.
"""

from __future__ import annotations

from collections.abc import Set

from whet.evm.structure.tree import (
    Break,
    Code,
    Condition,
    Continue,
    Exit,
    Goto,
    If,
    Leave,
    Loop,
    Node,
    Scope,
    Switch,
    inner,
    negated,
    walk,
)

_JUMPS = (Exit, Goto, Break, Continue, Leave)

DEEPEST = 100
"""No `else` is made deeper than this; a jump by name does the same."""


def tidy(body: list[Node], bare: Set[str]) -> list[Node]:
    """The whole of a function. `bare` blocks do nothing but their condition."""
    Tidier(bare).sequence(body, frozenset())
    return body


class Tidier:
    """`bare`: blocks that need not stand anywhere but in a condition."""

    def __init__(self, bare: Set[str]) -> None:
        self.bare = bare

    def sequence(self, nodes: list[Node], falls: frozenset[Node], depth: int = 0) -> None:
        """Tidies a sequence, in place."""
        self._drop_bare(nodes)
        self._drop_last(nodes, falls)
        if depth < DEEPEST:
            self._with_else(nodes, falls)
        for place, node in enumerate(nodes):
            self._inside(node, falls if place == len(nodes) - 1 else frozenset(), depth + 1)
        self._splice(nodes)
        self._flatten(nodes)
        self._drop_empty(nodes)

    def _drop_bare(self, nodes: list[Node]) -> None:
        nodes[:] = [node for node in nodes if not (isinstance(node, Code) and node.block in self.bare)]

    def _drop_last(self, nodes: list[Node], falls: frozenset[Node]) -> None:
        while _falls(nodes, falls):
            nodes.pop()

    def _with_else(self, nodes: list[Node], falls: frozenset[Node]) -> None:
        """`if (c) { ... leave } rest` becomes `if (c) { ... } else { rest }` where that spares a jump by name."""
        for place, node in enumerate(nodes[:-1]):
            if not isinstance(node, If) or node.otherwise:
                continue
            rest = nodes[place + 1 :]
            spared = any(isinstance(n, Leave) and n in falls for n in walk(node.then))
            if spared or (len(rest) == 1 and isinstance(rest[0], _JUMPS) and _falls(node.then, falls)):
                node.otherwise = rest
                del nodes[place + 1 :]
                return

    def _inside(self, node: Node, falls: frozenset[Node], depth: int) -> None:
        if isinstance(node, If):
            self.sequence(node.then, falls, depth)
            self.sequence(node.otherwise, falls, depth)
            if not node.then and node.otherwise:
                node.condition = negated(node.condition)
                node.then, node.otherwise = node.otherwise, []
        elif isinstance(node, Switch):
            for _, part in node.cases:
                self.sequence(part, falls, depth)
        elif isinstance(node, Scope):
            self._scope(node, falls, depth)
        elif isinstance(node, Loop):
            self.sequence(node.body, frozenset({Continue(node.label)}), depth)
            _as_while(node)
            _as_do(node)
            _as_for(node)

    def _scope(self, scope: Scope, falls: frozenset[Node], depth: int) -> None:
        if len(scope.body) == 1 and isinstance(scope.body[0], Loop):
            loop = scope.body[0]
            _replace(loop.body, {Leave(scope.label): Break(loop.label)})
        self.sequence(scope.body, falls | {Leave(scope.label)}, depth)

    def _splice(self, nodes: list[Node]) -> None:
        """Scopes that nothing leaves by name are only their sequence."""
        for place in reversed(range(len(nodes))):
            node = nodes[place]
            if isinstance(node, Scope) and Leave(node.label) not in list(walk(node.body)):
                nodes[place : place + 1] = node.body

    def _flatten(self, nodes: list[Node]) -> None:
        """No `else` behind a part that does not come to its end."""
        place = 0
        while place < len(nodes):
            node = nodes[place]
            if isinstance(node, If) and node.otherwise:
                if not _ends(node.then) and _ends(node.otherwise):
                    node.condition = negated(node.condition)
                    node.then, node.otherwise = node.otherwise, node.then
                if _ends(node.then):
                    nodes[place + 1 : place + 1] = node.otherwise
                    node.otherwise = []
            place += 1

    def _drop_empty(self, nodes: list[Node]) -> None:
        """Conditions only compute, so an `if` without parts is nothing."""
        nodes[:] = [n for n in nodes if not (isinstance(n, If) and not n.then and not n.otherwise)]


def _falls(nodes: list[Node], falls: frozenset[Node]) -> bool:
    return bool(nodes) and isinstance(nodes[-1], Break | Continue | Leave) and nodes[-1] in falls


def _ends(nodes: list[Node]) -> bool:
    """Whether control never falls off the end of a sequence. May say no where it does not."""
    if not nodes:
        return False
    last = nodes[-1]
    if isinstance(last, If):
        return _ends(last.then) and _ends(last.otherwise)
    if isinstance(last, Switch):
        return all(_ends(part) for _, part in last.cases)
    if isinstance(last, Loop):
        return last.condition is None and Break(last.label) not in list(walk(last.body))
    return isinstance(last, _JUMPS)


def _replace(nodes: list[Node], jumps: dict[Node, Node]) -> None:
    for place, node in enumerate(nodes):
        if isinstance(node, Leave | Continue | Break):
            nodes[place] = jumps.get(node, node)
        for part in inner(node):
            _replace(part, jumps)


def _leaves_first(loop: Loop) -> Condition | None:
    """The condition under which a loop goes on, if all it does first is to look at it."""
    first = loop.body[0] if loop.body else None
    if isinstance(first, If) and first.then == [Break(loop.label)] and not first.otherwise:
        return negated(first.condition)
    return None


def _as_while(loop: Loop) -> None:
    while loop.body and (condition := _leaves_first(loop)) and loop.condition is None:
        loop.condition = condition
        del loop.body[0]


def _as_do(loop: Loop) -> None:
    if loop.condition is not None or not loop.body:
        return
    end = loop.body[-1]
    if not isinstance(end, If) or end.then != [Break(loop.label)] or end.otherwise:
        return
    if Continue(loop.label) not in list(walk(loop.body)):
        loop.condition, loop.last = negated(end.condition), True
        loop.body.pop()


def _as_for(loop: Loop) -> None:
    """What stands behind a scope that is the rest of a loop is done between rounds: leaving it is `continue`."""
    if loop.condition is None or loop.last or not loop.body or not isinstance(loop.body[0], Scope):
        return
    scope, update = loop.body[0], loop.body[1:]
    if all(isinstance(node, Code) for node in update) and Continue(loop.label) not in list(walk(loop.body)):
        _replace(scope.body, {Leave(scope.label): Continue(loop.label)})
        loop.body, loop.update = scope.body, update
