"""A decoder-only language model as whet uses it: packed batches in, losses out, plain transformers inside.

Attention never crosses documents: an explicit block-diagonal causal mask is given (position ids alone
leak in transformers as soon as a cache is made). Hidden states and logits are computed in the chosen
precision under autocast; weights that train stay fp32, frozen ones may be held in that precision or quantized.

Shape suffixes: B rows, L positions, D width, N labelled positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.profiler import record_function

from whet.models import chunked
from whet.models.chunk import chunk_positions
from whet.models.families.base import Family
from whet.packing import IGNORED, Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BODY_FORWARD, HEAD_AND_LOSS = "whet: body forward", "whet: head and loss"
"""Phases as a profile names them; a mark takes some 5 microseconds where nothing is recorded."""


def packed_mask(segments_BL: torch.Tensor) -> torch.Tensor:
    """Boolean mask (B, 1, L, L): True where a query may see a key, earlier and in the same segment."""
    length = segments_BL.shape[1]
    same = segments_BL[:, :, None] == segments_BL[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments_BL.device).tril()
    return (same & causal)[:, None]


def _as_tuple(ids: int | list[int] | None) -> tuple[int, ...]:
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list) else (ids,)


class Decoder:
    """Wraps a transformers causal language model. `model` is the plain module that gets saved."""

    def __init__(self, model: PreTrainedModel, family: Family, *, precision: str = "fp32") -> None:
        self.model, self.family, self.precision = model, family, precision
        self.body: nn.Module = family.body(model)
        self.head: nn.Module = family.head(model)
        self._chunk_loss: chunked.ChunkLoss = chunked.chunk_nll
        self._compiled = False
        ends = model.generation_config.eos_token_id if model.generation_config else model.config.eos_token_id
        self.stop_ids: tuple[int, ...] = _as_tuple(ends)
        """Ids that end a text or an answer; none if the model has none."""

    @property
    def context(self) -> int:
        """Positions that the model can read."""
        return int(self.model.config.max_position_embeddings)

    @contextmanager
    def padded_attention(self) -> Iterator[None]:
        """For generation with several prompts at a time: attention that bears positions which see nothing."""
        used = self.model.config._attn_implementation
        self.model.set_attn_implementation("sdpa")
        try:
            yield
        finally:
            self.model.set_attn_implementation(used)

    @property
    def chunk(self) -> int:
        """Positions whose logits exist at one time."""
        return chunk_positions(int(self.model.config.vocab_size))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weight: torch.Tensor = next(self.model.parameters())
        return weight.device

    def compile(self, backend: str = "inductor") -> None:
        """Compile the blocks and the chunk loss with torch.compile; shapes are fixed, so each compiles once.

        The blocks are alike and share one compiled graph: as fast as compiling the whole body, and however
        deep the model, compiling takes the same time. What earlier models compiled is forgotten first: past
        a number of variants of the same code torch would run this one uncompiled without a word.
        """
        torch.compiler.reset()
        for block in self.family.blocks(self.model):
            block.compile(dynamic=False, backend=backend)
        compiled: Any = torch.compile(chunked.chunk_nll, dynamic=False, backend=backend)
        self._chunk_loss, self._compiled = compiled, True

    def use_gradient_checkpointing(self) -> None:
        """Keep only each block's input for the backward pass, which computes the rest again."""
        newer = getattr(self.model, "activation_checkpointing_enable", None)  # transformers 5.23 renamed it
        (newer or self.model.gradient_checkpointing_enable)({"use_reentrant": False})

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of matrix products."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype, cache_enabled=torch.is_grad_enabled())

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Last hidden states (B, L, D) of a packed batch."""
        segments_BL = self._tensor(batch.segments)
        output = self.body(
            input_ids=self._tensor(batch.inputs),
            position_ids=self._tensor(batch.positions),
            attention_mask=self._mask(segments_BL),
            use_cache=False,
        )
        hidden_BLD: torch.Tensor = output.last_hidden_state
        return hidden_BLD

    def nll_sum(self, batch: Batch) -> torch.Tensor:
        """Summed (with weights: weighted) negative log likelihood of the batch's labels: scalar, fp32, nats,
        differentiable."""
        with self.autocast():
            with record_function(BODY_FORWARD):
                hidden_ND, labels_N = self._labelled(batch)
            with record_function(HEAD_AND_LOSS):
                return chunked.nll_sum(
                    hidden_ND,
                    labels_N,
                    self.head,
                    chunk=self.chunk,
                    loss=self._chunk_loss,
                    weights_N=self._label_weights(batch),
                    whole_chunks=self._compiled,
                )

    @torch.no_grad()
    def nll_each(self, batch: Batch) -> torch.Tensor:
        """Negative log likelihood per label in reading order: (N,) fp32 on the CPU, nats."""
        with self.autocast():
            hidden_ND, labels_N = self._labelled(batch)
            return chunked.nll_each(hidden_ND, labels_N, self.head, chunk=self.chunk).cpu()

    def _labelled(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        hidden_ND = self.hidden(batch).flatten(0, 1)
        labels_N = self._tensor(batch.labels).flatten()
        if batch.label_count == batch.labels.size:
            return hidden_ND, labels_N
        learned = labels_N != IGNORED
        return hidden_ND[learned], labels_N[learned]

    def _label_weights(self, batch: Batch) -> torch.Tensor | None:
        """What each of `_labelled`'s labels counts; None where all count one."""
        if batch.weights is None:
            return None
        return self._tensor(batch.weights[batch.labels != IGNORED])

    def _mask(self, segments_BL: torch.Tensor) -> torch.Tensor:
        """The packed mask as the model's attention reads it: "eager" adds it to the scores, the others select by it."""
        mask_B1LL = packed_mask(segments_BL)
        if self.model.config._attn_implementation != "eager":
            return mask_B1LL
        dtype = self.model.dtype
        return torch.zeros((), dtype=dtype, device=mask_B1LL.device).masked_fill(
            ~mask_B1LL, torch.finfo(dtype).min
        )

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)
