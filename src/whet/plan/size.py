"""How large the recipe's model is, before anything of it is there: from its shape, or from its base's config.json.

Also what can be said against a recipe with a base before its data is read: lengths beyond the model's positions,
targets that mean no layer, an architecture that is only planned. Takes the time of fetching a config.json; no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from whet.errors import DataError, WhetError
from whet.models import hub, targets
from whet.models.families.base import Family, Unknown, family_for, for_model_type
from whet.models.outline import Outline
from whet.models.shape import Shape
from whet.recipe.schema import Model, Recipe, Tuned


@dataclass(frozen=True, slots=True)
class Size:
    """A model's figures for the plan. `outline` is None for an architecture that whet has no family for."""

    family: Family
    outline: Outline | None
    shape: Shape | None
    trainable: int | None
    """Parameters that training changes; None where that is not known beforehand."""

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations to train on one token: of frozen weights no gradient is made. 0 if unknown."""
        if self.outline is None:
            return 0.0
        whole, trainable = self.outline.flops_per_token(length), self.trainable or 0
        if trainable >= self.outline.total:
            return whole
        return whole - 2.0 * self.outline.active + 6.0 * trainable

    def described(self) -> dict[str, Any]:
        """For the plan's record: family, shape, parameters by component."""
        outline = self.outline
        if outline is None:
            return {"family": self.family.NAME, "model": None, "shape": None, "parameters": None}
        parts = outline.parameters
        return {
            "family": self.family.NAME,
            "model": asdict(self.shape) if self.shape else None,
            "shape": {
                name: getattr(outline, name) for name in ("d_model", "layers", "heads", "d_ff", "context")
            },
            "parameters": {
                "total": outline.total,
                "embedding": parts["embedding"],
                "other": outline.total - parts["embedding"],
                "by_component": parts,
                "trainable": self.trainable,
            },
        }


def size_of(recipe: Recipe, vocab_size: int) -> Size:
    """The size of the recipe's model with a tokenizer of so many ids. Raises what `of_base` raises."""
    if isinstance(recipe.model, Tuned):
        return of_base(recipe, recipe.model)
    shape = shape_of(recipe.model, vocab_size)
    family = family_for(shape.norm, shape.positions)
    outline = family.outline(family.settings(shape))
    return Size(family, outline, shape, outline.total)


def of_base(recipe: Recipe, settings: Tuned) -> Size:
    """The size of the recipe's base, checked against what the recipe wants of it.

    Raises ArtefactError where its config.json cannot be had, WhetError for targets that mean no layer and for an
    architecture that is only planned, DataError for stages longer than its positions.
    """
    config = hub.config_of(settings)
    family = for_model_type(str(config.get("model_type")))
    if family.PLAN_ONLY:
        raise WhetError(
            f"whet plans models of the architecture {family.NAME}, but does not load them",
            where="model.base",
            fix="see what fits with `whet plan`, or take another base",
        )
    if isinstance(family, Unknown):
        return Size(family, None, None, None)
    outline = family.outline(config)
    _require_positions(recipe, settings, outline.context)
    if settings.adapter is None:
        return Size(family, outline, None, outline.total)
    names = targets.resolve(settings.adapter.targets, outline.linears, family, where="model.adapter.targets")
    tables = 1 if outline.tied else 2
    rows = len(settings.new_tokens) * outline.d_model * tables
    return Size(family, outline, None, outline.adapter_parameters(settings.adapter.rank, names) + rows)


def _require_positions(recipe: Recipe, settings: Tuned, context: int) -> None:
    for stage in recipe.stages:
        if (stage.sequence_length or 0) > context:
            raise DataError(
                f"{stage.sequence_length:,} is longer than the {context:,} positions of {settings.base}",
                where=f"stages.{stage.name}.sequence_length",
                fix=f"set it to {context} or less",
            )


def shape_of(model: Model, vocab_size: int) -> Shape:
    """The recipe's model with the vocabulary its tokenizer turned out to have."""
    names = (
        "norm",
        "positions",
        "d_model",
        "layers",
        "heads",
        "d_ff",
        "context",
        "dropout",
        "tie_embeddings",
    )
    return Shape(vocab_size=vocab_size, **{name: getattr(model, name) for name in names})
