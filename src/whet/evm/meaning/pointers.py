"""Whether a word is a place in memory, storage or calldata, and of what, by what is read there.

"bytes memory", "uint256[] memory", "bytes[] memory", "memory" where only that is known, "storage", "calldata". Likely,
never proved: nothing stops code from reading anywhere. bytes and string are read alike ("bytes"). Left out: what is only
written.
"""

from __future__ import annotations

from collections.abc import Iterator

from whet.evm.meaning.evidence import Uses, cleaned_type
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.tac import WORD

_NEAR = 1 << 16
_DEEPEST = 2


def pointer_type(uses: Uses, word: Node, depth: int = 0) -> str:
    """What lies where the word points to; "" if nothing is read there."""
    read = list(_read(uses, word))
    if any(node.op in ("SLOAD", "TLOAD") for node, *_ in read) or _is_slot(uses, word):
        return "storage"
    if any(node.op == "CALLDATALOAD" for node, *_ in read):
        return "calldata"
    if not read:
        return ""
    return _object(uses, word, read, depth)


def _object(uses: Uses, word: Node, read: list[tuple[Node, int, tuple[int, ...]]], depth: int) -> str:
    elements = [node for node, _, factors in read if factors and all(f % 32 == 0 for f in factors)]
    lengths = [
        node for node, constant, factors in read if node.op == "MLOAD" and not constant and not factors
    ]
    indexes = {
        arg for length in lengths for user in uses.users.get(length, ()) for arg in _compared(user, length)
    }
    stepped = list(_stepped(uses, word))
    if any(_is_rounded(uses, length) or _is_consumed(uses, length) for length in lengths) or any(
        step in indexes for step, _ in stepped
    ):
        return "bytes memory"
    counted = any(part.op == "LOOP" for index in indexes for part, _ in linear(index)[1])
    elements += [node for _, node in stepped] if counted else []
    if elements and lengths:
        return f"{_element(uses, elements, depth)}[] memory"
    return "memory"


def _compared(user: Node, length: Node) -> list[Node]:
    """What is compared with the length."""
    return (
        [arg for arg in user.args if isinstance(arg, Node) and arg is not length]
        if user.op in ("LT", "GT")
        else []
    )


def _stepped(uses: Uses, word: Node) -> Iterator[tuple[Node, Node]]:
    """(what grows in a loop, MLOAD) of reads in a loop behind the word."""
    for total, factor in uses.sums.get(word, ()):
        steps = [part for part, times in linear(total)[1] if part.op == "LOOP" and times == 1]
        if factor == 1 and len(steps) == 1 and len(linear(total)[1]) == 2:
            yield from ((steps[0], node) for node in uses.of(total, "MLOAD"))


def _read(uses: Uses, word: Node) -> Iterator[tuple[Node, int, tuple[int, ...]]]:
    """(what reads, distance from the word, factors of what else is added) of every read at or behind the word."""
    for node in uses.users.get(word, ()):
        if node.op in _READS and node.args[0] is word:
            yield node, 0, ()
    for total, factor in uses.sums.get(word, ()):
        constant, terms = linear(total)
        if factor != 1 or not constant < _NEAR:
            continue
        others = tuple(factor for part, factor in terms if part is not word)
        if any(factor % 32 for factor in others) or any(part.op in _BASES for part, _ in terms):
            continue  # it may as well be what is added to another place
        for node in uses.users.get(total, ()):
            if node.op in _READS and node.args[0] is total:
                yield node, constant, others


_BASES = frozenset({"KECCAK256", "KEYHASH", "HASH", "POINTER"})
_READS = frozenset({"MLOAD", "MEMORY", "SLOAD", "TLOAD", "CALLDATALOAD"})


def _is_slot(uses: Uses, word: Node) -> bool:
    """The slot of a mapping or of a dynamic array, or of what is written to storage."""
    stored = {e.args[0] for e in uses.walk.effects if e.op in ("SSTORE", "TSTORE")}
    sums = [total for total, factor in uses.sums.get(word, ()) if factor == 1 and total.args[0] < _NEAR]
    if word in stored or any(total in stored and len(total.args[1]) == 1 for total in sums):
        return True
    hashes = [
        n for n in uses.of(word, "KECCAK256") if n.args[0] == 64 and len(n.args) > 2 and n.args[2] is word
    ]
    return any(_names_a_slot(uses, node, stored) for node in hashes)


def _names_a_slot(uses: Uses, node: Node, stored: set[Word]) -> bool:
    """Whether storage is read or written there or behind, or at what is hashed of it."""
    places = [node, *(total for total, _ in uses.sums.get(node, ()))]
    read = ("SLOAD", "TLOAD", "KECCAK256")
    return any(place in stored or any(uses.of(place, op) for op in read) for place in places)


def _is_rounded(uses: Uses, length: Node) -> bool:
    """`length + 31 & ~31`: as many bytes as whole words take."""
    return any(
        total.args[0] in (31, 63) and any(u.args[0] == WORD - 31 for u in uses.of(total, "AND"))
        for total, factor in uses.sums.get(length, ())
        if factor == 1 and len(total.args[1]) == 1
    )


def _is_consumed(uses: Uses, length: Node) -> bool:
    """So many bytes are copied, hashed, logged or sent."""
    return any(
        length in (e.args[2:] if e.op == "MCOPY" else e.args[1:2])
        for e in uses.walk.effects
        if e.op in ("MCOPY", "KECCAK256") or e.op.startswith("LOG")
    )


def _element(uses: Uses, elements: list[Node], depth: int) -> str:
    for element in elements:
        inner = pointer_type(uses, element, depth + 1) if depth < _DEEPEST else ""
        if inner.endswith(" memory"):
            return inner.removesuffix(" memory")
        for user in uses.users.get(element, ()):
            kind = cleaned_type(uses, user)
            if kind:
                return kind
    return "uint256"
