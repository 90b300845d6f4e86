"""The recipe: every key a user can write, its type, its bounds, its default, and what it means.

Two levels: sections at the top, keys within. One recipe is one model and a list of stages. What is
described here is all there is: the reference in docs/recipe.md, the JSON schema for editors, the check
and the resolved recipe are made from these classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from whet.cleaning.base import FILTERS, Filter
from whet.fill_in_the_middle import RESERVE
from whet.metrics.base import METRICS
from whet.models.families.base import from_nothing
from whet.models.shape import SIZES
from whet.objectives.base import OBJECTIVES
from whet.recipe.decoding import Decoding, Greedy, Sample
from whet.recipe.registered import AnyFilters, AnySource, NameIn
from whet.recipe.section import Section
from whet.sources.base import Source, resolve


def refuse(found: Iterable[tuple[str, str]]) -> None:
    """Raise one error for all contradictions found: (key, message).

    Keys are dotted and start in the section; several are separated by spaces, see `explain`.
    """
    problems = list(found)
    if problems:
        text = "; ".join(f"{key}: {message}" for key, message in problems)
        raise PydanticCustomError("contradiction", "{text}", {"text": text, "problems": problems})


HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TUNED_LENGTH = 2048
"""Default of `sequence_length` with a base: its own limit is often far more than fits."""
BEGINNINGS = ("untrained", "base")
CHAT_KEYS = ("loss_on", "prompt_loss_weight", "batch_tokens")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Literal["tiny", "medium", "large", "xlarge"]


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
        file = absolute / "tokenizer.json" if absolute.is_dir() else absolute
        if not file.is_file():
            raise ValueError(f"there is no tokenizer.json at {absolute}")
        return str(absolute)


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
        if folder.is_dir():
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

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.tuned is None and self.tokenizer is None:
            self.__dict__["tokenizer"] = Tokenizer()
        # Copies, from what was given: a stage made in Python may be part of another recipe too, with another model.
        self.__dict__["stages"] = [self._filled(stage) for stage in self.stages]
        refuse(self._contradictions())
        return self

    def _filled(self, given: Stage) -> Stage:
        """A stage with the defaults that depend on the model, on its objective, or on one another."""
        own = given.model_fields_set
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
