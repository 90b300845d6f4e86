"""Documents without end, made from Python's own standard library by a seeded generator.

A document is a few stretches of the library's words, in which words are replaced: one in ten by another of
the library's words (drawn by frequency), one in three hundred by a name that is nowhere else, so that the
vocabulary keeps growing as it does in real text. Sizes are log-normal, about 6 KB in the mean. One document in
fifty is an edited copy of an earlier one, one in a hundred an equal copy. Any document can be made again from
its number alone. Memory: some 200 MB, in the process that writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from whet.records import Document
from whet.sources.stdlib import StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource

SEED = 42
EDITED, EQUAL = 1 / 50, 1 / 100
REPLACED, NEW, EDITS = 1 / 10, 1 / 300, 1 / 150
MEDIAN_WORDS, SIGMA, MOST_WORDS = 700, 1.0, 20_000
STRETCH_WORDS = 400
"""About how many words stand together as they do in the library."""
FILE_BYTES = 50_000_000
_WORDS = re.compile(r"\s*(?:\w+|[^\w\s])")


class Material:
    """The library's words in their order, and documents made from them."""

    def __init__(self) -> None:
        known: dict[str, int] = {}
        order = [
            known.setdefault(word, len(known))
            for source in (StdlibSource(source="stdlib"), StdlibEnglishSource(source="stdlib_english"))
            for document in source.documents()
            if isinstance(document, Document)
            for word in _WORDS.findall(document.text)
        ]
        self._order = np.array(order, np.int32)
        self._words = np.array(list(known), object)

    def text(self, number: int) -> str:
        """Document `number`: new, or a copy of an earlier one."""
        draw = np.random.default_rng([SEED, number])
        fate = draw.random()
        if number and fate < EDITED + EQUAL:
            words = self._new(int(draw.integers(number)))
            if fate < EDITED:
                self._replace(words, EDITS, draw)
        else:
            words = self._new(number)
        return "".join(words).lstrip("\n")

    def _new(self, number: int) -> np.ndarray:
        draw = np.random.default_rng([SEED + 1, number])
        count = min(MOST_WORDS, int(draw.lognormal(np.log(MEDIAN_WORDS), SIGMA)) + 20)
        stretches = 1 + count // STRETCH_WORDS
        firsts = draw.integers(0, len(self._order) - count, stretches)
        each = -(-count // stretches)
        words = self._words[np.concatenate([self._order[first : first + each] for first in firsts])]
        self._replace(words, REPLACED, draw)
        at = np.flatnonzero(draw.random(len(words)) < NEW)
        words[at] = [f" {word.strip()}_{draw.integers(10**6):x}" for word in words[at]]
        return words

    def _replace(self, words: np.ndarray, share: float, draw: np.random.Generator) -> None:
        at = np.flatnonzero(draw.random(len(words)) < share)
        words[at] = self._words[self._order[draw.integers(0, len(self._order), len(at))]]

    def texts(self, total_bytes: int) -> Iterator[str]:
        """Documents until their UTF-8 bytes reach `total_bytes`."""
        done = number = 0
        while done < total_bytes:
            text = self.text(number)
            done += len(text.encode())
            number += 1
            yield text


def write(folder: Path, total_bytes: int) -> dict[str, int]:
    """Write `part-*.jsonl.zst` with that much text; documents and bytes of text."""
    import zstandard

    texts, counts = Material().texts(total_bytes), {"documents": 0, "text_bytes": 0}
    for part in range(-(-total_bytes // FILE_BYTES)):
        path = folder / f"part-{part:03}.jsonl.zst"
        end = min(total_bytes, (part + 1) * FILE_BYTES)
        with path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as packed:
            while counts["text_bytes"] < end and (text := next(texts, None)) is not None:
                packed.write(json.dumps({"text": text}).encode() + b"\n")
                counts["documents"] += 1
                counts["text_bytes"] += len(text.encode())
    return counts


if __name__ == "__main__":
    import sys

    print(write(Path(sys.argv[1]), int(float(sys.argv[2]) * 1e6)))
