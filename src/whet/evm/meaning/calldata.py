"""What a function reads of calldata: words, copies, and what it asks of their size and of indexes.

An offset is a constant, offsets that were read before (pointers), and the rest (indexes with their factors). Nothing is
said of types here; `abi` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.tac import WORD

MOST_WORDS = 64
"""Heads of one tuple; more is taken for data that is read some other way."""


@dataclass(slots=True)
class Read:
    """A word of calldata at constant + pointers + indexes. node: the CALLDATALOAD."""

    constant: int
    pointers: frozenset[Node]
    indexes: tuple[tuple[Node, int], ...]
    node: Node


@dataclass(slots=True)
class Copy:
    """Bytes copied out of calldata."""

    constant: int
    pointers: frozenset[Node]
    length: Word


@dataclass(slots=True)
class Calldata:
    """All that is read of calldata in one walk. strict: dirty bits are checked, so what is unchecked is a whole word."""

    uses: Uses
    strict: bool
    reads: list[Read] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    allocated: dict[Word, int] = field(default_factory=dict)


def collect(uses: Uses, strict: bool) -> Calldata:
    """All reads and copies of a walk, in the order of their making."""
    calldata = Calldata(uses, strict, allocated=_allocations(uses))
    for node in uses.walk.symbols.nodes:
        if node.op == "CALLDATALOAD":
            constant, pointers, indexes = parts_of(node.args[0])
            if constant >= 4 and constant < 1 << 32:
                calldata.reads.append(Read(constant, pointers, indexes, node))
        elif node.op == "CALLDATA":
            constant, pointers, _ = parts_of(node.args[0])
            calldata.copies.append(Copy(constant, pointers, node.args[1]))
    return calldata


def parts_of(offset: Word) -> tuple[int, frozenset[Node], tuple[tuple[Node, int], ...]]:
    """(constant, pointers, indexes with their factors) of an offset."""
    constant, terms = linear(offset)
    pointers = frozenset(n for n, factor in terms if factor == 1 and n.op == "CALLDATALOAD")
    return constant, pointers, tuple((n, factor) for n, factor in terms if n not in pointers)


def size_checks(calldata: Calldata, pointers: frozenset[Node] = frozenset()) -> list[tuple[int, int, int]]:
    """(start, size, times) of every check `calldatasize() - start - pointers < size` with constants."""
    found = []
    for node, times in calldata.uses.asked.items():
        if not isinstance(node, Node):
            continue
        if node.op == "ISZERO" and isinstance(node.args[0], Node):
            node = node.args[0]
        if node.op not in ("LT", "SLT", "GT", "SGT"):
            continue
        left, right = node.args if node.op in ("LT", "SLT") else node.args[::-1]
        if not isinstance(left, Node) or not isinstance(right, int):
            continue
        constant, terms = linear(left)
        others = {n: factor for n, factor in terms if n.op != "CALLDATASIZE"}
        if len(terms) == len(others) + 1 and others == dict.fromkeys(pointers, WORD):
            start = -constant & WORD
            if start < 1 << 16 and right < 1 << 16:
                found.append((start, right, times))
    return found


def _allocations(uses: Uses) -> dict[Word, int]:
    """{offset: bytes} where code asks whether offset + bytes is too much memory."""
    found: dict[Word, int] = {}
    for condition in uses.asked:
        if isinstance(condition, Node) and condition.op == "OR":
            for part in condition.args:
                if isinstance(part, Node) and part.op == "LT" and isinstance(part.args[0], Node):
                    size = uses.walk.symbols.add(part.args[0], part.args[1], WORD)
                    if isinstance(size, int) and 0 < size <= 32 * MOST_WORDS:
                        found[part.args[1]] = size
    return found


def end_asked(node: Node, pointers: frozenset[Node]) -> int | None:
    """The constant in `constant + pointers > calldatasize()`."""
    if node.op not in ("GT", "LT"):
        return None
    sizes = [arg for arg in node.args if isinstance(arg, Node) and arg.op == "CALLDATASIZE"]
    others = [arg for arg in node.args if arg not in sizes]
    if len(sizes) != 1 or len(others) != 1:
        return None
    constant, terms = linear(others[0])
    return constant if dict(terms) == dict.fromkeys(pointers, 1) else None


def bound_of(calldata: Calldata, index: Node) -> int:
    """n where index < n is asked with a constant; 0 without."""
    for user in calldata.uses.users.get(index, ()):
        if (
            user.op == "LT"
            and user.args[0] is index
            and isinstance(user.args[1], int)
            and 0 < user.args[1] < 1024
        ):
            return user.args[1]
        if (
            user.op == "GT"
            and user.args[1] is index
            and isinstance(user.args[0], int)
            and 0 < user.args[0] < 1024
        ):
            return user.args[0]
    return 0


def is_index(calldata: Calldata, word: Word) -> bool:
    """Whether some offset of a read has it, as an index or a part of one."""
    return isinstance(word, Node) and any(n is word for r in calldata.reads for n, _ in r.indexes)
