"""Calls of the ABI decoder's helpers at the head of a public function, as the arguments that they give.

A helper is one only if all that it asks is what the header says anyway: how long calldata is, whether unused bits are 0,
whether lengths and memory are within reason. Anything else that it asks leaves the call as it is.
"""

from __future__ import annotations

from whet.evm.meaning.naming import Namer
from whet.evm.meaning.symbols import Node, Symbols, Word, inside, mask_bits
from whet.evm.meaning.walk import Walk
from whet.evm.tac import Statement
from whet.evm.terms import Expression, Member, Name

Head = tuple[int, str, str]
"""(offset in calldata, name, type) of an argument."""

_COMPARED = frozenset({"LT", "GT", "SLT", "SGT", "EQ", "XOR", "SUM"})
_MEMORY = frozenset({"MLOAD", "POINTER", "LOOP"})
_READ = (
    frozenset({"CALLDATASIZE", "CALLDATALOAD", "ISZERO", "AND", "OR", "SIGNEXTEND", "SHR", "SHL", "CHOICE"})
    | _COMPARED
    | _MEMORY
)


def decoded(
    walk: Walk, namer: Namer, heads: list[Head], place: tuple[str, int], s: Statement
) -> tuple[Expression, ...] | None:
    """What a CALLPRIVATE gives, where it only decodes arguments; None for others."""
    words = walk.returned.get(place, ())
    shape = walk.shapes.of[s.function]
    if not words or not (shape.pure or shape.only_memory) or not shape.gives_up_plainly:
        return None
    first, last = walk.asked[place]
    asked = [condition for condition, *_ in walk.conditions[first:last]]
    if not all(is_decoders(one) and not _bounds_a_value(one, heads) for one in asked):
        return None
    names = [namer.argument(word) if isinstance(word, Node) else None for word in words]
    if None not in names:
        return tuple(names)  # type: ignore[arg-type]
    return _all_arguments(walk.symbols, namer, heads, words, shape.allocates and shape.copies)


def _all_arguments(
    symbols: Symbols, namer: Namer, heads: list[Head], words: tuple[Word, ...], copies: bool
) -> tuple[Expression, ...] | None:
    """All arguments of the header in order, dynamic ones in memory (one word) or in calldata (offset and length)."""
    left, said = list(words), list[Expression]()
    for offset, name, kind in heads:
        word = left.pop(0) if left else 0
        if not isinstance(word, Node):
            return None
        in_memory = copies and _is_dynamic(kind) and word.op != "CALLDATALOAD"
        if in_memory or namer.argument(word) == Name(name):
            said.append(Name(name))
        elif left and _is_dynamic(kind) and _is_in_calldata(symbols, word, left.pop(0), offset):
            said += [Member(Name(name), "offset"), Member(Name(name), "length")]
        else:
            return None
    return None if left else tuple(said)


def _is_dynamic(kind: str) -> bool:
    return kind in ("bytes", "string") or kind.endswith("[]")


def _is_in_calldata(symbols: Symbols, start: Word, length: Word, head: int) -> bool:
    """Whether these are offset and length of what the offset at `head` points to."""
    if not isinstance(length, Node) or length.op != "CALLDATALOAD":
        return False
    pointer = any(node.op == "CALLDATALOAD" and node.args[0] == head for node in inside(length.args[0]))
    return pointer and symbols.add(length.args[0], 32) == start


def is_decoders(condition: Word, bounds: frozenset[str] = frozenset({"CALLDATASIZE"})) -> bool:
    """Whether an ABI decoder asks this. bounds: what the end of calldata is made of."""
    while isinstance(condition, Node) and condition.op == "ISZERO":
        condition = condition.args[0]
    if isinstance(condition, int):
        return True
    if condition.op == "OR":
        return all(is_decoders(part, bounds) for part in condition.args)
    made_of = {node.op for node in inside(condition)}
    if not made_of <= _READ | bounds:
        return False
    if condition.op == "SHR":
        return isinstance(condition.args[0], int) and condition.args[0] % 8 == 0
    if condition.op not in _COMPARED:
        return False
    if made_of & bounds or made_of & _MEMORY:
        return True
    return _is_clean_check(condition) or any(
        isinstance(arg, int) and arg >= 1 << 32 and mask_bits(arg) for arg in condition.args
    )


def _bounds_a_value(condition: Word, heads: list[Head]) -> bool:
    """Whether an argument that is no offset is compared with a limit that its type does not say."""
    if not isinstance(condition, Node):
        return False
    if condition.op in ("ISZERO", "OR"):
        return any(_bounds_a_value(part, heads) for part in condition.args)
    limits = [arg for arg in condition.args if isinstance(arg, int)]
    if condition.op not in ("LT", "GT", "SLT", "SGT") or not limits:
        return False
    values = {offset: kind for offset, _, kind in heads if not _is_dynamic(kind) and kind[:1] != "("}
    return any(
        isinstance(arg, Node)
        and arg.op == "CALLDATALOAD"
        and arg.args[0] in values
        and values[arg.args[0]] != f"uint{limits[0].bit_length()}"
        for arg in condition.args
    )


def _is_clean_check(condition: Node) -> bool:
    """`word == cleaned(word)` in the ways that compilers write it."""
    parts = [node for node, _ in condition.args[1]] if condition.op == "SUM" else list(condition.args)
    if len(parts) != 2:
        return False
    for word, other in (parts, parts[::-1]):
        cleaned = other
        while isinstance(cleaned, Node) and cleaned.op in ("AND", "SIGNEXTEND", "ISZERO"):
            cleaned = cleaned.args[0] if cleaned.op == "ISZERO" else cleaned.args[1]
            if cleaned == word:
                return True
    return False
