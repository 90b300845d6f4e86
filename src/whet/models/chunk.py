"""How many positions' logits exist at one time: a bound on numbers, since vocabularies differ a hundredfold. No torch.

The loss is computed with it (`whet.models.decoder`), and the memory plan counts with it (`whet.memory.sketch`).
"""

from __future__ import annotations

MOST_LOGITS = 2**25
"""In one chunk: 128 MiB in fp32, of which the loss holds three times as many bytes at once."""
LONGEST, STEP = 1024, 128
"""Positions of the longest chunk, and of the shortest, of which all are multiples; measured in bench/chunk.py."""


def chunk_positions(vocab_size: int) -> int:
    """Positions of a chunk for a vocabulary of so many ids: 1024 up to 32,768 ids, 256 with 128,256."""
    return max(STEP, min(LONGEST, MOST_LOGITS // vocab_size // STEP * STEP))
