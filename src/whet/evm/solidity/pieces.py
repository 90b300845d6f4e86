"""What is written of a term: a piece of Solidity or of assembly, with its type and the variables in it.

Pieces know no context (`context`) and write no lines of their own (`writer`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.solidity.lines import Line
from whet.evm.solidity.types import ATOM, WORD_TYPE


class Unsayable(Exception):
    """A term that neither Solidity nor assembly can say here; the function is written at the next level."""


@dataclass(slots=True)
class Piece:
    """The text of a term. type: "" for a bare number, whose `value` is known; WORD_TYPE in assembly.

    tightness: how strongly its loosest operator binds, ATOM without one. mentions: the variables in it.
    raw: has arithmetic that wraps. checked: has arithmetic that must not.
    others: {type: text} where a shorter one says the same with another type.
    """

    text: str
    tightness: int
    type: str
    mentions: frozenset[str] = frozenset()
    value: int | None = None
    raw: bool = False
    checked: bool = False
    others: dict[str, str] = field(default_factory=dict)

    def around(self, tightness: int) -> str:
        """In parentheses where an operator beside it needs them."""
        return f"({self.text})" if self.tightness < tightness else self.text


def joined(text: str, tightness: int, kind: str, *parts: Piece) -> Piece:
    """A text made of others."""
    raw, checked = any(part.raw for part in parts), any(part.checked for part in parts)
    return Piece(text, tightness, kind, mentions_of(*parts), None, raw, checked)


def mentions_of(*pieces: Piece) -> frozenset[str]:
    """Every variable that stands in one of them."""
    return frozenset[str]().union(*(piece.mentions for piece in pieces))


def variable(name: str, kind: str = WORD_TYPE) -> Piece:
    """A variable of the text."""
    return Piece(name, ATOM, kind, frozenset({name}))


def listed(pieces: list[Piece]) -> str:
    """`a, b`."""
    return ", ".join(piece.text for piece in pieces)


def said(text: str, piece: Piece, sets: tuple[str, ...] = ()) -> Line:
    """The line of Solidity that says a piece."""
    return Line(text, sets, piece.mentions, raw=piece.raw, checked=piece.checked)


def assigned(name: str, piece: Piece) -> Line:
    """`name = piece;`"""
    return said(f"{name} = {piece.text};", piece, (name,))


def literal_text(piece: Piece) -> bool:
    """Whether a piece is a bare number, whose type Solidity would choose by itself."""
    text = piece.text.removeprefix("-")
    return text[:1].isdigit() and all(c.isalnum() for c in text)
