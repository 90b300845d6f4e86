"""Terms inside of assembly: what Solidity has no word for, and everything at the level LITERAL."""

from __future__ import annotations

from whet.evm.solidity.conversion import Conversion
from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, variable
from whet.evm.solidity.types import ATOM, WORD_TYPE
from whet.evm.tac import WORD
from whet.evm.terms import Expression, Member, Name, Operation, Typed

LAZY = frozenset({"&&", "||", "?:"})
"""Operations that look at some operands only sometimes, which no expression of assembly does."""

ASKED = frozenset({"CALLVALUE", "CLZ"})
"""Instructions that only Solidity says."""

_YUL = {"!": "iszero", "KECCAK256": "keccak256"}
_MISSING = frozenset({"MSIZE"})
"""Instructions that this compiler does not allow."""


class Assembly(Conversion):
    """Terms as expressions of assembly; what only Solidity says is put into variables before."""

    def yul(self, term: Expression) -> Piece:
        if isinstance(term, int):
            return Piece(_number(term), ATOM, WORD_TYPE)
        if isinstance(term, str):
            return variable(self.spelled(term))
        if isinstance(term, Typed):
            return self.yul(term.value)
        if isinstance(term, Operation):
            return self.instruction(term)
        return self._readable(term) or self.kept(self.sol(term, WORD_TYPE))

    def settled(self, term: Expression) -> Piece:
        """A term's value now, in a variable if it is no number."""
        piece = self.yul(term)
        if piece.text in self.context.types or isinstance(term, int):
            return piece
        return self.computed(piece.text, piece)

    def instruction(self, term: Operation) -> Piece:
        """An operation by the function that assembly has for it."""
        if term.op in LAZY or term.op in ASKED:
            return self.kept(self.sol(term, WORD_TYPE))
        if term.op == "CODESIZE":
            return Piece(str(self.context.code_size), ATOM, WORD_TYPE)
        name = _YUL.get(term.op, term.op.lower())
        if term.op in _MISSING:
            raise Unsayable(f"{name} cannot be said for this compiler")
        return self.applied(name, term.args)

    def applied(self, name: str, args: tuple[Expression, ...]) -> Piece:
        """`name(a, b)`."""
        parts = [self.yul(arg) for arg in args]
        return joined(f"{name}({listed(parts)})", ATOM, WORD_TYPE, *parts)

    def _readable(self, term: Expression) -> Piece | None:
        """What assembly reads by its name in Solidity: parameters, and where those in calldata are."""
        if isinstance(term, Name):
            piece = self.named(term)
            if piece.text.isidentifier() and piece.text in self.context.reading:
                return variable(piece.text)
        if isinstance(term, Member) and term.name in ("offset", "length") and isinstance(term.base, Name):
            piece = self.named(term.base)
            if piece.type.endswith(" calldata"):
                return Piece(f"{piece.text}.{term.name}", ATOM, WORD_TYPE, frozenset({piece.text}))
        return None


def _number(value: int) -> str:
    if value < 1 << 16:
        return str(value) if value < 10 else hex(value)
    return f"not({WORD - value:#x})" if WORD - value < 1 << 64 else hex(value)
