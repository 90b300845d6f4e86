"""A stage's cleaned documents on disk between the two passes over them: reading and encoding.

One zstandard-compressed line of JSON per document: the document, and the groups of its twins elsewhere.
It lives only while the room runs. Memory: one document, and 16 bytes for each.
"""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from whet.prepare.split import SIDES, Numbers, Side, Sides, number
from whet.recipe.schema import Stage
from whet.records import Document, Dropped, Tally

NEAR = "near duplicate"
ACROSS = "near duplicate across the split"


@dataclass(slots=True)
class StageSpool:
    """One stage's documents, and what is known of them. `seed` is the split's."""

    stage: Stage
    path: Path
    seed: int
    tally: Tally = field(default_factory=Tally)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    chat: dict[str, Any] | None = None
    """Of conversations: their template, and what was found in them."""

    _numbers: array[int] = field(default_factory=lambda: array("Q"))
    _sizes: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def numbers(self) -> Numbers:
        """The number of every document's group."""
        return np.frombuffer(self._numbers, np.uint64) if self._numbers else np.zeros(0, np.uint64)

    @property
    def total_bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(self._sizes)

    def text_bytes(self, sides: Sides, name: Side) -> int:
        """UTF-8 bytes of the documents whose groups are on a side."""
        return int(np.asarray(self._sizes)[sides.on(name, self.numbers)].sum())

    def reached(self, sides: Sides) -> set[Side]:
        """The sides that have a group of this stage."""
        return {name for name in SIDES if sides.on(name, self.numbers).any()}

    def count(self, document: Document) -> None:
        """Note a document's group and size."""
        self._numbers.append(number(document.group, self.seed))
        self._sizes.append(document.size_bytes)

    @contextmanager
    def writer(self) -> Iterator[SpoolWriter]:
        """Fill the spool, once."""
        import zstandard

        with self.path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as packed:
            text = io.TextIOWrapper(packed, "utf-8", newline="\n")
            yield SpoolWriter(self, text)
            text.flush()

    def documents(self) -> Iterator[tuple[Document, list[str]]]:
        """Every document, and the groups of the twins it has in other groups."""
        import zstandard

        if not self.path.exists():
            return
        with self.path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            for line in io.TextIOWrapper(stream, "utf-8"):
                values, elsewhere = json.loads(line)
                yield Document(**{**values, "changes": tuple(values["changes"])}), elsewhere

    def name_of(self, group: int) -> str:
        """The name of a group, by its number; the documents are read as far as the group's first one."""
        return next(one.group for one, _ in self.documents() if number(one.group, self.seed) == group)

    def sided(self, sides: Sides) -> Iterator[Document | Dropped]:
        """The documents, but those with a twin on another side of the split leave."""
        for document, elsewhere in self.documents():
            own = sides[document.group]
            across = next((group for group in elsewhere if sides[group] != own), None)
            if across is None:
                yield document
            else:
                yield Dropped(
                    origin=document.origin,
                    reason=ACROSS,
                    detail=f"of {across}",
                    size_bytes=document.size_bytes,
                )


@dataclass(slots=True)
class SpoolWriter:
    """Appends to a stage's spool."""

    spool: StageSpool
    file: io.TextIOWrapper

    def add(self, document: Document, elsewhere: list[str]) -> None:
        """One document, and the groups of its twins in other groups."""
        values = {name: getattr(document, name) for name in _FIELDS}
        self.file.write(json.dumps([values, elsewhere]) + "\n")
        self.spool.count(document)


_FIELDS = tuple(entry.name for entry in fields(Document))
