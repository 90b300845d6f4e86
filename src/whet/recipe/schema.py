"""The recipe: every key a user can write, its type, its bounds, its default, and what it means.

Two levels: sections at the top, keys within. One recipe is one model and a list of stages. What is
described here is all there is: the reference in docs/recipe.md, the JSON schema for editors, the check
and the resolved recipe are made from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from whet.cleaning.base import FILTERS
from whet.metrics.base import METRICS
from whet.models.shape import SIZES
from whet.objectives.base import OBJECTIVES
from whet.sources.base import SOURCES, Source


def contradiction(key: str, message: str) -> PydanticCustomError:
    """An error about `key` (dotted, relative to the section it is raised in)."""
    escaped = message.replace("{", "(").replace("}", ")")
    return PydanticCustomError("contradiction", escaped, {"key": key})  # type: ignore[arg-type]


class Section(BaseModel):
    """Unknown keys are errors; types are never bent (a number in quotes is not a number)."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True)


class AnySource:
    """Validates one entry of `data:` by the registered source that its `source:` key names."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = {kind.NAME: handler.generate_schema(kind) for kind in SOURCES}
        return {"type": "tagged-union", "discriminator": "source", "choices": kinds, "strict": True}


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Literal["tiny", "medium", "large", "xlarge"]


class Prepare(Section):
    """How raw material becomes clean, deduplicated, split documents."""

    cleaning: dict[str, dict[str, Any] | bool] = Field(
        default_factory=dict,
        description="Settings per filter, by its name; `false` switches a filter off. Filters not named run with their defaults.",
    )
    exact_duplicates: Literal["drop", "keep"] = Field("drop", description="What happens to a second copy of the same text.")
    near_duplicate_similarity: Annotated[float, Field(ge=0.3, le=1.0)] | None = Field(
        0.8, description="Documents of one stage at or above this Jaccard similarity (MinHash) are dropped; `null` switches it off."
    )
    validation_share: Share = Field(0.02, description="Share of groups held out to choose the best checkpoint.")
    test_share: Share = Field(0.03, description="Share of groups held out for the final evaluation; never seen before it.")

    @model_validator(mode="after")
    def _check(self) -> Prepare:
        if self.validation_share + self.test_share > 0.9:
            raise contradiction("test_share", "validation_share + test_share leaves less than a tenth for training")
        for name, settings in self.cleaning.items():
            if name not in FILTERS.names():
                raise contradiction(f"cleaning.{name}", f"no filter named {name!r}; there are: {', '.join(FILTERS.names())}")
            if settings is True:
                raise contradiction(f"cleaning.{name}", "`true` says nothing: a filter runs unless it is `false`")
            if isinstance(settings, dict):
                try:
                    FILTERS.get(name).model_validate(settings)
                except ValueError as error:
                    raise contradiction(f"cleaning.{name}", _first_line(error)) from error
        return self


class Tokenizer(Section):
    """The byte-level BPE tokenizer: trained on the stages' training documents, or an existing one."""

    path: str | None = Field(None, description="Folder (or tokenizer.json) of an existing tokenizer; then nothing is trained.")
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)] = Field(
        32_000, description="Number of token ids, special tokens included. 8,000 to 100,000 is usual; small models want small ones."
    )
    sample_bytes: Annotated[int, Field(ge=1_000)] = Field(
        100_000_000, description="At most this much training text is read for the merges, spread evenly over the documents."
    )
    special_tokens: list[str] = Field(default_factory=list, description="Reserved besides the built-in ones.")


