"""Which bits of a function's variables can be set, and which of them anything depends on, as far as a few steps show."""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.algebra import bits_of
from whet.evm.meaning.base import Place
from whet.evm.tac import WORD, Function, Operand, Statement

_DEEPEST = 12
"""Steps from a variable on, forwards or backwards; behind them it counts as a whole word."""

_SAME_BITS = frozenset({"OR", "XOR", "NOT"})


class Bits:
    """The words of one function. stored: {place of an SSTORE or TSTORE: the bits of its value that are kept}."""

    def __init__(self, function: Function, stored: Mapping[Place, int] | None = None) -> None:
        self.makers: dict[str, Statement] = {}
        self.phis: dict[str, list[Operand]] = {}
        self.users: dict[str, list[tuple[Statement, int]]] = {}
        """{variable: statements that use it, and the bits of it that they store}."""
        self.elsewhere: set[str] = set()
        """Variables used by phis and ends."""
        self._widths: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        for block in function.blocks.values():
            self.elsewhere.update(a for a in block.end.args if isinstance(a, str))
            for phi in block.phis:
                self.phis[phi.result] = list(phi.incoming.values())
                self.elsewhere.update(a for a in phi.incoming.values() if isinstance(a, str))
            for index, s in enumerate(block.statements):
                self.makers |= dict.fromkeys(s.results, s)
                kept = (stored or {}).get((block.id, index), WORD)
                for arg in dict.fromkeys(a for a in s.args if isinstance(a, str)):
                    self.users.setdefault(arg, []).append((s, kept))

    def width(self, word: Operand, depth: int = 0) -> int:
        """How many low bits of a word can be set."""
        if isinstance(word, int):
            return word.bit_length()
        if depth > _DEEPEST:
            return 256
        if word not in self._widths:
            self._widths[word] = 256  # where it depends on itself
            self._widths[word] = self._wide(word, depth)
        return self._widths[word]

    def _wide(self, word: str, depth: int) -> int:
        if word in self.phis:
            return max(self.width(one, depth + 1) for one in self.phis[word])
        maker = self.makers.get(word)
        if maker is None:
            return 256
        known = {arg: self.width(arg, depth + 1) for arg in maker.args if isinstance(arg, str)}
        return bits_of(maker, known)

    def asked(self, variable: str, depth: int = 0) -> int:
        """The bits of a variable that anything depends on."""
        if variable in self.elsewhere or depth > _DEEPEST:
            return WORD
        if variable not in self._asked:
            found = 0
            for user, kept in self.users.get(variable, ()):
                found |= self._asked_by(user, variable, kept, depth)
            self._asked[variable] = found
        return self._asked[variable]

    def _asked_by(self, s: Statement, variable: str, kept: int, depth: int) -> int:
        if s.op in _SAME_BITS:
            return self.asked(s.results[0], depth + 1)
        constant = next((a for a in s.args if isinstance(a, int)), None)
        if s.op == "AND":
            return (WORD if constant is None else constant) & self.asked(s.results[0], depth + 1)
        if s.op in ("SSTORE", "TSTORE") and s.args[0] != variable:
            return kept
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
