"""Small trainings that learn something in seconds, to be healthy or to be given one fault."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bases import make_base
from whet import pipeline, store
from whet.progress import Reporter

RECIPE = """
name: tuned
seed: 7
device: cpu
precision: fp32
compile: "off"
prepare: {near_duplicate_similarity: null, validation_share: 0.05, test_share: 0.1}
model:
  base: base
  adapter: {rank: 8, alpha: 16, dropout: 0.0, targets: all-linear}
stages:
  - name: chat
    objective: sft
    data: [{source: conversations, path: chats.jsonl}]
    sequence_length: 128
    batch_size: 8
    steps: 40
    learning_rate: 1e-2
    log_every: 1
    evaluate_every: 10
    save_every: 20
evaluate: {samples: 4, new_tokens: 60, resamples: 100, decoding: [{kind: sample}]}
"""


def word(draw: random.Random) -> str:
    """A word that nobody said before."""
    return "".join(draw.choice("bcdfglmnprst") + draw.choice("aeiou") for _ in range(draw.randint(1, 3)))


def answer(draw: random.Random) -> str:
    """A few words that no other answer shares thirteen tokens in a row with."""
    return f"It is {' '.join(word(draw) for _ in range(draw.randint(2, 9)))}."


def write_chats(
    path: Path, count: int = 640, make: Callable[[random.Random, int], str] = lambda draw, _: answer(draw)
) -> Path:
    """Questions and answers; `make` writes the answer of a number."""
    draw = random.Random(3)
    lines = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": f"What is {word(draw)} {word(draw)} {draw.randint(0, 9999)}?",
                },
                {"role": "assistant", "content": make(draw, number)},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def write_case(folder: Path, model_type: str = "llama", *, count: int = 640, **more: Any) -> Path:
    """A base, conversations and the recipe that tunes it; returns the recipe's path."""
    make_base(folder / "base", model_type, **more)
    write_chats(folder / "chats.jsonl", count)
    path = folder / "tuned.yaml"
    path.write_text(RECIPE, "utf-8")
    return path


def run_of(recipe: Path, *overrides: str, reporter: Reporter | None = None) -> pipeline.Run:
    """Its run, not yet begun, beside it."""
    return pipeline.open_run(
        str(recipe), [f"output={recipe.parent / 'runs'}", *overrides], reporter or Reporter()
    )


def trained(recipe: Path, *overrides: str, reporter: Reporter | None = None) -> Path:
    """Run all of it; the run's folder."""
    run = run_of(recipe, *overrides, reporter=reporter)
    pipeline.run_all(run)
    return run.folder


def found(target: Path | str, *overrides: str) -> list[str]:
    """The names of what the doctor finds."""
    return [finding.name for finding in pipeline.diagnose(str(target), overrides).findings]


def change_log(run: Path, change: Callable[[dict[str, Any]], dict[str, Any]], stage: str = "chat") -> None:
    """Alter every line of a stage's log."""
    path = run / "stages" / stage / "log.jsonl"
    lines = [change(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def change_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alter the record of an artefact, as if it had been made so."""
    body = store.read_sealed(folder / store.MANIFEST)
    change(body["record"])
    store.write_sealed(folder / store.MANIFEST, body)
