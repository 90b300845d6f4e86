"""Where a training step's time goes, as shares: data, body forward, head and loss, body backward, clip, update.

    python bench/stages.py

The parts of `whet.train.loop.Loop._step` timed one by one, in its order, with and without compiling, for
AdamW and Muon. The chunked loss makes its gradients in the forward pass, so `head and loss` holds both of
its directions. Left out: logging, validation, checkpoints; overlap (there is none on a CPU).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import rounds
from job import Job, recipe
from quiet import wait_for_quiet
from whet.models import chunked
from whet.models.decoder import CHUNK
from whet.prepare import run as prepare
from whet.progress import Reporter
from whet.train.loop import Loop
from whet.train.optim import clip
from whet_side import decoder_of as new_decoder
from whet_side import loop_of

STEPS, WARM_UP = 12, 3
PARTS = ("data", "body forward", "head and loss", "body backward", "clip", "update")
JOBS = [
    Job(
        name=f"{optimizer}{', compiled' if compiled else ''}",
        system="whet",
        optimizer=optimizer,
        compile=compiled,
    )
    for compiled in (False, True)
    for optimizer in ("adamw", "muon")
]


def step(loop: Loop, number: int) -> list[float]:
    """Seconds per part of one optimiser step (one micro-batch)."""
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    decoder = loop.decoder
    (batch,) = loop.training.step(number)
    mark()
    with decoder.autocast():
        hidden_ND, labels_N = decoder._labelled(batch)
        mark()
        loss = chunked.nll_sum(hidden_ND, labels_N, decoder.head, chunk=CHUNK, loss=decoder._chunk_loss)
    mark()
    (loss / batch.label_count).backward()  # type: ignore[no-untyped-call]
    mark()
    clip(loop.optimizer, loop.stage.grad_clip)
    mark()
    loop.optimizer.step(loop.stage.learning_rate)
    mark()
    return [after - before for before, after in pairwise(marks)]


def measure(job: Job) -> dict[str, Any]:
    """Median seconds and share per part."""
    decoder = new_decoder(job)
    loop = loop_of(job, decoder, lambda record: None)
    if job.compile:
        decoder.compile()
    for number in range(WARM_UP):
        step(loop, number)
    wait_for_quiet(10.0)
    times = [step(loop, number) for number in range(WARM_UP, WARM_UP + STEPS)]
    medians = [statistics.median(part) for part in zip(*times, strict=True)]
    shares = {name: value / sum(medians) for name, value in zip(PARTS, medians, strict=True)}
    return {
        "name": job.name,
        "vocab_size": job.vocab_size,
        "length": job.length,
        "step_s": sum(medians),
        "shares": shares,
    }


def main() -> None:
    """Measure, print the table, write bench/results/stages.json."""

    results = []
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as folder:
        for vocab_size in (4096, 32_000):
            prepared = prepare.run(recipe(vocab_size), Path(folder) / str(vocab_size), Reporter()).folder
            results += [measure(replace(job, vocab_size=vocab_size, prepared=str(prepared))) for job in JOBS]
    rows = [
        [
            f"{one['vocab_size']:,}, {one['name']}",
            f"{1e3 * one['step_s']:.0f}",
            *(f"{one['shares'][part]:.0%}" for part in PARTS),
        ]
        for one in results
    ]
    print(rounds.table(["vocabulary, set-up", "step, ms", *PARTS], rows))
    rounds.write("stages", {"machine": rounds.machine(), "results": results})


if __name__ == "__main__":
    main()
