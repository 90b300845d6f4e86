"""Qwen3: Llama's block with RMSNorm on the queries and keys of every head (Yang et al. 2025, arXiv 2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from whet.models.families import _qwen
from whet.models.families.base import Family
from whet.models.outline import (
    Block,
    Outline,
    gated_feed_forward,
    heads_of,
    of_equal_blocks,
    separate_attention,
)
from whet.text.sentinels import QWEN


class Qwen3(Family):
    """RMSNorm, also on queries and keys, + RoPE."""

    NAME = "qwen3"
    SUMMARY = "RMSNorm also on queries and keys, rotary positions, gated feed-forward, no biases"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**_qwen.DEFAULTS, "head_dim": 128, "attention_bias": False}
    ATTENTION, MLP, STOP = _qwen.ATTENTION, _qwen.MLP, _qwen.STOP
    FILL_IN = (QWEN,)

    def outline(self, settings: Mapping[str, Any]) -> Outline:
        given = self.whole(settings)
        d, d_ff, bias = given["hidden_size"], given["intermediate_size"], given["attention_bias"]
        attention = separate_attention(given, bias=bias, out_bias=bias)
        on_heads = 2 * heads_of(given)[2]
        block = Block((*attention, *gated_feed_forward(d, d_ff)), norms=2 * d + on_heads)
        return of_equal_blocks(self.NAME, given, block, norm=d, window=_qwen.window(given, settings))
