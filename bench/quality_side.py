"""The process of one training in quality.py: `python quality_side.py ORDER`, an order as JSON; one JSON line back.

It runs the rooms through `whet.pipeline`, so the figures are those of the product: self-check, validations,
checkpoints and all. Only the scorer is watched, to keep each document's loss for the bootstrap.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from whet import pipeline, store
from whet.metrics.base import DocumentScores

WARM_UP_STEPS = 5
"""Compiling and first touches are over by then."""
LEARNING_RATE_WARM_UP = 20
STAGE = "code"
RECIPE = {
    "prepare": {"validation_share": 0.03, "test_share": 0.06},
    "tokenizer": {"vocab_size": 4096},
    "evaluate": {"floors": 0, "samples": 0},
}
"""Material, tokenizer and split of the quickstart's second stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to train. `rate`: peak learning rate."""

    name: str
    optimizer: str
    precision: str
    rate: float
    compile: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one process does. `steps` 0 only prepares; `spawned` is when its parent started it, in epoch seconds.

    `prepared` is an artefact to copy instead of preparing again; `shape` overrides the model's numbers.
    """

    folder: str
    seed: int
    spawned: float
    steps: int = 0
    compile: str = "auto"
    evaluate: bool = False
    prepared: str = ""
    shape: dict[str, int]
    side: dict[str, Any]

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def recipe_of(order: Order) -> dict[str, Any]:
    """The recipe, ready to be written as YAML (JSON is YAML)."""
    side = Side(**order.side)
    stage = {
        "name": STAGE,
        "data": [{"source": "stdlib"}],
        "sequence_length": 256,
        "batch_size": 16,
        "steps": max(1, order.steps),
        "optimizer": side.optimizer,
        "learning_rate": side.rate,
        "schedule": "linear",
        "warmup_steps": min(LEARNING_RATE_WARM_UP, order.steps // 10),
        "log_every": 1,
    }
    return {
        "name": "quality",
        "output": order.folder,
        "seed": order.seed,
        "precision": side.precision,
        "compile": order.compile,
        "model": {"size": "tiny", **order.shape},
        "stages": [stage],
        **RECIPE,
    }


def carry_out(order: Order) -> dict[str, Any]:
    """Prepare, train, evaluate as ordered; what came of it."""
    folder = Path(order.folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe_of(order), indent=1), "utf-8")
    run = pipeline.open_run(str(file))
    if order.prepared:
        shutil.copytree(order.prepared, run.folder / "prepared", dirs_exist_ok=True)
    prepared = pipeline.prepare(run)
    if not order.steps:
        return {"prepared": str(prepared.folder)}
    models = pipeline.train(run)[2]
    everything_s = time.time() - order.spawned
    found = training_figures(run.folder / "stages" / STAGE, models[-1].record, everything_s)
    if order.evaluate:
        found.update(held_out(run))
    return found


def training_figures(stage: Path, record: dict[str, Any], everything_s: float) -> dict[str, Any]:
    """Steady seconds per step, what the first steps took beyond it, and where all seconds went."""
    lines = store.read_json_lines(stage / "log.jsonl", print)
    clock = [0.0, *(line["seconds"] for line in lines if "loss" in line)]
    steps = [after - before for before, after in pairwise(clock)]
    steady = statistics.median(steps[WARM_UP_STEPS:] or steps)
    first = steps[:WARM_UP_STEPS]
    warm_up_s = max(0.0, sum(first) - steady * len(first))
    return {
        "steps": record["steps"],
        "tokens": record["tokens"],
        "compiled": record["environment"]["compile"],
        "step_s": steady,
        "warm_up_s": warm_up_s,
        "training_s": clock[-1] - warm_up_s,
        "everything_s": everything_s,
        "best_validation_loss": record["best_validation_loss"],
        "result_step": record["result_step"],
        "last_loss": [line["loss"] for line in lines if "loss" in line][-1],
    }


def held_out(run: pipeline.Run) -> dict[str, Any]:
    """Bits per byte as the evaluate room says it, and each test document's loss and bytes."""
    import whet.evaluate.run as room

    seen: list[DocumentScores] = []
    own = room.score

    def watched(*arguments: Any, **named: Any) -> DocumentScores:
        seen.append(own(*arguments, **named))
        return seen[-1]

    room.score = watched
    record = pipeline.evaluate(run).record
    scores = seen[-1]
    return {
        "bits_per_byte": record["matrix"]["bits_per_byte"][STAGE][STAGE]["value"],
        "split": record["split"][STAGE],
        "nll_nats": [round(value, 3) for value in scores.nll_nats.tolist()],
        "bytes": scores.text_bytes.tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(carry_out(Order(**json.loads(sys.argv[1])))))
