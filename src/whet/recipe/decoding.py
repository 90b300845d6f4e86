"""How a model writes: greedy, sample or beam, each with only the settings that it has; and named ones.

Since a decoding is one of three kinds, settings that contradict one another cannot be expressed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from whet.recipe.section import Section


class AnyDecoding(Section):
    """What all kinds have."""

    TAG = "kind"

    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = Field(
        default=1.0,
        description="Above 1, tokens that occurred already become less likely (Keskar et al. 2019); 1 is off.",
    )
    no_repeat_ngram: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="No run of this many tokens is written twice; `null` allows it."
    )
    min_new_tokens: Annotated[int, Field(ge=0)] = Field(
        default=0, description="The text cannot end before this many tokens."
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list, description="Texts that end it where they first appear; they are left out."
    )


class Greedy(AnyDecoding):
    """The likeliest token each time."""

    kind: Literal["greedy"] = Field(default="greedy", description="greedy")


class Sample(AnyDecoding):
    """Drawn from the distribution, seeded."""

    kind: Literal["sample"] = Field(default="sample", description="sample")
    temperature: Annotated[float, Field(gt=0, le=10)] = Field(
        default=0.8, description="Divides the logits: below 1 sharper, above 1 flatter."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95,
        description="Only the likeliest tokens that together reach this probability; 1 keeps all.",
    )
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Only this many of the likeliest tokens; `null` keeps all."
    )


class Beam(AnyDecoding):
    """The best of several hypotheses kept side by side."""

    kind: Literal["beam"] = Field(default="beam", description="beam")
    beams: Annotated[int, Field(ge=2, le=64)] = Field(
        default=5, description="Hypotheses kept; memory grows with them."
    )
    length_penalty: float = Field(
        default=1.0,
        description="Scores are divided by length to this power: above 0 favours longer, below shorter.",
    )
    early_stopping: bool = Field(
        default=True,
        description="Stop once as many hypotheses have ended as are kept, instead of looking for better.",
    )


Decoding = Annotated[Greedy | Sample | Beam, Field(discriminator="kind")]

PRESETS: dict[str, Greedy | Sample | Beam] = {
    "production": Sample(
        temperature=0.3,
        top_p=0.9,
        top_k=50,
        repetition_penalty=1.1,
        no_repeat_ngram=3,
        min_new_tokens=10,
    ),
    "balanced": Sample(temperature=0.5, top_p=0.9, top_k=50),
    "exploratory": Sample(temperature=0.8, top_p=0.95),
    "greedy": Greedy(),
    "nucleus": Sample(top_p=0.9),
    "top-k": Sample(top_k=50, top_p=1.0),
    "beam": Beam(),
}
"""By the names under which they are asked for. Temperatures: 0.1 to 0.3 for production, 0.4 to 0.6 balanced, 0.7 to
0.9 exploratory."""
