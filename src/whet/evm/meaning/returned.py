"""The types in what one RETURN gives back, an ABI encoding: by what its words were made of and what the encoder cleaned.

An encoder cleans each value before it stores it (`whet.evm.cleanups`), and this is what its type is known by. Where there is
no such cleanup and the encoder stands in a basic block of its own, the value is a whole word; else it is what it was
made of: a comparison, an address, a hash, a field of storage. Of arrays the stores in the encoder's loop are looked at.
Not told apart: bytes and string (said: string); structs without a dynamic part and their members.
"""

from __future__ import annotations

from functools import reduce

from whet.evm.meaning.enums import is_enum
from whet.evm.meaning.evidence import WORD_TYPES, Uses, checked_type, full_type, mask_type, value_type
from whet.evm.meaning.memory import FREE_POINTER
from whet.evm.meaning.symbols import Node, Word, inside, linear
from whet.evm.meaning.walk import Effect
from whet.evm.opcodes import PURE

UNKNOWN, ZERO, ONE = "", "0", "1"
"""Kinds of words that are no types: nothing tells; the constants 0 and 1."""

_MOST_HEADS = 16
_DEEPEST = 4
"""Arrays and structs within one another."""

_Stored = tuple[Word, int]
"""What an MSTORE stores, and its offset in the code."""


