"""Rows of a fixed length from documents of any length: a cheap plan over the stored tokens, never a copy.

Every position of a document but its last is an input whose label is the next token, so each token but
the first is learned exactly once per epoch, also where a long document is cut into pieces: the label
of a piece's last position is the next piece's first token. Pieces shorter than a row share rows, best
fit by decreasing length (Ding et al. 2024, arXiv 2404.10830); attention never crosses from one to the other.

Shapes: R rows, L row length, S segments. The order of rows is a function of (seed, epoch) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from whet.errors import DataError
from whet.tokenstore import Ids, Int64, TokenStore

IGNORED = -100
"""Label of a position that is not learned (padding), as in torch's cross-entropy."""

Rewrite = Callable[[int, int, int, Ids], Ids]
"""(index in the batch's rows, document, start, ids of a piece and its last label) -> the ids to read instead."""

Overflow = Literal["error", "drop", "split", "truncate_left", "truncate_right"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Stretches of input positions: `start` indexes the flat tokens; `document` says whose they are."""

    start: Int64
    length: Int64
    document: Int64
    overflow: dict[str, int]
    """What the overflow rule did: documents and tokens per action."""

    def at(self, piece: int) -> tuple[int, int, int]:
        """Document, start and length of one piece."""
        return int(self.document[piece]), int(self.start[piece]), int(self.length[piece])


def cut(store: TokenStore, length: int, overflow: Overflow, reserve: int = 0) -> Pieces:
    """Cut each document's inputs into pieces of at most `length - reserve` by the overflow rule.

    Raises DataError for the rule `error` if a document is longer, naming it.
    """
    length, asked = length - reserve, length
    begin, inputs = store.offsets[:-1], np.maximum(store.lengths - 1, 0)
    long = inputs > length
    counts = {"documents_over": int(long.sum()), "tokens_cut": 0}
    documents = np.arange(len(store), dtype=np.int64)
    if overflow == "error" and long.any():
        raise DataError(
            f"document {int(documents[long][0])} has {int(inputs[long][0]) + 1} tokens, "
            f"sequence_length is {asked}{f', {reserve} of it reserved' if reserve else ''} "
            f"({int(long.sum())} are longer)",
            where=str(store.folder),
            fix="set the stage's overflow to split, drop, truncate_left or truncate_right, "
            "or a longer sequence_length",
        )
    if overflow == "split":
        parts = -(-inputs // length)
        document = np.repeat(documents, parts)
        within = np.arange(len(document)) - np.repeat(np.cumsum(parts) - parts, parts)
        start = begin[document] + within * length
        return Pieces(start, np.minimum(length, begin[document] + inputs[document] - start), document, counts)
    counts["tokens_cut"] = int((inputs[long] - (0 if overflow == "drop" else length)).sum())
    keep = (inputs > 0) & ~(long if overflow == "drop" else np.zeros_like(long))
    start = begin + np.where(long & (overflow == "truncate_left"), inputs - length, 0)
    return Pieces(start[keep], np.minimum(inputs, length)[keep], documents[keep], counts)


@dataclass(frozen=True, slots=True)
class Rows:
    """Which pieces make up which row: row r holds pieces[bounds[r]:bounds[r + 1]]."""

    pieces: Pieces
    order: Int64
    bounds: Int64
    length: int

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        """Input positions (= labels) in all rows."""
        return int(self.pieces.length.sum())

    @property
    def filled_share(self) -> float:
        """Share of the rows' positions that hold a token; the rest is padding."""
        return self.tokens / (len(self) * self.length) if len(self) else 0.0


def pack(pieces: Pieces, length: int, reserve: int = 0) -> Rows:
    """Best fit by decreasing length: each piece goes to the fullest row that still has room for it.

    Every piece gets `reserve` positions more than it has, for a `Rewrite` that makes it longer.
    """
    by_length = np.argsort(-pieces.length, kind="stable")
    row_of = np.empty(len(by_length), np.int64)
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]
    free_sizes = count = 0
    for index, size in enumerate((pieces.length + reserve)[by_length].tolist()):
        fitting = free_sizes >> size
        if fitting:
            free = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                free_sizes &= ~(1 << free)
        else:
            free, row, count = length, count, count + 1
        row_of[index] = row
        left = free - size
        if left:
            open_rows[left].append(row)
            free_sizes |= 1 << left
    order = by_length[np.argsort(row_of, kind="stable")].astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=count))]).astype(np.int64)
    return Rows(pieces, order, bounds, length)


