"""What a text is compared by: its five-word shingles, and 128 numbers that stand for them.

A signature is made by one-permutation hashing (Li, Owen, Zhang 2012): each shingle is hashed once, the hash
chooses one of 128 bins, and each bin keeps its smallest. An empty bin takes the entry of the first filled
one in an order of its own ("optimal densification", Shrivastava 2017). The share of equal entries of two
signatures is an unbiased estimate of the Jaccard similarity, as with 128 permutations, which cost 128 hashes
a shingle. Nothing here depends on the machine or on Python's hash seed.

Cost: some 30 ns a character, all in numpy; memory for one block of the text and 8 bytes a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

ENTRIES = 128
SHINGLE_WORDS = 5
BLOCK_CHARACTERS = 2**15
"""Characters whose words are hashed at a time; an unbroken run beyond twice as many counts as several words."""

Hashes = npt.NDArray[np.uint64]
Signature = npt.NDArray[np.uint32]

_SPACE, _LETTER, _SIGN = 0, 1, 2
_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_BINS = np.arange(ENTRIES, dtype=np.uint64) << np.uint64(64 - 7)
"""The smallest hash of each bin: its seven highest bits are the bin's number."""
_NO_LETTER = re.compile(r"\W")


def shingle_hashes(text: str) -> Hashes:
    """Sorted distinct 64-bit hashes of every run of five words or signs."""
    blocks = [_word_hashes(block) for block in _blocks(text)]
    words = np.concatenate(blocks) if blocks else np.zeros(0, np.uint64)
    count = len(words) - SHINGLE_WORDS + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    combined = words[:count].copy()
    for offset in range(1, SHINGLE_WORDS):
        combined *= np.uint64(_BASE)
        combined += words[offset : offset + count]
        combined ^= combined >> np.uint64(29)
    combined = _mixed(combined)
    combined.sort()
    return np.asarray(combined[np.append(True, combined[1:] != combined[:-1])])


def signature(shingles: Hashes) -> Signature:
    """128 entries for the sorted distinct shingles of a text (at least one)."""
    at = np.minimum(np.searchsorted(shingles, _BINS), len(shingles) - 1)
    smallest = shingles[at]
    filled = (smallest >> np.uint64(64 - 7)) == np.arange(ENTRIES, dtype=np.uint64)
    entries = smallest.astype(np.uint32)
    if not filled.all():
        empty = np.flatnonzero(~filled)
        donors = _donors()[empty]
        first = filled[donors].argmax(axis=1)
        entries[empty] = entries[donors[np.arange(len(empty)), first]]
    return entries


def band_keys(entries: Signature, length: int) -> list[int]:
    """One 64-bit number (signed, as SQLite has them) for every `length` entries."""
    bands = entries[: ENTRIES // length * length].reshape(-1, length).astype(np.uint64)
    number = np.arange(1, len(bands) + 1, dtype=np.uint64) * _MIX
    numbers: list[int] = _mixed(bands @ _powers()[0][1 : length + 1] + number).view(np.int64).tolist()
    return numbers


def _blocks(text: str) -> Iterator[str]:
    """The text cut between words."""
    at = 0
    while at < len(text):
        end = at + BLOCK_CHARACTERS
        found = _NO_LETTER.search(text, end, end + BLOCK_CHARACTERS)
        end = found.start() if found else end + BLOCK_CHARACTERS
        yield text[at:end]
        at = end


def _word_hashes(text: str) -> Hashes:
    """A hash of every run of letters, digits and _, and of every sign, in order.

    The codes of a word's characters are the coefficients of a polynomial modulo 2**64 (Karp, Rabin 1987);
    running sums give the values of all words at once.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _kinds()[codes]
    letter, sign = kinds == _LETTER, kinds == _SIGN
    joined = letter[1:] & letter[:-1]
    begins, ends = letter | sign, letter | sign
    begins[1:] &= ~joined
    ends[:-1] &= ~joined
    first, last = np.flatnonzero(begins), np.flatnonzero(ends)
    powers, inverse = _powers()
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    return _mixed((sums[last + 1] - sums[first]) * inverse[first])


def _mixed(values: Hashes) -> Hashes:
    """Every bit of a value spread over all of them."""
    values = (values ^ (values >> np.uint64(32))) * _MIX
    return (values ^ (values >> np.uint64(29))) * _MIX


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """For every code point: white space, part of a word, or a sign."""
    everything = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    kinds = np.full(0x110000, _SIGN, np.uint8)
    for pattern, kind in ((r"\s+", _SPACE), (r"\w+", _LETTER)):
        for found in re.finditer(pattern, everything):
            kinds[found.start() : found.end()] = kind
    return kinds


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """The powers of the base modulo 2**64, and of its inverse."""
    tables = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        factors = np.full(2 * BLOCK_CHARACTERS, base, np.uint64)
        factors[0] = 1
        tables.append(np.cumprod(factors, dtype=np.uint64))
    return tables[0], tables[1]


@cache
def _donors() -> npt.NDArray[np.int64]:
    """For every bin, the order in which it asks the others; from raw PCG64 output, which numpy keeps."""
    raw = np.random.PCG64(1).random_raw(ENTRIES * ENTRIES)
    return np.argsort(raw.reshape(ENTRIES, ENTRIES), axis=1)
