"""Arguments of public functions, by how calldata is read and checked.

A word at a constant offset is a head; one that is added to an offset at which more is read is the offset of something
dynamic, whose first word is a length if it is used as one. Sizes come from the checks that the ABI decoder makes, types
of words from its checks of dirty bits (solc 0.8, ABI coder v2) or from the masks before use (older code).
Not told apart by any bytecode: bytes and string, uint256 and bytes32 without use; arguments that old code never reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.meaning.evidence import Uses, checked_type, full_type, masked_type
from whet.evm.meaning.symbols import Node, Word, inside, linear
from whet.evm.tac import WORD

_MOST_WORDS = 64
"""Heads of one tuple; more is taken for data that is read some other way."""

_DEEPEST = 6
"""Offsets within offsets."""


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


def arguments(uses: Uses, strict: bool) -> tuple[str, ...]:
    """The types of the arguments of the public function that was walked, as in its signature.

    strict: `is_strict` of any function of the contract.
    """
    calldata = _collect(uses, strict)
    heads = [r for r in calldata.reads if not r.pointers]
    count = _head_words(calldata, heads)
    return tuple(_members(calldata, heads, 4, count, frozenset()))


def is_strict(uses: Uses) -> bool:
    """Whether some argument's dirty bits are checked."""
    return any(
        node.op == "CALLDATALOAD" and node.args[0] != 0 and checked_type(uses, node)
        for node in uses.walk.symbols.nodes
    )


def _collect(uses: Uses, strict: bool) -> Calldata:
    calldata = Calldata(uses, strict, allocated=_allocations(uses))
    for node in uses.walk.symbols.nodes:
        if node.op == "CALLDATALOAD":
            constant, pointers, indexes = _parts(node.args[0])
            if constant >= 4 and constant < 1 << 32:
                calldata.reads.append(Read(constant, pointers, indexes, node))
        elif node.op == "CALLDATA":
            constant, pointers, _ = _parts(node.args[0])
            calldata.copies.append(Copy(constant, pointers, node.args[1]))
    return calldata


def _parts(offset: Word) -> tuple[int, frozenset[Node], tuple[tuple[Node, int], ...]]:
    constant, terms = linear(offset)
    pointers = frozenset(n for n, factor in terms if factor == 1 and n.op == "CALLDATALOAD")
    return constant, pointers, tuple((n, factor) for n, factor in terms if n not in pointers)


def _head_words(calldata: Calldata, heads: list[Read]) -> int:
    """Words of the arguments' heads: what is read, and what the decoder's check of the size says."""
    read = max((r.constant + 28 for r in heads if r.constant % 32 == 4), default=0) // 32
    sizes = _size_checks(calldata)
    checked = max((size for start, size, _ in sizes if start == 4), default=0) // 32
    if not checked:
        checked = max((size - 4 for start, size, _ in sizes if start == 0), default=0) // 32
    return min(max(read, checked), _MOST_WORDS)


def _size_checks(calldata: Calldata, pointers: frozenset[Node] = frozenset()) -> list[tuple[int, int, int]]:
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
    left = 32 * _MOST_WORDS if pointers else base + 32 * count - at
    if pointers:
        size = _array_size(calldata, by_start, at, left, pointers)
        rest = base + 32 * count - at
        if not size and rest > 32 and any(r.indexes for r in by_start.get(at, [])):
            size = rest  # read by an index from here on
        inner = [r for o in range(0, size, 32) for r in by_start.get(at + o, [])]
        return (size, f"{_word(calldata, inner, base)}[{size // 32}]") if size else (32, "")
    for start, size, times in _size_checks(calldata):
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


def _allocations(uses: Uses) -> dict[Word, int]:
    """{offset: bytes} where code asks whether offset + bytes is too much memory."""
    found: dict[Word, int] = {}
    for condition in uses.asked:
        if isinstance(condition, Node) and condition.op == "OR":
            for part in condition.args:
                if isinstance(part, Node) and part.op == "LT" and isinstance(part.args[0], Node):
                    size = uses.walk.symbols.add(part.args[0], part.args[1], WORD)
                    if isinstance(size, int) and 0 < size <= 32 * _MOST_WORDS:
                        found[part.args[1]] = size
    return found


