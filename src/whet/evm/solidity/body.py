"""A function's body: the tree of its draft as Solidity's statements.

What Solidity cannot say of a line is assembly; what a whole function cannot say is `Unsayable`, and another level is
tried. The parts are in modules of their own: terms in `lowering`, lines in `statements`, ends in `ends`, control flow
here and in `loops`, `jumps` and `machine`.
"""

from __future__ import annotations

from whet.evm.solidity.heads import switch
from whet.evm.solidity.lines import Line, Nest, Node
from whet.evm.solidity.loops import Loops
from whet.evm.solidity.machine import Machine
from whet.evm.solidity.pieces import Piece, Unsayable, said
from whet.evm.solidity.types import WORD_TYPE
from whet.evm.structure.tree import (
    Break,
    Code,
    Continue,
    Exit,
    Goto,
    If,
    Label,
    Leave,
    Loop,
    Scope,
    Switch,
    walk,
)
from whet.evm.structure.tree import Node as TreeNode
from whet.evm.terms import Form, Return


class Body(Loops, Machine):
    """Writes one function's statements. `statements` of which `in_assembly` are assembly are counted."""

    def write(self) -> list[Node]:
        if any(isinstance(node, Goto | Label) for node in walk(self.tree.body)):
            self.machine()
            return self.out
        self.sequence(self.tree.body)
        if self.out and isinstance(self.out[-1], Line) and self.out[-1].text == "return;":
            self.out.pop()
        return self.out

    def whole_body(self, form: Form) -> list[Node]:
        """A function whose meaning is one form."""
        if not isinstance(form, Return):
            raise Unsayable(type(form).__name__)
        self.statements += 1
        self.give(form)
        return self.out

    def nothing(self, why: str) -> list[Node]:
        """For what cannot be said at all: calls of it halt."""
        return [Line(f"// {why}"), Line("invalid()", assembly=True)]

    def sequence(self, nodes: list[TreeNode]) -> None:
        for node in nodes:
            self._node(node)

    def _node(self, node: TreeNode) -> None:
        if isinstance(node, Code):
            self.block(self.blocks[node.block])
        elif isinstance(node, Exit):
            self.counted(lambda: self.exit(self.blocks[node.block].end))
        elif isinstance(node, If):
            self._if(node)
        elif isinstance(node, Loop):
            self.loop(node)
        elif isinstance(node, Switch):
            self._switch(node)
        elif isinstance(node, Scope):
            self.scope(node)
        elif isinstance(node, Break | Continue | Leave):
            self.jump("continue" if isinstance(node, Continue) else "break", node.label)

    def _if(self, node: If) -> None:
        condition = self.head(node.condition)
        then, otherwise = self.inside(node.then), self.inside(node.otherwise)
        if not then and otherwise:
            condition, then, otherwise = self.negated(condition), otherwise, []
        if not otherwise and (required := self._required(condition, then)):
            self.out.append(required)
        else:
            self.out.append(_branches(condition, then, otherwise))

    def _required(self, condition: Piece, then: list[Node]) -> Line | None:
        """`require(!condition, "text")` for `if (condition) revert("text")`."""
        if len(then) != 1 or not isinstance(then[0], Line) or then[0].assembly:
            return None
        if not then[0].text.startswith("revert("):
            return None
        told = then[0].text.removeprefix("revert(").removesuffix(");")
        return said(f"require({self.negated(condition).text}{', ' if told else ''}{told});", condition)

    def _switch(self, node: Switch) -> None:
        self.statements += 1
        subject = self.whole(lambda: self.sol(self.blocks[node.block].end.args[0], WORD_TYPE))
        held = self.held(subject)
        self.out.append(switch(held, [(case, self.inside(body)) for case, body in node.cases]))


def _branches(condition: Piece, then: list[Node], otherwise: list[Node]) -> Nest:
    """`if`, and `else if` for what is in `else` alone."""
    parts = [(f"if ({condition.text})", then)]
    only = otherwise[0] if len(otherwise) == 1 else None
    if isinstance(only, Nest) and only.parts[0][0].startswith("if "):
        (head, body), *rest = only.parts
        return Nest([*parts, (f"else {head}", body), *rest], mentions=condition.mentions | only.mentions)
    if otherwise:
        parts.append(("else", otherwise))
    return Nest(parts, mentions=condition.mentions)
