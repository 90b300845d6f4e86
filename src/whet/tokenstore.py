"""Token ids on disk: one flat memory-mapped array per stage and split, with document offsets.

Layout of a split's folder: `tokens.bin` (little-endian uint16, or uint32 for large vocabularies),
`offsets.npy` (int64, documents + 1), `text_bytes.npy` (int64 per document, UTF-8 bytes of its text),
`sources.npy` (int16 per document, which entry of the stage's `data` it came from), `documents.jsonl`
(origin, group and language per document). Of conversations also `learned.bin` (one byte per token: 1 where it is
an answer to be learned, 0 where it is only read). Reading costs no memory beyond the offsets.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whet.errors import ArtefactError

Ids = npt.NDArray[np.unsignedinteger[Any]]
Int64 = npt.NDArray[np.int64]
Learned = npt.NDArray[np.uint8]
LEARNED = "learned.bin"


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


def _learned(path: Path, tokens: int) -> Learned | None:
    """The map of a mask file; None if there is none. Raises ArtefactError for one of another length."""
    if not path.exists():
        return None
    if path.stat().st_size != tokens:
        raise ArtefactError(
            f"does not hold one byte for each of {tokens:,} tokens", where=str(path), fix=_AGAIN
        )
    return np.memmap(path, np.uint8, "r") if tokens else np.zeros(0, np.uint8)


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
    learned: Learned | None = None
    """Of conversations: 1 for every token that is learned. None where everything is."""

    @classmethod
    def open(cls, folder: Path, vocab_size: int, *, check_ids: bool = True) -> TokenStore:
        """Map the files of a split; the artefact's hashes have been checked by `store.open_artefact`.

        Raises ArtefactError if their sizes do not agree (another vocabulary, or never finished), and for ids
        beyond the vocabulary, which is looked for in all of them unless told not to (`check_ids`).
        """
        offsets, text_bytes = (_index(folder / f"{name}.npy") for name in ("offsets", "text_bytes"))
        path, dtype = folder / "tokens.bin", token_dtype(vocab_size)
        claimed = offsets[-1] * dtype.itemsize if len(offsets) else -1
        ordered = len(offsets) == len(text_bytes) + 1 and not offsets[0] and np.all(np.diff(offsets) >= 0)
        if not ordered or path.stat().st_size != claimed:
            raise ArtefactError("the files of this split do not fit together", where=str(folder), fix=_AGAIN)
        tokens = np.memmap(path, dtype, "r") if claimed else np.zeros(0, dtype)
        learned = _learned(folder / LEARNED, len(tokens))
        if check_ids and _largest(path, dtype) >= vocab_size:
            raise ArtefactError(f"an id beyond the vocabulary of {vocab_size:,}", where=str(path), fix=_AGAIN)
        return cls(tokens, offsets, text_bytes, folder, learned)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        """Tokens per document, special tokens included."""
        return np.diff(self.offsets)

    def learned_of(self, index: int) -> Learned:
        """For each token of a document whether it is learned; the first never is."""
        size = int(self.offsets[index + 1] - self.offsets[index])
        mask = np.ones(size, np.uint8)
        if self.learned is not None:
            mask[:] = self.learned[self.offsets[index] : self.offsets[index + 1]]
        mask[:1] = 0
        return mask

    def learned_tokens(self) -> int:
        """How many tokens of all documents are learned."""
        if self.learned is None:
            return int((self.lengths - 1).clip(0).sum())
        firsts = self.offsets[:-1][self.lengths > 0]
        return int(self.learned.sum(dtype=np.int64)) - int(self.learned[firsts].sum(dtype=np.int64))

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

    def conversations(self) -> Int64:
        """For each document which conversation it is of, from 0 on; texts are each their own.

        Where a template rewrites the past one conversation is several documents, which were written one after another.
        """
        if self.learned is None or not len(self):
            return np.arange(len(self))
        names = zip((about["origin"] for about in self.origins()), self.sources().tolist(), strict=True)
        begins = [one != other for one, other in pairwise(names)]
        return np.cumsum([False, *begins], dtype=np.int64)

    def first(self, max_tokens: int | None) -> TokenStore:
        """The leading whole documents that hold at most `max_tokens` (at least one document)."""
        if max_tokens is None or self.offsets[-1] <= max_tokens:
            return self
        count = max(1, int(np.searchsorted(self.offsets, max_tokens, side="right")) - 1)
        end = self.offsets[count]
        learned = self.learned if self.learned is None else self.learned[:end]
        return TokenStore(
            self.tokens[:end], self.offsets[: count + 1], self.text_bytes[:count], self.folder, learned
        )


class TokenWriter:
    """Appends documents to a split's folder; `finish` writes the index, `close` closes the files."""

    def __init__(self, folder: Path, vocab_size: int, *, masked: bool = False) -> None:
        """`masked`: every document comes with what is learned of it."""
        folder.mkdir(parents=True)
        self.folder, self.dtype = folder, token_dtype(vocab_size)
        self.ends, self.text_bytes = array("q", [0]), array("q")
        self.sources = array("h")
        self.vocab_size = vocab_size
        self._tokens = (folder / "tokens.bin").open("wb")
        self._documents = (folder / "documents.jsonl").open("w", encoding="utf-8", errors="backslashreplace")
        self._learned = (folder / LEARNED).open("wb") if masked else None
        self.learned_count = 0

    def add(
        self,
        ids: list[int] | Ids,
        *,
        text_bytes: int,
        about: dict[str, Any],
        source: int = 0,
        learned: list[bool] | None = None,
    ) -> None:
        """Append one document of the stage's source number `source`; `learned` has one entry for each id.

        `about` is written as it is, lone surrogates as JSON escapes.
        """
        assert (learned is not None) == (self._learned is not None), (
            "a store has masks for all documents, or none"
        )
        values = np.asarray(ids, np.int64)
        assert not len(values) or 0 <= values.min() <= values.max() < self.vocab_size, (
            "an id beyond the vocabulary"
        )
        self._tokens.write(values.astype(self.dtype).tobytes())
        if self._learned is not None:
            mask = np.asarray(learned, np.uint8)
            assert len(mask) == len(values), "one entry for each id"
            self._learned.write(mask.tobytes())
            self.learned_count += int(mask[1:].sum())
        self._documents.write(json.dumps(about, ensure_ascii=False) + "\n")
        self.ends.append(self.ends[-1] + len(ids))
        self.text_bytes.append(text_bytes)
        self.sources.append(source)

    def counts(self) -> dict[str, int]:
        """Documents, tokens and text bytes written so far; of conversations also how many tokens are learned."""
        found = {"documents": len(self.text_bytes), "tokens": self.ends[-1], "bytes": sum(self.text_bytes)}
        return found if self._learned is None else {**found, "learned": self.learned_count}

    def finish(self) -> None:
        """Write the index; without it the folder cannot be opened."""
        np.save(self.folder / "offsets.npy", np.asarray(self.ends, np.int64))
        np.save(self.folder / "text_bytes.npy", np.asarray(self.text_bytes, np.int64))
        np.save(self.folder / "sources.npy", np.asarray(self.sources, np.int16))

    def close(self) -> None:
        """Close the files."""
        self._tokens.close()
        self._documents.close()
        if self._learned is not None:
            self._learned.close()
