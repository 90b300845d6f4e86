"""Rows of a fixed length from documents of any length: a cheap plan over the stored tokens, never a copy.

Every position of a document but its last is an input whose label is the next token, so each token but
the first is learned exactly once per epoch, also where a long document is cut into pieces: the label
of a piece's last position is the next piece's first token. Pieces shorter than a row share rows, best
fit by decreasing length (Ding et al. 2024, arXiv 2404.10830); attention never crosses from one to the other.

Where a batch counts examples (conversations), each is a row of its own in the plan, and the examples of one
micro-batch are packed when they are read (`Rows.loose`), so that packing never decides which of them make a step.

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
from whet.tokenstore import Ids, Int64, Learned, TokenStore

IGNORED = -100
"""Label of a position that is not learned (padding), as in torch's cross-entropy."""

Rewrite = Callable[[int, int, int, Ids], Ids]
"""(index in the batch's rows, document, start, ids of a piece and its last label) -> the ids to read instead."""

LOOSE_LENGTH = 2048
"""Examples of a micro-batch share rows up to this length; attention is quadratic in it."""

Overflow = Literal["error", "drop", "split", "truncate_left", "truncate_right"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Stretches of input positions: `start` indexes the flat tokens; `document` says whose they are."""

    start: Int64
    length: Int64
    document: Int64
    overflow: dict[str, int]
    """What the overflow rule did: documents and tokens per action."""
    learned: Int64 | None = None
    """Labels of each that are learned; None where all are."""

    @property
    def labels(self) -> Int64:
        """Labels of each that are learned."""
        return self.length if self.learned is None else self.learned

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
        size = np.minimum(length, begin[document] + inputs[document] - start)
        return _learned_only(store, Pieces(start, size, document, counts))
    counts["tokens_cut"] = int((inputs[long] - (0 if overflow == "drop" else length)).sum())
    keep = (inputs > 0) & ~(long if overflow == "drop" else np.zeros_like(long))
    start = begin + np.where(long & (overflow == "truncate_left"), inputs - length, 0)
    return _learned_only(
        store, Pieces(start[keep], np.minimum(inputs, length)[keep], documents[keep], counts)
    )


def _learned_only(store: TokenStore, pieces: Pieces) -> Pieces:
    """Of a store with masks, the pieces that hold something to learn; the others are counted."""
    if store.learned is None or not len(pieces.start):
        return pieces
    begin, end = pieces.start + 1, pieces.start + pieces.length + 1
    bounds = np.stack([begin, end], axis=1).ravel()
    inside = bounds if bounds[-1] < len(store.learned) else bounds[:-1]  # what reaches the end needs no bound
    learned = np.add.reduceat(store.learned, inside, dtype=np.int64)[::2]
    keep = learned > 0
    counts = {**pieces.overflow, "pieces_unlearned": int((~keep).sum())}
    return Pieces(pieces.start[keep], pieces.length[keep], pieces.document[keep], counts, learned[keep])


@dataclass(frozen=True, slots=True)
class Rows:
    """Which pieces make up which row: row r holds pieces[bounds[r]:bounds[r + 1]]."""

    pieces: Pieces
    order: Int64
    bounds: Int64
    length: int
    loose: bool = False
    """Each row is one example; those of a batch are packed when they are read."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        """Input positions in all rows; as many labels, where everything is learned."""
        return int(self.pieces.length.sum())

    @property
    def labels(self) -> int:
        """Labels that are learned in all rows."""
        return int(self.pieces.labels.sum())

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


def singles(pieces: Pieces, length: int) -> Rows:
    """Each piece as a row of its own, to be packed when it is read."""
    count = len(pieces.start)
    return Rows(pieces, np.arange(count), np.arange(count + 1), length, loose=True)


def plan_rows(
    store: TokenStore, length: int, overflow: Overflow, reserve: int = 0, *, loose: bool = False
) -> Rows:
    """Cut and pack (or leave it to the reading). Raises DataError where nothing is left to learn from."""
    pieces = cut(store, length, overflow, reserve)
    rows = singles(pieces, length) if loose else pack(pieces, length, reserve)
    if not len(rows):
        over, unlearned = pieces.overflow["documents_over"], pieces.overflow.get("pieces_unlearned", 0)
        rest = f"{unlearned} have no answer left" if unlearned else "the others have fewer than two"
        raise DataError(
            f"no document is left to learn from: {over} of {len(store)} are longer than {length} tokens "
            f"(overflow: {overflow}), {rest}",
            where=str(store.folder),
            fix="set overflow: split, or a longer sequence_length"
            if store.learned is None
            else "a longer sequence_length",
        )
    return rows


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch of B rows, L positions. `segments` is 0 for padding, 1.. for the pieces of a row.

    `inputs`, `labels`, `positions`, `segments`: int64 (B, L); positions restart at 0 in every piece.
    Labels are the next token (IGNORED at padding and where nothing is learned): nothing downstream shifts them.
    `weights`: float32 (B, L), what each label counts; None where all count one. `chosen_labels`: labels that are learned
    (prompts are not, whatever they count) of each of the chosen rows, however they were packed.
    """

    inputs: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    documents: tuple[int, ...]
    weights: npt.NDArray[np.float32] | None = None
    chosen_labels: tuple[int, ...] = ()

    @property
    def token_count(self) -> int:
        """Positions that hold a token."""
        return int((self.segments > 0).sum())

    @property
    def label_weight(self) -> float:
        """What the labels count together."""
        if self.weights is None:
            return float(self.label_count)
        return float(self.weights[self.labels != IGNORED].sum(dtype=np.float64))

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
    prompt_weight: float = 0.0,
) -> Batch:
    """Read the chosen rows from the store, each piece as `rewrite` makes it.

    `prompt_weight` is what a label counts that is no answer; with 0 it is none.
    """
    read = [_read(store, rows, piece, index, rewrite) for index, piece in _chosen_pieces(rows, chosen)]
    at_row = [piece.index for piece in read]
    shape = (len(chosen), rows.length)
    if rows.loose:
        at_row, width = balanced([piece.size for piece in read], rows.length)
        shape = (max(at_row) + 1, width)
    inputs, labels = np.full(shape, pad_id, np.int64), np.full(shape, IGNORED, np.int64)
    positions, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    weights = np.zeros(shape, np.float32) if prompt_weight and store.learned is not None else None
    filled, held, counts = [0] * shape[0], [0] * shape[0], [0] * len(chosen)
    for piece, row in zip(read, at_row, strict=True):
        here = slice(filled[row], filled[row] + piece.size)
        held[row] += 1
        filled[row] += piece.size
        inputs[row, here], labels[row, here] = piece.ids[:-1], piece.labels(drop=weights is None)
        positions[row, here] = np.arange(piece.size)
        segments[row, here] = held[row]
        if weights is not None:
            weights[row, here] = piece.weights(prompt_weight)
        counts[piece.index] += piece.learned_count
    documents = tuple(piece.document for piece in read)
    return Batch(inputs, labels, positions, segments, documents, weights, tuple(counts))


