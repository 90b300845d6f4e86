"""Training speed: whet's loop, `transformers.Trainer` and TRL's `SFTTrainer` on the same model and the same data.

    make bench
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
from job import ROWS_PER_STEP, SEED, Job, recipe
from quiet import LIMIT, wait_for_quiet
from whet.models.families.llama import Llama
from whet.models.shape import flops_per_token
from whet.prepare import run as prepare
from whet.progress import Reporter

SETTINGS = ("4096x256", "4096x512", "32000x256", "32000x512")
LIBRARIES = ("numpy", "trl", "accelerate", "datasets")
FIRST, BASE = "whet, compiled", "HF Trainer"
WARM_UP_STEPS = 3
ATTEMPTS = 4
PATIENCE_S = 20.0


def contenders(vocab_size: int) -> list[Job]:
    """Who trains against whom; the peers' settings are the fastest that `--tune` found."""
    micro = 4 if vocab_size < 16_000 else 8
    compiled: dict[str, Any] = {"system": "hf", "attention": "eager", "micro": micro, "compile": True}
    return [
        Job(name=FIRST, system="whet", compile=True),
        Job(name="whet", system="whet"),
        Job(name="whet, Muon, compiled", system="whet", optimizer="muon", compile=True),
        Job(name=BASE, system="hf"),
        Job(name="HF Trainer, tuned", system="hf", attention="eager", micro=4),
        Job(name="HF Trainer, tuned, compiled", **compiled),
        Job(name="HF Trainer, tuned, compiled, memory kept", **compiled, keep_memory=True),
        Job(name="TRL, own packing, tuned", system="trl", feed="bfd_split", attention="eager", micro=2),
        Job(name="TRL, whet's rows, tuned", system="trl", attention="eager", micro=4),
    ]


def grid() -> list[Job]:
    """Settings of the peers worth trying, for `--tune`; `whet, compiled` for comparison."""
    jobs = contenders(0)[:1]
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
    results: list[dict[str, Any]] = []
    record: dict[str, Any] = {
        "machine": rounds.machine(*LIBRARIES),
        "settings": {
            "rows_per_step": ROWS_PER_STEP,
            "turn_s": options.turn,
            "rounds": options.rounds,
            "seed": SEED,
        },
        "results": results,
    }
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as folder:
        for text in options.settings:
            results.append(_setting(text, options, Path(folder)))
            record["minutes"] = round((time.time() - began) / 60, 1)
            path = rounds.write(options.name or ("trainers-tune" if options.tune else "trainers"), record)
    print(f"\n{path}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--settings", nargs="+", default=SETTINGS, metavar="VOCABxLENGTH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=1.5, help="seconds per turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tune", action="store_true", help="the peers' settings instead of the comparison")
    parser.add_argument("--only", default="", metavar="TEXT", help="contenders whose name contains it")
    parser.add_argument("--name", help="of the result file")
    return parser.parse_args()


def _setting(text: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All contenders on one vocabulary and row length."""
    vocab_size, length = (int(part) for part in text.split("x"))
    prepared = prepare.run(recipe(vocab_size), scratch / f"run-{vocab_size}", Reporter()).folder
    logs = scratch / text
    logs.mkdir()
    jobs = grid() if options.tune else contenders(vocab_size)
    jobs = [
        replace(job, vocab_size=vocab_size, length=length, prepared=str(prepared))
        for job in jobs
        if options.only in job.name
    ]
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
    shape = live[0].job.shape
    parameters = Llama().parameters(shape)
    per_token = flops_per_token(shape, parameters, live[0].job.length)
    return {
        "setting": text,
        "parameters": sum(parameters.values()),
        "flops_per_label": per_token,
        "matmul_peak_gflops": peaks,
        "contenders": [_figures(contender, live, peaks, per_token) for contender in live],
    }


def _figures(
    contender: Contender, live: list[Contender], peaks: list[float], per_token: float
) -> dict[str, Any]:
    warm, *turns = contender.turns
    rates = [turn["labels"] / turn["seconds"] for turn in turns]
    steady = statistics.median(time for turn in turns for time in turn["step_seconds"])
    return {
        "name": contender.job.name,
        "job": {key: value for key, value in asdict(contender.job).items() if key != "prepared"},
        "facts": contender.facts,
        "labels_per_s": rates,
        "of_base": _ratios(contender, _named(live, BASE)),
        "first_of_it": _ratios(_named(live, FIRST), contender),
        "peak_share": [rate * per_token / peak / 1e9 for rate, peak in zip(rates, peaks, strict=True)],
        "warm_up_s": max(0.0, sum(warm["step_seconds"]) - WARM_UP_STEPS * steady),
        "peak_bytes": turns[-1]["peak_bytes"],
        "page_faults_per_step": turns[-1]["page_faults"] / len(turns[-1]["step_seconds"]),
        "losses": {step: loss for turn in contender.turns for step, loss in turn["losses"].items()},
        "turns": contender.turns,
    }


def _named(live: list[Contender], name: str) -> Contender:
    return next((contender for contender in live if contender.job.name == name), live[0])


def _ratios(mine: Contender, theirs: Contender) -> list[float]:
    """Speed over speed, round by round; disturbed rounds are left out unless all are."""
    pairs = list(zip(mine.turns[1:], theirs.turns[1:], strict=True))
    quiet = [pair for pair in pairs if max(turn["others_share"] for turn in pair) < LIMIT]
    return [(a["labels"] / a["seconds"]) / (b["labels"] / b["seconds"]) for a, b in quiet or pairs]


def _report(result: dict[str, Any]) -> str:
    """The table of one setting."""
    columns = [f"x {BASE}", f"{FIRST} x it", "labels/s", "of matmul peak", "warm-up s", "peak MiB"]
    rows = [
        [
            one["name"],
            rounds.spread(one["of_base"]),
            rounds.spread(one["first_of_it"]),
            f"{statistics.median(one['labels_per_s']):,.0f}",
            f"{statistics.median(one['peak_share']):.0%}",
            f"{one['warm_up_s']:.1f}",
            f"{one['peak_bytes'] / 2**20:,.0f}",
            *(f"{one['losses'][step]:.4f}" if step in one["losses"] else "-" for step in ("1", "10")),
        ]
        for one in result["contenders"]
    ]
    vocab, length = result["setting"].split("x")
    peak = rounds.spread(result["matmul_peak_gflops"], 0)
    title = f"Vocabulary {int(vocab):,}, rows of {length}: {result['parameters']:,} parameters; matmul peak {peak} GFLOP/s"
    return f"\n{title}\n\n{rounds.table(['', *columns, 'loss at 1', 'at 10'], rows)}"


if __name__ == "__main__":
    main()
