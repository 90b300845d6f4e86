"""Helpers of the compiler's that read calldata or write memory, by what they do: "abi_decode_address", "abi_encode", ...

Each rule asks for all that the function does: what it reads and writes, what it asks, what it gives back. Left out: the
types of what is encoded, which compilers write into the names; a copy of a helper in somebody's source has its name too.
"""

from __future__ import annotations

from collections import Counter

from whet.evm.meaning.decoding import is_decoders
from whet.evm.meaning.evidence import Uses, checked_type, masked_type
from whet.evm.meaning.memory import FREE_POINTER
from whet.evm.meaning.shapes import Shapes
from whet.evm.meaning.symbols import Node, Word, inside, linear
from whet.evm.tac import WORD, Function, Statement

_FAR = 1 << 16
_ENDS = frozenset({"CALLDATASIZE", "PARAM"})


def memory_name(function: Function, shapes: Shapes, uses: Uses) -> str:
    """The helper that the function is; "" for none of those known."""
    seen = _Seen(function, shapes, uses)
    if uses.walk.cut:
        return ""
    for rule in (_allocation, _copy, _storage, _decoder, _encoder):
        name = rule(seen)
        if name:
            return name
    return ""


class _Seen:
    """What a function does. results: one word for each that it gives back, None where ways differ."""

    def __init__(self, function: Function, shapes: Shapes, uses: Uses) -> None:
        self.function, self.shape, self.uses = function, shapes.of[function.name], uses
        words = uses.walk.words
        self.params = [words.get(name) for name in function.params]
        self.statements = list(function.statements())
        self.results: list[Word | None] = []
        for block in function.blocks.values():
            if block.end.op == "RETURNPRIVATE":
                given = [words.get(arg) if isinstance(arg, str) else arg for arg in block.end.args]
                same = (
                    zip(self.results, given, strict=True)
                    if self.results
                    else ((word, word) for word in given)
                )
                self.results = [one if one is other else None for one, other in same]

    def word(self, s: Statement, position: int) -> Word | None:
        arg = s.args[position]
        return arg if isinstance(arg, int) else self.uses.walk.words.get(arg)

    def stores(self) -> list[tuple[Word | None, Word | None]]:
        """(offset, value) of every MSTORE of its own, those of reverts aside."""
        going_on = (b for b in self.function.blocks.values() if b.end.op not in ("REVERT", "INVALID"))
        return [
            (self.word(s, 0), self.word(s, 1)) for b in going_on for s in b.statements if s.op == "MSTORE"
        ]

    def loads(self) -> list[Word]:
        """The offset of every MLOAD of its own that is known."""
        found = (self.word(s, 0) for s in self.statements if s.op == "MLOAD")
        return [offset for offset in found if offset is not None]

    def writes(self) -> bool:
        """Whether memory is other than before, where it comes back."""
        of = self.uses.walk.shapes.of
        calls = (of[s.function] for s in self.statements if s.op == "CALLPRIVATE")
        copied = any(s.op in ("MCOPY", "CALLDATACOPY", "MSTORE8") for s in self.statements)
        return copied or bool(self.stores()) or any(one.writes and not one.computes for one in calls)

    def behind(self, word: Word | None) -> int | None:
        """Of which parameter the word is what lies at or behind it."""
        constant, terms = linear(word) if word is not None else (0, ())
        if constant >= _FAR:
            return None
        found = [i for i, param in enumerate(self.params) if (param, 1) in terms]
        return found[0] if found else None


