"""Pieces with another type, never with another word; what lies in storage or memory as the word that Solidity keeps."""

from __future__ import annotations

from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, variable
from whet.evm.solidity.references import ZERO_SLOT
from whet.evm.solidity.types import (
    ATOM,
    EQUAL,
    UNARY,
    WORD_TYPE,
    from_word,
    is_value,
    literal,
    location,
    mask_of,
    number_text,
    to_word,
)
from whet.evm.solidity.writer import Writer
from whet.evm.terms import Expression, Operation
from whet.evm.text.expressions import simple_condition


class Conversion(Writer):
    """Terms with the type that is wanted."""

    def sol(self, term: Expression, want: str = "") -> Piece:
        """A term as Solidity, converted to the type that is wanted."""
        if want in ("", WORD_TYPE, "bool") or not is_value(want):
            return self.convert(self.natural(term, want), want)
        term = trimmed(term, mask_of(want))
        if want == "bytes4" and term == Operation("CALLDATALOAD", (0,)):
            return Piece("msg.sig", ATOM, "bytes4")
        return self.convert(self.natural(term, want), want)

    def several(self, terms: tuple[Expression, ...], kinds: tuple[str, ...]) -> Piece:
        """`a, b` with these types."""
        pieces = [self.sol(term, kind) for term, kind in zip(terms, kinds, strict=True)]
        return joined(listed(pieces), ATOM, "", *pieces)

    def condition(self, term: Expression) -> Piece:
        """As a bool. Heads cannot stand in `unchecked` alone, so that wrapping arithmetic is in lines before."""
        with self.wrapping_apart():
            return self.sol(simple_condition(term), "bool")

    def convert(self, piece: Piece, want: str) -> Piece:
        """The same value with another type. Without a wanted type it stays, a bare number as well."""
        if not want or piece.type == want:
            return piece
        if piece.value == ZERO_SLOT and not piece.type and (empty := empty_object(want)):
            if self.context.raw_memory or self.context.literal:  # making one would move the free pointer
                return variable(self.temporary(want), want)
            return Piece(empty, ATOM, want)
        if piece.value is not None and not piece.type:
            text = literal(piece.value, want) if is_value(want) else None
            if text is not None:
                return Piece(text, ATOM if text[0] != "-" else UNARY, want)
            piece = Piece(f"uint256({number_text(piece.value)})", ATOM, WORD_TYPE)
        if want in piece.others:
            return joined(piece.others[want], ATOM, want, piece)
        if want.endswith(" memory") and piece.type.partition(" ")[0] == want.partition(" ")[0]:
            return joined(piece.text, piece.tightness, want, piece)  # Solidity copies it
        if {piece.type, want} == {"bytes memory", "string memory"}:
            return joined(f"{want.partition(' ')[0]}({piece.text})", ATOM, want, piece)
        if not is_value(piece.type):
            piece = self._pointer(piece) if location(piece.type) else self._first_word(piece)
        return self._by_word(piece, want) if is_value(want) else self._reference(piece, want)

    def _by_word(self, piece: Piece, want: str) -> Piece:
        """One value type as another, over the word."""
        if want == "bool":
            return joined(f"{piece.around(EQUAL + 1)} != {literal(0, piece.type)}", EQUAL, "bool", piece)
        word = to_word(piece.text, piece.tightness, piece.type)
        return joined(*from_word(*word, want), want, piece)

    def slot(self, piece: Piece) -> Piece:
        """Assembly's name for where something in storage begins."""
        if piece.text.isidentifier():
            return Piece(f"{piece.text}.slot", ATOM, WORD_TYPE)
        name = self.temporary(f"{piece.type} storage")
        self.put(name, piece)
        return Piece(f"{name}.slot", ATOM, WORD_TYPE, frozenset({name}))

    def _first_word(self, piece: Piece) -> Piece:
        """What the first slot of something in storage holds."""
        slot = self.slot(piece)
        return self.computed(f"sload({slot.text})", slot)

    def _pointer(self, piece: Piece) -> Piece:
        """Where an object in memory lies."""
        if not piece.type.endswith(" memory"):
            raise Unsayable(f"{piece.text} ({piece.type}) as a word")
        if not piece.text.isidentifier():
            piece = self.held(piece)
        return self.computed(piece.text, variable(piece.text))

    def _reference(self, piece: Piece, want: str) -> Piece:
        """The object in memory at a place."""
        if not want.endswith(" memory"):
            raise Unsayable(f"{piece.text} as {want}")
        word = self.kept(self.convert(piece, WORD_TYPE))
        if want.startswith("Words") and self.context.raw_memory:  # declaring one would move the free pointer
            name = f"as{want.removesuffix(' memory')}"
            self.context.needed.add(name)
            return joined(f"{name}()({word.text})", ATOM, want, word)
        return self.computed(word.text, word, kind=want)


def empty_object(kind: str) -> str:
    """What makes an empty object of a type in memory; "" for types of values."""
    name = kind.removesuffix(" memory")
    if name == kind or not name.endswith(("bytes", "string", "[]")):
        return ""
    return '""' if name in ("bytes", "string") else f"new {name}(0)"


def trimmed(term: Expression, mask: int) -> Expression:
    """A term of which only some bits matter, without what makes no difference to them."""
    if not isinstance(term, Operation) or term.op not in ("AND", "OR"):
        return term
    for one, other in (term.args, term.args[::-1]):
        if isinstance(one, int) and term.op == "AND" and not one & mask:
            return 0
        if isinstance(one, int) and term.op == "AND" and one & mask == mask:
            return trimmed(other, mask)
        if term.op == "OR" and _is_outside(one, mask):
            return trimmed(other, mask)
    return term


def _is_outside(term: Expression, mask: int) -> bool:
    """Whether a term is 0 in all bits of a mask."""
    if isinstance(term, int):
        return not term & mask
    if not isinstance(term, Operation) or term.op != "AND":
        return False
    return any(isinstance(arg, int) and not arg & mask for arg in term.args)
