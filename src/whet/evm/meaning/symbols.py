"""Symbolic words: what a variable holds, as a graph over calldata, storage and environment; equal words are one node.

Sums are kept as a constant and terms with factors, so that an offset is compared by its parts: `4 + 32 * i` is one node
however the compiler wrote it. Shifts, masks and cleanups have one form each. Every rule holds for all 256-bit words.
Left out: everything that would need to know the range of a word. Cost: one look-up in a table for each word made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from whet.evm.tac import WORD
from whet.evm.words import ONE, THREE, TWO

_MOST_TERMS = 16
"""Of a sum; one of more is left as it is written."""

_LARGEST_FACTOR = 1 << 16
"""Shifts to the left by more are packing of fields, not strides."""


class Node:
    """A word that is not a constant. op: an EVM instruction or one of this package's own names:

    SUM (constant, ((node, factor), ...)); CLEAN (bits, x), the low bits of x; LOOP, CHOICE, UNKNOWN (what, number).
    number: its place in the order of making.
    """

    __slots__ = ("args", "number", "op")

    def __init__(self, op: str, args: tuple[Any, ...], number: int) -> None:
        self.op, self.args, self.number = op, args, number

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(hex(a) if isinstance(a, int) else repr(a) for a in self.args)})"


Word: TypeAlias = int | Node
Terms: TypeAlias = tuple[tuple[Node, int], ...]


def linear(word: Word) -> tuple[int, Terms]:
    """(constant, terms) whose sum is the word."""
    if isinstance(word, int):
        return word, ()
    if word.op == "SUM":
        return word.args[0], word.args[1]
    return 0, ((word, 1),)


def mask_bits(mask: int) -> int | None:
    """n for a mask of the low n bits."""
    return mask.bit_length() if mask and mask & (mask + 1) == 0 else None


class Symbols:
    """Makes nodes. `nodes` holds all of them in the order of making."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._table: dict[tuple[Any, ...], Node] = {}
        self._made = 0

    def node(self, op: str, *args: Any) -> Node:
        key = (op, *args)
        found = self._table.get(key)
        if found is None:
            found = self._table[key] = Node(op, args, len(self.nodes))
            self.nodes.append(found)
        return found

    def fresh(self, what: str, *about: Any) -> Node:
        """A word of which nothing is known, but where it comes from."""
        self._made += 1
        return self.node(what, *about, self._made)

    def sum(self, constant: int, terms: Terms) -> Word:
        constant &= WORD
        if not terms:
            return constant
        if not constant and len(terms) == 1 and terms[0][1] == 1:
            return terms[0][0]
        return self.node("SUM", constant, terms)

    def add(self, a: Word, b: Word, factor: int = 1) -> Word:
        """a + factor * b."""
        constant, terms = linear(a)
        other, more = linear(b)
        if not more:
            return self.sum(constant + factor * other, terms)
        factors = dict(terms)
        for node, times in more:
            factors[node] = (factors.get(node, 0) + factor * times) & WORD
        if len(factors) > _MOST_TERMS:
            if factor == 1:
                return self.node("ADD", a, b)
            return (
                self.node("SUB", a, b) if factor == WORD else self.node("ADD", a, self.node("MUL", factor, b))
            )
        kept = sorted(((n, k) for n, k in factors.items() if k), key=lambda term: term[0].number)
        return self.sum(constant + factor * other, tuple(kept))

    def operation(self, op: str, args: tuple[Word, ...]) -> Word:
        """The result of a pure instruction."""
        rule = _RULES.get(op)
        if rule is not None:
            word = rule(self, *args)
            if word is not None:
                return word
        if all(arg.__class__ is int for arg in args):
            known = _constant(op, args)  # type: ignore[arg-type]
            if known is not None:
                return known
        if op in _ORDERED and isinstance(args[1], int):
            args = args[::-1]
        return self.node(op, *args)

    # One rule an instruction; None where nothing is simpler.

    def _mul(self, a: Word, b: Word) -> Word | None:
        if isinstance(b, int):
            a, b = b, a
        if not isinstance(a, int) or isinstance(b, int):
            return None
        if a.bit_count() == 1 and a > _LARGEST_FACTOR:
            return self._shl(a.bit_length() - 1, b) or self.node("SHL", a.bit_length() - 1, b)
        return self.add(0, b, a) if a <= _LARGEST_FACTOR else None

    def _div(self, a: Word, b: Word) -> Word | None:
        if not isinstance(b, int) or b.bit_count() != 1 or isinstance(a, int):
            return None
        return self._shr(b.bit_length() - 1, a) or self.node("SHR", b.bit_length() - 1, a)

    def _shl(self, shift: Word, word: Word) -> Word | None:
        if not isinstance(shift, int) or isinstance(word, int):
            return None
        if shift == 0 or shift > 255:
            return 0 if shift else word
        if 1 << shift <= _LARGEST_FACTOR:
            return self.add(0, word, 1 << shift)
        if word.op == "SHR" and word.args[0] == shift:
            return self._and(WORD ^ ((1 << shift) - 1), word.args[1])
        if word.op == "SHL" and isinstance(word.args[0], int):
            return self._shl(shift + word.args[0], word.args[1]) or self.node(
                "SHL", shift + word.args[0], word.args[1]
            )
        return None

    def _shr(self, shift: Word, word: Word) -> Word | None:
        if not isinstance(shift, int) or isinstance(word, int):
            return None
        if shift == 0 or shift > 255:
            return 0 if shift else word
        if word.op == "SHL" and word.args[0] == shift:
            return self._and(WORD >> shift, word.args[1])
        if word.op == "SHR" and isinstance(word.args[0], int):
            return self._shr(shift + word.args[0], word.args[1]) or self.node(
                "SHR", shift + word.args[0], word.args[1]
            )
        if word.op == "AND" and isinstance(word.args[0], int) and not word.args[0] & ((1 << shift) - 1):
            inner = self.operation("SHR", (shift, word.args[1]))
            return self._and(word.args[0] >> shift, inner)
        return None

    def _sar(self, shift: Word, word: Word) -> Word | None:
        shifted = isinstance(word, Node) and word.op == "SHL" and word.args[0] == shift
        if isinstance(shift, int) and isinstance(word, Node) and shifted and shift % 8 == 0:
            return self.operation("SIGNEXTEND", (31 - shift // 8, word.args[1]))
        return word if shift == 0 else None

    def _and(self, a: Word, b: Word) -> Word | None:
        if isinstance(b, int):
            a, b = b, a
        if a == b:
            return a
        if not isinstance(a, int) or isinstance(b, int):
            return None
        if a == 0 or a == WORD:
            return b if a else 0
        if b.op == "AND" and isinstance(b.args[0], int):
            return self._and(a & b.args[0], b.args[1])
        if b.op == "SHR" and isinstance(b.args[0], int) and a & (WORD >> b.args[0]) == WORD >> b.args[0]:
            return b
        return self.node("AND", a, b)

    def _or(self, a: Word, b: Word) -> Word | None:
        if a == b or b == 0:
            return a
        return b if a == 0 else None

    def _iszero(self, a: Word) -> Word | None:
        if isinstance(a, Node) and a.op == "ISZERO" and isinstance(a.args[0], Node):
            inner = a.args[0]
            return inner if inner.op in TRUTHS else None
        return None

    def _same(self, op: str, a: Word, b: Word) -> Word | None:
        if a == b:
            return 1 if op == "EQ" else 0
        if op in ("EQ", "GT") and b == 0 and isinstance(a, Node) and op == "EQ":
            return self.operation("ISZERO", (a,))
        if op == "EQ" and a == 0 and isinstance(b, Node):
            return self.operation("ISZERO", (b,))
        return None

    def _signextend(self, size: Word, word: Word) -> Word | None:
        if isinstance(size, int) and size >= 31:
            return word
        if isinstance(word, Node) and word.op == "SIGNEXTEND" and word.args[0] == size:
            return word
        return None

    def _byte(self, index: Word, word: Word) -> Word | None:
        if not isinstance(index, int) or isinstance(word, int):
            return None
        if index > 31:
            return 0
        return self._and(0xFF, self.operation("SHR", (248 - 8 * index, word)))


TRUTHS = frozenset({"ISZERO", "EQ", "LT", "GT", "SLT", "SGT"})
"""Instructions that give 0 or 1."""

_ORDERED = frozenset({"EQ", "OR", "XOR", "MUL"})

_RULES: dict[str, Callable[..., Word | None]] = {
    "ADD": lambda s, a, b: s.add(a, b),
    "SUB": lambda s, a, b: s.add(a, b, WORD),
    "MUL": Symbols._mul,
    "DIV": Symbols._div,
    "SHL": Symbols._shl,
    "SHR": Symbols._shr,
    "SAR": Symbols._sar,
    "AND": Symbols._and,
    "OR": Symbols._or,
    "ISZERO": Symbols._iszero,
    "EQ": lambda s, a, b: s._same("EQ", a, b),
    "GT": lambda s, a, b: s._same("GT", a, b),
    "LT": lambda s, a, b: s._same("LT", a, b),
    "SIGNEXTEND": Symbols._signextend,
    "BYTE": Symbols._byte,
}


def _constant(op: str, args: tuple[int, ...]) -> int | None:
    if op in ONE:
        return ONE[op](*args)
    if op in TWO:
        return TWO[op](*args)
    return THREE[op](*args) if op in THREE else None


def inside(word: Word) -> Iterator[Node]:
    """The nodes of which a word is made, each once, itself first."""
    seen: set[Node] = set()
    work: list[Any] = [word]
    while work:
        part = work.pop()
        if isinstance(part, tuple):
            work.extend(part)
        elif isinstance(part, Node) and part not in seen:
            seen.add(part)
            yield part
            work.extend(part.args)
