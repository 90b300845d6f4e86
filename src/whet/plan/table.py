"""What fits: models by quantization on the same cards, for `whet plan --models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet.memory import fit
from whet.memory.cards import Cards
from whet.memory.training import Estimate, Quantization, Training, estimate
from whet.models import known
from whet.models.families.base import for_model_type
from whet.models.outline import Outline
from whet.plan.subject import Asked, by_options, cards_of, read_config

QUANTIZATIONS: tuple[Quantization, ...] = ("none", "int8", "nf4")


@dataclass(frozen=True)
class Line:
    """One model in one quantization: what one card holds, and how the cards share it."""

    model: str
    quantization: Quantization
    outline: Outline
    estimate: Estimate
    largest_length: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        found = self.estimate
        return {
            "model": self.model,
            "parameters": found.parameters,
            "quantization": self.quantization,
            "trainable": found.trained,
            "sharding": found.training.sharding,
            "total_bytes": {
                "low": found.total.low,
                "expected": found.total.expected,
                "high": found.total.high,
            },
            "verdict": found.verdict,
            "largest_length": self.largest_length,
        }


@dataclass(frozen=True)
class PlanTable:
    """A line for each model and quantization; prints as `whet plan --models` does."""

    lines: list[Line]
    cards: Cards

    def __str__(self) -> str:
        from whet.plan.show import told_table

        return "\n".join(told_table(self.lines, self.cards))

    def as_dict(self) -> list[dict[str, Any]]:
        """For `--json`."""
        return [line.as_dict() for line in self.lines]


def plan_table(models: str | Sequence[str], asked: Asked | None = None) -> PlanTable:
    """What fits on the cards that are asked for, of one model or several; `all`: those whose sizes come with whet."""
    asked = asked or Asked()
    cards = cards_of(asked)
    return PlanTable(table([models] if isinstance(models, str) else models, asked, cards), cards)


def table(models: Sequence[str], asked: Asked, cards: Cards) -> list[Line]:
    """A line for each model and quantization; `all` means those whose sizes come with whet."""
    names = list(known.KNOWN) if list(models) == ["all"] else list(models)
    wanted = (asked.quantization,) if asked.quantization else QUANTIZATIONS
    training = by_options(replace(asked, quantization=None), cards)
    lines = []
    for name in names:
        config, _, _ = read_config(name)
        outline = for_model_type(str(config.get("model_type"))).outline(config)
        lines += [_line(name, outline, replace(training, quantization=how)) for how in wanted]  # type: ignore[arg-type]
    return sorted(lines, key=lambda line: line.outline.total)


def _line(name: str, outline: Outline, training: Training) -> Line:
    if training.sharding is None:
        found = fit.best_sharding(outline, training)
    else:
        found = estimate(outline, training)
    fits = found.total.expected <= training.cards.card.memory_bytes
    length = fit.largest_length(outline, found.training) if fits else 0
    return Line(name, training.quantization, outline, found, length)