def _array_size(
    calldata: Calldata, by_start: dict[int, list[Read]], at: int, left: int, pointers: frozenset[Node]
) -> int:
    """Bytes of the static array that begins at `at`; 0 for none."""
    for r in by_start.get(at, []):
        for index, factor in r.indexes:
            bound = _bound(calldata, index)
            if bound and factor % 32 == 0 and (32 * bound <= left or not calldata.strict):
                return 32 * bound
    before = [r.node.number for r in _firsts(by_start) if r.constant < at]
    behind = [r.node.number for r in by_start.get(at, []) if not r.indexes]
    for node in calldata.uses.asked:
        end = _end_asked(node, pointers) if isinstance(node, Node) else None
        size = 0 if end is None else end - at
        fits = 32 <= size <= left and size % 32 == 0
        if fits and all(n < node.number for n in before) and all(n > node.number for n in behind):  # type: ignore[union-attr]
            return size
    return 0


def _end_asked(node: Node, pointers: frozenset[Node]) -> int | None:
    """The constant in `constant + pointers > calldatasize()`."""
    if node.op not in ("GT", "LT"):
        return None
    sizes = [arg for arg in node.args if isinstance(arg, Node) and arg.op == "CALLDATASIZE"]
    others = [arg for arg in node.args if arg not in sizes]
    if len(sizes) != 1 or len(others) != 1:
        return None
    constant, terms = linear(others[0])
    return constant if dict(terms) == dict.fromkeys(pointers, 1) else None


def _firsts(by_start: dict[int, list[Read]]) -> list[Read]:
    return [r for reads in by_start.values() for r in reads if not r.indexes]


def _bound(calldata: Calldata, index: Node) -> int:
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
            if others and 0 < others[0] < 32 and depth > 0 and walk.shapes.gives_up(function, block):
                return "uint8"
    return ""


def _dynamic(calldata: Calldata, read: Read, base: int) -> str:
    """The type behind an offset; "" if the word is none."""
    if len(read.pointers) > _DEEPEST:
        return ""
    behind_it = read.pointers | {read.node}
    reads = [r for r in calldata.reads if r.pointers == behind_it]
    copies = [c for c in calldata.copies if c.pointers == behind_it]
    if not reads and not copies:
        return ""
    lengths = [r.node for r in reads if r.constant == base and not r.indexes]
    if lengths and any(other.pointers == behind_it | {lengths[0]} for other in calldata.reads):
        lengths = []  # an offset itself: the first member of a struct
    stride = _stride(calldata, lengths[0], read.node) if lengths else 0
    if stride == 1:
        return _bytes_or_string(calldata, lengths[0], behind_it)
    behind = [r for r in reads if r.constant > base or r.indexes]
    if stride:
        return f"{_element(calldata, behind, base + 32, stride)}[]"
    count = max((r.constant - base) // 32 + 1 for r in reads) if reads else 0
    sizes = [size for start, size, _ in _size_checks(calldata, behind_it) if start == base]
    count = max(count, max(sizes, default=0) // 32)
    if not 0 < count <= _MOST_WORDS or any(r.constant < base for r in reads):
        return "bytes"
    return f"({','.join(_members(calldata, reads, base, count, behind_it))})"


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
    if any(u.op in ("LT", "GT") and any(_indexes(calldata, a) for a in u.args) for u in users):
        return 32
    if any(u.op == "GT" and u.args[1] in _LENGTH_LIMITS for u in users):
        return 32
    return 0


_LENGTH_LIMITS = ((1 << 64) - 1, 1 << 32)


def _indexes(calldata: Calldata, word: Word) -> bool:
    return isinstance(word, Node) and any(n is word for r in calldata.reads for n, _ in r.indexes)


def _bytes_or_string(calldata: Calldata, length: Node, pointers: frozenset[Node]) -> str:
    """string if it is stored, which is what strings are mostly for; bytes otherwise."""
    for effect in calldata.uses.walk.effects:
        if effect.op == "SSTORE":
            for node in inside(effect.args[1]):
                if node is length or (node.op == "CALLDATALOAD" and _parts(node.args[0])[1] == pointers):
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
