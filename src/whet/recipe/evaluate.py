"""The section `evaluate` of a recipe: what is measured at the end."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from whet.metrics.base import METRICS
from whet.recipe.decoding import Decoding, Greedy, Sample
from whet.recipe.registered import NameIn
from whet.recipe.section import Section


class WrittenSolidity(Section):
    """What is scored of the Solidity that the last model writes for held-out functions, beside what others write."""

    functions: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=40,
        description="Held-out records of a domain at most (a function shown and hidden is two, drawn together), in which eras "
        "and lengths have the shares that they have in all; how many are left out is said.",
    )
    new_tokens: Annotated[int, Field(ge=1)] = Field(
        default=512, description="Tokens of an answer at most; answers that are cut are counted."
    )
    judge: bool = Field(
        default=True,
        description="Whether each text is compiled and run beside the original. Without, there is no row of the "
        "emitter and none of the fallback to it.",
    )
    decoding: Decoding = Field(default_factory=lambda: Greedy(), description="How it is written.")


def _greedy_and_sample() -> list[Decoding]:
    return [Greedy(), Sample()]


class Evaluate(Section):
    """What is measured on the held-out test split, and how."""

    metrics: Annotated[list[Annotated[str, NameIn(METRICS, "metric")]], Field(min_length=1)] = Field(
        default_factory=lambda: ["bits_per_byte", "perplexity"], description="Names of registered metrics."
    )
    stride: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens scored per window; the rest of the window is context. "
        "Default: half the sequence length.",
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="At most this many test tokens per domain (whole documents, counted)."
    )
    floors: Annotated[int, Field(ge=0, le=5)] = Field(
        default=5, description="Highest order of the Kneser-Ney floors; 0 leaves them out."
    )
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        default=1000, description="Bootstrap resamples over documents for the 95 % intervals."
    )
    samples: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=4, description="Held-out prompts per domain to continue."
    )
    prompt_tokens: Annotated[int, Field(ge=1)] = Field(default=96, description="Length of such a prompt.")
    new_tokens: Annotated[int, Field(ge=1)] = Field(default=64, description="Length of a continuation.")
    middles: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=32,
        description="Held-out ends of lines to fill in and compare, for each domain whose stage has "
        "`fill_in_the_middle`; at most `new_tokens` long.",
    )
    decoding: Annotated[list[Decoding], Field(min_length=1)] = Field(
        default_factory=_greedy_and_sample, description="How to continue them: greedy, sample, or beam."
    )
    solidity: WrittenSolidity | None = Field(
        default=None,
        description="Scores of the Solidity that the last model writes, for each domain with `source: solidity`; "
        "`null`: none.",
    )
