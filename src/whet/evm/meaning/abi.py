"""Arguments of public functions, by how calldata is read and checked.

A word at a constant offset is a head; one that is added to an offset at which more is read is the offset of something
dynamic, whose first word is a length if it is used as one. Sizes come from the checks that the ABI decoder makes, types
of words from its checks of dirty bits (solc 0.8, ABI coder v2) or from the masks before use (older code).
Not told apart by any bytecode: bytes and string, uint256 and bytes32 without use; arguments that old code never reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.meaning.base import PANIC
from whet.evm.meaning.calldata import (
    MOST_WORDS,
    Calldata,
    Read,
    bound_of,
    collect,
    end_asked,
    is_index,
    parts_of,
    size_checks,
)
from whet.evm.meaning.evidence import Uses, checked_type, full_type, masked_type
from whet.evm.meaning.passed_structs import UNREAD, struct_of
from whet.evm.meaning.symbols import Node, Word, inside, linear
from whet.evm.tac import WORD, Contract

_DEEPEST = 6
"""Offsets within offsets."""


def arguments(uses: Uses, strict: bool) -> tuple[str, ...]:
    """The types of the arguments of the public function that was walked, as in its signature.

    strict: `is_strict` of any function of the contract.
    """
    calldata = collect(uses, strict)
    heads = [r for r in calldata.reads if not r.pointers]
    count = _head_words(calldata, heads)
    return tuple(_members(calldata, heads, 4, count, frozenset()))


def is_strict(contract: Contract, walks: Iterable[Uses]) -> bool:
    """Whether decoders check dirty bits: some argument's are checked, or the arguments' size is compared as signed
    numbers by a compiler that panics (solc from 0.8 on; older ones with its decoder did not check them)."""
    nodes = [(uses, node) for uses in walks for node in uses.walk.symbols.nodes]
    checks = (n.op == "CALLDATALOAD" and n.args[0] != 0 and bool(checked_type(uses, n)) for uses, n in nodes)
    if any(checks):
        return True
    signed = any(n.op == "SLT" and _is_size(n.args[0]) and isinstance(n.args[1], int) for _, n in nodes)
    return signed and any(
        s.op == "MSTORE" and s.args[1] == PANIC << 224
        for f in contract.functions.values()
        for s in f.statements()
    )


def _is_size(word: Word) -> bool:
    """`calldatasize() - 4`."""
    constant, terms = linear(word)
    return constant == -4 & WORD and [(node.op, factor) for node, factor in terms] == [("CALLDATASIZE", 1)]


def _head_words(calldata: Calldata, heads: list[Read]) -> int:
    """Words of the arguments' heads: what is read, and what the decoder's check of the size says."""
    read = max((r.constant + 28 for r in heads if r.constant % 32 == 4), default=0) // 32
    sizes = size_checks(calldata)
    checked = max((size for start, size, _ in sizes if start == 4), default=0) // 32
    if not checked:
        checked = max((size - 4 for start, size, _ in sizes if start == 0), default=0) // 32
    return min(max(read, checked), MOST_WORDS)


def _members(
    calldata: Calldata, reads: list[Read], base: int, count: int, pointers: frozenset[Node]
) -> list[str]:
    """The types of `count` words from `base`: static arrays and structs in one piece."""
    by_start: dict[int, list[Read]] = {}
    for r in reads:
        by_start.setdefault(r.constant, []).append(r)
    types: list[str] = []
    at = base
    while at < base + 32 * count:
        size, kind = _aggregate(calldata, by_start, base, at, count, pointers)
        types.append(kind or _word(calldata, by_start.get(at, []), base))
        at += size
    return types


def _aggregate(
    calldata: Calldata,
    by_start: dict[int, list[Read]],
    base: int,
    at: int,
    count: int,
    pointers: frozenset[Node],
) -> tuple[int, str]:
    """(bytes, type) of a static array or struct at `at`; (32, "") for a plain word."""
    left = 32 * MOST_WORDS if pointers else base + 32 * count - at
    if pointers:
        size = _array_size(calldata, by_start, at, left, pointers)
        rest = base + 32 * count - at
        if not size and rest > 32 and any(r.indexes for r in by_start.get(at, [])):
            size = rest  # read by an index from here on
        inner = [r for o in range(0, size, 32) for r in by_start.get(at + o, [])]
        return (size, f"{_word(calldata, inner, base)}[{size // 32}]") if size else (32, "")
    for start, size, times in size_checks(calldata):
        if start == at and 32 < size <= left and size % 32 == 0 and (times > 1 or size < left or at != base):
            parts = [_word(calldata, by_start.get(at + o, []), base) for o in range(0, size, 32)]
            return size, f"({','.join(parts)})"
    size = _struct_in_memory(calldata, at)
    if 0 < size <= left:
        parts = [_word(calldata, by_start.get(at + o, []), base) for o in range(0, size, 32)]
        return size, f"({','.join(parts)})"
    size = _array_size(calldata, by_start, at, left, pointers)
    if size:
        inner = [r for o in range(0, size, 32) for r in by_start.get(at + o, [])]
        return size, f"{_word(calldata, inner, base)}[{size // 32}]"
    return 32, ""


def _struct_in_memory(calldata: Calldata, at: int) -> int:
    """Bytes of a struct decoded from `at`: memory of just that size is allocated, and its words are stored there."""
    for offset, node in calldata.uses.walk.decoded:
        size = calldata.allocated.get(offset, 0) if node.args[0] == at else 0
        if size and size % 32 == 0:
            symbols = calldata.uses.walk.symbols
            stored = set(calldata.uses.walk.decoded)
            words = [
                (symbols.add(offset, o), symbols.node("CALLDATALOAD", at + o)) for o in range(0, size, 32)
            ]
            if all(pair in stored for pair in words):
                return size
    return 0


def _array_size(
    calldata: Calldata, by_start: dict[int, list[Read]], at: int, left: int, pointers: frozenset[Node]
) -> int:
    """Bytes of the static array that begins at `at`; 0 for none."""
    for r in by_start.get(at, []):
        for index, factor in r.indexes:
            bound = bound_of(calldata, index)
            if bound and factor % 32 == 0 and (32 * bound <= left or not calldata.strict):
                return 32 * bound
    before = [r.node.number for r in _firsts(by_start) if r.constant < at]
    behind = [r.node.number for r in by_start.get(at, []) if not r.indexes]
    if not pointers and all(start != 4 for start, _, _ in size_checks(calldata)):
        return 0  # what is asked is whether there are all arguments, as compilers other than solc ask it
    for node in calldata.uses.asked:
        end = end_asked(node, pointers) if isinstance(node, Node) else None
        size = 0 if end is None else end - at
        fits = 32 <= size <= left and size % 32 == 0
        if fits and all(n < node.number for n in before) and all(n > node.number for n in behind):  # type: ignore[union-attr]
            return size
    return 0


def _firsts(by_start: dict[int, list[Read]]) -> list[Read]:
    return [r for reads in by_start.values() for r in reads if not r.indexes]


def _word(calldata: Calldata, reads: list[Read], base: int) -> str:
    """The type of a word, from all places where it is read."""
    kinds = []
    for r in reads:
        dynamic = _dynamic(calldata, r, base)
        if dynamic:
            return dynamic
        copied = any(c.pointers == r.pointers for c in calldata.copies) if r.pointers else False
        kinds.append(_plain(calldata, r.node, calldata.strict and not copied))
    told = [kind for kind in kinds if kind != "uint256"]
    return told[0] if told else "uint256"


def _plain(calldata: Calldata, node: Node, strict: bool) -> str:
    uses = calldata.uses
    return (
        checked_type(uses, node)
        or _enum(calldata, node)
        or ("" if strict else masked_type(uses, node))
        or full_type(uses, node)
    )


def _enum(calldata: Calldata, node: Node) -> str:
    """uint8 where a word is compared with a small number while arguments are still being decoded."""
    if not calldata.strict:
        return ""
    walk = calldata.uses.walk
    for condition, function, block, depth in walk.conditions:
        if isinstance(condition, Node) and condition.op in ("LT", "GT") and node in condition.args:
            others = [a for a in condition.args if isinstance(a, int)]
            decodes = depth > 0 or (_is_first(calldata, block) and not _is_index(calldata.uses, node))
            if others and 0 < others[0] < 32 and decodes and walk.shapes.gives_up(function, block):
                return "uint8"
    return ""


def _is_first(calldata: Calldata, block: str) -> bool:
    """Whether nothing was done before a block of the function itself but asking for value and arguments."""
    walk = calldata.uses.walk
    order = list(walk.contract.functions[walk.name].blocks)
    done = [
        e.block for e in walk.effects if e.op not in ("CALLVALUE", "CALLDATASIZE", "REVERT") and not e.depth
    ]
    return block in order and order.index(block) <= min(map(order.index, done), default=len(order))


def _is_index(uses: Uses, word: Node) -> bool:
    """Whether it is added or divided, as the getter of an array does with what it has asked to be small."""
    return bool(uses.sums.get(word)) or any(
        u.op in ("MUL", "DIV", "MOD", "SHR") for u in uses.users.get(word, ())
    )


def _dynamic(calldata: Calldata, read: Read, base: int) -> str:
    """The type behind an offset; "" if the word is none."""
    if len(read.pointers) > _DEEPEST:
        return ""
    behind_it = read.pointers | {read.node}
    reads = [r for r in calldata.reads if r.pointers == behind_it]
    copies = [c for c in calldata.copies if c.pointers == behind_it]
    sizes = [size for start, size, _ in size_checks(calldata, behind_it) if start == base]
    if not reads and not copies:
        return struct_of((UNREAD,) * (max(sizes, default=0) // 32))
    firsts = [r.node for r in reads if r.constant == base and not r.indexes]
    lengths = [] if any(checked_type(calldata.uses, node) for node in firsts) else firsts
    if lengths and any(other.pointers == behind_it | {lengths[0]} for other in calldata.reads):
        lengths = []  # an offset itself: the first member of a struct
    stride = _stride(calldata, lengths[0], read.node) if lengths else 0
    if stride == 1:
        return _bytes_or_string(calldata, lengths[0], behind_it)
    behind = [r for r in reads if r.constant > base or r.indexes]
    if stride:
        return f"{_element(calldata, behind, base + 32, stride)}[]"
    count = max((r.constant - base) // 32 + 1 for r in reads) if reads else 0
    count = max(count, max(sizes, default=0) // 32)
    if not 1 < count <= MOST_WORDS or any(r.constant < base for r in reads):
        return "bytes"
    known = {(r.constant - base) // 32 for r in reads}
    members = _members(calldata, reads, base, count, behind_it)
    if len(members) == count:
        members = [kind if at in known else UNREAD for at, kind in enumerate(members)]
    return struct_of(tuple(members))


def _stride(calldata: Calldata, length: Node, pointer: Node) -> int:
    """Bytes an element takes if `length` is a length; 0 if it is none."""
    sums = calldata.uses.sums.get(length, [])
    near = {factor for total, factor in sums if any(n is pointer for n, _ in total.args[1])}
    far = {factor for _, factor in sums}
    for factors in (near, far):
        strides = sorted(f for f in factors if f % 32 == 0 and f < 1 << 16)
        if strides:
            return strides[-1]
        if 1 in factors or WORD in factors:
            return 1
    if any(c.length is length for c in calldata.copies):
        return 1
    users = calldata.uses.users.get(length, ())
    if any(u.op in ("LT", "GT") and any(is_index(calldata, a) for a in u.args) for u in users):
        return 32
    if any(u.op == "GT" and u.args[1] in _LENGTH_LIMITS for u in users):
        return 32
    return 0


_LENGTH_LIMITS = ((1 << 64) - 1, 1 << 32)


def _bytes_or_string(calldata: Calldata, length: Node, pointers: frozenset[Node]) -> str:
    """string if it is stored, which is what strings are mostly for; bytes otherwise."""
    for effect in calldata.uses.walk.effects:
        if effect.op == "SSTORE":
            for node in inside(effect.args[1]):
                if node is length or (node.op == "CALLDATALOAD" and parts_of(node.args[0])[1] == pointers):
                    return "string"
    return "bytes"


def _element(calldata: Calldata, reads: list[Read], base: int, stride: int) -> str:
    """The type of an array's elements of `stride` bytes, of which the first begins at `base`."""
    words: dict[int, list[Read]] = {}
    for r in reads:
        words.setdefault((r.constant - base) % stride, []).append(r)
    if stride == 32:
        return _word(calldata, words.get(0, []), base)
    if any(len(r.indexes) > 1 for r in reads):
        return f"{_word(calldata, reads, base)}[{stride // 32}]"
    return f"({','.join(_word(calldata, words.get(o, []), base) for o in range(0, stride, 32))})"
