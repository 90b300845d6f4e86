"""Token ids on disk: one flat memory-mapped array per stage and split, with document offsets.

Layout of a split's folder: `tokens.bin` (little-endian uint16, or uint32 for large vocabularies),
`offsets.npy` (int64, documents + 1), `text_bytes.npy` (int64 per document, UTF-8 bytes of its text),
`sources.npy` (int16 per document, which entry of the stage's `data` it came from), `documents.jsonl`
(origin, group and language per document). Reading costs no memory beyond the offsets.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whet.errors import ArtefactError

Ids = npt.NDArray[np.unsignedinteger[Any]]
Int64 = npt.NDArray[np.int64]


_AGAIN = "run prepare with --force to make it again"


def _index(path: Path) -> Int64:
    """One of the two arrays of numbers per document. Raises ArtefactError for any other file.

    The header is compared with the file before numpy makes room for what it claims.
    """
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype != np.int64 or len(shape) != 1 or shape[0] * 8 != path.stat().st_size - file.tell():
                raise ValueError(f"it says {shape} of {dtype}")
            return np.fromfile(file, np.int64)
    except OSError as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix=_AGAIN) from error
    except ValueError as error:
        raise ArtefactError(f"not a row of int64 numbers: {error}", where=str(path), fix=_AGAIN) from error


def _largest(path: Path, dtype: np.dtype[Any]) -> int:
    """The largest id in a file; -1 if it is empty. Read in parts, so that no map of it counts as memory."""
    largest = -1
    with path.open("rb") as file:
        while len(part := np.fromfile(file, dtype, 2**20)):
            largest = max(largest, int(part.max()))
    return largest


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Documents of one stage and split. `tokens` is flat; document i is tokens[offsets[i]:offsets[i + 1]]."""

    tokens: Ids
    offsets: Int64
    text_bytes: Int64
    folder: Path

    @classmethod
    def open(cls, folder: Path, vocab_size: int) -> TokenStore:
        """Map the files of a split; the artefact's hashes have been checked by `store.open_artefact`.

        Raises ArtefactError if their sizes do not agree (another vocabulary, or never finished), and for ids
        beyond the vocabulary.
        """
        offsets, text_bytes = (_index(folder / f"{name}.npy") for name in ("offsets", "text_bytes"))
        path, dtype = folder / "tokens.bin", token_dtype(vocab_size)
        claimed = offsets[-1] * dtype.itemsize if len(offsets) else -1
        ordered = len(offsets) == len(text_bytes) + 1 and not offsets[0] and np.all(np.diff(offsets) >= 0)
        if not ordered or path.stat().st_size != claimed:
            raise ArtefactError("the files of this split do not fit together", where=str(folder), fix=_AGAIN)
        tokens = np.memmap(path, dtype, "r") if claimed else np.zeros(0, dtype)
        if _largest(path, dtype) >= vocab_size:
            raise ArtefactError(f"an id beyond the vocabulary of {vocab_size:,}", where=str(path), fix=_AGAIN)
        return cls(tokens, offsets, text_bytes, folder)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        """Tokens per document, special tokens included."""
        return np.diff(self.offsets)

    def document(self, index: int) -> Ids:
        """Token ids of one document."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def origins(self) -> Iterator[dict[str, Any]]:
        """Origin, group and language of each document, in order."""
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as file:
            for line in islice(file, len(self)):
                yield json.loads(line)

    def sources(self) -> npt.NDArray[np.int16]:
        """Which entry of the stage's `data` each document came from. Raises ArtefactError if the file is cut."""
        sources: npt.NDArray[np.int16] = np.load(self.folder / "sources.npy", allow_pickle=False)
        if len(sources) < len(self):
            raise ArtefactError(
                "the files of this split do not fit together", where=str(self.folder), fix=_AGAIN
            )
        return sources[: len(self)]

    def first(self, max_tokens: int | None) -> TokenStore:
        """The leading whole documents that hold at most `max_tokens` (at least one document)."""
        if max_tokens is None or self.offsets[-1] <= max_tokens:
            return self
        count = max(1, int(np.searchsorted(self.offsets, max_tokens, side="right")) - 1)
        end = self.offsets[count]
        return TokenStore(self.tokens[:end], self.offsets[: count + 1], self.text_bytes[:count], self.folder)


class TokenWriter:
    """Appends documents to a split's folder; `finish` writes the index, `close` closes the files."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.dtype = folder, token_dtype(vocab_size)
        self.ends, self.text_bytes = array("q", [0]), array("q")
        self.sources = array("h")
        self.vocab_size = vocab_size
        self._tokens = (folder / "tokens.bin").open("wb")
        self._documents = (folder / "documents.jsonl").open("w", encoding="utf-8", errors="backslashreplace")

    def add(self, ids: list[int] | Ids, *, text_bytes: int, about: dict[str, Any], source: int = 0) -> None:
        """Append one document of the stage's source number `source`.

        `about` is written as it is, lone surrogates as JSON escapes.
        """
        values = np.asarray(ids, np.int64)
        assert not len(values) or 0 <= values.min() <= values.max() < self.vocab_size, (
            "an id beyond the vocabulary"
        )
        self._tokens.write(values.astype(self.dtype).tobytes())
        self._documents.write(json.dumps(about, ensure_ascii=False) + "\n")
        self.ends.append(self.ends[-1] + len(ids))
        self.text_bytes.append(text_bytes)
        self.sources.append(source)

    def counts(self) -> dict[str, int]:
        """Documents, tokens and text bytes written so far."""
        return {"documents": len(self.text_bytes), "tokens": self.ends[-1], "bytes": sum(self.text_bytes)}

    def finish(self) -> None:
        """Write the index; without it the folder cannot be opened."""
        np.save(self.folder / "offsets.npy", np.asarray(self.ends, np.int64))
        np.save(self.folder / "text_bytes.npy", np.asarray(self.text_bytes, np.int64))
        np.save(self.folder / "sources.npy", np.asarray(self.sources, np.int16))

    def close(self) -> None:
        """Close the files."""
        self._tokens.close()
        self._documents.close()
