"""What the tree of a function is written with: conditions, chains of `else if`, the count of statements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from whet.evm.draft import Readable
from whet.evm.draft.nouns import DraftBlock
from whet.evm.solidity.context import Context, Frame
from whet.evm.solidity.ends import Ends
from whet.evm.solidity.lines import Line, Nest, Node, every
from whet.evm.solidity.pieces import Piece
from whet.evm.structure.tree import Both, Condition, Not, Test
from whet.evm.terms import Expression, Operation
from whet.evm.text.expressions import simple_condition


class Heads(Ends):
    """Counts `statements`, of which `in_assembly` are assembly."""

    def __init__(self, context: Context, body: Readable, frame: Frame) -> None:
        super().__init__(context, frame)
        self.blocks, self.tree = body.draft.blocks, body.tree
        self.statements = self.in_assembly = 0

    def block(self, block: DraftBlock) -> None:
        """The lines of a block, without its end."""
        for line in block.lines:
            self.counted(partial(self.line, line))

    def counted(self, write: Callable[[], None]) -> None:
        """Writes one statement."""
        before, self.hidden_assembly = len(self.out), False
        write()
        made = list(every(self.out[before:]))
        if made:
            self.statements += 1
            self.in_assembly += self.hidden_assembly or any(line.assembly for line in made)

    def head(self, condition: Condition) -> Piece:
        """A condition of the tree."""
        self.statements += 1
        before = len(self.out)
        piece = self.condition(self._expression(condition))
        self.in_assembly += any(line.assembly for line in every(self.out[before:]))
        return piece

    def _expression(self, condition: Condition, holds: bool = True) -> Expression:
        if isinstance(condition, Test):
            return simple_condition(self.blocks[condition.block].end.args[0], holds)
        if isinstance(condition, Not):
            return self._expression(condition.condition, not holds)
        sign = "&&" if isinstance(condition, Both) == holds else "||"
        sides = (condition.left, condition.right)
        return Operation(sign, tuple(self._expression(side, holds) for side in sides))


def chain(tests: list[tuple[str, list[Node]]], mentions: frozenset[str]) -> Nest:
    """`if (test) {...} else if (test) {...}`."""
    heads = [f"if ({test})" for test, _ in tests]
    words = [heads[0], *(f"else {head}" for head in heads[1:])] if heads else []
    return Nest([(word, body) for word, (_, body) in zip(words, tests, strict=True)], mentions=mentions)


def switch(subject: Piece, cases: list[tuple[int, list[Node]]]) -> Nest:
    """One of the cases; anything else halts."""
    tests = [(f"{subject.text} == {case:#x}", body) for case, body in cases]
    nest = chain(tests, subject.mentions)
    nest.parts.append(("else", [Line("invalid()", assembly=True)]))
    return nest
