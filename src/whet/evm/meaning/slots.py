"""Which part of storage a word names: slots, mappings, dynamic and fixed arrays, members of structs.

A `Path` is (slot, step, offset, step, offset, ...): "map" goes to keccak256(key . slot), "data" to keccak256(slot), where a
dynamic array's elements lie, "index" to an element of a fixed array; an offset is what is added afterwards. The slots
of Solidity's documentation, "Layout of State Variables in Storage". Not resolved: slots made in other ways.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from math import gcd
from typing import NamedTuple

from whet.evm.keccak import keccak256
from whet.evm.meaning.symbols import Node, Terms, Word, linear

Path = tuple[int | str, ...]

_HASHED_SLOTS = 256
"""Constants that are keccak256 of a slot below are recognised."""

_NEAR = 1 << 16


class Place(NamedTuple):
    """A slot that code reaches. keys: of the mappings on the way, outermost first.

    strides: (position in the path, slots from one element to the next, what the index is) of arrays; the index without
    what is added to it. indexes: of the same arrays the whole distance from the first element, (constant, terms)."""

    path: Path
    keys: tuple[Word | None, ...]
    strides: tuple[tuple[int, int, Node], ...]
    indexes: tuple[tuple[int, Terms], ...] = ()


@cache
def _hashed() -> tuple[list[int], dict[int, int]]:
    table = {
        int.from_bytes(keccak256(slot.to_bytes(32, "big")), "big"): slot for slot in range(_HASHED_SLOTS)
    }
    return sorted(table), table


def place(slot: Word, depth: int = 0) -> Place | None:
    """What `slot` names; None for a slot that is no such path, or one of more than 12 steps."""
    if depth > 12:
        return None
    constant, terms = linear(slot)
    if not terms:
        return Place(_constant_path(constant), (), ())
    hashes = [n for n, factor in terms if n.op in ("KECCAK256", "KEYHASH") and factor == 1]
    indexes = [(n, factor) for n, factor in terms if n not in hashes]
    if constant > _NEAR and not hashes:
        path = _constant_path(constant)
        if len(path) > 1:
            return _indexed(Place(path[:-1], (), ()), int(path[-1]), indexes)
    if not hashes:
        return _fixed(constant, indexes)
    if len(hashes) > 1 or (constant >> 32 and not (indexes and constant >> 255)):
        return None
    base = _behind(hashes[0], depth + 1)
    return base and _indexed(base, constant, indexes)


def _constant_path(constant: int) -> Path:
    hashes, slots = _hashed()
    position = bisect_right(hashes, constant) - 1
    if position >= 0 and constant - hashes[position] < _NEAR:
        return (slots[hashes[position]], "data", constant - hashes[position])
    return (constant,)


def _fixed(constant: int, indexes: list[tuple[Node, int]]) -> Place | None:
    """An element of a fixed array in the slots from `constant`."""
    if len(indexes) != 1 or not 0 < indexes[0][1] < _NEAR or constant > _NEAR:
        return None
    node, factor = indexes[0]
    return Place((constant, "index", 0), (), ((1, factor, node),), ((0, tuple(indexes)),))


def _behind(node: Node, depth: int) -> Place | None:
    """The place that a hash names, without what is added to it."""
    if node.op == "KEYHASH":
        base = place(node.args[1], depth)
        return base and Place((*base.path, "map"), (*base.keys, None), base.strides, base.indexes)
    if node.args[0] == 64:
        base = place(node.args[2], depth)
        return base and Place((*base.path, "map"), (*base.keys, node.args[1]), base.strides, base.indexes)
    if node.args[0] == 32:
        base = place(node.args[1], depth)
        return base and Place((*base.path, "data"), base.keys, base.strides, base.indexes)
    return None


def _indexed(base: Place, constant: int, indexes: list[tuple[Node, int]]) -> Place | None:
    if not indexes:
        return Place((*base.path, constant), base.keys, base.strides, base.indexes)
    factor = gcd(*(f if f < 1 << 255 else (1 << 256) - f for _, f in indexes))
    if factor >= _NEAR:
        return None
    node = indexes[0][0]
    at = len(base.path)
    if base.path[-1] == "data":
        path: Path = (*base.path, constant % factor)
        whole = (constant, tuple(indexes))
        return Place(path, base.keys, (*base.strides, (at - 1, factor, node)), (*base.indexes, whole))
    if constant >> 32:
        return None
    path = (*base.path, constant, "index", 0)
    whole = (0, tuple(indexes))
    return Place(path, base.keys, (*base.strides, (at + 1, factor, node)), (*base.indexes, whole))
