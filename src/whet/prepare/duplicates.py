"""Finds documents that were seen before: exactly (SHA-256) or nearly (MinHash, Broder 1997).

What of a record is compared, `compared` says; signatures come from `signatures`. The banded index lies in an
SQLite file, so memory stays flat however many documents pass. Two documents are compared where one band of their
128 entries is equal, and count as near duplicates when the share of equal entries reaches the threshold. The
bands are as long as still finds `FOUND_SHARE` of the pairs at the threshold: 8 entries for 0.8, 4 for 0.6; shorter
ones compare more. Documents with fewer than `MIN_SHINGLES` distinct five-word shingles are only compared exactly:
their signatures say too little.

A record of several parts has 128 entries of each, in turn, so that a band has some of every part. It is as similar
as its least similar part; a part with too few shingles must be equal but for spacing. Records of one part and of
several are never near one another.

Cost: about 0.15 ms per document and 30 ns per character, 1.2 kB of disk each and part; memory for one document and
the index's cache.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whet.prepare.compared import Compared, of_document
from whet.prepare.signatures import ENTRIES, Signature, band_keys, shingle_hashes, signature
from whet.records import Document

LONGEST_BAND = 8
FOUND_SHARE = 0.94
MIN_SHINGLES = 8
CACHE_KIB = 32 * 1024
"""Memory for pages of the index; the rest is on disk (in the system's cache, where that has room)."""


@dataclass(frozen=True, slots=True)
class Twin:
    """An earlier document that this one repeats.

    `exact` says that the texts are equal; `similarity` is 1.0 then, but also where only spacing differs.
    `same_setting`: both were said under the same system text and tools, if they are conversations.
    """

    origin: str
    group: str
    stage: str
    similarity: float
    exact: bool
    same_setting: bool = True


class DuplicateIndex:
    """All documents seen so far. `similarity` None compares exactly only."""

    def __init__(self, path: Path, similarity: float | None) -> None:
        self.similarity = similarity
        self._band = band_length(similarity or 1.0)
        self._db = sqlite3.connect(path)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
            f"PRAGMA cache_size=-{CACHE_KIB};"
            "CREATE TABLE seen (id INTEGER PRIMARY KEY, named TEXT, stage TEXT, signature BLOB);"
            "CREATE TABLE exact (digest BLOB, stage TEXT, id INTEGER, PRIMARY KEY (digest, stage)) WITHOUT ROWID;"
            "CREATE TABLE bands (band INTEGER, id INTEGER, PRIMARY KEY (band, id)) WITHOUT ROWID;"
        )

    def twins(
        self, document: Document, stage: str, compared: Compared | None = None
    ) -> tuple[list[Twin], Signature | None]:
        """Earlier documents that `document` repeats, equal ones first, and its signature for `add`.

        Near ones by what is `compared`, its text unless something else is given.
        """
        compared = compared or of_document(document)
        rows = self._db.execute(
            "SELECT seen.id, named, seen.stage FROM exact JOIN seen USING (id) WHERE digest = ? ORDER BY id",
            (bytes.fromhex(document.digest),),
        ).fetchall()
        found = [_twin(named, where, 1.0, compared.setting, exact=True) for _, named, where in rows]
        entries = _signature(compared.parts) if self.similarity is not None else None
        if entries is not None:
            found += self._near(entries, compared.setting, {row[0] for row in rows})
        return found, entries

    def add(self, document: Document, stage: str, entries: Signature | None, setting: str = "") -> None:
        """Remember a document that was kept; of equal ones in a stage, the first stands for all."""
        digest = bytes.fromhex(document.digest)
        known = self._db.execute("SELECT 1 FROM exact WHERE digest = ? AND stage = ?", (digest, stage))
        if known.fetchone():
            return
        # ASCII, for names that are not UTF-8
        named = json.dumps([document.origin, document.group, setting])
        key = self._db.execute(
            "INSERT INTO seen (named, stage, signature) VALUES (?, ?, ?)",
            (named, stage, None if entries is None else entries.tobytes()),
        ).lastrowid
        self._db.execute("INSERT INTO exact VALUES (?, ?, ?)", (digest, stage, key))
        if entries is not None:
            bands = [(band, key) for band in band_keys(entries, self._band)]
            self._db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", bands)

    def close(self) -> None:
        """Close the database; its file is the caller's."""
        self._db.close()

    def _near(self, entries: Signature, setting: str, equal: set[int]) -> list[Twin]:
        """Documents that share a band and are similar enough, without those known to be equal."""
        bands = band_keys(entries, self._band)
        marks = ",".join("?" * len(bands))
        met = {key for (key,) in self._db.execute(f"SELECT id FROM bands WHERE band IN ({marks})", bands)}
        found = []
        for candidate in sorted(met - equal):
            (named, stage, blob), *_ = self._db.execute(
                "SELECT named, stage, signature FROM seen WHERE id = ?", (candidate,)
            )
            similarity = _similarity(np.frombuffer(blob, np.uint32), entries)
            if self.similarity is not None and similarity >= self.similarity:
                found.append(_twin(named, stage, similarity, setting, exact=False))
        return found


def _signature(parts: Sequence[str]) -> Signature | None:
    """The entries of every part in turn; None for a single part that is too short."""
    if len(parts) == 1:
        shingles = shingle_hashes(parts[0])
        return signature(shingles) if len(shingles) >= MIN_SHINGLES else None
    return np.stack([_part_signature(part) for part in parts], axis=1).ravel()


def _part_signature(text: str) -> Signature:
    """A signature; that of a short text shares entries with its equals only."""
    shingles = shingle_hashes(text)
    if len(shingles) >= MIN_SHINGLES:
        return signature(shingles)
    words = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return np.frombuffer(hashlib.shake_256(words).digest(4 * ENTRIES), "<u4").astype(np.uint32)


def _similarity(one: Signature, other: Signature) -> float:
    """The share of equal entries, of the parts in which it is least; 0 for records of other parts."""
    if one.size != other.size:
        return 0.0
    return float((one == other).reshape(ENTRIES, -1).mean(axis=0).min())


def _twin(named: str, stage: str, similarity: float, setting: str, *, exact: bool) -> Twin:
    origin, group, theirs = json.loads(named)
    return Twin(origin, group, stage, similarity, exact, theirs == setting)


def band_length(similarity: float) -> int:
    """The longest bands in which pairs of this similarity still meet (Leskovec et al., section 3.4)."""
    lengths = range(LONGEST_BAND, 0, -1)
    found = (length for length in lengths if _meet(similarity, length) >= FOUND_SHARE)
    return next(found, 1)


def _meet(similarity: float, length: int) -> float:
    """The chance that at least one band of two documents is equal."""
    return 1 - (1 - similarity**length) ** (ENTRIES // length)
