"""The plan before the download: what a training of this model would take on these cards. No torch, no weights, no data.

    look_ahead("recipe.yaml", Asked(cards="4x48GB")) -> Outlook, which prints as what `whet plan` says
    look_ahead("Qwen/Qwen2.5-Coder-32B", Asked(length=4096, quantization="nf4", cards="48GB"))

What follows from a target (`whet.plan.subject`) is arithmetic. What cannot be known before the data is prepared (steps,
time) is left open unless the number of tokens is given or a plan of the run is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from whet import store
from whet.memory import duration, fit
from whet.memory.cards import Cards
from whet.memory.duration import Inference, Speed
from whet.memory.fit import Change
from whet.memory.training import Estimate, Training, estimate
from whet.models.families.base import for_model_type
from whet.models.outline import Outline
from whet.plan.subject import (
    Asked,
    Subject,
    Target,
    cards_of,
    processor,
    subject_of,
    this_machine,
    training_of,
)
from whet.recipe.schema import Recipe, Stage

BEST_OF = 3
"""Changes that are told first."""


@dataclass(frozen=True)
class Prospect:
    """One training on these cards."""

    name: str
    outline: Outline
    estimate: Estimate
    tokens: int | None
    price_per_hour: float | None
    tokens_per_s: float | None = None

    @property
    def training(self) -> Training:
        """Its settings."""
        return self.estimate.training

    @cached_property
    def largest_batch(self) -> int:
        """Rows that fit, at this length."""
        return fit.largest_batch(self.outline, self.training)

    @cached_property
    def largest_length(self) -> int:
        """Positions that fit, at this batch."""
        return fit.largest_length(self.outline, self.training)

    @cached_property
    def changes(self) -> list[Change]:
        """What would save memory, most first."""
        return fit.changes(self.outline, self.training, self.estimate)

    @cached_property
    def way(self) -> list[Change]:
        """Changes that make it fit together; empty if it fits, or if nothing helps."""
        return fit.way(self.outline, self.training)

    @cached_property
    def speed(self) -> Speed | None:
        """Tokens per second, as measured where that was given; None where nothing is known of the cards."""
        if self.tokens_per_s is not None:
            return Speed(self.tokens_per_s, self.tokens_per_s, self.tokens_per_s, "as measured")
        return duration.speed(self.outline, self.training)

    @property
    def seconds(self) -> tuple[float, float, float] | None:
        """Shortest, expected and longest time; None without tokens or speed."""
        if not self.tokens or self.speed is None:
            return None
        return tuple(self.tokens / speed for speed in (self.speed.high, self.speed.expected, self.speed.low))  # type: ignore[return-value]

    @property
    def cost(self) -> tuple[float, float, float] | None:
        """In the currency of the price."""
        if self.seconds is None or self.price_per_hour is None:
            return None
        low, expected, high = (self.price_per_hour * seconds / 3600 for seconds in self.seconds)
        return low, expected, high

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        speed, training = self.speed, self.training
        return {
            "name": self.name,
            "settings": _settings(training),
            "trainable": self.estimate.trained,
            "memory": self.estimate.as_dict(),
            "largest_batch": self.largest_batch,
            "largest_length": self.largest_length,
            "flops_per_token": duration.flops_per_token(self.outline, training),
            "tokens": self.tokens,
            "tokens_per_s": None if speed is None else [speed.low, speed.expected, speed.high],
            "speed_source": None if speed is None else speed.source,
            "seconds": self.seconds,
            "cost": self.cost,
            "changes": [change.as_dict() for change in self.changes],
            "way": [change.setting for change in self.way],
        }


def _settings(training: Training) -> dict[str, Any]:
    found = {f.name: getattr(training, f.name) for f in fields(training) if f.name != "cards"}
    return {**found, "cards": str(training.cards)}


@dataclass(frozen=True)
class Outlook:
    """Everything `whet plan` says."""

    subject: Subject
    cards: Cards
    prospects: list[Prospect]
    notices: list[str]

    @cached_property
    def inference(self) -> Inference:
        """Of the result in use, one text of the last training's length."""
        training = self.prospects[-1].training
        return duration.inference(self.subject.outline, training, tokens=training.length)

    def __str__(self) -> str:
        from whet.plan.show import told

        return "\n".join(told(self))

    def draw(self, path: str | Path) -> None:
        """Write the memory as a picture (SVG). Raises CannotWrite."""
        from whet.plan.picture import svg

        store.write_text(Path(path), svg(self.prospects))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        outline = self.subject.outline
        return {
            "target": self.subject.name,
            "source": self.subject.source,
            "family": outline.family,
            "parameters": {
                "total": outline.total,
                "active": outline.active,
                "by_component": outline.parameters,
            },
            "context": outline.context,
            "cards": str(self.cards),
            "trainings": [prospect.as_dict() for prospect in self.prospects],
            "inference_bytes": {"weights": self.inference.weights, "cache": self.inference.cache},
            "notices": self.notices,
        }


