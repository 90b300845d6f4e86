"""Qwen2: Llama's block with biases on queries, keys and values (Yang et al. 2024, arXiv 2407.10671).

Qwen 1.5, 2, 2.5, and 2.5-Coder. The hub's files name a sliding window that `use_sliding_window: false` switches off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from whet.models.families import _qwen
from whet.models.families.base import Family
from whet.models.outline import Block, Outline, gated_feed_forward, of_equal_blocks, separate_attention
from whet.text.sentinels import QWEN


class Qwen2(Family):
    """RMSNorm + RoPE, biases before attention."""

    NAME = "qwen2"
    SUMMARY = "RMSNorm, rotary positions, gated feed-forward, biases on queries, keys and values"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**_qwen.DEFAULTS, "head_dim": None}
    ATTENTION, MLP, STOP = _qwen.ATTENTION, _qwen.MLP, _qwen.STOP
    FILL_IN = (QWEN,)

    def outline(self, settings: Mapping[str, Any]) -> Outline:
        given = self.whole(settings)
        d, d_ff = given["hidden_size"], given["intermediate_size"]
        block = Block((*separate_attention(given, bias=True), *gated_feed_forward(d, d_ff)), norms=2 * d)
        return of_equal_blocks(self.NAME, given, block, norm=d, window=_qwen.window(given, settings))
