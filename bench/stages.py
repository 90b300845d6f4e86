"""Where a training step's time goes, as shares: data, body forward, head and loss, body backward, clip, update.

    python bench/stages.py

The parts of `whet.train.loop.Loop._step` timed one by one, in its order, with and without compiling, for
AdamW and Muon, and with freed memory given back to the system (as the C library does by default) or kept.
Each set-up runs in a process of its own. The chunked loss makes its gradients in the forward pass, so
`head and loss` holds both of its directions. Left out: logging, validation, checkpoints.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import rounds
from gate import environment
from job import Job, recipe
from quiet import wait_for_quiet
from whet.models import chunked
from whet.models.decoder import CHUNK
from whet.prepare import run as prepare
from whet.progress import Reporter
from whet.train.loop import Loop
from whet.train.optim import clip
from whet_side import decoder_of, loop_of

STEPS, WARM_UP = 10, 3
PARTS = ("data", "body forward", "head and loss", "body backward", "clip", "update")
JOBS = [
    Job(name="AdamW", system="whet"),
    Job(name="AdamW, memory kept", system="whet", keep_memory=True),
    Job(name="AdamW, compiled", system="whet", compile=True),
    Job(name="AdamW, compiled, memory kept", system="whet", compile=True, keep_memory=True),
    Job(name="Muon", system="whet", optimizer="muon"),
    Job(name="Muon, compiled", system="whet", optimizer="muon", compile=True),
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
    """Median seconds and share per part, and pages touched anew per step."""
    decoder = decoder_of(job)
    loop = loop_of(job, decoder, lambda record: None)
    if job.compile:
        decoder.compile()
    for number in range(WARM_UP):
        step(loop, number)
    wait_for_quiet(20.0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    times = [step(loop, number) for number in range(WARM_UP, WARM_UP + STEPS)]
    medians = [statistics.median(part) for part in zip(*times, strict=True)]
    return {
        "name": job.name,
        "vocab_size": job.vocab_size,
        "length": job.length,
        "step_s": sum(medians),
        "shares": {name: value / sum(medians) for name, value in zip(PARTS, medians, strict=True)},
        "page_faults": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / STEPS,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def measured_apart(job: Job, folder: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    env = {**os.environ, **environment(job, folder / "compiled", torch.get_num_threads())}
    command = [sys.executable, __file__, job.to_json()]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return result


def main() -> None:
    """Measure, print the table, write bench/results/stages.json."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
        return
    results = []
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        for vocab_size in (4096, 32_000):
            folder = Path(name) / str(vocab_size)
            prepared = str(prepare.run(recipe(vocab_size), folder, Reporter()).folder)
            jobs = [replace(job, vocab_size=vocab_size, prepared=prepared) for job in JOBS]
            results += [measured_apart(job, folder) for job in jobs]
    rows = [
        [
            f"{one['vocab_size']:,}, {one['name']}",
            f"{1e3 * one['step_s']:.0f}",
            *(f"{one['shares'][part]:.0%}" for part in PARTS),
            f"{one['page_faults']:,.0f}",
            f"{one['peak_bytes'] / 2**20:,.0f}",
        ]
        for one in results
    ]
    columns = ["vocabulary, set-up", "step, ms", *PARTS, "page faults/step", "peak MiB"]
    print(rounds.table(columns, rows))
    rounds.write("stages", {"machine": rounds.machine(), "results": results})


if __name__ == "__main__":
    main()
