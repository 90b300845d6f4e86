"""The nouns that pass between rooms.

Raw material becomes a stream of `Document`; whatever leaves the stream leaves as a `Dropped` with a
named reason, so that the sum of both is always the number of records that came in. On disk each room's
result is a JSON record with a schema version and a key (the hash of everything it was made from).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

SCHEMA_VERSION = 1
"""Of every record on disk; a reader refuses a newer one."""
FAILURE, DIAGNOSIS = "failure.json", "diagnosis.json"
"""In a run's folder: how its last command ended, if by an error; and what the doctor found then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of the corpus.

    `origin` names where it came from so that a person finds it again (path, module, path:line);
    `group` binds documents that must stay on one side of a split (a module and its docstring);
    `changes` names what was altered on the way ("newlines normalised"), counted in the manifest;
    `source` is the number of the stage's `data` entry it came from, set by the prepare room.
    """

    text: str
    origin: str
    group: str
    language: str = ""
    licence: str = ""
    changes: tuple[str, ...] = ()
    source: int = 0

    def changed(self, text: str, change: str) -> Document:
        """The same document with another text and the name of what was done to it."""
        return replace(self, text=text, changes=(*self.changes, change))

    @property
    def size_bytes(self) -> int:
        """Length of the text in UTF-8."""
        return len(self.text.encode("utf-8", "surrogatepass"))

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A record that left the stream. `reason` is one of a few fixed phrases; `detail` is for the reader."""

    origin: str
    reason: str
    detail: str = ""
    size_bytes: int = 0


@dataclass(slots=True)
class Tally:
    """Counts what went through and what left, by reason, with a few examples of each for `preview`."""

    EXAMPLES = 5

    documents_in: int = 0
    bytes_in: int = 0
    documents_kept: int = 0
    bytes_kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, item: Dropped) -> None:
        """Count one record that left."""
        self.documents_in += 1
        self.bytes_in += item.size_bytes
        self.dropped[item.reason] += 1
        self.dropped_bytes[item.reason] += item.size_bytes
        shown = self.examples.setdefault(item.reason, [])
        if len(shown) < self.EXAMPLES:
            shown.append(f"{item.origin} ({item.detail})" if item.detail else item.origin)

    def keep(self, document: Document) -> None:
        """Count one record that stays."""
        self.keep_counted(document.size_bytes)
        self.changed.update(document.changes)

    def keep_counted(self, size_bytes: int) -> None:
        """Count one kept record of which only the size is known."""
        self.documents_in += 1
        self.bytes_in += size_bytes
        self.documents_kept += 1
        self.bytes_kept += size_bytes

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: plain types, reasons sorted by count."""
        return {
            "documents_in": self.documents_in,
            "bytes_in": self.bytes_in,
            "documents_kept": self.documents_kept,
            "bytes_kept": self.bytes_kept,
            "dropped": [
                {
                    "reason": reason,
                    "documents": count,
                    "bytes": self.dropped_bytes[reason],
                    "examples": self.examples[reason],
                }
                for reason, count in self.dropped.most_common()
            ],
            "changed": dict(self.changed.most_common()),
        }


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """What differs between two plain values, as lines "a.b was 1, is 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{at}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{at} was {old!r}, is {new!r}"]
