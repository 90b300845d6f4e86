"""How much of the held-out text also stands in the training text: shared runs of 13 tokens.

13 is the length the GPT-3 report used (Brown et al. 2020, appendix C). Licence headers and common idioms
count too, so the share is never quite zero; a large one means that the split is leaking.

Cost: 8 bytes per training token while it runs, bounded by `MAX_TOKENS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whet.tokenstore import TokenStore

RUN = 13
MAX_TOKENS = 50_000_000


def shared_share(train: TokenStore, held_out: TokenStore) -> float | None:
    """Share of the held-out runs of 13 tokens that occur in training; None where there are no such runs."""
    runs = _hashes(held_out.first(MAX_TOKENS))
    if not len(runs):
        return None
    known = np.unique(_hashes(train.first(MAX_TOKENS)))
    if not len(known):
        return 0.0
    at = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    return float(np.mean(known[at] == runs))


def _hashes(store: TokenStore) -> npt.NDArray[np.uint64]:
    tokens = np.asarray(store.tokens[: store.offsets[-1]], np.uint64)
    count = len(tokens) - RUN + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    combined: npt.NDArray[Any] = np.zeros(count, np.uint64)
    for offset in range(RUN):
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + tokens[offset : offset + count] + np.uint64(1)
        combined ^= combined >> np.uint64(31)
    document = np.repeat(np.arange(len(store)), store.lengths)
    return combined[document[:count] == document[RUN - 1 :]]