def _allocation(seen: _Seen) -> str:
    """What moves the free pointer by itself, and gives what it was."""
    arity = (len(seen.params), len(seen.results))
    free = [s.results[0] for s in seen.statements if s.op == "MLOAD" and s.args[0] == FREE_POINTER]
    if arity == (0, 1) and len(seen.statements) == 1 and free:
        return "allocate_unbounded"
    if arity == (1, 1) and _is_split_allocation(seen):
        return "allocate_memory"
    if (
        not seen.shape.only_memory
        or not seen.shape.allocates
        or any(s.function and not _pure(seen, s) for s in seen.statements)
    ):
        return ""
    stores = seen.stores()
    if len(stores) != 1 or stores[0][0] != FREE_POINTER:
        return ""
    if arity in ((1, 1), (0, 1)) and len(free) == 1 and seen.results[0] is seen.uses.walk.words[free[0]]:
        return "allocate_memory"
    return (
        "finalize_allocation" if arity in ((2, 0), (1, 0)) and seen.behind(stores[0][1]) is not None else ""
    )


def _is_split_allocation(seen: _Seen) -> bool:
    """Two calls: of what gives the free pointer, which is given back, and of what moves it."""
    calls = [s for s in seen.statements if s.op == "CALLPRIVATE"]
    if len(calls) != 2 or len(seen.statements) != 2 or not seen.shape.only_memory or not seen.shape.allocates:
        return False
    pointer = calls[0].results
    given = seen.function.blocks.values()
    gives = all(b.end.args == pointer for b in given if b.end.op == "RETURNPRIVATE")
    return (
        gives
        and calls[0].args == ()
        and calls[1].args
        in (
            (*pointer, *seen.function.params),
            (*seen.function.params, *pointer),
        )
    )


def _pure(seen: _Seen, s: Statement) -> bool:
    return seen.uses.walk.shapes.of[s.function].computes


def _copy(seen: _Seen) -> str:
    if len(seen.params) != 3 or seen.results or not seen.shape.only_memory or seen.shape.allocates:
        return ""
    params = set(seen.params)
    for effect in seen.uses.walk.effects:
        if effect.op in ("MCOPY", "CALLDATACOPY") and set(effect.args) == params:
            return "copy_memory_to_memory" if effect.op == "MCOPY" else "copy_calldata_to_memory"
    if any(s.function == seen.function.name for s in seen.statements):
        return ""
    source, destination, length = seen.params
    if not any(node is source for word in seen.loads() for node in inside(word)):
        source, length = length, source  # as their order on the stack is
    moved = False
    for offset, value in seen.stores():
        if isinstance(value, Node) and value.op == "MLOAD":
            if _difference(offset, value.args[0]) != _difference(destination, source) or not _is_looped(
                offset
            ):
                return ""
            moved = True
        elif value == 0 and _difference(offset, length) == _difference(destination, 0):
            continue  # behind the last word
        elif not _is_remainder(seen, offset, value, destination, source):
            return ""
    asked = any(node is length for condition, *_ in seen.uses.walk.conditions for node in inside(condition))
    return "copy_memory_to_memory" if moved and asked else ""


def _is_remainder(
    seen: _Seen, offset: Word | None, value: Word | None, destination: Word | None, source: Word | None
) -> bool:
    """The last word, of which only a part is the source's."""
    loads = [node for node in inside(value) if node.op == "MLOAD"] if isinstance(value, Node) else []
    wanted = _difference(destination, source)
    return any(_difference(offset, node.args[0]) == wanted for node in loads)


def _is_looped(word: Word | None) -> bool:
    return word is not None and any(node.op == "LOOP" for node in inside(word))


def _difference(word: Word | None, other: Word | None) -> tuple[int, Counter[Node]] | None:
    """One less the other, as `linear` has it; None where one is not known."""
    if word is None or other is None:
        return None
    (constant, terms), (less, others) = linear(word), linear(other)
    found = Counter(dict(terms))
    found.subtract(dict(others))
    return (constant - less) & WORD, Counter({node: n for node, n in found.items() if n})


