"""Loops: `for` and `while` where the condition is one expression, else `while (true)` with a `break`."""

from __future__ import annotations

from whet.evm.solidity.jumps import Jumps, Target
from whet.evm.solidity.lines import Line, Nest, Node
from whet.evm.solidity.pieces import Piece
from whet.evm.solidity.types import ATOM
from whet.evm.structure.tree import Continue, Loop, walk

_ALWAYS = Piece("true", ATOM, "bool")


class Loops(Jumps):
    """The nodes `Loop`."""

    def loop(self, loop: Loop) -> None:
        condition, first = self.aside(
            lambda: _ALWAYS if loop.condition is None else self.head(loop.condition)
        )
        steps = self.inside(loop.update, Target("", False))
        continues = any(isinstance(n, Continue) and n.label == loop.label for n in walk(loop.body))
        apart = bool(continues and (steps or (loop.last and first)))
        target = Target(loop.label, not apart)
        body = self._in_two(target, loop) if apart else self.inside(loop.body, target)
        if loop.last:
            tail = f" while ({condition.text});"
            self.out.append(Nest([("do", [*body, *steps, *first])], tail, condition.mentions))
        elif first:
            test = f"if ({self.negated(condition).text})"
            stop = Nest([(test, [Line("break;")])], "", condition.mentions)
            self.out.append(Nest([("while (true)", [*first, stop, *body, *steps])]))
        else:
            self.out.append(_headed(condition, body, steps))
        self.arrive(target)

    def _in_two(self, target: Target, loop: Loop) -> list[Node]:
        """The body in a scope of its own, which `continue` leaves."""
        self.targets.append(target)
        inner = Target(f"{loop.label} continued", False)
        self.renamed[loop.label] = inner.label
        body = self.inside(loop.body, inner)
        _, lines = self.aside(lambda: self.once(body, inner))
        self.targets.pop()
        return lines


def _headed(condition: Piece, body: list[Node], steps: list[Node]) -> Nest:
    """`for (; a; b)` if there is one step that can stand there, else `while (a)`."""
    stepped = frozenset[str]().union(*(n.mentions | set(n.sets) for n in steps if isinstance(n, Line)))
    mentions = condition.mentions | stepped
    one = steps[0] if len(steps) == 1 else None
    if isinstance(one, Line) and not one.assembly and (not one.raw or one.checked):
        head = f"for (; {condition.text}; {one.text.removesuffix(';')})"
        return Nest([(head, body)], mentions=mentions)
    return Nest([(f"while ({condition.text})", [*body, *steps])], mentions=mentions)
