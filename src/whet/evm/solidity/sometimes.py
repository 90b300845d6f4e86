"""Operands that are looked at only sometimes (of &&, || and ?:): an `if` where they need lines of their own."""

from __future__ import annotations

from whet.evm.solidity.assembly import Assembly
from whet.evm.solidity.lines import Nest, Node
from whet.evm.solidity.pieces import Piece, assigned, joined, literal_text, variable
from whet.evm.solidity.types import ATOM, CHOICE, WORD_TYPE, is_value
from whet.evm.terms import Expression, Operation
from whet.evm.text.expressions import simple_condition


class Sometimes(Assembly):
    """The operations in `assembly.LAZY`."""

    def lazy(self, term: Operation, want: str) -> Piece:
        return self._choice(term.args, want) if term.op == "?:" else self._logical(term.op, term.args, want)

    def _logical(self, op: str, args: tuple[Expression, ...], want: str) -> Piece:
        """Of two bools a bool; of other operands the word that decided."""
        left = self.natural(args[0], want)
        if want != "bool" and left.type != "bool":
            right, lines = self.aside(lambda: self.sol(args[1], WORD_TYPE))
            return self._in_if(op, self.convert(left, WORD_TYPE), right, lines)
        left = self.convert(left, "bool")
        right, lines = self.aside(lambda: self.natural(args[1], "bool"))
        kind = "bool" if "bool" in (want, right.type) else WORD_TYPE
        left = self.convert(left, kind)
        right, more = self.aside(lambda: self.convert(right, kind))
        if kind == "bool" and not lines and not more:
            around = 20 if op == "&&" else 15
            text = f"{left.around(around)} {op} {right.around(around + 1)}"
            return joined(text, around, "bool", left, right)
        return self._in_if(op, left, right, [*lines, *more])

    def _in_if(self, op: str, left: Piece, right: Piece, lines: list[Node]) -> Piece:
        """`t = left; if (t) { t = right; }`"""
        name = self.held(left).text
        unset, is_set = (f"!{name}", name) if left.type == "bool" else (f"{name} == 0", f"{name} != 0")
        head = f"if ({unset if op == '||' else is_set})"
        self.out.append(Nest([(head, [*lines, assigned(name, right)])], mentions=frozenset({name})))
        return variable(name, left.type)

    def _choice(self, args: tuple[Expression, ...], want: str) -> Piece:
        condition = self.sol(simple_condition(args[0]), "bool")
        kind = want if want and is_value(want) else WORD_TYPE
        held, first = self.aside(lambda: self.sol(args[1], kind))
        failed, second = self.aside(lambda: self.sol(args[2], kind))
        if not first and not second:
            return _chosen(condition, held, failed, kind)
        name = self.temporary(kind)
        parts: list[tuple[str, list[Node]]] = [
            (f"if ({condition.text})", [*first, assigned(name, held)]),
            ("else", [*second, assigned(name, failed)]),
        ]
        self.out.append(Nest(parts, mentions=condition.mentions, raw=condition.raw))
        return variable(name, kind)


def _chosen(condition: Piece, held: Piece, failed: Piece, kind: str) -> Piece:
    """`a ? b : c`; with its type in the text where two bare numbers would have none."""
    around = CHOICE + 1
    text = f"{condition.around(around)} ? {held.around(around)} : {failed.around(around)}"
    if literal_text(held) and literal_text(failed):
        return joined(f"{kind}({text})", ATOM, kind, condition, held, failed)
    return joined(text, CHOICE, kind, condition, held, failed)
