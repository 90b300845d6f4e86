"""Finds documents that were seen before: exactly (SHA-256) or nearly (MinHash, Broder 1997).

Signatures come from datasketch; the banded index lies in an SQLite file, so memory stays flat however
many documents pass. Two documents are compared where one band of their 128 permutations is equal, and
count as near duplicates when the share of equal entries reaches the threshold. The bands are as long as
still finds `FOUND_SHARE` of the pairs at the threshold: 8 rows for 0.8, 4 for 0.6; shorter ones compare
more. Documents with fewer than `MIN_SHINGLES` distinct five-word shingles are only compared exactly: their
signatures say too little.

Cost: about a millisecond per kilobyte-sized document, 1.3 kB of disk each; memory for one document.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whet.records import Document

PERMUTATIONS, LONGEST_BAND = 128, 8
FOUND_SHARE = 0.94
SHINGLE_WORDS, MIN_SHINGLES = 5, 8
HASHED_AT_ONCE = 4096
"""Shingles whose 128 hashes are in memory at a time (12 MB)."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Twin:
    """An earlier document that this one repeats.

    `exact` says that the texts are equal; `similarity` is 1.0 then, but also where only spacing differs.
    """

    origin: str
    group: str
    stage: str
    similarity: float
    exact: bool


class DuplicateIndex:
    """All documents seen so far. `similarity` None compares exactly only."""

    def __init__(self, path: Path, similarity: float | None, seed: int = 1) -> None:
        self.similarity = similarity
        self._band = band_length(similarity or 1.0)
        self._db = sqlite3.connect(path)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE seen (id INTEGER PRIMARY KEY, named TEXT, stage TEXT, signature BLOB);"
            "CREATE TABLE exact (digest BLOB, stage TEXT, id INTEGER, PRIMARY KEY (digest, stage)) WITHOUT ROWID;"
            "CREATE TABLE bands (band BLOB, id INTEGER, PRIMARY KEY (band, id)) WITHOUT ROWID;"
        )
        if similarity is not None:
            from datasketch import MinHash

            self._minhash = MinHash(num_perm=PERMUTATIONS, seed=seed, hashfunc=int)

    def twins(self, document: Document, stage: str) -> tuple[list[Twin], npt.NDArray[Any] | None]:
        """Earlier documents that `document` repeats, equal ones first, and its signature for `add`."""
        digest = bytes.fromhex(document.digest)
        rows = self._db.execute(
            "SELECT seen.id, named, seen.stage FROM exact JOIN seen USING (id) WHERE digest = ? ORDER BY id",
            (digest,),
        ).fetchall()
        found = [_twin(named, where, 1.0, exact=True) for _, named, where in rows]
        signature = self._signature(document.text) if self.similarity is not None else None
        if signature is not None:
            found += self._near(signature, {row[0] for row in rows})
        return found, signature

    def add(self, document: Document, stage: str, signature: npt.NDArray[Any] | None) -> None:
        """Remember a document that was kept; of equal ones in a stage, the first stands for all."""
        digest = bytes.fromhex(document.digest)
        known = self._db.execute("SELECT 1 FROM exact WHERE digest = ? AND stage = ?", (digest, stage))
        if known.fetchone():
            return
        named = json.dumps([document.origin, document.group])  # ASCII, for names that are not UTF-8
        key = self._db.execute(
            "INSERT INTO seen (named, stage, signature) VALUES (?, ?, ?)",
            (named, stage, None if signature is None else signature.tobytes()),
        ).lastrowid
        self._db.execute("INSERT INTO exact VALUES (?, ?, ?)", (digest, stage, key))
        if signature is not None:
            bands = ((band, key) for band in _bands(signature, self._band))
            self._db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", bands)

    def close(self) -> None:
        """Close the database; its file is the caller's."""
        self._db.close()

    def _near(self, signature: npt.NDArray[Any], equal: set[int]) -> list[Twin]:
        """Documents that share a band and are similar enough, without those known to be equal."""
        bands = list(_bands(signature, self._band))
        marks = ",".join("?" * len(bands))
        rows = self._db.execute(
            "SELECT DISTINCT seen.id, named, stage, signature FROM bands JOIN seen USING (id) "
            f"WHERE band IN ({marks}) ORDER BY seen.id",
            bands,
        )
        found = []
        for key, named, stage, blob in rows:
            similarity = float(np.mean(np.frombuffer(blob, np.uint32) == signature))
            if key not in equal and self.similarity is not None and similarity >= self.similarity:
                found.append(_twin(named, stage, similarity, exact=False))
        return found

    def _signature(self, text: str) -> npt.NDArray[Any] | None:
        shingles = shingle_hashes(text)
        if len(shingles) < MIN_SHINGLES:
            return None
        minhash = self._minhash.copy()
        minhash.clear()
        for first in range(0, len(shingles), HASHED_AT_ONCE):
            minhash.update_batch(shingles[first : first + HASHED_AT_ONCE])
        return np.asarray(minhash.hashvalues, np.uint64).astype(np.uint32)


def _twin(named: str, stage: str, similarity: float, *, exact: bool) -> Twin:
    origin, group = json.loads(named)
    return Twin(origin, group, stage, similarity, exact)


def shingle_hashes(text: str) -> npt.NDArray[np.uint64]:
    """Distinct 32-bit hashes of every run of five words or signs; the same on every machine."""
    ids: dict[str, int] = {}
    words = np.fromiter((_word_hash(match[0], ids) for match in _WORD.finditer(text)), np.uint64)
    count = len(words) - SHINGLE_WORDS + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    combined = np.zeros(count, np.uint64)
    for offset in range(SHINGLE_WORDS):
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + words[offset : offset + count]
        combined ^= combined >> np.uint64(29)
    return np.unique(combined >> np.uint64(32))


def _word_hash(word: str, known: dict[str, int]) -> int:
    if word not in known:
        known[word] = int.from_bytes(
            hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
        )
    return known[word]


def band_length(similarity: float) -> int:
    """The longest bands in which pairs of this similarity still meet (Leskovec et al., section 3.4)."""
    lengths = range(LONGEST_BAND, 0, -1)
    found = (length for length in lengths if _meet(similarity, length) >= FOUND_SHARE)
    return next(found, 1)


def _meet(similarity: float, length: int) -> float:
    """The chance that at least one band of two documents is equal."""
    return 1 - (1 - similarity**length) ** (PERMUTATIONS // length)


def _bands(signature: npt.NDArray[Any], length: int) -> Iterator[bytes]:
    for band in range(PERMUTATIONS // length):
        part = signature[band * length : (band + 1) * length]
        yield hashlib.blake2b(bytes([band]) + part.tobytes(), digest_size=8).digest()
