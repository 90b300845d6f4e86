"""How much of the held-out text also stands in the training text: shared runs of 13 tokens.

13 is the length the GPT-3 report used (Brown et al. 2020, appendix C). Licence headers and common idioms
count too, so the share is never quite zero; a large one means that the split is leaking.

Cost: some 50 bytes of memory per held-out token, of which at most `MAX_TOKENS` are looked at; the training
text is read once in blocks, about three seconds per 10 million tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from whet.tokenstore import TokenStore

RUN = 13
MAX_TOKENS = 5_000_000
BLOCK_TOKENS = 2**18

Hashes = npt.NDArray[np.uint64]


def shared_share(train: TokenStore, held_out: TokenStore) -> float | None:
    """Share of the held-out runs of 13 tokens that occur in training; None where there are no such runs."""
    blocks = list(_hashes(held_out.first(MAX_TOKENS)))
    runs, times = np.unique(np.concatenate([*blocks, np.zeros(0, np.uint64)]), return_counts=True)
    if not len(runs):
        return None
    shared = np.zeros(len(runs), bool)
    for block in _hashes(train):
        at = np.minimum(np.searchsorted(runs, block), len(runs) - 1)
        shared[at[runs[at] == block]] = True
    return float(times[shared].sum() / times.sum())


def _hashes(store: TokenStore) -> Iterator[Hashes]:
    """Hashes of all runs within a document, block by block; read, not mapped, so that no page stays."""
    starts = int(store.offsets[-1]) - RUN + 1
    width = store.tokens.dtype.itemsize
    with (store.folder / "tokens.bin").open("rb") as file:
        for first in range(0, starts, BLOCK_TOKENS):
            count = min(BLOCK_TOKENS, starts - first)
            file.seek(first * width)
            tokens = np.frombuffer(file.read((count + RUN - 1) * width), store.tokens.dtype)
            at = np.arange(first, first + count)
            end_of_document = store.offsets[np.searchsorted(store.offsets, at, side="right")]
            yield _hashed(tokens.astype(np.uint64), count)[at + RUN <= end_of_document]


def _hashed(tokens: Hashes, count: int) -> Hashes:
    combined = np.zeros(count, np.uint64)
    for offset in range(RUN):
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + tokens[offset : offset + count] + np.uint64(1)
        combined ^= combined >> np.uint64(31)
    return combined
