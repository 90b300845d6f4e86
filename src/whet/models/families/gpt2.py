"""GPT-2: LayerNorm, learned absolute positions, GELU, biases (Radford et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.models.families.base import Family
from whet.models.shape import Shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class GPT2(Family):
    """LayerNorm + learned positions."""

    NAME = "gpt2"
    SUMMARY = "LayerNorm, learned positions, GELU feed-forward (two matrices), biases"
    NORM, POSITIONS = "layernorm", "learned"
    DROPOUT = "on embeddings, attention weights, and the outputs of attention and feed-forward"

    def config(self, shape: Shape, special_ids: dict[str, int]) -> PretrainedConfig:
        from transformers import GPT2Config

        return GPT2Config(
            **self.shared_settings(shape, special_ids),
            n_embd=shape.d_model,
            n_inner=shape.d_ff,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_positions=shape.context,
            attn_pdrop=shape.dropout,
            embd_pdrop=shape.dropout,
            resid_pdrop=shape.dropout,
        )

    def parameters(self, shape: Shape) -> dict[str, int]:
        d, n, f = shape.d_model, shape.layers, shape.d_ff
        return {
            "embedding": (shape.vocab_size + shape.context) * d,
            "attention": n * (4 * d * d + 4 * d),
            "feed_forward": n * (2 * d * f + d + f),
            "norms": (2 * n + 1) * 2 * d,
            "head": 0 if shape.tie_embeddings else shape.vocab_size * d,
        }
