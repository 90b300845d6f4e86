"""What some architectures do to their logits after the output matrix, as a module that does it too.

In transformers, Cohere multiplies the logits, Granite divides them, Gemma 2 bends them under a cap: in the
model's own forward, behind `get_output_embeddings()`. The loss never runs that forward, so a family of such an
architecture returns a `ScaledHead` from `head()`. The start-up check refuses one that does not.
"""

from __future__ import annotations

import torch
from torch import nn

from whet.models.chunked import at_least_fp32


class ScaledHead(nn.Module):
    """Logits of `inner`, times `scale`, then softly capped to +-`cap`; computed in fp32 behind the matrix product.

    `inner` is the model's own module: tying, adapters and hooks stay in force, and its parameters are found here.
    """

    def __init__(self, inner: nn.Module, *, scale: float = 1.0, cap: float | None = None) -> None:
        super().__init__()
        self.inner, self.scale, self.cap = inner, scale, cap

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., D) to logits (..., V)."""
        logits = at_least_fp32(self.inner(hidden)) * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap
