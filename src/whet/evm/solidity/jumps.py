"""Leaving scopes. Solidity has no labels: a jump out of several scopes sets `jump`, and each scope on the way looks at it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from whet.evm.draft import Readable
from whet.evm.solidity.context import Context, Frame
from whet.evm.solidity.heads import Heads
from whet.evm.solidity.lines import Line, Nest, Node
from whet.evm.solidity.types import WORD_TYPE
from whet.evm.structure.tree import Node as TreeNode
from whet.evm.structure.tree import Scope

_JUMP = "jump"


@dataclass(slots=True)
class Target:
    """Something that `break` leaves. label: of the tree; loop: whether `continue` begins its next round."""

    label: str
    loop: bool
    arrivals: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Jumps through it that go further out: {number: (kind of jump, label)}."""

    def takes(self, kind: str, label: str) -> bool:
        """Whether Solidity's own `break` or `continue` inside of it is this jump."""
        return self.label == label and (kind == "break" or self.loop)


class Jumps(Heads):
    """Keeps the targets that enclose what is written."""

    def __init__(self, context: Context, body: Readable, frame: Frame) -> None:
        super().__init__(context, body, frame)
        self.targets: list[Target] = []
        self.numbers: dict[tuple[str, str], int] = {}
        self.renamed: dict[str, str] = {}
        """{label of a loop: of the scope around its body that `continue` leaves}."""

    @abstractmethod
    def sequence(self, nodes: list[TreeNode]) -> None:
        """Writes nodes of the tree."""

    def inside(self, nodes: list[TreeNode], target: Target | None = None) -> list[Node]:
        """The lines of nodes, in a block of their own."""
        if target is None:
            return self.aside(lambda: self.sequence(nodes))[1]
        self.targets.append(target)
        body = self.inside(nodes)
        self.targets.pop()
        return body

    def scope(self, node: Scope) -> None:
        target = Target(node.label, False)
        self.once(self.inside(node.body, target), target)

    def once(self, body: list[Node], target: Target) -> None:
        """A block that `break` can leave."""
        self.out.append(Nest([("do", body)], " while (false);"))
        self.arrive(target)

    def jump(self, kind: str, label: str) -> None:
        """`break` or `continue` of a scope that may not be the innermost one."""
        inside = self.renamed.get(label, "")
        if kind == "continue" and any(target.label == inside for target in self.targets):
            kind, label = "break", inside
        inner = self.targets[-1]
        if inner.takes(kind, label):
            self.out.append(Line(f"{kind};"))
            return
        number = self.numbers.setdefault((kind, label), len(self.numbers) + 1)
        inner.arrivals[number] = (kind, label)
        self.context.types[_JUMP] = WORD_TYPE
        self.out += [Line(f"{_JUMP} = {number};", (_JUMP,)), Line("break;")]

    def arrive(self, left: Target) -> None:
        """Behind what was left: jumps that go further."""
        for number, (kind, label) in left.arrivals.items():
            inner = self.targets[-1]
            lines: list[Node] = [Line("break;")]
            if inner.takes(kind, label):
                lines = [Line(f"{_JUMP} = 0;", (_JUMP,)), Line(f"{kind};")]
            else:
                inner.arrivals[number] = (kind, label)
            self.out.append(Nest([(f"if ({_JUMP} == {number})", lines)], mentions=frozenset({_JUMP})))
