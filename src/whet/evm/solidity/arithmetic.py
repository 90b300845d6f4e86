"""Numbers: arithmetic that wraps and such that checks, bits, shifts, and divisions, where the EVM and Solidity differ."""

from __future__ import annotations

from dataclasses import replace

from whet.evm.solidity.assembly import Assembly
from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, literal_text
from whet.evm.solidity.types import ATOM, CHOICE, UNARY, WORD_TYPE, from_word, number_text
from whet.evm.tac import WORD
from whet.evm.terms import Call, Expression, Invoke, Operation, children
from whet.evm.text.expressions import cut_to

INFIX = {
    "EXP": ("**", 95),
    "MUL": ("*", 80),
    "ADD": ("+", 70),
    "SUB": ("-", 70),
    "AND": ("&", 50),
    "XOR": ("^", 45),
    "OR": ("|", 40),
}
DIVIDE = {"DIV": ("/", 80), "MOD": ("%", 80), "SDIV": ("/", 80), "SMOD": ("%", 80)}
SHIFTS = {"SHL": "<<", "SHR": ">>", "SAR": ">>"}
SHIFT = 60
"""How tightly << and >> bind."""

_BITS = frozenset({"AND", "OR", "XOR"})
_ALIKE = frozenset({"ADD", "MUL", "AND", "OR", "XOR"})
_WRAPS = frozenset({"ADD", "SUB", "MUL", "EXP"})
_CHECKED = _WRAPS | DIVIDE.keys()


