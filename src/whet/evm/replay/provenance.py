"""Where bytes in a traced call came from: which words of its inputs stand at an offset, whole or in parts.

What is found is believed only if the bytes there are the word's, so nothing here has to know in which order memory was
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from whet.evm.replay.symbols import Word, leaf, made
from whet.evm.tac import WORD

MOST_CUTS = 4
"""Places within a word that are tried as the border of its two parts."""


class Bytes(bytes):
    """Calldata or return data; `word(offset)` is the word there, a Word where it is known to be one. level: how many times
    it was copied from call to call."""

    word: Callable[[int], int]
    level: int


def bytes_of(data: bytes, word: Callable[[int], int], level: int = 0) -> Bytes:
    """word: asked once for an offset."""
    known: dict[int, int] = {}

    def once(at: int) -> int:
        if at not in known:
            known[at] = word(at)
        return known[at]

    found = Bytes(data)
    found.word, found.level = once, level
    return found


Span = tuple[int, int, Bytes, int]
"""Bytes in memory: offset, size, what they were copied from, offset there."""


def word_at(data: bytes, at: int) -> int:
    """32 bytes of it, with zeros behind its end."""
    return int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big")


def of_calldata(data: bytes, at: int) -> int:
    """An input, or of two of them the bytes in between: the same byte is always of the same input. The selector is none."""
    by = (at - 4) % 32
    if not by:
        return leaf(word_at(data, at), ("data", at))
    second = leaf(word_at(data, at - by + 32), ("data", at - by + 32))
    if at < 4:
        return shifted(int.from_bytes(data[:4].ljust(4, b"\0"), "big"), second, by)
    return shifted(leaf(word_at(data, at - by), ("data", at - by)), second, by)


def known(at: int, value: int, words: dict[int, int], spans: list[Span]) -> int:
    """The word `value` that stands at that offset of memory. words: stored at offsets; spans: copied."""
    for found in _begun(at, words, spans):
        if found == value:
            return found
    for found in _joints(at, value, words, spans):
        if type(found) is Word and found == value:
            return found
    return value


def _begun(at: int, words: dict[int, int], spans: list[Span]) -> Iterator[int]:
    """Words that were stored or copied to begin there, or within what was copied; they may have been written over."""
    if at in words:
        yield words[at]
    for to, size, source, begin in reversed(spans):
        if to <= at < to + size:
            yield source.word(begin + at - to)


def _joints(at: int, value: int, words: dict[int, int], spans: list[Span]) -> Iterator[int]:
    """What may stand there if it is of two parts: the beginning of one word, or the end of one that began before, or plain
    bytes; and behind it the beginning of another, or plain bytes."""
    cuts = {cut for cut in range(at + 1, at + 32) if cut in words}
    cuts |= {edge for to, size, _, _ in spans for edge in (to, to + size) if at < edge < at + 32}
    for cut in islice(sorted(cuts), MOST_CUTS):
        size = cut - at
        low = (1 << 8 * (32 - size)) - 1
        start, end = value & ~low, value & low
        for first in _begun(at, words, spans):
            if type(first) is Word and first & ~low == start:
                start = made(start, "AND", (WORD ^ low, first))
                break
        else:
            before = words.get(cut - 32, 0)
            if before << 8 * (32 - size) & WORD == start:
                start = made(start, "SHL", (8 * (32 - size), before))
        for second in _begun(cut, words, spans):
            if second >> 8 * size == end:
                end = made(end, "SHR", (8 * size, second))
                break
        yield made(start | end, "OR", (start, end))


def shifted(first: int, second: int, by: int) -> int:
    """The word that begins so many bytes, 1 to 31, within the first of two."""
    high = made(first << 8 * by & WORD, "SHL", (8 * by, first))
    low = made(second >> 256 - 8 * by, "SHR", (256 - 8 * by, second))
    return made(high | low, "OR", (high, low))
