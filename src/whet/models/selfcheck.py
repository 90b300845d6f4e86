"""Three proofs on the very model that is about to be trained; on failure training does not start.

Isolation: the hidden states of one document of a packed row have no gradient with respect to the other, both ways.
Forward: body and head, as the loss uses them, give the logits of the model's own forward under transformers'
plain attention; also with the hidden states so large that a forgotten soft cap shows.
Chunked loss: loss and gradients of the hidden states equal the plain ones through the family's own head.
A few thousand token positions, in the type of the weights (fp32 where they are trained), before compilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from whet.errors import IsolationError
from whet.models import chunked
from whet.models.decoder import Decoder
from whet.packing import IGNORED, Batch

TOLERANCE = 1e-5
FORWARD_TOLERANCE = 1e-3
"""Of logits from two different attention kernels, relative; a GPU may multiply in TF32."""
ROUNDINGS = 8
"""Where frozen weights are held in bf16 or fp16, relative differences may reach so many of its steps."""
LARGE_LOGIT = 200.0
"""Beyond every soft cap in use (30 in Gemma 2), and small enough that differences keep their digits."""
HALF = 16
"""Tokens per document in the check, two documents a row; fewer where the context is shorter."""


def check(decoder: Decoder, longest: int | None = None) -> None:
    """Run all, for rows of `longest` positions (None: of the whole context). Raises IsolationError with the difference found."""
    precision, training = decoder.precision, decoder.model.training
    decoder.precision = "fp32"
    decoder.model.eval()
    try:
        leak = isolation_difference(decoder)
        _require(
            leak <= TOLERANCE,
            f"attention crosses documents: one depends on another by {leak:.2g} (relative)",
            decoder,
        )
        _require_window(decoder, longest or decoder.context)
        difference = forward_difference(decoder)
        _require(
            difference <= _tolerance(decoder, FORWARD_TOLERANCE),
            f"the logits of its body and head differ from those of the model's own forward by {difference:.2g} "
            "(relative); does the family's head() lack a scaling or a soft cap?",
            decoder,
        )
        difference = chunked_difference(decoder)
        _require(
            difference <= _tolerance(decoder, TOLERANCE),
            f"the chunked loss differs from the plain one by {difference:.2g} (relative)",
            decoder,
        )
    finally:
        decoder.precision = precision
        decoder.model.train(training)


def _require(good: bool, what: str, decoder: Decoder) -> None:
    if not good:
        raise IsolationError(what, where=decoder.family.NAME)


def _tolerance(decoder: Decoder, least: float) -> float:
    """`least` for weights in fp32, wider where the check itself runs in a coarser type."""
    dtype = decoder.model.dtype
    return max(least, ROUNDINGS * torch.finfo(dtype).eps) if dtype.itemsize < 4 else least


def _require_window(decoder: Decoder, longest: int) -> None:
    """A window of attention is part of transformers' own masks, and whet's mask replaces them."""
    window = getattr(decoder.model.config, "sliding_window", None)
    _require(
        window is None or window >= longest,
        f"its attention looks back {window} positions, fewer than the {longest} of a row; whet's looks at all",
        decoder,
    )


def isolation_difference(decoder: Decoder) -> float:
    """How much a document's hidden states depend on the tokens of the one packed before or after it, relative.

    The gradient with respect to the other's embeddings, as a share of that with respect to its own. What a mask hides
    has none at all, in every type; hidden states themselves may change by roundings where the experts of a mixture
    multiply the tokens of all documents together, and by more where a token then goes to another expert.
    """
    batch = _packed(decoder, seed=1)
    half = batch.inputs.shape[1] // 2
    parts = slice(half), slice(half, None)
    found = []
    with torch.enable_grad(), _embedded(decoder) as looked_up:
        hidden_BLD = decoder.hidden(batch)
        for kept, other in (parts, parts[::-1]):
            part = hidden_BLD[:, kept]
            (grad_BLD,) = torch.autograd.grad(part, looked_up, _direction(part), retain_graph=True)
            norms = [float(grad_BLD[:, at].float().norm()) for at in (other, kept)]
            found.append(norms[0] / max(norms[1], 1e-12))
    # Not max(): it passes over a NaN that comes second.
    return float(np.max(found))


@contextmanager
def _embedded(decoder: Decoder) -> Iterator[list[torch.Tensor]]:
    """What is looked up in the embedding meanwhile, as leaves to differentiate by."""
    found: list[torch.Tensor] = []

    def hook(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        found.append(output.detach().requires_grad_())
        return found[-1]

    handle = decoder.model.get_input_embeddings().register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def _direction(like: torch.Tensor) -> torch.Tensor:
    """Random numbers of norm 1, which fp16 bears; the hidden states' own direction would be lost on their norm."""
    draw = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    direction: torch.Tensor = draw / draw.norm()
    return direction.to(like)


@torch.no_grad()
def forward_difference(decoder: Decoder) -> float:
    """Relative difference of our logits from the model's own, as they are and with large hidden states."""
    packed = _packed(decoder, seed=4)
    ids = packed.inputs[:, : packed.inputs.shape[1] // 2]
    positions = np.tile(np.arange(ids.shape[1]), (len(ids), 1))
    batch = Batch(ids, ids, positions, np.ones_like(ids), (0, 1))
    largest = float(decoder.head(decoder.hidden(batch)).abs().max())
    found = []
    for factor in (1.0, LARGE_LOGIT / max(largest, 1e-6)):
        with _larger(decoder, factor):
            ours = decoder.head(decoder.hidden(batch)).float()
            own = _own_logits(decoder, ids).float()
        found.append(float((ours - own).norm() / own.norm().clamp_min(1e-12)))
    return float(np.max(found))


@contextmanager
def _larger(decoder: Decoder, factor: float) -> Iterator[None]:
    """The body's last hidden states times `factor`, for us and for the model's own forward alike."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state * factor
        return output

    handle = decoder.body.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _own_logits(decoder: Decoder, ids: Any) -> torch.Tensor:
    """Logits (B, L, V) of the plain model: its own mask, its own attention."""
    model, used = decoder.model, decoder.model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        logits: torch.Tensor = model(torch.from_numpy(ids).to(decoder.device), use_cache=False).logits
    finally:
        model.set_attn_implementation(used)
    return logits


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
    return float(np.max([of_loss, float((expected - found).norm() / expected.norm().clamp_min(1e-12))]))


def _packed(decoder: Decoder, seed: int) -> Batch:
    """Two rows of two documents each, random ids."""
    generator = np.random.default_rng(seed)
    vocab = int(decoder.model.config.vocab_size)
    half = min(HALF, int(decoder.model.config.max_position_embeddings))
    inputs, labels = (generator.integers(0, vocab, (2, 2 * half)) for _ in range(2))
    positions = np.tile(np.arange(half), (2, 2))
    segments = np.tile(np.repeat([1, 2], half), (2, 1))
    return Batch(inputs, labels, positions, segments, (0, 1, 2, 3))
