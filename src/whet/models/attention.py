"""Causal attention over packed rows on a CPU: explicit bf16 products, faster there than torch's fused kernel.

torch's flash kernel for CPUs reaches a small part of the matmul peak at the lengths of small models. Two batched products
around a softmax, for a block of queries at a time and no keys behind it, take 0.3 to 0.5 of its time (bench/attention.py), but
keep half of the L x L scores, hence `LONGEST`. The softmax is computed in fp32 inside the kernel;
scores and weights are rounded to the activations' precision, as in transformers' own eager attention. Other devices and
longer rows use `scaled_dot_product_attention`.

The name is registered with transformers for models in memory only: a saved model says nothing of it.
Shape suffixes: B rows, H heads, K key-value heads, L positions, W head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from whet.errors import TrainingError
from whet.models.attention_blocks import LONGEST, blocks

NAME = "whet_packed"
UNKNOWN = ("softcap", "s_aux", "position_bias")
"""What some architectures hand to their attention and neither kernel here does: soft caps, sinks, biases."""


def packed_attention(
    module: nn.Module,
    query_BHLW: torch.Tensor,
    key_BKLW: torch.Tensor,
    value_BKLW: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: returns (B, L, H, W) and no weights.

    `attention_mask` is boolean (B, 1, L, L), True where a query may see a key; every query sees itself, and none a later key.
    Raises TrainingError for what it does not do and would otherwise leave out unseen.
    """
    wanted = [name for name in UNKNOWN if unused.get(name) is not None]
    if wanted:
        raise TrainingError(
            f"this architecture's attention uses {', '.join(wanted)}, which whet's does not",
            where=type(module).__name__,
            fix="a configuration without it, or another family",
        )
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    length = query_BHLW.shape[2]
    if (
        query_BHLW.device.type != "cpu"
        or attention_mask is None
        or length > LONGEST
        or length != key_BKLW.shape[2]
    ):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module,
            query_BHLW,
            key_BKLW,
            value_BKLW,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **unused,
        )
        return result
    with torch.autocast("cpu", enabled=False):
        return _explicit(query_BHLW, key_BKLW, value_BKLW, attention_mask, dropout, scaling), None


def _explicit(
    query_BHLW: torch.Tensor,
    key_BKLW: torch.Tensor,
    value_BKLW: torch.Tensor,
    mask_B1LL: torch.Tensor,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    B, H, L, W = query_BHLW.shape
    repeat = H // key_BKLW.shape[1]
    key_BHLW, value_BHLW = (
        x.repeat_interleave(repeat, 1) if repeat > 1 else x for x in (key_BKLW, value_BKLW)
    )
    dtype = value_BHLW.dtype
    query, key, value = (x.to(dtype).reshape(B * H, L, W) for x in (query_BHLW, key_BHLW, value_BHLW))
    scale = scaling if scaling is not None else W**-0.5
    parts = [
        _seen(query[:, a:b], key[:, :b], value[:, :b], mask_B1LL[..., a:b, :b], dropout, scale)
        for a, b in blocks(L)
    ]
    return torch.cat(parts, 1).view(B, H, L, W).transpose(1, 2).contiguous()


def _seen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    dropout: float,
    scale: float,
) -> torch.Tensor:
    """What a block of queries sees: query (B * H, block, W), keys and values up to the block's end, mask (B, 1, block, end)."""
    hidden = torch.zeros((), dtype=value.dtype).masked_fill(~mask, float("-inf"))
    bias = hidden.expand(-1, len(query) // len(mask), -1, -1).reshape(len(query), *mask.shape[2:])
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    weights = functional.dropout(functional.softmax(scores, -1), dropout)
    return torch.bmm(weights, value)


def register() -> str:
    """Make the function known to transformers and return its name for `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