def _storage(seen: _Seen) -> str:
    arity = (len(seen.params), len(seen.results))
    if arity == (1, 1) and len(seen.statements) == 1 and _is_loaded(seen, seen.results[0]):
        offset = seen.word(seen.statements[0], 0)
        return "array_length" if offset is seen.params[0] else ""
    if arity == (1, 1) and isinstance(seen.results[0], Node):
        word = seen.results[0]
        if word.op == "KECCAK256" and word.args == (32, seen.params[0]) and len(seen.statements) == 2:
            return "array_dataslot"
    stored = [e.args for e in seen.uses.walk.effects if e.op == "SSTORE"]
    others = {e.op for e in seen.uses.walk.effects} - {"SSTORE", "SLOAD", "KECCAK256", "REVERT"}
    if arity == (2, 0) and stored and not others and any(_is_long_length(seen, *args) for args in stored):
        return "copy_byte_array_to_storage"
    return ""


def _is_long_length(seen: _Seen, slot: Word, value: Word) -> bool:
    """`2 * length + 1` of the bytes in memory that a parameter points to, stored where another says."""
    constant, terms = linear(value)
    if constant != 1 or len(terms) != 1 or terms[0][1] != 2 or slot not in seen.params:
        return False
    length = terms[0][0]
    return length.op == "MLOAD" and length.args[0] in seen.params


def _decoder(seen: _Seen) -> str:
    walk = seen.uses.walk
    if not seen.results or not (seen.shape.pure or seen.shape.only_memory) or len(seen.params) > 3:
        return ""
    if not all(is_decoders(condition, _ENDS) for condition, *_ in walk.conditions):
        return ""
    read = [node for node in walk.symbols.nodes if node.op == "CALLDATALOAD"]
    if read and not all(
        seen.behind(node.args[0]) is not None or len(list(inside(node.args[0]))) > 1 for node in read
    ):
        return ""
    loaded = [word for word in seen.results if _is_loaded(seen, word)]
    if not read and not (len(loaded) == len(seen.results) and seen.uses.required and not seen.shape.writes):
        return ""
    if any(node.op == "CALLDATASIZE" for node in walk.symbols.nodes):
        return "access_calldata_tail" if len(seen.results) <= 2 and len(seen.params) == 2 else ""
    if seen.writes() and not seen.shape.allocates:
        return ""
    if not seen.uses.required and not (
        len(seen.params) == 2 and all(_is_read(word) for word in seen.results)
    ):
        return ""
    types = [_type(seen, word) for word in seen.results]
    shown = "_".join(("", *types)) if all(types) else ""
    return f"abi_decode{shown}" + ("" if read else "_fromMemory")


def _is_read(word: Word | None) -> bool:
    return isinstance(word, Node) and word.op == "CALLDATALOAD"


def _is_loaded(seen: _Seen, word: Word | None) -> bool:
    return isinstance(word, Node) and word.op == "MLOAD" and seen.behind(word.args[0]) is not None


def _type(seen: _Seen, word: Word | None) -> str:
    if not isinstance(word, Node) or word.op not in ("CALLDATALOAD", "MLOAD"):
        return ""
    return checked_type(seen.uses, word) or masked_type(seen.uses, word) or "uint256"


def _encoder(seen: _Seen) -> str:
    """Writes at and behind a place that it is given, and nowhere else; gives the end of it, or nothing."""
    if not seen.shape.only_memory or not seen.writes() or seen.shape.allocates or len(seen.results) > 1:
        return ""
    if not len(seen.params) > 0 or any(
        s.op == "MLOAD" and s.args[0] == FREE_POINTER for s in seen.statements
    ):
        return ""
    places = {seen.behind(offset) for offset, _ in seen.stores()}
    if seen.results:
        end = seen.behind(seen.results[0])
        grown = seen.results[0] not in seen.params
        return "abi_encode" if end is not None and grown and places <= {end} else ""
    if len(places) != 1 or None in places or len(seen.function.blocks) > 1:
        return ""
    values = [value for _, value in seen.stores()]
    if len(seen.params) == 1 and all(isinstance(value, int) for value in values):
        return "store_literal_in_memory"
    return "abi_encode" if len(seen.params) == 2 and len(values) == 1 else ""
