"""Training speed: whet's loop, `transformers.Trainer` and TRL's `SFTTrainer` on the same model and the same data.

    pip install 'whet[bench]'
    python bench/trainers.py                    # about 15 minutes on two quiet cores
    python bench/trainers.py --settings 4096x256 --rounds 3
    python bench/trainers.py --tune             # the peers' settings side by side, to find their fastest

A tiny Llama (width 256, 4 layers) from random weights on the Python standard library, 16 rows per optimiser
step, bf16 products with fp32 weights, AdamW (fused). Contenders train in turns, A B C A B C ..., so that a
machine that changes its speed changes it for all; figures are medians of ratios within one round. A turn
during which other processes used more than 4 % of the machine is taken again. Counted are labels, the same
way for everybody: positions that the loss learns from. Compiling and the first steps are timed apart.

Left out: GPUs, several processes, long contexts, adapters, validation, checkpoints, and what preparing the
data costs. The peers get whet's packed rows ready-made, so their collators do less than whet's loop.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

import rounds
from gate import Contender
from job import SEED, Job, recipe
from quiet import LIMIT, wait_for_quiet
from whet.models.families.llama import Llama
from whet.models.shape import flops_per_token
from whet.prepare import run as prepare
from whet.progress import Reporter

SETTINGS = ("4096x256", "4096x512", "32000x256", "32000x512")
LIBRARIES = ("numpy", "trl", "accelerate", "datasets")
BASE = "HF Trainer"
WARM_UP_STEPS = 3
ATTEMPTS = 4
PATIENCE_S = 20.0

CONTENDERS = [
    Job(name="whet, compiled", system="whet", compile=True),
    Job(name="whet", system="whet"),
    Job(name="whet, Muon, compiled", system="whet", optimizer="muon", compile=True),
    Job(name="HF Trainer", system="hf"),
    Job(name="HF Trainer, tuned", system="hf", attention="eager", micro=4),
    Job(name="HF Trainer, tuned, compiled", system="hf", attention="eager", micro=4, compile=True),
    Job(name="TRL, own packing, tuned", system="trl", feed="bfd_split", attention="eager", micro=1),
    Job(name="TRL, whet's rows, tuned", system="trl", attention="eager", micro=4),
    Job(name="TRL, whet's rows, tuned, compiled", system="trl", attention="eager", micro=4, compile=True),
]


def grid() -> list[Job]:
    """Settings of the peers worth trying, for `--tune`; `whet, compiled` for comparison."""
    jobs = [CONTENDERS[0]]
    for system in ("hf", "trl"):
        for attention in ("sdpa", "eager"):
            for micro in (16, 8, 4, 2):
                for compiled in (False, True):
                    name = f"{system} {attention} {micro}{' compiled' if compiled else ''}"
                    jobs.append(
                        Job(name=name, system=system, attention=attention, micro=micro, compile=compiled)
                    )
    jobs.append(Job(name="hf one worker", system="hf", workers=1))
    jobs.append(Job(name="hf documents leak", system="hf", feed="open"))
    for feed in ("bfd_split", "wrapped"):
        for micro in (16, 4, 1):
            jobs.append(
                Job(name=f"trl {feed} {micro}", system="trl", feed=feed, attention="eager", micro=micro)
            )
    return jobs


def main() -> None:
    """Measure every setting, write bench/results/trainers.json, print the tables."""
    options = _options()
    began = time.time()
    jobs = grid() if options.tune else CONTENDERS
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        folder = Path(name)
        results = [_setting(text, jobs, options, folder) for text in options.settings]
    settings = {"rows_per_step": jobs[0].rows, "turn_s": options.turn, "rounds": options.rounds, "seed": SEED}
    record = {
        "machine": rounds.machine(*LIBRARIES),
        "settings": settings,
        "minutes": round((time.time() - began) / 60, 1),
        "results": results,
    }
    path = rounds.write(options.name or ("trainers-tune" if options.tune else "trainers"), record)
    print(f"\n{path}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--settings", nargs="+", default=SETTINGS, metavar="VOCABxLENGTH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=1.5, help="seconds per turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tune", action="store_true", help="the peers' settings instead of the comparison")
    parser.add_argument("--name", help="of the result file")
    return parser.parse_args()


def _setting(text: str, jobs: list[Job], options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All contenders on one vocabulary and row length."""
    vocab_size, length = (int(part) for part in text.split("x"))
    prepared = prepare.run(recipe(vocab_size), scratch / f"run-{vocab_size}", Reporter()).folder
    logs = scratch / text
    logs.mkdir()
    jobs = [replace(job, vocab_size=vocab_size, length=length, prepared=str(prepared)) for job in jobs]
    live = _start(jobs, logs, options.threads)
    peaks = [_round(live, options.turn) for _ in range(options.rounds)]
    for contender in live:
        contender.close()
    result = _result(text, live, peaks)
    print(_report(result), flush=True)
    return result


