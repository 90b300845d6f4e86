"""Negative log likelihood of held-out documents under a model, each token scored exactly once; of conversations,
each token of an answer.

Long documents are read in overlapping windows: the first scores all of its tokens, each later one its
last `stride`, the rest being context (never more than `length` positions).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from whet import packing
from whet.metrics.base import DocumentScores
from whet.models.decoder import Decoder
from whet.packing import IGNORED, Batch
from whet.progress import Task
from whet.tokenstore import TokenStore

Window = tuple[int, int, int, int]
BATCH_POSITIONS = 8192


def score(
    decoder: Decoder, store: TokenStore, *, length: int, stride: int, pad_id: int, task: Task
) -> DocumentScores:
    """Per document, or conversation where several examples were made of one: summed nats, scored tokens, text bytes."""
    decoder.model.eval()
    nll, tokens = np.zeros(len(store)), np.zeros(len(store), np.int64)
    for windows in _groups(packing.windows(store, length, stride), max(1, BATCH_POSITIONS // length)):
        batch = _batch(store, windows, length, pad_id)
        each = decoder.nll_each(batch).double().numpy()
        owner = np.repeat([w[0] for w in windows], (batch.labels != IGNORED).sum(axis=1))
        np.add.at(nll, owner, each)
        np.add.at(tokens, owner, 1)
        task.advance(len(each))
    return DocumentScores(nll, tokens, store.text_bytes).summed(store.conversations())


def _groups(windows: Iterator[Window], size: int) -> Iterator[list[Window]]:
    group: list[Window] = []
    for window in windows:
        group.append(window)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _batch(store: TokenStore, windows: list[Window], length: int, pad_id: int) -> Batch:
    """Windows as rows; labels only where a token is scored, of conversations only where it is an answer's."""
    shape = (len(windows), length)
    inputs, labels = np.full(shape, pad_id, np.int64), np.full(shape, IGNORED, np.int64)
    positions, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, (_, start, size, first) in enumerate(windows):
        inputs[row, :size] = store.tokens[start : start + size]
        following = store.tokens[start + first + 1 : start + size + 1]
        if store.learned is not None:
            answers = store.learned[start + first + 1 : start + size + 1]
            following = np.where(answers, following.astype(np.int64), IGNORED)
        labels[row, first:size] = following
        positions[row, :size] = np.arange(size)
        segments[row, :size] = 1
    return Batch(inputs, labels, positions, segments, tuple(window[0] for window in windows))
