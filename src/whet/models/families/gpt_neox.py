"""GPT-NeoX with sequential residuals: LayerNorm, rotary positions on the whole head, GELU, biases
(Black et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.models.families.base import Family
from whet.models.shape import Shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class GPTNeoX(Family):
    """LayerNorm + RoPE."""

    NAME = "gpt_neox"
    SUMMARY = "LayerNorm, rotary positions, GELU feed-forward (two matrices), biases"
    NORM, POSITIONS = "layernorm", "rope"
    DROPOUT = "on embeddings, attention weights, and the outputs of attention and feed-forward"

    def config(self, shape: Shape, special_ids: dict[str, int]) -> PretrainedConfig:
        from transformers import GPTNeoXConfig

        return GPTNeoXConfig(
            **self.shared_settings(shape, special_ids),
            hidden_size=shape.d_model,
            intermediate_size=shape.d_ff,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.context,
            rotary_pct=1.0,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
            use_parallel_residual=False,
            hidden_act="gelu",
            attention_dropout=shape.dropout,
            hidden_dropout=shape.dropout,
        )

    def parameters(self, shape: Shape) -> dict[str, int]:
        d, n, f = shape.d_model, shape.layers, shape.d_ff
        return {
            "embedding": shape.vocab_size * d,
            "attention": n * (4 * d * d + 4 * d),
            "feed_forward": n * (2 * d * f + d + f),
            "norms": (2 * n + 1) * 2 * d,
            "head": 0 if shape.tie_embeddings else shape.vocab_size * d,
        }