class Arithmetic(Assembly):
    """Terms that are numbers."""

    def infix(self, term: Operation) -> Piece:
        op, args = term.op, term.args
        if op == "AND" and (cut := cut_to(args)) is not None:
            return self._cut(args, *cut)
        if op in _ALIKE and isinstance(args[0], int) and not isinstance(args[1], int):
            args = (args[1], args[0])
        if op == "ADD" and isinstance(args[1], int) and WORD - args[1] < 1 << 64:
            op, args = "SUB", (args[0], WORD + 1 - args[1])
        left, right = (self._word(arg) for arg in args)
        if op in _WRAPS:
            left, right = self._settled(left), self._settled(right)
        if left.value is not None and (right.value is not None or op == "EXP"):
            left = Piece(f"uint256({left.text})", ATOM, WORD_TYPE)
        made = _infixed(op, left, right)
        return self.wrapping(made) if op in _WRAPS else made

    def _settled(self, piece: Piece) -> Piece:
        """A piece that arithmetic which wraps may stand around: what is checked is in a line before."""
        return self.held(piece) if piece.checked else piece

    def _word(self, arg: Expression) -> Piece:
        """As uint256; a bare number stays one."""
        piece = self.natural(arg)
        return piece if piece.value is not None and not piece.type else self.convert(piece, WORD_TYPE)

    def _cut(self, args: tuple[Expression, ...], kind: str, value: Expression) -> Piece:
        """A word of which only the bits of a type are left."""
        piece = self.natural(value)
        if piece.type == kind:
            return piece
        word = self.convert(piece, WORD_TYPE)
        text, _ = from_word(word.text, word.tightness, kind)
        if kind == "address":
            made = joined(f"uint256(uint160({word.text}))", ATOM, WORD_TYPE, word)
            made.others = {kind: text, "uint160": f"uint160({word.text})"}
            return made
        if kind.startswith("uint"):
            made = joined(f"uint256({text})", ATOM, WORD_TYPE, word)
        else:
            mask = next(arg for arg in args if isinstance(arg, int))
            shown = number_text(mask) if mask < WORD >> 1 else f"~uint256({number_text(WORD - mask)})"
            made = joined(f"{word.around(UNARY)} & {shown}", INFIX["AND"][1], WORD_TYPE, word)
        made.others = {kind: text}
        return made

    def shift(self, term: Operation) -> Piece:
        if term == Operation("SHR", (224, Operation("CALLDATALOAD", (0,)))):
            return Piece("uint256(uint32(msg.sig))", ATOM, WORD_TYPE)
        amount, value = (self._word(arg) for arg in term.args)
        if value.value is not None:
            value = Piece(f"uint256({value.text})", ATOM, WORD_TYPE)
        kind = "int256" if term.op == "SAR" else WORD_TYPE
        value = self.convert(value, kind)
        text = f"{value.around(SHIFT)} {SHIFTS[term.op]} {amount.around(SHIFT + 1)}"
        return joined(text, SHIFT, kind, value, amount)

    def complement(self, term: Operation) -> Piece:
        value = self.sol(term.args[0], WORD_TYPE)
        return joined(f"~{value.around(UNARY)}", UNARY, WORD_TYPE, value)

    def extended(self, term: Operation) -> Piece:
        """SIGNEXTEND from a whole number of bytes."""
        assert isinstance(term.args[0], int)
        value = self.sol(term.args[1], WORD_TYPE)
        size = 8 * term.args[0] + 8
        return joined(f"int{size}(uint{size}({value.text}))", ATOM, f"int{size}", value)

    def modular(self, term: Operation) -> Piece:
        """ADDMOD, MULMOD."""
        parts = [self.sol(arg, WORD_TYPE) for arg in term.args]
        return joined(f"{term.op.lower()}({listed(parts)})", ATOM, WORD_TYPE, *parts)

    def divide(self, term: Operation) -> Piece:
        kind = "int256" if term.op[0] == "S" else WORD_TYPE
        if not (isinstance(term.args[1], int) and 0 < term.args[1] < WORD):
            return self._divide_or_nothing(term, kind)
        left, right = (self.sol(arg, kind) for arg in term.args)
        if literal_text(left):
            left = Piece(f"{kind}({left.text})", ATOM, kind)
        return _in_between(DIVIDE[term.op], kind, left, right)

    def _divide_or_nothing(self, term: Operation, kind: str) -> Piece:
        """The EVM's division by 0 gives 0; Solidity's reverts."""
        left, right = (self.sol(arg, kind) for arg in term.args)
        if _does_more(term.args[0]):
            left = self.held(left)
        right = self.kept(right)
        nothing = "int256(0)" if kind == "int256" else "0"
        text = f"{right.text} == 0 ? {nothing} : {_in_between(DIVIDE[term.op], kind, left, right).text}"
        made = joined(text, CHOICE, kind, left, right)
        return self.wrapping(made) if kind == "int256" else made

    def checked(self, name: str, inner: Expression) -> Piece:
        """`checked_uint8(a + b)`: arithmetic of that type, which cleans its operands and reverts."""
        if not isinstance(inner, Operation) or inner.op not in _CHECKED:
            raise Unsayable(name)
        kind = name.partition("_")[2] or WORD_TYPE
        with self.wrapping_apart():
            left, right = (self.sol(arg, kind) for arg in inner.args)
        if literal_text(left) and (literal_text(right) or inner.op == "EXP"):
            left = Piece(f"{kind}({left.text})", ATOM, kind)
        made = _in_between((INFIX | DIVIDE)[inner.op], kind, left, right)
        return replace(made, raw=False, checked=True)


def _in_between(sign: tuple[str, int], kind: str, left: Piece, right: Piece) -> Piece:
    """`left sign right`, grouped from the left."""
    text, tightness = sign
    return joined(
        f"{left.around(tightness)} {text} {right.around(tightness + 1)}", tightness, kind, left, right
    )


def _infixed(op: str, left: Piece, right: Piece) -> Piece:
    """`left op right` of words. Bits beside anything but the same operation get parentheses, as nobody knows the order."""
    sign, tightness = INFIX[op]
    mixed = UNARY if op in _BITS else tightness
    needs = (mixed + (op == "EXP"), mixed + (op not in _ALIKE or mixed == UNARY))
    around = [
        0 if op in _BITS and _is_same(op, piece) else need
        for piece, need in zip((left, right), needs, strict=True)
    ]
    text = f"{left.around(around[0])} {sign} {right.around(around[1])}"
    return joined(text, tightness, WORD_TYPE, left, right)


def _is_same(op: str, piece: Piece) -> bool:
    return piece.tightness == INFIX[op][1] and piece.type == WORD_TYPE


def _does_more(term: Expression) -> bool:
    """Whether a term has to be computed even where its value is not needed."""
    return isinstance(term, Invoke | Call) or any(_does_more(child) for child in children(term))
