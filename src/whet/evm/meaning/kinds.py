"""What whole words are, bytes32, int256 or uint256, and what is a string and what bytes: across a whole contract.

A word without a mask says nothing of its type where it stands. But it is stored, loaded, compared, used as a key, and what
is known at one of these places holds at all of them: they are joined (union-find), and every place votes. What known
signatures tell comes first, then signed arithmetic, then arithmetic, then being a hash or compared with one.
Lost: words that are one type in one place and cast to another in the next; the stronger vote wins for both.
Cost: a few looks at every node of every walk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeAlias

from whet.evm.meaning.evidence import Uses, checked_type, full_type, looks_hashed
from whet.evm.meaning.slots import Path, place
from whet.evm.meaning.symbols import Node, Word, inside, linear

Key: TypeAlias = Hashable
"""A node, or ("slot", path) for what stands in storage, or ("key", path) for the keys of a mapping."""

TOLD, SIGNED, COUNTED, NUMBER, HASH, COMPARED, PLAIN, MADE = 8, 7, 6, 5, 4, 3, 2, 1
"""How strong a vote is.

COUNTED: stored as what stood there before, and something more; PLAIN: an argument of which nothing else is known; MADE: a
hash that is stored or used as a key, as identifiers are, which are mostly numbers."""

_VOTES = frozenset({"uint256", "int256", "bytes32", "bytes", "string"})
_HASHES = frozenset({"KECCAK256", "HASH", "KEYHASH", "BLOCKHASH", "EXTCODEHASH", "BLOBHASH"})
_SIGNED = frozenset({"SDIV", "SMOD", "SLT", "SGT", "SAR"})
_ARITHMETIC = frozenset({"MUL", "DIV", "MOD", "EXP", "ADDMOD", "MULMOD"})
_PARTIAL = frozenset(
    {"AND", "OR", "SHL", "SHR", "SIGNEXTEND", "ISZERO", "EQ", "LT", "GT", "SLT", "SGT", "XOR", "NOT"}
)
_ECRECOVER = 1


class Kinds:
    """The types of words: `of` a node, `of_slot` and `of_key` of places in storage; "" where nothing tells."""

    def __init__(self) -> None:
        self._parent: dict[Key, Key] = {}
        self._votes: dict[Key, dict[str, tuple[int, int]]] = {}
        """{root: {type: (strength, times)}}"""

    def of(self, key: Key) -> str:
        votes = self._votes.get(self._root(key), {})
        return max(sorted(votes), key=votes.__getitem__) if votes else ""

    def text_of(self, key: Key) -> str:
        """ "bytes" or "string"; "" where nothing tells."""
        votes = self._votes.get(self._root(key), {})
        return max((k for k in ("bytes", "string") if k in votes), key=votes.__getitem__, default="")

    def of_slot(self, path: Path) -> str:
        """uint256 only where that is told or counted: sums are what bits are packed with, too."""
        votes = self._votes.get(self._root(("slot", path)), {})
        kind = self.of(("slot", path))
        return "" if kind == "uint256" and votes[kind][0] < COUNTED else kind

    def of_key(self, path: Path) -> str:
        return self.of(("key", path))

    def vote(self, key: Key, kind: str, strength: int) -> None:
        votes = self._votes.setdefault(self._root(key), {})
        known, times = votes.get(kind, (0, 0))
        votes[kind] = (strength, times + 1) if strength >= known else (known, times)

    def join(self, a: Key, b: Key) -> None:
        one, other = self._root(a), self._root(b)
        if one == other:
            return
        self._parent[other] = one
        for kind, (strength, times) in self._votes.pop(other, {}).items():
            votes = self._votes.setdefault(one, {})
            known, before = votes.get(kind, (0, 0))
            votes[kind] = (max(known, strength), before + times)

    def _root(self, key: Key) -> Key:
        root = key
        while (above := self._parent.get(root)) is not None:
            root = above
        while key != root:
            self._parent[key], key = root, self._parent[key]
        return root


def kinds_of(walks: Iterable[Uses], told: Iterable[tuple[Node, str]] = ()) -> Kinds:
    """All that the functions of a contract say of their words. told: by known signatures."""
    kinds = Kinds()
    for uses in walks:
        for node in uses.walk.symbols.nodes:
            _look(kinds, uses, node)
            if node.op == "KEYHASH":
                _text_key(kinds, node)
        _effects(kinds, uses)
        uses.kind_of = kinds.of
    for word, kind in told:
        key = _whole(word)
        if kind in _VOTES and key is not None:
            kinds.vote(key, kind, TOLD)
    return kinds


def _whole(word: Word | None) -> Node | None:
    """The node if it is a word as it stands: no constant, no part of a word, no hash. Of a variable of a loop its start."""
    if not isinstance(word, Node) or word.op in _PARTIAL or word.op in _HASHES:
        return None
    if word.op == "SUM" and not word.args[0] and len(word.args[1]) == 2:
        (first, a), (second, b) = word.args[1]
        if a == b == 1 and second.op == "LOOP":
            return _whole(first)
    return word


def _look(kinds: Kinds, uses: Uses, node: Node) -> None:
    op = node.op
    if op == "CALLDATALOAD":
        kinds.vote(node, *_argument(uses, node))
        _parsed(kinds, uses, node)
    elif op == "SUM":
        if _whole(node) is node:
            kinds.vote(node, "uint256", NUMBER)
            for part, _ in node.args[1]:
                if part.op not in _PARTIAL:
                    kinds.vote(part, "uint256", NUMBER)
    elif op == "KECCAK256" and node.args[0] == 64:
        _two_words(kinds, *node.args[1:])
    elif op == "EQ":
        _compared(kinds, *node.args)
    elif op == "CHOICE":
        for part in node.args[:-1]:
            if (whole := _whole(part)) is not None:
                kinds.join(node, whole)
            elif isinstance(part, Node) and part.op in _HASHES:
                kinds.vote(node, "bytes32", MADE)
    elif op in _SIGNED or op in _ARITHMETIC or op in ("LT", "GT"):
        kind, strength = ("int256", SIGNED) if op in _SIGNED else ("uint256", NUMBER)
        for part in node.args[1:] if op == "SAR" else node.args:
            if (whole := _whole(part)) is not None:
                kinds.vote(whole, kind, COMPARED if op in ("LT", "GT") else strength)


def _argument(uses: Uses, node: Node) -> tuple[str, int]:
    """By its own uses: several fields are taken out of a bytes32, or one out of its middle."""
    kind = "uint256" if checked_type(uses, node) else full_type(uses, node)
    return kind, {"int256": SIGNED, "bytes32": HASH}.get(kind, PLAIN)


def _parsed(kinds: Kinds, uses: Uses, node: Node) -> None:
    """What is taken apart at fixed places is bytes: nobody reads the letters of a string so, but all of them are copied."""
    constant, terms = linear(node.args[0])
    taken = any(
        isinstance(u.args[0], int) and (u.op == "SHR" or (u.op == "AND" and u.args[0].bit_count() <= 128))
        for u in uses.users.get(node, ())
    )
    if taken and _CONTENT <= constant < 1 << 16 and len(terms) == 1 and terms[0][0].op == "CALLDATALOAD":
        kinds.vote(terms[0][0], "bytes", PLAIN)


_CONTENT = 4 + 32
"""How far behind its offset the content of an argument begins: the selector, and the length."""


def _two_words(kinds: Kinds, first: Word | None, second: Word | None) -> None:
    """Two arguments are hashed together, as in a tree of hashes: the second is no slot of a mapping."""
    if isinstance(second, Node) and second.op == "CALLDATALOAD":
        _vote_hash(kinds, first)
        _vote_hash(kinds, second)


def _compared(kinds: Kinds, a: Word, b: Word) -> None:
    one, other = _whole(a), _whole(b)
    for word, hashed in ((one, b), (other, a)):
        if word is not None and isinstance(hashed, Node) and hashed.op in _HASHES:
            kinds.vote(word, "bytes32", HASH)
    if one is not None and other is not None:
        kinds.join(one, other)
    elif one is not None and isinstance(b, int) and looks_hashed(b):
        kinds.vote(one, "bytes32", HASH)
    elif other is not None and isinstance(a, int) and looks_hashed(a):
        kinds.vote(other, "bytes32", HASH)


def _effects(kinds: Kinds, uses: Uses) -> None:
    for effect in uses.walk.effects:
        if effect.op in ("SLOAD", "SSTORE"):
            found = place(effect.args[0])
            if found is None:
                continue
            _join(kinds, ("slot", found.path), effect.result if effect.op == "SLOAD" else effect.args[1])
            if effect.op == "SSTORE":
                _stored_text(kinds, found.path, effect.args[1])
                _counted(kinds, found.path, *effect.args)
            maps = [position for position, step in enumerate(found.path) if step == "map"]
            for position, key in zip(maps, found.keys, strict=True):
                _join(kinds, ("key", found.path[: position + 1]), key)
                if _is_named_by(key, found.path[: position + 1]):
                    kinds.vote(("key", found.path[: position + 1]), "bytes32", HASH)
        elif effect.op == "CREATE2":
            _vote_hash(kinds, effect.args[3])
        elif effect.op in ("CALL", "STATICCALL") and effect.args[1] == _ECRECOVER and effect.payload:
            for position, word in enumerate(effect.payload.words):
                if position != 1:
                    _vote_hash(kinds, word)


def _is_named_by(key: Word | None, mapping: Path) -> bool:
    """Whether a key was read from a later word of a value of the same mapping, as the admin of a role is."""
    found = place(key.args[0]) if isinstance(key, Node) and key.op == "SLOAD" else None
    return found is not None and found.path[:-1] == mapping and found.path[-1] in (1, 2, 3)


def _text_key(kinds: Kinds, node: Node) -> None:
    """A string or bytes that is an argument is a key; one that code has put together is taken for bytes."""
    found, source = place(node.args[1]), node.args[0]
    if found is None:
        return
    key, head = ("key", (*found.path, "map")), _head(source)
    if isinstance(source, Node) and source.op == "MEMORY":
        kinds.vote(key, "bytes", PLAIN)
    elif head is not None:
        kinds.join(key, head)


def _stored_text(kinds: Kinds, path: Path, word: Word) -> None:
    """`2 * length + 1` of an argument is stored, as for bytes and strings."""
    if isinstance(word, Node) and word.op == "SUM" and word.args[0] == 1 and len(word.args[1]) == 1:
        (length, factor) = word.args[1][0]
        head = _head(length) if factor == 2 and length.op == "CALLDATALOAD" else None
        if head is not None:
            kinds.join(("slot", path), head)


def _counted(kinds: Kinds, path: Path, slot: Word, word: Word) -> None:
    terms = linear(word)[1] if isinstance(word, Node) and word.op == "SUM" else ()
    if any(part.op == "SLOAD" and part.args[0] == slot for part, _ in terms):
        kinds.vote(("slot", path), "uint256", COUNTED)


def _head(word: Word | None) -> Node | None:
    """The one offset among the arguments by which something of calldata is found."""
    heads = [n for n in inside(word or 0) if n.op == "CALLDATALOAD" and isinstance(n.args[0], int)]
    return heads[0] if len(heads) == 1 else None


def _vote_hash(kinds: Kinds, word: Word | None) -> None:
    if (whole := _whole(word)) is not None:
        kinds.vote(whole, "bytes32", HASH)


def _join(kinds: Kinds, place: Key, word: Word | None) -> None:
    whole = _whole(word)
    if whole is not None:
        kinds.join(place, whole)
    elif isinstance(word, Node) and word.op in _HASHES:
        kinds.vote(place, "bytes32", MADE)
    elif isinstance(word, int) and _is_text(word):
        kinds.vote(place, "bytes32", HASH)


def _is_text(word: int) -> bool:
    """Whether a constant looks like a hash or a text, not like a number."""
    return word >> 200 > 0 and word & ((1 << 224) - 1) > 0 and looks_hashed(word)