@dataclass(frozen=True, slots=True)
class _Read:
    """A piece as it is read: the ids of its inputs and of its last label; `index` is its row's in the choice."""

    index: int
    document: int
    ids: Ids
    learned: Learned | None

    @property
    def size(self) -> int:
        """Input positions."""
        return len(self.ids) - 1

    @property
    def learned_count(self) -> int:
        """Labels that are learned in full."""
        return self.size if self.learned is None else int(self.learned[1:].sum(dtype=np.int64))

    def labels(self, *, drop: bool) -> npt.NDArray[np.int64]:
        """The next tokens; `drop` leaves out those that are not answers."""
        following = self.ids[1:].astype(np.int64)
        if self.learned is None or not drop:
            return following
        return np.where(self.learned[1:], following, IGNORED)

    def weights(self, prompt_weight: float) -> npt.NDArray[np.float32]:
        """What each label counts, of a piece with a mask."""
        assert self.learned is not None
        return np.where(self.learned[1:], np.float32(1), np.float32(prompt_weight))


def _chosen_pieces(rows: Rows, chosen: npt.NDArray[np.int64] | list[int]) -> Iterator[tuple[int, int]]:
    """(index in the choice, piece) in the order in which they are read."""
    for index, row in enumerate(chosen):
        for piece in rows.order[rows.bounds[row] : rows.bounds[row + 1]].tolist():
            yield index, piece


def _read(store: TokenStore, rows: Rows, piece: int, index: int, rewrite: Rewrite | None) -> _Read:
    document, start, size = rows.pieces.at(piece)
    ids = store.tokens[start : start + size + 1]
    if rewrite is not None:
        return _Read(index, document, rewrite(index, document, start, ids), None)
    learned = None if store.learned is None else store.learned[start : start + size + 1]
    return _Read(index, document, ids, learned)


def balanced(sizes: list[int], longest: int) -> tuple[list[int], int]:
    """Rows for the examples of a micro-batch, and their common length: as few and as equally full as they come.

    A row is at most LOOSE_LENGTH long, or as long as the longest example. The longest comes first and each goes to
    the emptiest row (Graham 1969). Lengths are multiples of 8, which matrix units like, where `longest` allows.
    """
    most = min(max(*sizes, LOOSE_LENGTH), longest)
    order = sorted(range(len(sizes)), key=lambda at: (-sizes[at], at))
    for count in range(-(-sum(sizes) // most), len(sizes) + 1):
        fill, at_row = [0] * count, [0] * len(sizes)
        for at in order:
            row = min(range(count), key=fill.__getitem__)
            at_row[at] = row
            fill[row] += sizes[at]
        if max(fill) <= most:
            return at_row, min(-(-max(fill) // 8) * 8, longest)
    raise AssertionError("one example a row always fits")


def positions_at_most(sizes: Int64, longest: int) -> Int64:
    """Of each micro-batch, (micro-batches, examples) tokens: the positions that `balanced` may give it at most.

    The example that fills the fullest of c rows came to the emptiest one. Either it is alone there, or every row had one
    before: then it is at most as large as the next in size, and the row held at most the mean of what came before.
    """
    ordered = np.sort(sizes, axis=1)[:, ::-1]
    total, first = ordered.sum(axis=1), ordered[:, 0]
    most = np.minimum(np.maximum(first, LOOSE_LENGTH), longest)
    found, undecided = np.zeros(len(sizes), np.int64), np.ones(len(sizes), np.bool_)
    for count in range(1, sizes.shape[1] + 1):
        following = ordered[:, count] if count < sizes.shape[1] else 0
        fullest = np.maximum(first, (total + (count - 1) * following) // count)
        possible = undecided & (count * most >= total)
        positions = count * np.minimum(-(-np.minimum(fullest, most) // 8) * 8, longest)
        found = np.where(possible, np.maximum(found, positions), found)
        undecided &= ~(possible & (fullest <= most))  # so many rows are enough for sure
        if not undecided.any():
            break
    return found


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
