"""The recipe's `stages:`, each a stretch of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from whet.cleaning.base import Filter
from whet.objectives.base import OBJECTIVES
from whet.recipe.registered import AnySource, NameIn
from whet.recipe.section import Section, Share, refuse
from whet.sources.base import Source

CHAT_KEYS = ("loss_on", "prompt_loss_weight", "batch_tokens")


class FillInTheMiddle(Section):
    """Pieces of documents as prefix, suffix, middle instead of from left to right (arXiv 2207.14255)."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of pieces that are rearranged, drawn anew in every epoch."
    )
    spm_share: Share = Field(
        default=0.5,
        description="Share of those that begin with the suffix (SPM); the others begin with the prefix (PSM).",
    )


class Curriculum(Section):
    """The first epochs go from easy rows to hard ones (Platanios et al. 2019), later ones are shuffled."""

    by: Literal["length", "difficulty"] = Field(
        description="length: mean tokens of a row's documents; difficulty: mean rarity of a row's tokens "
        "(negative log probability among the stage's own training tokens)."
    )
    bands: Annotated[int, Field(ge=2, le=100)] = Field(
        default=10,
        description="Parts of equal size, each shuffled by itself, in which an epoch goes from easy to hard.",
    )
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Epochs that are ordered so."
    )


class Stage(Section):
    """One stretch of training: its data, its objective, its optimisation. Starts from the stage before it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="Names folders and the domain in the report."
    )
    objective: Annotated[str, NameIn(OBJECTIVES, "objective")] = Field(
        default="pretrain", description="What is learned: the name of an objective."
    )
    data: Annotated[list[Annotated[Source, AnySource]], Field(min_length=1)] = Field(
        description="Where the raw material comes from."
    )
    sequence_length: Annotated[int, Field(ge=8)] | None = Field(
        default=None,
        description="Longest example in tokens; default: the model's context, with a `base` 2048.",
    )
    overflow: Literal["error", "drop", "split", "truncate_left", "truncate_right"] = Field(
        default="split",
        description="What happens to a longer document; counted in the plan, never silent. "
        "Default for conversations: drop.",
    )
    loss_on: Literal["all", "last", "marked"] = Field(
        default="all",
        description="sft: which answers are learned: every one, each conversation's last, or those whose message "
        "says so (`train: true` or `weight: 1`).",
    )
    prompt_loss_weight: Share = Field(
        default=0.0,
        description="sft: what a token of the rest (prompts, template) counts beside one of an answer.",
    )
    fill_in_the_middle: FillInTheMiddle | None = Field(
        default=None,
        description="Train on rearranged pieces too, so that the model can write what stands between two texts; "
        "`null` switches it off.",
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=8,
        description="Examples per device and micro-batch: conversations with sft (packed without padding), else "
        "packed rows.",
    )
    batch_tokens: Annotated[int, Field(ge=8, le=100_000_000)] | None = Field(
        default=None,
        description="sft: positions per micro-batch instead of `batch_size`; then conversations are packed into rows "
        "of `sequence_length` beforehand, and their number in a step varies.",
    )
    accumulation: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1, description="Micro-batches per optimiser step."
    )
    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="Passes over the stage's rows (default 1)."
    )
    steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Optimiser steps, instead of epochs."
    )
    curriculum: Curriculum | None = Field(
        default=None, description="Easy rows first; `null` shuffles every epoch plainly."
    )
    optimizer: Literal["muon", "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = Field(
        default="muon",
        description="muon: Muon on the matrices, AdamW on embeddings, head and vectors. 8bit: state in eight bits; "
        "paged: state moves to the CPU where a GPU has no room for it. Default with a `base`: adamw.",
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        default=2e-3,
        description="Peak learning rate (Muon's is scaled to match AdamW's). Default with a `base`: 2e-4 for "
        "adapters, 1e-5 for every weight.",
    )
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.9, 0.95],
        description="AdamW's averaging. Default with a `base`: [0.9, 0.999].",
    )
    eps: Annotated[float, Field(gt=0, le=1e-2)] = Field(default=1e-8, description="AdamW's epsilon.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.95, description="Muon's momentum (Nesterov)."
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1,
        description="Decoupled, on matrices only: not on vectors or embeddings. Default with a `base`: 0.01.",
    )
    grad_clip: Annotated[float, Field(gt=0)] | None = Field(
        default=1.0, description="Largest global gradient norm; `null` switches clipping off."
    )
    schedule: Literal["linear", "cosine", "constant", "wsd"] = Field(
        default="cosine", description="Learning rate after the warm-up; wsd = warm-up, stable, decay."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Steps over which the learning rate rises from zero."
    )
    warmup_share: Share = Field(
        default=0.0, description="The same as a share of the stage's steps; of both the longer one counts."
    )
    decay_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3, description="wsd: the share of the steps after the warm-up that the final decay takes."
    )
    final_learning_rate_share: Share = Field(
        default=0.0, description="Where the schedule ends, as a share of the peak."
    )
    skip_steps: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=3,
        description="Steps in any 1,000 whose loss or gradient is not finite (or a spike) that are passed over, "
        "each said with its documents; one more stops training. 0 stops at the first.",
    )
    spike_factor: Annotated[float, Field(gt=1)] | None = Field(
        default=None,
        description="A gradient norm above this many times its running mean counts as a spike and is passed "
        "over like one that is not finite; `null` lets every finite one through.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, about a third more time.",
    )
    evaluate_every: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Steps between validations (default: twenty in a stage)."
    )
    validation_tokens: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="At most this many tokens per validation during training."
    )
    save_every: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Steps between checkpoints (default: ten in a stage)."
    )
    keep: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Newest checkpoints kept, besides the best."
    )
    log_every: Annotated[int, Field(ge=1)] = Field(default=10, description="Steps between log lines.")
    result: Literal["best", "last"] = Field(
        default="best", description="Which weights the stage hands on: lowest validation loss, or the last."
    )

    @model_validator(mode="after")
    def _check(self) -> Stage:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if self.epochs is not None and self.steps is not None:
            yield "steps epochs", "epochs and steps both say when to end; keep one (null unsets the other)"
        if self.steps is not None and self.warmup_steps > self.steps:
            yield (
                "warmup_steps steps",
                f"the warm-up ({self.warmup_steps}) outlasts the stage ({self.steps} steps)",
            )
        yield from self._contradicting_data()
        weighted = [source.weight is not None for source in self.data]
        if any(weighted) and not all(weighted):
            yield (
                f"data.{weighted.index(False)}",
                f"has no weight, but data.{weighted.index(True)} has; give every source of the stage one, or none",
            )

    def _contradicting_data(self) -> Iterator[tuple[str, str]]:
        """What the sources yield against what the objective reads, and the keys that only one of them knows."""
        kinds = {source.YIELDS for source in self.data}
        (kind, *others) = kinds
        if others:
            yield "data", f"a stage reads records of one kind, not both {' and '.join(sorted(kinds))}"
            return
        if self.chats != (kind == "conversations"):
            yield (
                "objective data",
                f"objective {self.objective} reads {OBJECTIVES.get(self.objective).READS}, its sources yield {kind}",
            )
        if self.fill_in_the_middle and kind != "documents":
            what = {"arrays": "rows of ready-made token arrays", "conversations": "conversations"}[kind]
            yield (
                "fill_in_the_middle data",
                f"{what} are no texts that could be cut and tokenised anew",
            )
        if self.chats and self.overflow == "split" and "overflow" in self.model_fields_set:
            yield "overflow", "a later part of a conversation would be answers without their question"
        for name in CHAT_KEYS if not self.chats else ():
            if getattr(self, name) != Stage.model_fields[name].default:
                yield name, f"is for objectives that learn from conversations, not for {self.objective}"

    @property
    def chats(self) -> bool:
        """Whether it learns from conversations."""
        return OBJECTIVES.get(self.objective).READS == "conversations"

    def passes_by(self, kind: type[Filter]) -> str:
        """Why a filter does not see this stage's records; "" if it does."""
        if any(source.YIELDS == "arrays" for source in self.data):
            return "rows of token ids are taken as they are"
        return "it judges files, not conversations" if self.chats and not kind.ON_CONVERSATIONS else ""

    def warmup(self, steps: int) -> int:
        """Steps of warm-up in a stage of so many."""
        return max(self.warmup_steps, round(self.warmup_share * steps))

    @property
    def counts_examples(self) -> bool:
        """Whether `batch_size` counts conversations, packed when a step is read; else it counts packed rows."""
        return self.chats and self.batch_tokens is None

    @property
    def weights(self) -> dict[str, float]:
        """Each source's weight by a name that tells it from the others; empty if they come as they are."""
        kinds = [source.NAME for source in self.data]
        return {
            kind if kinds.count(kind) == 1 else f"{kind} (data.{at})": source.weight
            for at, (kind, source) in enumerate(zip(kinds, self.data, strict=True))
            if source.weight is not None
        }
