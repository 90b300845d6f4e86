"""The recipe: every key a user can write, its type, its bounds, its default, and what it means.

Two levels: sections at the top, keys within. One recipe is one model and a list of stages. What is
described here is all there is: the reference in docs/recipe.md, the JSON schema for editors, the check
and the resolved recipe are made from these classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from whet.cleaning.base import FILTERS
from whet.fill_in_the_middle import RESERVE
from whet.recipe.decoding import Greedy as Greedy
from whet.recipe.decoding import Sample as Sample
from whet.recipe.evaluate import Evaluate as Evaluate
from whet.recipe.evaluate import WrittenSolidity as WrittenSolidity
from whet.recipe.model import HUB_NAME as HUB_NAME
from whet.recipe.model import AnyModel
from whet.recipe.model import Lora as Lora
from whet.recipe.model import Model as Model
from whet.recipe.model import Tuned as Tuned
from whet.recipe.registered import AnyFilters
from whet.recipe.section import Section, Share, refuse
from whet.recipe.stage import Curriculum as Curriculum
from whet.recipe.stage import FillInTheMiddle as FillInTheMiddle
from whet.recipe.stage import Stage as Stage
from whet.sources.base import resolve

TUNED_LENGTH = 2048
"""Default of `sequence_length` with a base: its own limit is often far more than fits."""
BEGINNINGS = ("untrained", "base")


class Prepare(Section):
    """How raw material becomes clean, deduplicated, split documents."""

    cleaning: Annotated[dict[str, dict[str, Any] | bool], AnyFilters] = Field(
        default_factory=dict,
        description="Settings per filter, by its name; `false` switches a filter off. "
        "Filters not named run with their defaults. One with settings that no stage has records for is refused.",
    )
    exact_duplicates: Literal["drop", "keep"] = Field(
        default="drop", description="What happens to a second copy of the same text."
    )
    near_duplicate_similarity: Annotated[float, Field(ge=0.3, le=1.0)] | None = Field(
        default=0.8,
        description="Documents of one stage at or above this Jaccard similarity (MinHash) are dropped, conversations "
        "if both what was asked and what was answered are; `null` switches it off.",
    )
    validation_share: Share = Field(
        default=0.02, description="Share of groups held out to choose the best checkpoint."
    )
    test_share: Share = Field(
        default=0.03, description="Share of groups held out for the final evaluation; never seen before it."
    )

    @property
    def filters_set(self) -> list[str]:
        """The filters that the recipe gives settings."""
        return [name for name, given in self.cleaning.items() if given is not False]

    @model_validator(mode="after")
    def _check(self) -> Prepare:
        if self.validation_share + self.test_share > 0.9:
            refuse(
                [
                    (
                        "test_share validation_share",
                        "validation_share + test_share leaves less than a tenth for training",
                    )
                ]
            )
        return self


class Tokenizer(Section):
    """The byte-level BPE tokenizer: trained on the stages' training documents, or an existing one."""

    path: str | None = Field(
        default=None,
        description="Folder (or tokenizer.json) of an existing tokenizer; then nothing is trained.",
    )
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)] = Field(
        default=32_000,
        description="Number of token ids, special tokens included. 8,000 to 100,000 is usual; "
        "small models want small ones.",
    )
    sample_bytes: Annotated[int, Field(ge=1_000)] = Field(
        default=100_000_000,
        description="At most this much training text is read for the merges, "
        "spread evenly over the documents.",
    )
    special_tokens: list[str] = Field(default_factory=list, description="Reserved besides the built-in ones.")

    @field_validator("path")
    @classmethod
    def _found(cls, path: str | None, info: ValidationInfo) -> str | None:
        """The absolute path, once a tokenizer's file lies there; it is read later."""
        if path is None:
            return None
        absolute = resolve(path, info)
        file = absolute / "tokenizer.json" if os.path.isdir(absolute) else absolute
        if not os.path.isfile(file):
            raise ValueError(f"there is no tokenizer.json at {absolute}")
        return str(absolute)


