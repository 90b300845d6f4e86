"""What one contender is asked to do: plain values that travel to its process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from whet.models.shape import SIZES, Shape
from whet.recipe import yaml12
from whet.recipe.load import validate
from whet.recipe.schema import Recipe, Stage

SEED = 42
RATE = 1e-3
ROWS_PER_STEP = 16
STAGE = "code"

System = Literal["whet", "hf", "trl", "litgpt", "bare"]
Feed = Literal["positions", "mask", "open", "bfd_split", "wrapped"]
"""How documents reach a peer. `positions`, `mask`: whet's rows, kept apart by restarting position ids or by an
explicit mask; `open`: whet's rows, attention crosses documents; `bfd_split`, `wrapped`: TRL's own packing. LitGPT and the bare
loop cut the token file into rows themselves, and attention crosses documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One contender. `micro` rows per micro-batch, accumulated to `rows` per optimiser step.

    `keep_memory`: the C library keeps freed memory instead of giving it back to the system after every tensor.
    `fused`: AdamW in one kernel (`litgpt` and `bare`; everybody else always). `feed`: `hf` and `trl` only.
    """

    name: str
    system: System
    vocab_size: int = 4096
    length: int = 256
    rows: int = ROWS_PER_STEP
    micro: int = ROWS_PER_STEP
    compile: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"
    attention: Literal["sdpa", "eager"] = "sdpa"
    feed: Feed = "positions"
    fused: bool = True
    workers: int = 0
    keep_memory: bool = False
    prepared: str = ""

    @property
    def folder(self) -> Path:
        """The prepared artefact."""
        return Path(self.prepared)

    @property
    def shape(self) -> Shape:
        """The tiny Llama that every contender trains."""
        numbers: dict[str, Any] = {**SIZES["tiny"], "vocab_size": self.vocab_size}
        return Shape(norm="rmsnorm", positions="rope", **numbers)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def recipe(
    vocab_size: int, length: int = 256, optimizer: str = "adamw", micro: int = ROWS_PER_STEP
) -> Recipe:
    """The recipe behind every job. No weight decay: the peers choose other parameters for it."""
    stage = {
        "name": STAGE,
        "data": [{"source": "stdlib"}],
        "sequence_length": length,
        "batch_size": micro,
        "accumulation": ROWS_PER_STEP // micro,
        "optimizer": optimizer,
        "learning_rate": RATE,
        "schedule": "constant",
        "weight_decay": 0.0,
    }
    values = {
        "name": f"bench-{vocab_size}",
        "seed": SEED,
        "tokenizer": {"vocab_size": vocab_size},
        "model": {"size": "tiny"},
        "stages": [stage],
    }
    return validate(yaml12.Tree(values, name="bench"), Path.cwd())


def stage_of(job: Job) -> Stage:
    """The training stage of a job."""
    return recipe(job.vocab_size, job.length, job.optimizer, job.micro).stages[0]