def plan_rows(store: TokenStore, length: int, overflow: Overflow, reserve: int = 0) -> Rows:
    """Cut and pack. Raises DataError where nothing is left to learn from."""
    rows = pack(cut(store, length, overflow, reserve), length, reserve)
    if not len(rows):
        over = rows.pieces.overflow["documents_over"]
        raise DataError(
            f"no document is left to learn from: {over} of {len(store)} are longer than {length} tokens "
            f"(overflow: {overflow}), the others have fewer than two",
            where=str(store.folder),
            fix="set overflow: split, or a longer sequence_length",
        )
    return rows


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of B rows, L positions. `segments` is 0 for padding, 1.. for the pieces of a row.

    `inputs`, `labels`, `positions`, `segments`: int64 (B, L); positions restart at 0 in every piece.
    Labels are the next token (IGNORED at padding): nothing downstream shifts them.
    """

    inputs: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    documents: tuple[int, ...]

    @property
    def label_count(self) -> int:
        """Positions with a label."""
        return int((self.labels != IGNORED).sum())


def batch_of(
    store: TokenStore,
    rows: Rows,
    chosen: npt.NDArray[np.int64] | list[int],
    pad_id: int,
    rewrite: Rewrite | None = None,
) -> Batch:
    """Read the chosen rows from the store, each piece as `rewrite` makes it."""
    shape = (len(chosen), rows.length)
    inputs, labels = np.full(shape, pad_id, np.int64), np.full(shape, IGNORED, np.int64)
    positions, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    documents: list[int] = []
    for index, row in enumerate(chosen):
        at = 0
        for segment, piece in enumerate(rows.order[rows.bounds[row] : rows.bounds[row + 1]], start=1):
            document, start, size = rows.pieces.at(piece)
            ids = store.tokens[start : start + size + 1]
            if rewrite is not None:
                ids = rewrite(index, document, start, ids)
                size = len(ids) - 1
            here = slice(at, at + size)
            inputs[index, here], labels[index, here] = ids[:-1], ids[1:]
            positions[index, here] = np.arange(size)
            segments[index, here] = segment
            documents.append(document)
            at += size
    return Batch(inputs, labels, positions, segments, tuple(documents))


def step_count(rows: int, rows_per_step: int, *, steps: int | None, epochs: float | None) -> int:
    """Optimiser steps of a stage: `steps`, or those that `epochs` (default 1) passes over the rows take."""
    return steps if steps is not None else max(1, math.ceil(rows * (epochs or 1.0) / rows_per_step))


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int, stream: int = 0) -> Int64:
    """The order of `count` rows in an epoch: a permutation that depends on nothing else. Read-only.

    Another `stream` has orders that have nothing to do with these.
    Sorts the raw output of PCG64, which numpy promises never to change (NEP 19); what `permutation`
    makes of it may change with numpy's version, and with it the order of a run that is resumed.
    """
    entropy = [seed, epoch, stream] if stream else [seed, epoch]
    order = np.argsort(np.random.PCG64(entropy).random_raw(count), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def row_at(count: int, seed: int, cursor: int, size: int, stream: int = 0) -> Int64:
    """The rows at cursor .. cursor + size of the endless stream of shuffled epochs."""
    chosen: list[npt.NDArray[Any]] = []
    while size > 0:
        epoch, at = divmod(cursor, count)
        part = epoch_order(count, seed, epoch, stream)[at : at + size]
        chosen.append(part)
        cursor, size = cursor + len(part), size - len(part)
    return np.concatenate(chosen)


def windows(store: TokenStore, length: int, stride: int) -> Iterator[tuple[int, int, int, int]]:
    """Overlapping windows for scoring: (document, start, size, first scored position within the window).

    Each label is scored exactly once, with at least `length - stride` tokens of context where the
    document has them.
    """
    assert 1 <= stride <= length, "a longer stride would leave tokens between the windows unscored"
    extents = zip(store.offsets[:-1].tolist(), store.lengths.tolist(), strict=True)
    for document, (begin, tokens) in enumerate(extents):
        inputs, scored = tokens - 1, 0
        while scored < inputs:
            end = min(inputs, length if scored == 0 else scored + stride)
            start = max(0, end - length)
            yield document, begin + start, end - start, scored - start
            scored = end