class Recipe(Section):
    """One model and the stages that train it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = Field(
        description="Names the run folder."
    )
    description: str = Field(default="", description="One line for `whet recipes` and the report.")
    output: str = Field(default="runs", description="Folder for runs, relative to where whet is called.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=42, description="Decides splits, data order, initial weights, sampling."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="auto: CUDA, then MPS, then CPU."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto",
        description="Of matrix products; weights and optimiser stay in fp32. auto: bf16 where the hardware "
        "has it, else fp16 on CUDA, else fp32. fp16 scales the loss by itself.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="torch.compile; auto: where a compiler exists and the run is long enough to pay for it.",
    )
    processes: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=1, description="Training processes, one per device. More than one are started with torchrun."
    )
    sharding: Literal["ddp", "fsdp2"] | None = Field(
        default=None,
        description="How several processes share the model: ddp (each holds all of it; the default) or "
        "fsdp2 (each holds a part of weights, gradients and optimiser).",
    )
    prepare: Prepare = Field(default_factory=Prepare, description="Cleaning, duplicates, splits.")
    tokenizer: Tokenizer | None = Field(
        default=None, description="Text to token ids; `null`: its defaults, or with a `base` the base's own."
    )
    model: AnyModel = Field(
        default_factory=lambda: Model(), description="A new model's shape, or an existing model to tune."
    )
    chat_template: Literal["alpaca", "chatml", "plain"] | None = Field(
        default=None,
        description="How conversations become text, for a model that has no template of its own (sft).",
    )
    stages: Annotated[list[Stage], Field(min_length=1)] = Field(
        description="In order; each starts from the one before."
    )
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate(), description="What is measured at the end.")

    @field_validator("output")
    @classmethod
    def _home(cls, output: str) -> str:
        if "\0" in output:
            raise ValueError("holds a character that no folder's name can hold")
        return os.path.expanduser(output)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.tuned is None:
            self.fill(tokenizer=Tokenizer())
            self.__dict__["tokenizer"] = self.tokenizer or Tokenizer()
        # Copies, from what was given: a stage made in Python may be part of another recipe too, with another model.
        self.__dict__["stages"] = [self._filled(stage) for stage in self.stages]
        refuse(self._contradictions())
        return self

    def _filled(self, given: Stage) -> Stage:
        """A stage with the defaults that depend on the model, on its objective, or on one another."""
        own = given.names_given()
        stage = Stage.model_construct(set(own), **{name: getattr(given, name) for name in own})
        if self.tuned:
            stage.fill(
                optimizer="adamw",
                learning_rate=2e-4 if self.tuned.adapter else 1e-5,
                betas=[0.9, 0.999],
                weight_decay=0.01,
            )
        if stage.chats:
            stage.fill(overflow="drop")
        length = TUNED_LENGTH if isinstance(self.model, Tuned) else self.model.context
        if stage.sequence_length is None:
            stage.__dict__["sequence_length"] = length
        stage.fill(sequence_length=length)
        assert stage.sequence_length is not None
        if stage.batch_tokens:
            stage.fill(batch_size=max(1, stage.batch_tokens // stage.sequence_length))
        return stage

    @property
    def tuned(self) -> Tuned | None:
        """The base and how it is tuned; None for a new model."""
        return self.model if isinstance(self.model, Tuned) else None

    def rows_per_step(self, stage: Stage) -> int:
        """Examples or rows that one optimiser step of this stage learns from, over all micro-batches and processes."""
        return stage.batch_size * stage.accumulation * self.processes

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if self.sharding and self.processes == 1:
            yield (
                "sharding processes",
                "one process has nothing to share; set processes, or leave sharding out",
            )
        if self.tuned and self.tokenizer and self.tokenizer.path is None:
            yield (
                "tokenizer",
                "a base comes with its tokenizer; leave this out, or name another one by tokenizer.path",
            )
        if self.chat_template and not any(stage.chats for stage in self.stages):
            yield "chat_template", "no stage learns from conversations; leave it out"
        for name in self.prepare.filters_set:
            reasons = [stage.passes_by(FILTERS.get(name)) for stage in self.stages]
            if all(reasons):
                yield f"prepare.cleaning.{name}", f"no stage has records for it: {reasons[0]}; leave it out"
        names = [stage.name for stage in self.stages]
        for index, stage in enumerate(self.stages):
            if stage.name in names[:index]:
                yield f"stages.{index}.name", f"two stages are named {stage.name!r}"
            if stage.name in BEGINNINGS:
                yield (
                    f"stages.{index}.name",
                    f"{stage.name!r} is what the report calls the model before training",
                )
            yield from self._contradictions_of(stage, f"stages.{index}")
        solidity = any(source.NAME == "solidity" for stage in self.stages for source in stage.data)
        if self.evaluate.solidity and not solidity:
            yield (
                "evaluate.solidity",
                "no stage has `source: solidity`, so nobody is asked to write any; leave it out",
            )
        stride, shortest = self.evaluate.stride, min(stage.sequence_length or 0 for stage in self.stages)
        if stride is not None and stride > shortest:
            yield (
                "evaluate.stride",
                f"longer than a stage's sequence_length ({shortest}): tokens would go unscored",
            )

    def _contradictions_of(self, stage: Stage, at: str) -> Iterator[tuple[str, str]]:
        length = stage.sequence_length or 0
        if isinstance(self.model, Model) and length > self.model.context:
            yield (
                f"{at}.sequence_length model.context",
                f"{length} is longer than the model's context of {self.model.context}",
            )
        if stage.fill_in_the_middle and length < 2 * RESERVE:
            yield (
                f"{at}.fill_in_the_middle {at}.sequence_length",
                f"{RESERVE} positions are reserved in every piece; {length} is too short for that",
            )
        arrays = any(source.YIELDS == "arrays" for source in stage.data)
        if arrays and not (self.tokenizer and self.tokenizer.path):
            yield (
                f"{at}.data tokenizer.path",
                "token arrays need the tokenizer they were made with: set tokenizer.path",
            )
        rows = max(1, (stage.batch_tokens or 0) // length)
        if stage.batch_tokens and stage.batch_tokens < length:
            yield f"{at}.batch_tokens", f"less than one row of {length} (sequence_length)"
        elif stage.batch_tokens and stage.batch_size != rows:
            yield (
                f"{at}.batch_tokens {at}.batch_size",
                f"{stage.batch_tokens} tokens are {rows} rows of {length}; leave batch_size or batch_tokens out",
            )
        if self.tuned and self.tuned.adapter and stage.optimizer == "muon":
            yield (
                f"{at}.optimizer",
                "Muon is for whole weight matrices, not for the two thin ones of an adapter",
            )
