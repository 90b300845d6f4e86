"""The recipe's `model:`, a new one's shape, or an existing one and how it is tuned."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from whet.models.families.base import from_nothing
from whet.models.shape import SIZES
from whet.recipe.section import Section, refuse
from whet.sources.base import resolve

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
Size = Literal["tiny", "medium", "large", "xlarge"]


class Model(Section):
    """A new model's shape. `size` sets every number; any of them can be set by itself."""

    size: Size = Field(default="tiny", description="The dial: tiny, medium, large or xlarge.")
    norm: Literal["rmsnorm", "layernorm"] = Field(default="rmsnorm", description="Normalisation.")
    positions: Literal["rope", "learned"] = Field(default="rope", description="Position encoding.")
    d_model: Annotated[int, Field(ge=8, le=65_536)] = Field(
        default=256, description="Width of the residual stream."
    )
    layers: Annotated[int, Field(ge=1, le=1_000)] = Field(default=4, description="Number of blocks.")
    heads: Annotated[int, Field(ge=1, le=1_024)] = Field(
        default=4, description="Attention heads; divides d_model."
    )
    d_ff: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        default=1024, description="Width inside the feed-forward layer."
    )
    context: Annotated[int, Field(ge=8, le=1_048_576)] = Field(
        default=512, description="Longest sequence the model can read, in tokens."
    )
    dropout: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        default=0.0,
        description="Share of activations dropped; where, depends on the family (docs/recipe.md, Model families).",
    )
    tie_embeddings: bool = Field(default=True, description="Input and output embedding share their weights.")

    @model_validator(mode="after")
    def _check(self) -> Model:
        self.fill(**SIZES[self.size])
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        width, odd = divmod(self.d_model, self.heads)
        if odd:
            yield "heads d_model", f"{self.heads} heads do not divide d_model {self.d_model}"
        elif self.positions == "rope" and width % 2:
            yield "heads d_model", f"rope needs an even head width, {self.d_model}/{self.heads} is odd"
        known = {(kind.NORM, kind.POSITIONS): kind.NAME for kind in from_nothing()}
        if (self.norm, self.positions) not in known:
            there = ", ".join(f"{norm} + {positions} ({name})" for (norm, positions), name in known.items())
            yield (
                "positions",
                f"no stock architecture has {self.norm} with {self.positions} positions; there are: {there}",
            )


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021): W + (alpha / rank) B A with W frozen; only A and B are trained."""

    kind: Literal["lora", "rslora"] = Field(
        default="lora", description="rslora: scaled by alpha / sqrt(rank) instead (Kalajdzievski 2023)."
    )
    rank: Annotated[int, Field(ge=1, le=4096)] = Field(default=16, description="Columns of B, rows of A.")
    alpha: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=32, description="The update is scaled by alpha / rank."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.05, description="Share of the adapter's inputs dropped in training."
    )
    targets: Literal["attention", "mlp", "all-linear"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="attention",
        description="Which linear layers get an adapter: a set of the family's, every one in the blocks, or names "
        "(whole, or how they end: q_proj).",
    )

    @property
    def rslora(self) -> bool:
        """Whether the scale is alpha / sqrt(rank)."""
        return self.kind == "rslora"


class Tuned(Section):
    """With `base`: an existing model, tuned. It brings its tokenizer and, if it has one, its chat template."""

    base: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="A model's name on the hub (owner/name), or the folder of a saved one."
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit on the hub; `null`: its main branch."
    )
    cache_dir: str | None = Field(
        default=None,
        description="Where downloads are kept; `null`: where the hub's library keeps them (HF_HOME).",
    )
    quantization: Literal["none", "nf4", "fp4", "int8"] = Field(
        default="none",
        description="How the frozen weights of the blocks' linear layers are held while tuning.",
    )
    double_quantization: bool = Field(
        default=True, description="nf4 and fp4: the scales of the blocks of weights are quantized too."
    )
    adapter: Lora | None = Field(
        default_factory=lambda: Lora(), description="What is trained; `null` trains every weight."
    )
    new_tokens: list[str] = Field(
        default_factory=list,
        description="Added to the vocabulary; with an adapter, only their rows of the embedding are trained. In "
        "conversations the template, answers and system texts write them, users and tools do not.",
    )

    @field_validator("base")
    @classmethod
    def _found(cls, base: str, info: ValidationInfo) -> str:
        """The absolute path of a folder, or a name on the hub as it is."""
        folder = resolve(base, info)
        if os.path.isdir(folder):
            return str(folder)
        if HUB_NAME.fullmatch(base):
            return base
        raise ValueError(
            f"there is no folder {folder}, and a name on the hub is `owner/name` "
            "(letters, digits, `_`, `.` and `-`)"
        )

    @model_validator(mode="after")
    def _check(self) -> Tuned:
        if self.quantization != "none" and self.adapter is None:
            refuse(
                [("quantization adapter", "quantized weights cannot be trained; give the model an adapter")]
            )
        return self


def _kind_of_model(values: Any) -> str:
    tuned = "base" in values if isinstance(values, dict) else isinstance(values, Tuned)
    return "Tuned" if tuned else "Model"


AnyModel = Annotated[
    Annotated[Model, Tag("Model")] | Annotated[Tuned, Tag("Tuned")], Discriminator(_kind_of_model)
]
"""Told apart by the key `base`. The tags are the names of the sections, by which `locate` finds them."""
