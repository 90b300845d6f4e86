"""The statements that a control-flow graph becomes: a tree of sequences, conditions and loops.

The leaves are blocks, named by id: `Code` is what a block does, `Exit` how it leaves the function. What the blocks
contain is no concern of the tree, so the same tree is printed as text and as Solidity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, Union

Condition: TypeAlias = Union["Test", "Not", "Both", "Either"]


@dataclass(frozen=True, slots=True)
class Test:
    """The condition at the end of a block."""

    __test__ = False

    block: str


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Both:
    """`left && right`; right is looked at only if left holds."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    """`left || right`; right is looked at only if left does not hold."""

    left: Condition
    right: Condition


@dataclass(slots=True)
class Code:
    """What a block does, without its end."""

    block: str


@dataclass(slots=True)
class Exit:
    """The end of a block after which nothing follows in this function."""

    block: str


@dataclass(slots=True)
class If:
    condition: Condition
    then: list[Node]
    otherwise: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Loop:
    """Repeated until something leaves it. `Break(label)` goes on behind it, `Continue(label)` with the next round.

    condition: None for one that always holds; looked at before each round, or behind it if `last`.
    update: done between two rounds, also after a `Continue`.
    """

    label: str
    body: list[Node]
    condition: Condition | None = None
    last: bool = False
    update: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Scope:
    """A sequence that `Leave(label)` leaves; control goes on behind it."""

    label: str
    body: list[Node]


@dataclass(slots=True)
class Switch:
    """One of several by the value at the end of a block; a value that is no case ends the call (INVALID)."""

    block: str
    cases: list[tuple[int, list[Node]]]


@dataclass(frozen=True, slots=True)
class Break:
    label: str


@dataclass(frozen=True, slots=True)
class Continue:
    label: str


@dataclass(frozen=True, slots=True)
class Leave:
    label: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on at the `Label` of that block: only where the graph is irreducible or nested too deeply."""

    label: str


@dataclass(frozen=True, slots=True)
class Label:
    label: str


Node: TypeAlias = Code | Exit | If | Loop | Scope | Switch | Break | Continue | Leave | Goto | Label


@dataclass(slots=True)
class Structured:
    """A function as a tree. gotos_irreducible: jumps into the middle of a cycle, which no tree can say.
    gotos_nesting: jumps to parts that were taken out since they would be nested too deeply. labels: scopes that are
    left from inside by name, which languages without labels say in another way."""

    body: list[Node]
    gotos_irreducible: int = 0
    gotos_nesting: int = 0
    labels: int = 0


def inner(node: Node) -> list[list[Node]]:
    """The sequences directly inside a node."""
    if isinstance(node, If):
        return [node.then, node.otherwise]
    if isinstance(node, Loop):
        return [node.body, node.update]
    if isinstance(node, Scope):
        return [node.body]
    if isinstance(node, Switch):
        return [body for _, body in node.cases]
    return []


def walk(nodes: list[Node]) -> Iterator[Node]:
    """Every node, in the order in which they are written."""
    stack = [iter(nodes)]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            continue
        yield node
        stack.extend(iter(part) for part in reversed(inner(node)))


def negated(condition: Condition) -> Condition:
    """The opposite, without a double negation."""
    return condition.condition if isinstance(condition, Not) else Not(condition)


def tests(condition: Condition) -> Iterator[str]:
    """The blocks whose conditions are looked at, in that order."""
    if isinstance(condition, Test):
        yield condition.block
    elif isinstance(condition, Not):
        yield from tests(condition.condition)
    else:
        yield from tests(condition.left)
        yield from tests(condition.right)