class Encoding:
    """What a RETURN gives back. Positions are words: where in memory something stands."""

    def __init__(self, uses: Uses, effect: Effect) -> None:
        assert effect.payload is not None
        self.uses, self.payload = uses, effect.payload
        self.start, self.length = effect.args
        self.apart = _is_apart(uses, effect)
        begun = (self.start, effect.payload.stored[0] if effect.payload.stored else -1)
        stores = uses.walk.stores
        first = max((at for at, (offset, _, pc) in enumerate(stores) if (offset, pc) == begun), default=0)
        self.stores = stores[first:]
        self.stored: dict[Word, _Stored] = {}
        for offset, word, pc in self.stores:
            self.stored.setdefault(offset, (word, pc))

    def types(self) -> tuple[str, ...] | None:
        """One for each value; UNKNOWN, ZERO and ONE are left to who knows more ends. None: it is not understood."""
        words = self.payload.words
        if not isinstance(self.length, int) or (_is_dynamic(words) and self._fits(words, self.length)):
            return self._heads(self.start, words, 0)
        return tuple(self._kind(word, self.payload.stored[at]) for at, word in enumerate(words))

    def _fits(self, words: tuple[Word | None, ...], length: int) -> bool:
        """Whether every offset in an encoding of constant size is one of constant bytes that lie in it."""
        for at, word in enumerate(words):
            if _is_offset(word, at) and word // 32 < len(words):  # type: ignore[operator]
                size = words[word // 32]  # type: ignore[operator]
                return isinstance(size, int) and word + 32 + -(-size // 32) * 32 <= length  # type: ignore[operator]
        return False

    # Heads.

    def _heads(self, start: Word, words: tuple[Word | None, ...], depth: int) -> tuple[str, ...] | None:
        """Of an encoding with something dynamic in it: its first offset says how many heads there are."""
        first = next((at for at, word in enumerate(words[:_MOST_HEADS]) if _is_offset(word, at)), None)
        if first is None or depth == _DEEPEST:
            return None
        heads = words[first] // 32  # type: ignore[operator]
        if heads > len(words):
            return None
        types: list[str] = []
        for at, word in enumerate(words[:heads]):
            position = self._add(start, 32 * at)
            if at == first or (isinstance(word, Node) and self._moves(word)):
                assert word is not None
                types.append(self._content(self._add(start, word), depth))
            else:
                types.append(self._kind(word, self.stored.get(position, (0, -1))[1]))
        return tuple(types)

    def _moves(self, word: Node) -> bool:
        """Whether it is the offset of something behind: the length of the whole has in it what the word has."""
        terms = {node for node, _ in linear(self.length)[1]}
        return terms.issuperset(node for node, _ in linear(word)[1])

    def _words(self, start: Word) -> tuple[Word | None, ...]:
        """The words that are stored from there on without a gap."""
        found: list[Word | None] = []
        while len(found) < 2 * _MOST_HEADS and (position := self._add(start, 32 * len(found))) in self.stored:
            found.append(self.stored[position][0])
        return tuple(found)

    # What is dynamic.

    def _content(self, position: Word, depth: int) -> str:
        """bytes (said: string), an array or a struct."""
        element = self._element(position, depth)
        if element:
            return f"{element}[]"
        words = self._words(position)
        if _is_dynamic(words[:_MOST_HEADS]):
            inner = self._heads(position, words, depth + 1)
            if inner is not None:
                return _tuple(inner)
        total = linear(self.length)[1]
        for length in [
            word for offset, word, _ in self.stores if offset == position and isinstance(word, Node)
        ]:
            if dict(total).get(length, 0) % 32 == 0 and length in dict(total):
                return "uint256[]"
            if any(node.op == "AND" and length in inside(node) for node, _ in total):
                return "string"
        loops = any(node.op == "LOOP" for node, _ in total)
        return "uint256[]" if depth == 0 and loops else "string"

    def _element(self, position: Word, depth: int) -> str:
        """The type of the elements of an array that a loop encodes; "" without such a loop."""
        constant, terms = linear(self._add(position, 32))
        words: dict[int, _Stored] = {}
        loop: Node | None = None
        length = set(inside(self.stored.get(position, (0, -1))[0]))
        for offset, word, pc in self.stores:
            start, more = linear(offset)
            extra = [node for node, _ in more if node not in dict(terms)]
            if len(more) != len(terms) + 1 or len(extra) != 1 or extra[0].op != "LOOP" or extra[0] in length:
                continue
            if (loop is None and start == constant and not _copies(word, extra[0])) or extra[0] is loop:
                loop = extra[0]
                words.setdefault(start - constant, (word, pc))
        if loop is None:
            return ""
        word, pc = words[0]
        if isinstance(word, Node) and word.op == "SUM" and any(node.op == "LOOP" for node, _ in word.args[1]):
            return self._behind(word, depth)
        kinds = [
            self._kind(*words[at]) for at in sorted(words) if at % 32 == 0 and 0 <= at < 32 * _MOST_HEADS
        ]
        return _tuple(tuple(kinds)) if len(kinds) > 1 else TYPES.get(kinds[0], kinds[0])

    def _behind(self, offset: Node, depth: int) -> str:
        """The type of elements of which the loop stores the offset: bytes, or a struct with something dynamic."""
        loops = {node for node, _ in offset.args[1] if node.op == "LOOP"}
        for position, *_ in self.stores:
            if loops & {node for node, _ in linear(position)[1]}:
                words = self._words(position)
                if len(words) > 1 and _is_dynamic(words[:_MOST_HEADS]):
                    inner = self._heads(position, words, depth + 1)
                    if inner is not None:
                        return _tuple(inner)
        return "bytes"

    def _add(self, a: Word, b: Word) -> Word:
        return self.uses.walk.symbols.add(a, b)

    # Words.

    def _kind(self, word: Word | None, pc: int) -> str:
        """The type of a word that the MSTORE at `pc` stored."""
        if is_enum(self.uses, word):
            return "uint8"
        cleanup = self.uses.walk.contract.cleaned.get(pc)
        if pc < 0 or (cleanup is None and not self.apart):
            return _made_of(self.uses, word)
        if cleanup is None:
            kind = _made_of(self.uses, word)
            return kind if kind in WORD_TYPES else UNKNOWN
        return _left_by(*cleanup) or _made_of(self.uses, word)


TYPES = {UNKNOWN: "uint256", ZERO: "uint256", ONE: "bool"}
"""What is said of words of which no more becomes known."""


def joined(a: str, b: str) -> str:
    """The kind of a word that is one or the other."""
    if a in (ZERO, ONE) or b in (ZERO, ONE):
        other = b if a in (ZERO, ONE) else a
        return "bool" if other in ("bool", ZERO, ONE) and a != b else other
    return a if a == b or not b else (b if not a else "uint256")


def _tuple(kinds: tuple[str, ...]) -> str:
    return f"({','.join(TYPES.get(kind, kind) for kind in kinds)})"


def _is_apart(uses: Uses, effect: Effect) -> bool:
    """Whether what is given back is encoded in a basic block of its own, so that a cleanup that is not there was not needed.

    So does solc but for its pipeline via Yul: it comes back from the function's body, encodes, and reads the free pointer
    again for where to RETURN from."""
    block = uses.walk.contract.functions[effect.function].blocks[effect.block]
    for statement in reversed(block.statements):
        if statement.results == block.end.args[:1]:
            return (
                statement.op == "MLOAD"
                and statement.args == (FREE_POINTER,)
                and not isinstance(block.end.args[1], int)
            )
        if statement.op not in PURE:
            break
    return False


def _left_by(op: str, constant: int) -> str:
    """The type that a cleanup leaves."""
    if op == "AND":
        return mask_type(constant)
    return {"SIGNEXTEND": f"int{8 * constant + 8}", "ISZERO": "bool"}.get(op, "")


def _is_offset(word: Word | None, at: int) -> bool:
    """Whether it can say where something begins behind `at` heads and more."""
    return isinstance(word, int) and word % 32 == 0 and at < word // 32 <= _MOST_HEADS


def _is_dynamic(words: tuple[Word | None, ...]) -> bool:
    """Whether one of the words is the offset of another, which is no offset behind it again."""
    return any(_is_offset(word, at) and word // 32 < len(words) for at, word in enumerate(words))  # type: ignore[operator]


def _copies(word: Word, loop: Node) -> bool:
    """Whether a loop copies bytes: it reads at the same distance as it writes."""
    return isinstance(word, Node) and any(node is loop for node in inside(word))


def _made_of(uses: Uses, word: Word | None, depth: int = 0) -> str:
    if word is None or depth > 8:
        return ""
    if isinstance(word, int):
        if word in (0, 1):
            return str(word)
        if 1 << 128 <= word < 1 << 160:
            return "address"
        if not word & ((1 << 248) - 1):
            return "bytes1"
        return "bytes4" if not word & ((1 << 224) - 1) else ""
    if word.op == "CALLDATALOAD":
        return checked_type(uses, word) or full_type(uses, word)
    if word.op == "SHR" and word.args[0] in range(128, 256, 8) and word.args[1].op == "SLOAD":
        return f"uint{256 - word.args[0]}"
    if word.op == "CHOICE":
        kinds = [_made_of(uses, part, depth + 1) for part in word.args[:-1]]
        return reduce(joined, kinds)
    kind = value_type(word) or uses.kind_of(word)
    return "" if kind in ("bytes", "string") else kind
