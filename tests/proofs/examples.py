"""The first examples of four kinds of stages, as bytes; also a program, so that another process can read them.

    python -m tests.proofs.examples FOLDER FIRST_STEP LAST_STEP OUT

The material is made by integer arithmetic alone, so that the hashes which are committed hold everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whet.packing import Batch
from whet.recipe.schema import Stage
from whet.tokenstore import TokenWriter
from whet.train.data import TrainingData

VOCAB_SIZE, LENGTH, SEED = 500, 32, 2026
EXAMPLES = 10_000
SOURCES = ((700, 2, 120), (40, 10, 60), (300, 5, 30))
"""Documents of each source, their shortest and their longest."""

WEIGHTS = (3.0, 1.0, 1.0)
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "weights": {"weights": WEIGHTS},
    "length": {"curriculum": {"by": "length", "bands": 7, "epochs": 2}},
    "weights and difficulty": {
        "weights": WEIGHTS,
        "curriculum": {"by": "difficulty", "bands": 10, "epochs": 3},
    },
}


def numbers(seed: int) -> Iterator[int]:
    """Knuth's MMIX generator: the same on every machine and in every version of anything."""
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 33


def write(folder: Path) -> Path:
    """A token store of three sources with documents of different lengths and words."""
    draw, writer = numbers(1), TokenWriter(folder, VOCAB_SIZE)
    for source, (documents, shortest, longest) in enumerate(SOURCES):
        for at in range(documents):
            size = shortest + next(draw) % (longest - shortest + 1)
            words = 20 + next(draw) % (VOCAB_SIZE - 20)
            ids = [next(draw) % words for _ in range(size)]
            writer.add(ids, text_bytes=size, about={"origin": f"{source}:{at}"}, source=source)
    writer.finish()
    writer.close()
    return folder


def stage(folder: Path, *, batch_size: int = 8, accumulation: int = 2, **settings: Any) -> Stage:
    """A validated stage with the wanted weights and curriculum."""
    given = settings.pop("weights", [None] * len(SOURCES))
    values = {
        "name": "s",
        "data": [{"source": "text", "path": str(folder), "weight": weight} for weight in given],
        "sequence_length": LENGTH,
        "batch_size": batch_size,
        "accumulation": accumulation,
        **settings,
    }
    return Stage.model_validate(values)


def data(folder: Path, **settings: Any) -> TrainingData:
    """What training reads."""
    return TrainingData(folder, stage(folder, **settings), vocab_size=VOCAB_SIZE, pad_id=0, seed=SEED)


def as_bytes(batches: list[Batch]) -> list[bytes]:
    """Everything the model is shown of each row."""
    return [
        np.stack([batch.inputs, batch.labels, batch.positions, batch.segments], axis=1)[row]
        .astype("<i4")
        .tobytes()
        for batch in batches
        for row in range(len(batch.inputs))
    ]


def examples(training: TrainingData, first: int, last: int) -> Iterator[bytes]:
    """Every example of the steps first .. last - 1."""
    for step in range(first, last):
        yield from as_bytes(training.step(step))


if __name__ == "__main__":
    folder, first, last, out = sys.argv[1:]
    for name, settings in CASES.items():
        wanted = data(Path(folder), **settings)
        Path(out, f"{name}.bin").write_bytes(b"".join(examples(wanted, int(first), int(last))))
    print("torch" in sys.modules)