def _start(jobs: list[Job], logs: Path, threads: int) -> list[Contender]:
    """Processes that are warm; a contender that does not run is named and left out."""
    live = []
    for job in jobs:
        try:
            contender = Contender(job, logs, threads)
            wait_for_quiet(PATIENCE_S)
            contender.turns.append(contender.turn(0.0, WARM_UP_STEPS))
        except RuntimeError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        live.append(contender)
        print(f"{job.name}: first step {contender.turns[0]['step_seconds'][0]:.1f} s", file=sys.stderr)
    return live


def _round(live: list[Contender], seconds: float) -> float:
    """One turn of everybody; the machine's matmul peak in this round, GFLOP/s."""
    wait_for_quiet(PATIENCE_S)
    peak = rounds.peak_gflops()
    for contender in live:
        contender.turns.append(_quiet_turn(contender, seconds))
    return peak


def _quiet_turn(contender: Contender, seconds: float) -> dict[str, Any]:
    """The first turn that nobody disturbed, or else the least disturbed of a few."""
    taken = []
    for _ in range(ATTEMPTS):
        wait_for_quiet(PATIENCE_S)
        taken.append(contender.turn(seconds, 2))
        if taken[-1]["others_share"] < LIMIT:
            break
    return min(taken, key=lambda turn: turn["others_share"])


def _result(text: str, live: list[Contender], peaks: list[float]) -> dict[str, Any]:
    base = next((contender for contender in live if contender.job.name == BASE), live[0])
    shape = base.job.shape
    per_token = flops_per_token(shape, Llama().parameters(shape), base.job.length)
    return {
        "setting": text,
        "base": base.job.name,
        "parameters": sum(Llama().parameters(shape).values()),
        "flops_per_label": per_token,
        "matmul_peak_gflops": peaks,
        "contenders": [_figures(contender, base, peaks, per_token) for contender in live],
    }


def _figures(contender: Contender, base: Contender, peaks: list[float], per_token: float) -> dict[str, Any]:
    warm, *turns = contender.turns
    rates = [turn["labels"] / turn["seconds"] for turn in turns]
    others = [turn["labels"] / turn["seconds"] for turn in base.turns[1:]]
    steady = statistics.median(time for turn in turns for time in turn["step_seconds"])
    losses = {step: loss for turn in contender.turns for step, loss in turn["losses"].items()}
    return {
        "name": contender.job.name,
        "job": {key: value for key, value in asdict(contender.job).items() if key != "prepared"},
        "facts": contender.facts,
        "labels_per_s": rates,
        "ratio": [mine / theirs for mine, theirs in zip(rates, others, strict=True)],
        "peak_share": [rate * per_token / peak / 1e9 for rate, peak in zip(rates, peaks, strict=True)],
        "warm_up_s": sum(warm["step_seconds"]) - WARM_UP_STEPS * steady,
        "peak_bytes": turns[-1]["peak_bytes"],
        "page_faults_per_step": turns[-1]["page_faults"] / len(turns[-1]["step_seconds"]),
        "losses": losses,
        "turns": contender.turns,
    }


def _report(result: dict[str, Any]) -> str:
    """The table of one setting."""
    header = [
        "",
        f"x {result['base']}",
        "labels/s",
        "share of matmul peak",
        "warm-up s",
        "peak MiB",
        "loss 1",
        "loss 10",
    ]
    rows = [
        [
            one["name"],
            rounds.spread(one["ratio"]),
            f"{statistics.median(one['labels_per_s']):,.0f}",
            f"{statistics.median(one['peak_share']):.0%}",
            f"{one['warm_up_s']:.1f}",
            f"{one['peak_bytes'] / 2**20:,.0f}",
            *(f"{one['losses'][step]:.4f}" if step in one["losses"] else "-" for step in ("1", "10")),
        ]
        for one in result["contenders"]
    ]
    vocab, length = result["setting"].split("x")
    title = f"\nVocabulary {int(vocab):,}, rows of {length}: {result['parameters']:,} parameters"
    return f"{title}, peak {rounds.spread(result['matmul_peak_gflops'], 0)} GFLOP/s\n\n{rounds.table(header, rows)}"


if __name__ == "__main__":
    main()
