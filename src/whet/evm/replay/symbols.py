"""Words that know how they were made from a call's inputs: ints that carry an expression through the interpreter.

An input is a `Leaf`; everything computed from one is a `Word`, an int with the instruction and its operands; of a hash these
are how many bytes were hashed, and the bytes as words. Left out: expressions of more than `MOST_LEAVES` inputs or deeper than
`DEEPEST`, which become plain ints. Evaluated with other inputs by `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from whet.evm.keccak import keccak256
from whet.evm.replay.mocks import CODED, MOCKS, PEOPLE, REFUSER
from whet.evm.replay.reference import precompile
from whet.evm.words import ADDRESS, ONE, THREE, TWO
from whet.evm.world import EMPTY_HASH

Leaf = tuple[str, *tuple[int, ...]]
"""An input: ("data", offset in the calldata), ("size",) of it, ("caller",), ("value",), ("timestamp",), ("number",), ("chain",),
("slot", address, slot), ("balance", address), and of the answer of a mock to calls (`mocks.when`) ("word", mock, call, index),
("answered", mock, call) bytes, ("success", mock, call)."""
Given = dict[Leaf, int]
"""Other values for some inputs."""

MOST_LEAVES = 20
DEEPEST = 60
_MOST_PADDED = 1 << 12
"""Bytes that are hashed at most where other inputs ask for more than there are words."""


class Word(int):
    """A word that depends on inputs. op: an instruction, "LEAF" or another of `OPERATIONS`; args: its operands, of which
    some are Words; leaves: all inputs in it."""

    op: str
    args: tuple[int, ...]
    leaf: Leaf
    leaves: frozenset[Leaf]
    depth: int


def leaf(value: int, name: Leaf) -> Word:
    """The input itself."""
    word = Word(value)
    word.op, word.args, word.leaf, word.leaves, word.depth = "LEAF", (), name, frozenset((name,)), 0
    return word


def made(value: int, op: str, args: tuple[int, ...]) -> int:
    """The result of an instruction: a Word where one of its operands is one, and it is not too large."""
    leaves: frozenset[Leaf] = frozenset()
    depth = 0
    for arg in args:
        if type(arg) is Word:
            leaves = leaves | arg.leaves if leaves else arg.leaves
            depth = max(depth, arg.depth + 1)
    if not leaves or depth > DEEPEST or len(leaves) > MOST_LEAVES:
        return int(value)
    word = Word(value)
    word.op, word.args, word.leaves, word.depth = op, args, leaves, depth
    return word


def ecrecover(*words: int) -> int:
    """The address that signed (digest, v, r, s), 0 where it is no signature."""
    found = precompile(1, b"".join(int(word).to_bytes(32, "big") for word in words))
    return int.from_bytes(found or b"", "big")


def keccak(size: int, *words: int) -> int:
    """The hash of so many bytes of the words."""
    data = b"".join(int(word).to_bytes(32, "big") for word in words)
    return int.from_bytes(keccak256(data[:size].ljust(min(size, _MOST_PADDED), b"\0")), "big")


OPERATIONS: dict[str, Callable[..., int]] = {
    **ONE,
    **TWO,
    **THREE,
    "ECRECOVER": ecrecover,
    "KECCAK256": keccak,
    "EXTCODESIZE": lambda address: 1000 if address & ADDRESS in CODED else 0,
    "EXTCODEHASH": lambda address: (
        address if address & ADDRESS in CODED else EMPTY_HASH * (address & ADDRESS in PEOPLE)
    ),
    "CALLED": lambda address: int(address & ADDRESS != REFUSER),
    "RETURNED": lambda address: 32 if address & ADDRESS in MOCKS else 0,
}
"""Instruction -> its result. Of accounts only as much as is needed: whether there is code, whether they take a call, how
many bytes they answer at least."""


class Work:
    """How many operations may still be evaluated."""

    def __init__(self, left: int) -> None:
        self.left = left


def evaluate(word: int, given: Given, work: Work) -> int:
    """The word's value if inputs have those values instead."""
    return _value(word, given, {}, work) if type(word) is Word else word


def _value(word: int, given: Mapping[Leaf, int], known: dict[int, int], work: Work) -> int:
    if type(word) is not Word or given.keys().isdisjoint(word.leaves):
        return int(word)
    if word.op == "LEAF":
        return given[word.leaf]
    found = known.get(id(word))
    if found is None:
        work.left -= 1
        args = [_value(arg, given, known, work) for arg in word.args]
        found = known[id(word)] = OPERATIONS[word.op](*args)
    return found
