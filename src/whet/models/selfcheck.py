"""Two proofs on the very model that is about to be trained; on failure training does not start.

Isolation: changing one document of a packed row leaves the hidden states of the other unchanged.
Chunked loss: loss and gradients of the hidden states equal the plain ones through the family's own head.
A few thousand token positions, in fp32, before compilation.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from whet.errors import IsolationError
from whet.models import chunked
from whet.models.decoder import Decoder
from whet.packing import IGNORED, Batch

TOLERANCE = 1e-5
HALF = 16
"""Tokens per document in the check, two documents a row; fewer where the context is shorter."""


def check(decoder: Decoder) -> None:
    """Run both. Raises IsolationError with the difference found."""
    precision, training = decoder.precision, decoder.model.training
    decoder.precision = "fp32"
    decoder.model.eval()
    try:
        leak = isolation_difference(decoder)
        if leak > TOLERANCE:
            raise IsolationError(
                f"attention crosses documents: changing one changed another by {leak:.2g}",
                where=decoder.family.NAME,
            )
        difference = chunked_difference(decoder)
        if difference > TOLERANCE:
            raise IsolationError(
                f"the chunked loss differs from the plain one by {difference:.2g} (relative)",
                where=decoder.family.NAME,
            )
    finally:
        decoder.precision = precision
        decoder.model.train(training)


@torch.no_grad()
def isolation_difference(decoder: Decoder) -> float:
    """Largest change of document B's hidden states when document A, packed before it, is replaced."""
    first, second = _packed(decoder, seed=1), _packed(decoder, seed=2)
    half = first.inputs.shape[1] // 2
    second.inputs[:, half:] = first.inputs[:, half:]
    hidden = [decoder.hidden(batch)[:, half:] for batch in (first, second)]
    return float((hidden[0] - hidden[1]).abs().max())


def chunked_difference(decoder: Decoder) -> float:
    """Relative difference of the chunked loss and its hidden-state gradient from the plain ones."""
    batch = _packed(decoder, seed=3)
    hidden_BLD = decoder.hidden(batch).detach()
    labels_N = torch.from_numpy(batch.labels).flatten().to(hidden_BLD.device)
    plain_ND, parts_ND = (hidden_BLD.flatten(0, 1).clone().requires_grad_() for _ in range(2))
    plain = functional.cross_entropy(
        decoder.head(plain_ND).float(), labels_N, ignore_index=IGNORED, reduction="sum"
    )
    parts = chunked.nll_sum(parts_ND, labels_N, decoder.head, chunk=24)
    (expected,) = torch.autograd.grad(plain, plain_ND)
    (found,) = torch.autograd.grad(parts, parts_ND)
    of_loss = float((plain - parts).detach().abs() / plain.detach().abs())
    return max(of_loss, float((expected - found).norm() / expected.norm().clamp_min(1e-12)))


def _packed(decoder: Decoder, seed: int) -> Batch:
    """Two rows of two documents each, random ids."""
    generator = np.random.default_rng(seed)
    vocab = int(decoder.model.config.vocab_size)
    half = min(HALF, int(decoder.model.config.max_position_embeddings))
    inputs, labels = (generator.integers(0, vocab, (2, 2 * half)) for _ in range(2))
    positions = np.tile(np.arange(half), (2, 2))
    segments = np.tile(np.repeat([1, 2], half), (2, 1))
    return Batch(inputs, labels, positions, segments, (0, 1, 2, 3))
