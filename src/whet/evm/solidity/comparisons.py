"""Comparisons and their opposites, in a type in which no bits are lost."""

from __future__ import annotations

from whet.evm.solidity.assembly import Assembly
from whet.evm.solidity.pieces import Piece, joined
from whet.evm.solidity.types import ATOM, EQUAL, ORDER, UNARY, WORD_TYPE, is_unsigned, literal
from whet.evm.terms import Operation

COMPARE = {"LT": "<", "GT": ">", "SLT": "<", "SGT": ">", "EQ": "=="}
_OPPOSITE = {"<": ">=", ">": "<=", "==": "!=", ">=": "<", "<=": ">", "!=": "=="}
_TURNED = {"<": ">", ">": "<", "==": "=="}
_LOOSER = (" < ", " > ", " == ", " != ", " <= ", " >= ", " && ", " || ", " ? ")


class Comparisons(Assembly):
    """Terms that are bools."""

    def compare(self, term: Operation) -> Piece:
        left, right = (self.natural(arg) for arg in term.args)
        sign = COMPARE[term.op]
        if term.op == "EQ":
            for one, other in ((left, right), (right, left)):
                if one.type == "bool" and other.value in (0, 1):
                    return one if other.value else self.negated(one)
        if left.value is not None and right.value is None:
            left, right, sign = right, left, _TURNED[sign]
        kind = _compared_as(term.op, left, right)
        left, right = self.convert(left, kind), self.convert(right, kind)
        if not left.type and left.value is not None:
            left = Piece(f"uint256({left.text})", ATOM, WORD_TYPE)
        tightness = EQUAL if term.op == "EQ" else ORDER
        text = f"{left.around(tightness + 1)} {sign} {right.around(tightness + 1)}"
        return joined(text, tightness, "bool", left, right)

    def is_zero(self, term: Operation) -> Piece:
        return self.negated(self.natural(term.args[0], "bool"))

    def negated(self, piece: Piece) -> Piece:
        """True where the piece is 0."""
        if piece.type != "bool":
            zero = self.convert(Piece("0", ATOM, "", value=0), piece.type)
            return joined(f"{piece.around(EQUAL + 1)} == {zero.text}", EQUAL, "bool", piece)
        for sign, opposite in _OPPOSITE.items():
            left, found, right = piece.text.partition(f" {sign} ")
            if found and piece.tightness in (EQUAL, ORDER) and _is_whole(left) and _is_whole(right):
                return joined(f"{left} {opposite} {right}", piece.tightness, "bool", piece)
        if piece.text.startswith("!") and piece.tightness == UNARY:
            return joined(piece.text[1:], UNARY, "bool", piece)
        return joined(f"!{piece.around(UNARY)}", UNARY, "bool", piece)


def _compared_as(op: str, left: Piece, right: Piece) -> str:
    """The type to convert both to; "" where they can be compared as they are."""
    if op in ("SLT", "SGT"):
        return "int256"
    if op == "EQ" and (kind := _common(left, right)):
        return kind
    unsigned = all(not piece.type or is_unsigned(piece.type) for piece in (left, right))
    return "" if unsigned and (left.type or right.type) else WORD_TYPE


def _common(left: Piece, right: Piece) -> str:
    """The type in which two pieces can be compared without losing bits; "" for none but words."""
    for one, other in ((left, right), (right, left)):
        if one.type and one.type != WORD_TYPE:
            if other.type == one.type or one.type in other.others:
                return one.type
            if not other.type and other.value is not None and literal(other.value, one.type) is not None:
                return one.type
    return ""


def _is_whole(text: str) -> bool:
    """Whether no operator of a comparison or below stands in a text outside of parentheses."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth < 0 or (depth == 0 and text.startswith(_LOOSER, place)):
            return False
    return depth == 0