class Model(Section):
    """The model's shape. `size` sets every number; any of them can be set by itself."""

    size: Size = Field("tiny", description="The dial: tiny, medium, large or xlarge.")
    norm: Literal["rmsnorm", "layernorm"] = Field("rmsnorm", description="Normalisation.")
    positions: Literal["rope", "learned"] = Field("rope", description="Position encoding.")
    d_model: Annotated[int, Field(ge=8, le=65_536)] = Field(256, description="Width of the residual stream.")
    layers: Annotated[int, Field(ge=1, le=1_000)] = Field(4, description="Number of blocks.")
    heads: Annotated[int, Field(ge=1, le=1_024)] = Field(4, description="Attention heads; divides d_model.")
    d_ff: Annotated[int, Field(ge=8, le=1_000_000)] = Field(1024, description="Width inside the feed-forward layer.")
    context: Annotated[int, Field(ge=8, le=1_048_576)] = Field(512, description="Longest sequence the model can read, in tokens.")
    dropout: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.0, description="Dropout; where a family applies it differs (see docs/recipe.md)."
    )
    tie_embeddings: bool = Field(True, description="Input and output embedding share their weights.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_size(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        size = values.get("size", "tiny")
        return {**SIZES[size], **values} if isinstance(size, str) and size in SIZES else values

    @model_validator(mode="after")
    def _check(self) -> Model:
        if self.d_model % self.heads:
            raise contradiction("heads", f"{self.heads} heads do not divide d_model {self.d_model}")
        if self.positions == "rope" and (self.d_model // self.heads) % 2:
            raise contradiction("heads", f"rope needs an even head width, {self.d_model}/{self.heads} is odd")
        if self.norm == "rmsnorm" and self.positions == "learned":
            raise contradiction("positions", "no stock architecture has rmsnorm with learned positions; take rope, or layernorm")
        return self


class Stage(Section):
    """One stretch of training: its data, its objective, its optimisation. Starts from the stage before it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(description="Names folders and the domain in the report.")
    objective: str = Field("pretrain", description="What is learned; see `whet recipes --parts`.")
    data: Annotated[list[Annotated[Source, AnySource]], Field(min_length=1)] = Field(description="Where the raw material comes from.")
    sequence_length: Annotated[int, Field(ge=8)] | None = Field(None, description="Longest example in tokens; default: the model's context.")
    overflow: Literal["error", "drop", "split", "truncate_left", "truncate_right"] = Field(
        "split", description="What happens to a longer document; counted in the manifest, never silent."
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(8, description="Examples (packed rows) per device and micro-batch.")
    accumulation: Annotated[int, Field(ge=1, le=100_000)] = Field(1, description="Micro-batches per optimiser step.")
    epochs: Annotated[float, Field(gt=0, le=10_000)] | None = Field(None, description="Passes over the stage's rows (default 1).")
    steps: Annotated[int, Field(ge=1)] | None = Field(None, description="Optimiser steps, instead of epochs.")
    optimizer: Literal["muon", "adamw"] = Field("muon", description="muon: Muon on the matrices, AdamW on embeddings, head and vectors.")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(2e-3, description="Peak learning rate (Muon's is scaled to match AdamW's).")
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.9, 0.95], description="AdamW's averaging."
    )
    eps: Annotated[float, Field(gt=0, le=1e-2)] = Field(1e-8, description="AdamW's epsilon.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.95, description="Muon's momentum (Nesterov).")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="Decoupled, on matrices only: not on vectors or embeddings.")
    grad_clip: Annotated[float, Field(gt=0)] | None = Field(1.0, description="Largest global gradient norm; `null` switches clipping off.")
    schedule: Literal["linear", "cosine", "constant", "wsd"] = Field("cosine", description="Learning rate after the warm-up; wsd = warm-up, stable, decay.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps over which the learning rate rises from zero.")
    decay_share: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="wsd: the share of all steps spent in the final decay.")
    final_learning_rate_share: Share = Field(0.0, description="Where the schedule ends, as a share of the peak.")
    gradient_checkpointing: bool = Field(False, description="Recompute activations in the backward pass: less memory, about a third more time.")
    evaluate_every: Annotated[int, Field(ge=1)] | None = Field(None, description="Steps between validations (default: twenty in a stage).")
    validation_tokens: Annotated[int, Field(ge=1)] = Field(100_000, description="At most this many tokens per validation during training.")
    save_every: Annotated[int, Field(ge=1)] | None = Field(None, description="Steps between checkpoints (default: ten in a stage).")
    keep: Annotated[int, Field(ge=1)] = Field(2, description="Newest checkpoints kept, besides the best.")
    log_every: Annotated[int, Field(ge=1)] = Field(10, description="Steps between log lines.")
    result: Literal["best", "last"] = Field("best", description="Which weights the stage hands on: lowest validation loss, or the last.")

    @model_validator(mode="after")
    def _check(self) -> Stage:
        if self.objective not in OBJECTIVES.names():
            raise contradiction("objective", f"no objective named {self.objective!r}; there are: {', '.join(OBJECTIVES.names())}")
        if self.epochs is not None and self.steps is not None:
            raise contradiction("steps", "epochs and steps both say when to end; keep one")
        if self.steps is not None and self.warmup_steps > self.steps:
            raise contradiction("warmup_steps", f"the warm-up ({self.warmup_steps}) is longer than the stage ({self.steps} steps)")
        pretokenized = {source.PRETOKENIZED for source in self.data}
        if len(pretokenized) > 1:
            raise contradiction("data", "a stage reads either documents or ready-made token arrays, not both")
        return self


class Greedy(Section):
    """The likeliest token each time."""

    kind: Literal["greedy"]
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0


class Sample(Section):
    """Drawn from the distribution."""

    kind: Literal["sample"]
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0


class Beam(Section):
    """The best of several hypotheses kept side by side."""

    kind: Literal["beam"]
    beams: Annotated[int, Field(ge=2, le=64)] = 5
    length_penalty: float = 1.0
    early_stopping: bool = True


Decoding = Annotated[Greedy | Sample | Beam, Field(discriminator="kind")]


class Evaluate(Section):
    """What is measured on the held-out test split, and how."""

    metrics: Annotated[list[str], Field(min_length=1)] = Field(
        default_factory=lambda: ["bits_per_byte", "perplexity"], description="Names of registered metrics."
    )
    stride: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Tokens scored per window; the rest of the window is context. Default: half the sequence length."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="At most this many test tokens per domain (whole documents, counted).")
    floors: Annotated[int, Field(ge=0, le=5)] = Field(5, description="Highest order of the Kneser-Ney floors; 0 leaves them out.")
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(1000, description="Bootstrap resamples over documents for the 95 % intervals.")
    samples: Annotated[int, Field(ge=0, le=1000)] = Field(4, description="Held-out prompts per domain to continue.")
    prompt_tokens: Annotated[int, Field(ge=1)] = Field(96, description="Length of such a prompt.")
    new_tokens: Annotated[int, Field(ge=1)] = Field(64, description="Length of a continuation.")
    decoding: Annotated[list[Decoding], Field(min_length=1)] = Field(
        default_factory=lambda: [Greedy(kind="greedy"), Sample(kind="sample")], description="How to continue them: greedy, sample, or beam."
    )

    @model_validator(mode="after")
    def _check(self) -> Evaluate:
        for name in self.metrics:
            if name not in METRICS.names():
                raise contradiction("metrics", f"no metric named {name!r}; there are: {', '.join(METRICS.names())}")
        return self


class Recipe(Section):
    """One model and the stages that train it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = Field(description="Names the run folder.")
    description: str = Field("", description="One line for `whet recipes` and the report.")
    output: str = Field("runs", description="Folder for runs, relative to where whet is called.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(42, description="Decides splits, data order, initial weights, sampling.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: CUDA, then MPS, then CPU.")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="Of matrix products; weights and optimiser stay in fp32. auto: bf16 where the hardware has it.")
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile; auto: where a compiler exists and the run is long enough to pay for it.")
    prepare: Prepare = Field(default_factory=Prepare, description="Cleaning, duplicates, splits.")
    tokenizer: Tokenizer = Field(default_factory=lambda: Tokenizer(), description="Text to token ids.")
    model: Model = Field(default_factory=lambda: Model(), description="The model to train.")
    stages: Annotated[list[Stage], Field(min_length=1)] = Field(description="In order; each starts from the one before.")
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate(), description="What is measured at the end.")

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        for index, stage in enumerate(self.stages):
            if stage.name in names[:index]:
                raise contradiction(f"stages.{index}.name", f"two stages are named {stage.name!r}")
            if stage.sequence_length is None:
                stage.sequence_length = self.model.context
            if stage.sequence_length > self.model.context:
                raise contradiction(
                    f"stages.{index}.sequence_length",
                    f"{stage.sequence_length} is longer than the model's context of {self.model.context}",
                )
            if any(source.PRETOKENIZED for source in stage.data) and self.tokenizer.path is None:
                raise contradiction(f"stages.{index}.data", "ready-made token arrays need the tokenizer they were made with: set tokenizer.path")
        stride = self.evaluate.stride
        if stride is not None and stride > min(stage.sequence_length or 0 for stage in self.stages):
            raise contradiction("evaluate.stride", "longer than a stage's sequence_length: tokens between windows would go unscored")
        return self


def _first_line(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
