"""What every family promises: a stock architecture, so that plain transformers loads what whet saves.

A family is chosen by its normalisation and position encoding. It computes its parameter count without
torch, and names its body (up to the last normalised hidden state) and its head (hidden state to logits);
losses go through the head as a module, with whatever scaling and capping the architecture has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from whet.errors import WhetError
from whet.models.shape import Shape
from whet.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


class Family(ABC):
    """One architecture of transformers."""

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    NORM: ClassVar[str] = ""
    POSITIONS: ClassVar[str] = ""
    DROPOUT: ClassVar[str] = ""
    """Where this architecture applies dropout."""

    @abstractmethod
    def config(self, shape: Shape, special_ids: dict[str, int]) -> PretrainedConfig:
        """The configuration for a model of this shape; `special_ids` has bos, eos and pad."""

    def shared_settings(self, shape: Shape, special_ids: dict[str, int]) -> dict[str, Any]:
        """What every transformers configuration calls the same."""
        return {
            "vocab_size": shape.vocab_size,
            "tie_word_embeddings": shape.tie_embeddings,
            **{f"{role}_token_id": special_ids[role] for role in ("bos", "eos", "pad")},
        }

    @abstractmethod
    def parameters(self, shape: Shape) -> dict[str, int]:
        """Parameter count by component: embedding, attention, feed_forward, norms, head (0 when tied)."""

    def body(self, model: PreTrainedModel) -> nn.Module:
        """The module that maps input ids (B, L) to hidden states (B, L, D), last norm included."""
        body: nn.Module = model.base_model
        return body

    def blocks(self, model: PreTrainedModel) -> Iterable[nn.Module]:
        """The body's repeated blocks, in order."""
        from torch import nn

        (blocks,) = (part for part in self.body(model).children() if isinstance(part, nn.ModuleList))
        return blocks

    def head(self, model: PreTrainedModel) -> Any:
        """The module that maps hidden states (..., D) to logits (..., V).

        What the architecture does to the logits after its output matrix belongs here too (`models.head.ScaledHead`).
        """
        return model.get_output_embeddings()


FAMILIES: Registry[Family] = Registry(Family, "whet.models.families", ("NORM", "POSITIONS", "DROPOUT"))


def family_for(norm: str, positions: str) -> Family:
    """The family with this normalisation and position encoding. Raises WhetError that lists what there is."""
    for kind in FAMILIES:
        if (norm, positions) == (kind.NORM, kind.POSITIONS):
            return kind()
    known = ", ".join(f"{kind.NORM} + {kind.POSITIONS} ({kind.NAME})" for kind in FAMILIES)
    raise WhetError(f"no stock architecture has {norm} with {positions} positions", fix=f"there are: {known}")
