"""Llama: RMSNorm, rotary positions, gated SiLU feed-forward, no biases (Touvron et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.models.families.base import Family
from whet.models.shape import Shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Llama(Family):
    """RMSNorm + RoPE."""

    NAME = "llama"
    SUMMARY = "RMSNorm, rotary positions, gated feed-forward (three matrices), no biases"
    NORM, POSITIONS = "rmsnorm", "rope"
    DROPOUT = "on attention weights only"

    def config(self, shape: Shape, special_ids: dict[str, int]) -> PretrainedConfig:
        from transformers import LlamaConfig

        return LlamaConfig(
            **self.shared_settings(shape, special_ids),
            hidden_size=shape.d_model,
            intermediate_size=shape.d_ff,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.context,
            attention_dropout=shape.dropout,
        )

    def parameters(self, shape: Shape) -> dict[str, int]:
        d, n = shape.d_model, shape.layers
        return {
            "embedding": shape.vocab_size * d,
            "attention": n * 4 * d * d,
            "feed_forward": n * 3 * d * shape.d_ff,
            "norms": (2 * n + 1) * d,
            "head": 0 if shape.tie_embeddings else shape.vocab_size * d,
        }
