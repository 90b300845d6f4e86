"""Where a training step's time goes, as shares: data, body forward, head and loss, body backward, clip, update.

    python bench/stages.py
    python bench/stages.py --only anatomy     # one profiled run per optimiser, see anatomy.py

The parts of `whet.train.loop.Loop._step` timed one by one, in its order, with and without compiling, for
AdamW and Muon, and with freed memory given back to the system (as the C library does by default) or kept
(as whet does).
Each set-up runs in a process of its own. The chunked loss makes its gradients in the forward pass, so
`head and loss` holds both of its directions. Left out: logging, validation, checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import rounds
from anatomy import PARTS, Clock, anatomy, anatomy_tables, ready_loop, step
from gate import environment
from job import Job, recipe
from quiet import wait_for_quiet
from whet.prepare import run as prepare
from whet.progress import Reporter

STEPS, WARM_UP = 10, 3
JOBS = [
    Job(name="AdamW", system="whet"),
    Job(name="AdamW, memory kept", system="whet", keep_memory=True),
    Job(name="AdamW, compiled", system="whet", compile=True),
    Job(name="AdamW, compiled, memory kept", system="whet", compile=True, keep_memory=True),
    Job(name="Muon", system="whet", optimizer="muon"),
    Job(name="Muon, compiled", system="whet", optimizer="muon", compile=True),
    Job(name="Muon, compiled, memory kept", system="whet", optimizer="muon", compile=True, keep_memory=True),
]
PROFILED = ("AdamW, compiled, memory kept", "Muon, compiled, memory kept")


def measure(job: Job) -> dict[str, Any]:
    """Median seconds and share per part, and pages touched anew per step."""
    loop = ready_loop(job)
    for number in range(WARM_UP):
        step(loop, number, Clock().part)
    wait_for_quiet(20.0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    clocks = [Clock() for _ in range(STEPS)]
    for number, clock in enumerate(clocks, WARM_UP):
        step(loop, number, clock.part)
    medians = [statistics.median(clock.seconds[name] for clock in clocks) for name in PARTS]
    return {
        "name": job.name,
        "vocab_size": job.vocab_size,
        "length": job.length,
        "step_s": sum(medians),
        "shares": {name: value / sum(medians) for name, value in zip(PARTS, medians, strict=True)},
        "page_faults": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / STEPS,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def apart(kind: str, job: Job, folder: Path) -> dict[str, Any]:
    """`measure` or `anatomy` in a process of its own."""
    env = {**os.environ, **environment(job, folder / f"compiled-{kind}", torch.get_num_threads())}
    command = [sys.executable, __file__, "--child", kind, job.to_json()]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind} of {job.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure, print the tables, write bench/results/stages.json and anatomy.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=("stages", "anatomy"))
    parser.add_argument("--vocabularies", nargs="+", type=int, default=[4096, 32_000])
    parser.add_argument("--name", default="", help="put before the names of the result files")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, job = options.child[0], Job(**json.loads(options.child[1]))
        print(json.dumps(anatomy(job) if kind == "anatomy" else measure(job)))
        return
    found: dict[str, list[dict[str, Any]]] = {"stages": [], "anatomy": []}
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        for vocab_size in options.vocabularies:
            folder = Path(name) / str(vocab_size)
            prepared = str(prepare.run(recipe(vocab_size), folder, Reporter()).folder)
            jobs = [replace(job, vocab_size=vocab_size, prepared=prepared) for job in JOBS]
            if options.only != "anatomy":
                found["stages"] += [apart("stages", job, folder) for job in jobs]
            if options.only != "stages":
                found["anatomy"] += [apart("anatomy", job, folder) for job in jobs if job.name in PROFILED]
    for kind, results in found.items():
        if results:
            print(stages_table(results) if kind == "stages" else anatomy_tables(results))
            rounds.write(options.name + kind, {"machine": rounds.machine(), "results": results})


def stages_table(results: list[dict[str, Any]]) -> str:
    """One line per set-up."""
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
    return rounds.table(["vocabulary, set-up", "step, ms", *PARTS, "page faults/step", "peak MiB"], rows)


if __name__ == "__main__":
    main()
