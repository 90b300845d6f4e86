"""Types that known signatures tell of words: arguments and results of functions, of events, errors, and calls of others.

A signature is a guess until the code agrees: an argument list must encode as the code does it, an event must have as many
words as are logged. Of an event that does not say which of its arguments are topics, every choice that fits is looked
at, and only what all of them say is told. Of a string or bytes the word that holds its length in storage is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from whet.evm.meaning.abi_types import flat, is_dynamic, types_of
from whet.evm.meaning.evidence import Uses, value_type
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.saying import Known
from whet.evm.meaning.standards import declared
from whet.evm.meaning.symbols import Node, Word, inside, linear
from whet.evm.meaning.walk import Effect

Told = tuple[Node, str]
"""(word, type); of bytes and string the offset of an argument, or an SLOAD of the word with the length."""

_MOST_TYPES = 12
"""Of an event; with more no choice of topics is tried."""


def told(uses: Uses, signature: str, known: Known) -> Iterator[Told]:
    """What signatures tell in one function. signature: its own, "" if unknown."""
    if signature:
        yield from _arguments(uses, types_of(signature))
    standard = declared(signature)
    for effect in uses.walk.effects:
        payload = effect.payload
        if payload is None:
            continue
        if effect.op == "RETURN" and standard is not None:
            yield from _encoded(payload, standard.results)
        elif effect.op.startswith("LOG") and len(effect.args) > 2 and isinstance(effect.args[2], int):
            yield from _event(effect, payload, known.events(effect.args[2]))
        elif payload.selector is not None:
            names = known.errors if effect.op == "REVERT" else known.functions
            fitting = [t for s in names(payload.selector) if _fits(payload, t := _flat(types_of(s)))]
            if len(fitting) == 1:
                yield from _encoded(payload, fitting[0])


def _flat(types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for kind in types for word in flat(kind))


def _arguments(uses: Uses, types: tuple[str, ...]) -> Iterator[Told]:
    heads = {4 + 32 * position: kind for position, kind in enumerate(_flat(types))}
    for node in uses.walk.symbols.nodes:
        if node.op != "CALLDATALOAD":
            continue
        constant, terms = linear(node.args[0])
        if not terms and constant in heads:
            yield node, heads[constant]
        elif len(terms) > 1:
            at = [n.args[0] for n, _ in terms if n.op == "CALLDATALOAD" and isinstance(n.args[0], int)]
            kind = heads.get(at[0], "") if len(at) == 1 else ""
            if kind.endswith("[]") and "]" not in kind[:-2] and not kind.startswith("("):
                yield node, kind[:-2]


def _encoded(payload: Payload, types: tuple[str, ...]) -> Iterator[Told]:
    """Of the words of an ABI encoding."""
    for position, kind in enumerate(_flat(types)):
        if position >= len(payload.words):
            return
        word = payload.words[position]
        if kind in ("bytes", "string") and isinstance(word, int) and word % 32 == 0:
            length = payload.words[word // 32] if word // 32 < len(payload.words) else None
            yield from _text(length, kind)
        elif isinstance(word, Node) and not is_dynamic(kind):
            yield word, kind


def _text(length: Word | None, kind: str) -> Iterator[Told]:
    """Of bytes or a string by the word that says how long it is: it comes from one slot, or from an argument."""
    if isinstance(length, Node):
        loads = [node for node in inside(length) if node.op in ("SLOAD", "CALLDATALOAD")]
        if len({node.args[0] for node in loads if node.op == "SLOAD"}) == 1 and loads[0].op == "SLOAD":
            yield loads[0], kind
        elif length.op == "CALLDATALOAD":
            heads = [node for node in loads[1:] if isinstance(node.args[0], int)]
            yield from ((node, kind) for node in heads if len(heads) == 1)


def _fits(payload: Payload, types: tuple[str, ...]) -> bool:
    """Whether an encoding can be of these types, by its size and by what of its words is known."""
    if len(payload.words) < len(types):
        return False
    dynamic = any(is_dynamic(kind) for kind in types)
    size = payload.length
    if (
        isinstance(size, int)
        and not dynamic
        and (size - (payload.selector is not None) * 4) // 32 != len(types)
    ):
        return False
    return all(_can_be(word, kind) for word, kind in zip(payload.words, types, strict=False))


def _can_be(word: Word | None, kind: str) -> bool:
    if is_dynamic(kind):
        return word is None or isinstance(word, int)
    made = value_type(word) if isinstance(word, Node) else ""
    return not made or made == kind


def _event(effect: Effect, payload: Payload, signatures: tuple[str, ...]) -> Iterator[Told]:
    topics = effect.args[3:]
    choices = [choice for s in signatures for choice in _choices(types_of(s), topics, payload)]
    if not choices:
        return
    told = [[*_indexed(topics, topical), *_encoded(payload, _flat(data))] for topical, data in choices]
    for one in told[0]:
        if all(one in other for other in told[1:]):
            yield one


def _indexed(topics: tuple[Word, ...], types: tuple[str, ...]) -> Iterator[Told]:
    for word, kind in zip(topics, types, strict=True):
        if isinstance(word, Node) and not is_dynamic(kind):
            yield word, kind


def _choices(
    types: tuple[str, ...], topics: tuple[Word, ...], payload: Payload
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(types of topics, types in the data) of every way to choose the topics that fits what is logged."""
    if len(types) > _MOST_TYPES:
        return
    for chosen in combinations(range(len(types)), len(topics)):
        topical = tuple(types[i] for i in chosen)
        data = tuple(kind for i, kind in enumerate(types) if i not in chosen)
        single = all(
            is_dynamic(k) or (len(flat(k)) == 1 and _can_be(w, k))
            for w, k in zip(topics, topical, strict=True)
        )
        if single and _fits(payload, _flat(data)):
            yield topical, data