def look_ahead(target: Target, asked: Asked | None = None, overrides: Sequence[str] = ()) -> Outlook:
    """What training `target` takes: a recipe or a run, a model's name, or the folder or file of its config.json.

    Raises RecipeError, ArtefactError or WhetError that say what to do.
    """
    asked = asked or Asked()
    cards = cards_of(asked)
    subject = subject_of(target, asked, cards, overrides)
    prospects = [_prospect(subject, name, training, asked) for name, training in subject.trainings]
    return Outlook(subject, cards, prospects, list(_notices(subject, cards, prospects)))


def _prospect(subject: Subject, name: str, training: Training, asked: Asked) -> Prospect:
    if training.cards.count > 1 and asked.sharding is None and training.sharding is None:
        found = fit.best_sharding(subject.outline, training)
        training = found.training
    found = estimate(subject.outline, training, keep=subject.keep, download_bytes=subject.download_bytes)
    tokens = asked.tokens if asked.tokens is not None else subject.tokens.get(name)
    return Prospect(name, subject.outline, found, tokens, asked.price_per_hour, asked.tokens_per_s)


def _notices(subject: Subject, cards: Cards, prospects: list[Prospect]) -> list[str]:
    found = []
    card = cards.card
    if not card.bf16 and card.on_cuda:
        found.append(f"{card.name} has no bf16 and no FlashAttention-2: fp16 with loss scaling")
    if for_model_type(subject.outline.family).PLAN_ONLY:
        found.append(f"whet plans {subject.outline.family} models, but does not load them")
    experts = any(linear.copies > 1 for _, block in subject.outline.blocks for linear in block.linears)
    if experts and any(prospect.training.quantization != "none" for prospect in prospects):
        found.append("the experts of a mixture are no linear layers to transformers: they are not quantized")
    if subject.outline.window and any(p.training.length > subject.outline.window for p in prospects):
        found.append(
            f"its attention looks back {subject.outline.window:,} positions; whet refuses longer rows"
        )
    for prospect in prospects:
        training = prospect.training
        if training.length > subject.outline.context:
            found.append(
                f"{prospect.name}: {training.length:,} positions, the model has {subject.outline.context:,}"
            )
        if training.sharding == "fsdp2" and training.quantization != "none":
            found.append(
                "a quantized base is charged whole to every card: FSDP2 leaves packed weights unsharded"
            )
        if training.sharding == "fsdp2" and training.rank is None and training.precision != "fp32":
            found.append(
                "autocast keeps 16-bit copies of all weights on every card, at least until the loss is made"
            )
    return list(dict.fromkeys(found))


def stage_memory(recipe: Recipe, stage: Stage, outline: Outline) -> dict[str, Any]:
    """For plan.json: what a stage takes on this machine, and what would save most (`whet.train.probe` tells it).

    Its base is not among what it takes of the disk.
    """
    cards = this_machine() if recipe.device != "cpu" else processor()
    training = training_of(recipe, stage, Cards(recipe.processes, cards.card))
    found = estimate(outline, training, keep=stage.keep, download_bytes=0)
    told = fit.changes(outline, training, found)[: 2 * BEST_OF]
    return {**found.as_dict(), "changes": [change.as_dict() for change in told]}
