"""Where a slot is read or written as a whole word, though the variable in it has fewer bits.

The compiler takes a variable out of its slot by a mask, and replaces its bits alone. Code that works on slots itself does
neither: `sstore(slot, 0)` clears what lies beside the variable too, `sload(slot)` compared with 0 sees it. Such a place is no
assignment and no reading of the variable.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.algebra import bits_of
from whet.evm.meaning.base import Place
from whet.evm.solidity.types import is_value, mask_of
from whet.evm.tac import WORD, Function, Operand, Statement
from whet.evm.terms import Assign, Form

_DEEPEST = 12
"""Steps from a variable on, forwards or backwards; behind them it counts as a whole word."""

_SAME_BITS = frozenset({"OR", "XOR", "NOT"})


class _Words:
    """The words of one function. stored: {place of an SSTORE or TSTORE: the bits that its variable takes}."""

    def __init__(self, function: Function, stored: Mapping[Place, int]) -> None:
        self.function = function
        self.makers: dict[str, Statement] = {}
        self.users: dict[str, list[tuple[Statement, int]]] = {}
        """{variable: statements that use it, and the bits of it that they store}."""
        self.widths: dict[str, int] = {}
        self.wanted: dict[str, int] = {}
        """{variable: the bits of it that anything depends on}, as far as it was asked."""
        self.elsewhere: set[str] = set()
        """Variables used by phis and ends."""
        for block in function.blocks.values():
            self.elsewhere.update(a for a in block.end.args if isinstance(a, str))
            for phi in block.phis:
                self.elsewhere.update(a for a in phi.incoming.values() if isinstance(a, str))
            for index, s in enumerate(block.statements):
                self.makers |= dict.fromkeys(s.results, s)
                for arg in dict.fromkeys(a for a in s.args if isinstance(a, str)):
                    self.users.setdefault(arg, []).append((s, stored.get((block.id, index), WORD)))

    def beside(self, place: Place, form: Form, mask: int) -> bool:
        """Whether a reading or a writing of storage is of more than those bits."""
        s = self.function.blocks[place[0]].statements[place[1]]
        if s.op in ("SSTORE", "TSTORE"):
            return isinstance(form, Assign) and self.replaces(s.args[1], mask)
        return s.op in ("SLOAD", "TLOAD") and self.asked(s.results[0]) & ~mask != 0

    def replaces(self, word: Operand, mask: int) -> bool:
        """Whether a word that is stored keeps nothing of what lies beside those bits."""
        maker = self.makers.get(word) if isinstance(word, str) else None
        copied = maker is not None and maker.op in ("SLOAD", "TLOAD")
        return copied or self._width(word, 0) <= mask.bit_length()

    def _width(self, word: Operand, depth: int) -> int:
        if isinstance(word, int):
            return word.bit_length()
        maker = self.makers.get(word)
        if maker is None or depth > _DEEPEST:
            return 256
        if word not in self.widths:
            known = {arg: self._width(arg, depth + 1) for arg in maker.args if isinstance(arg, str)}
            self.widths[word] = bits_of(maker, known)
        return self.widths[word]

    def asked(self, variable: str, depth: int = 0) -> int:
        """The bits of a variable that anything depends on."""
        if variable in self.elsewhere or depth > _DEEPEST:
            return WORD
        if variable not in self.wanted:
            found = 0
            for user, stored in self.users.get(variable, ()):
                found |= self._asked_by(user, variable, stored, depth)
            self.wanted[variable] = found
        return self.wanted[variable]

    def _asked_by(self, s: Statement, variable: str, stored: int, depth: int) -> int:
        if s.op in _SAME_BITS:
            return self.asked(s.results[0], depth + 1)
        constant = next((a for a in s.args if isinstance(a, int)), None)
        if s.op == "AND":
            return (WORD if constant is None else constant) & self.asked(s.results[0], depth + 1)
        if s.op in ("SSTORE", "TSTORE") and s.args[0] != variable:
            return stored
        if constant is None:
            return WORD
        if s.op == "SIGNEXTEND" and s.args[0] == constant:
            return WORD if constant > 30 else (1 << 8 * constant + 8) - 1
        if s.op in ("SHL", "SHR") and s.args[0] == constant and constant < 256:
            after = self.asked(s.results[0], depth + 1)
            return after >> constant if s.op == "SHL" else after << constant & WORD
        if s.op == "MUL" and constant and not constant & (constant - 1):
            return self.asked(s.results[0], depth + 1) >> constant.bit_length() - 1
        if s.op == "DIV" and s.args[1] == constant and constant and not constant & (constant - 1):
            return self.asked(s.results[0], depth + 1) << constant.bit_length() - 1 & WORD
        return WORD


def as_words(function: Function, forms: Mapping[Place, Form], types: Mapping[Place, str]) -> set[Place]:
    """The SLOADs and SSTOREs whose form speaks of fewer bits than they read or write. types: of the variables that they
    read or write, by place."""
    masks = {place: _in_slot(kind) for place, kind in types.items() if is_value(kind)}
    narrow = {place: mask for place, mask in masks.items() if mask != WORD and place[1] >= 0}
    if not narrow:
        return set()
    stored = {place: mask for place, mask in narrow.items() if isinstance(forms[place], Assign)}
    words = _Words(function, stored)
    return {place for place, mask in narrow.items() if words.beside(place, forms[place], mask)}


def _in_slot(kind: str) -> int:
    """The bits of a slot of its own that a value takes: the lowest, for bytesN too."""
    return (1 << mask_of(kind).bit_count()) - 1
