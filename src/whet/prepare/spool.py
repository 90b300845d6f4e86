"""A stage's cleaned documents on disk between the two passes over them: reading and encoding.

One zstandard-compressed line of JSON per document: the document, and the groups of its twins elsewhere.
It lives only while the room runs. Memory: one document, and the name and size of every group.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from whet.prepare.split import Side
from whet.recipe.schema import Stage
from whet.records import Document, Dropped, Tally

ACROSS = "near duplicate across the split"


@dataclass(slots=True)
class StageSpool:
    """One stage's documents, and what is known of them."""

    stage: Stage
    path: Path
    tally: Tally = field(default_factory=Tally)
    bytes_by_group: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(self.bytes_by_group.values())

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

    def sided(self, sides: dict[str, Side]) -> Iterator[Document | Dropped]:
        """The documents, but those with a twin on another side of the split leave."""
        for document, elsewhere in self.documents():
            own = sides[document.group]
            across = next((group for group in elsewhere if sides.get(group, own) != own), None)
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
        self.file.write(json.dumps([asdict(document), elsewhere]) + "\n")
        known = self.spool.bytes_by_group
        known[document.group] = known.get(document.group, 0) + document.size_bytes
