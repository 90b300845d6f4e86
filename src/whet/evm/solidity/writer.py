"""Variables, and the lines that a term needs before its own: what every part of the emitter writes with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from whet.evm.solidity.context import Context
from whet.evm.solidity.lines import Line, Node
from whet.evm.solidity.pieces import Piece, Unsayable, assigned, mentions_of, said, variable
from whet.evm.solidity.types import WORD_TYPE
from whet.evm.terms import Expression, Name

T = TypeVar("T")


class Writer(ABC):
    """Writes lines into `out`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.out: list[Node] = []
        self.apart = False
        """Wrapping arithmetic goes into lines of its own, since what is around it checks."""
        self.hidden_assembly = False
        """A helper was called that is assembly."""

    @abstractmethod
    def natural(self, term: Expression, want: str = "") -> Piece:
        """A term as Solidity, with the type that its text has by itself. want: where two texts are as good, the type
        that will be needed."""

    @abstractmethod
    def yul(self, term: Expression) -> Piece:
        """A term as one expression inside of assembly."""

    # Variables.

    def spelled(self, name: str) -> str:
        """A variable of the three-address code, as the text has it."""
        return self.context.spelled.setdefault(name, f"v{len(self.context.spelled)}")

    def type_of(self, name: str) -> str:
        kind = self.context.of_variables.get(name) or WORD_TYPE
        return self.context.types.setdefault(self.spelled(name), kind)

    def temporary(self, kind: str = WORD_TYPE) -> str:
        name = f"t{self.context.temporaries}"
        self.context.temporaries += 1
        self.context.types[name] = kind
        return name

    def named(self, term: Name) -> Piece:
        """A storage variable, a parameter or a constant."""
        if term.name not in self.context.names:
            raise Unsayable(term.name)
        return self.context.names[term.name]

    # Lines.

    def say(self, text: str, piece: Piece, sets: tuple[str, ...] = ()) -> None:
        """A line of Solidity that a piece stands in."""
        self.out.append(said(text, piece, sets))

    def put(self, name: str, piece: Piece) -> None:
        """`name = piece;`"""
        self.out.append(assigned(name, piece))

    def assembly(self, text: str, *parts: Piece, sets: tuple[str, ...] = ()) -> None:
        """A line of assembly made of these parts."""
        self.out.append(Line(text, sets, mentions_of(*parts), assembly=True))

    def computed(self, text: str, *parts: Piece, kind: str = WORD_TYPE) -> Piece:
        """The variable of a type to which a line of assembly gives a value."""
        name = self.temporary(kind)
        self.assembly(f"{name} := {text}", *parts, sets=(name,))
        return variable(name, kind)

    def held(self, piece: Piece) -> Piece:
        """A new variable that holds a piece."""
        kind = piece.type or WORD_TYPE
        name = self.temporary(kind)
        self.put(name, piece)
        return variable(name, kind)

    def kept(self, piece: Piece) -> Piece:
        """The variable that holds a piece, made if it is none."""
        return piece if piece.text in self.context.types else self.held(piece)

    def aside(self, write: Callable[[], T]) -> tuple[T, list[Node]]:
        """What is written, and the lines that it needs, apart."""
        before, self.out = self.out, []
        made = write()
        lines, self.out = self.out, before
        return made, lines

    def type_by_itself(self, term: Expression) -> str:
        """The type that a term's text has, of which nothing is written."""
        temporaries = self.context.temporaries
        piece, _ = self.aside(lambda: self.natural(term))
        self.context.temporaries = temporaries
        return piece.type

    # Arithmetic that wraps.

    @contextmanager
    def wrapping_apart(self) -> Iterator[None]:
        """Arithmetic that wraps is put into lines before."""
        before, self.apart = self.apart, True
        try:
            yield
        finally:
            self.apart = before

    def wrapping(self, made: Piece) -> Piece:
        """Arithmetic that wraps; in a line of its own if what is around it checks."""
        made.raw = True
        return self.held(made) if self.apart else made

    def whole(self, write: Callable[[], Piece]) -> Piece:
        """What one line says: arithmetic that wraps and such that must not do not share it."""
        lines, temporaries = len(self.out), self.context.temporaries
        piece = write()
        if piece.raw and piece.checked:
            del self.out[lines:]
            self.context.temporaries = temporaries
            with self.wrapping_apart():
                piece = write()
        return piece
