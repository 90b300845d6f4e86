"""Hostile code in numbers: 100,000 inputs, each lifted in two processes; goes on where it was stopped.

    python bench/evm_attack.py                            # 100,000 inputs, one process at a time
    python bench/evm_attack.py --inputs 5000 --processes 4
    python bench/evm_attack.py --first 48000              # from this number on
    python bench/evm_attack.py --folder /tmp/attack       # where finished parts are kept (runs/evm_attack)

The inputs are those of tests/evm/mutations.py, by number; tests/evm/test_attack.py tries the first 2,000 whenever the
tests run. A part is 500 inputs; parts of other code than today's are not used. Counted: crashes, broken promises of the
TAC, results that differ between the two processes (their hashes are seeded differently), inputs cut off, the peak of
memory of a process, the longest input.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PART = 500
LOADED = """
import sys
from tests.evm.attacked import attack
from tests.evm.mutations import bases, case, shapes
material = bases()
for seed in range(40):
    attack(case(seed, material).code)
attack(b"not hex")
for name, module in sorted(sys.modules.items()):
    if name.startswith(("whet.evm", "tests.evm")) and getattr(module, "__file__", None):
        print(module.__file__)
"""
"""Prints the files of the modules that were loaded in the end, those too that are imported where they are used."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/evm_attack")
    asked = parser.parse_args()
    folder = asked.folder / code_hash()
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(asked.first, asked.inputs, PART)
    with ThreadPoolExecutor(asked.processes) as pool:
        parts = []
        for start, part in zip(starts, pool.map(lambda start: part_of(start, folder), starts), strict=True):
            parts.append(part)
            print(f"{start + PART:,} inputs: {told(summed(parts))}", flush=True)
    result = {"code": folder.name, "first": asked.first, **summed(parts)}
    out = ROOT / "bench/results/evm_attack.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)
    raise SystemExit(1 if result["crashes"] or result["faults"] or result["different"] else 0)


def code_hash() -> str:
    """Of everything that decides a result: the inputs, and the modules that lifting them loads. Parts of another lifter are
    not mixed in."""
    told = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    files = {Path(line) for line in told.splitlines()} | set(
        (ROOT / "tests/evm/fixtures/compiled").glob("*.gz")
    )
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def part_of(start: int, folder: Path) -> dict[str, Any]:
    """The counts of one part, from its file or from two processes."""
    path = folder / f"{start:07}.json"
    if not path.exists():
        part = measured(start)
        path.with_suffix(".new").write_text(json.dumps(part))
        path.with_suffix(".new").replace(path)
    counts: dict[str, Any] = json.loads(path.read_text())
    return counts


def measured(start: int) -> dict[str, Any]:
    first, second = rows_of(start, 1), rows_of(start, 2)
    pairs = zip(first, second, strict=False)
    return {
        "inputs": len(first),
        "structured": sum(row["structured"] for row in first),
        "outcomes": Counter(row["outcome"] for row in first),
        "crashes": [row for row in first if row["outcome"] == "crash"],
        "faults": [row for row in first if row.get("faults")],
        "different": [one["seed"] for one, other in pairs if one.get("sha256") != other.get("sha256")],
        "peak_bytes": max(row["peak_bytes"] for row in first + second),
        "longest": max(([row["seconds"], row["seed"], row["kind"]] for row in first), default=[0, 0, ""]),
        "seconds": sum(row["seconds"] for row in first),
    }


def rows_of(start: int, hash_seed: int) -> list[dict[str, Any]]:
    """What `tests.evm.attacked` prints; an input at which the process died is a crash."""
    rows: list[dict[str, Any]] = []
    while len(rows) < PART:
        done = subprocess.run(
            [sys.executable, "-m", "tests.evm.attacked", str(start + len(rows)), str(start + PART)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            check=False,
        )
        rows += [json.loads(line) for line in done.stdout.splitlines()]
        if len(rows) < PART:
            if not done.returncode:
                raise SystemExit(f"tests.evm.attacked ended early: {done.stderr[-2000:]}")
            what = f"died with {done.returncode}: {done.stderr[-300:]}"
            rows.append(
                {
                    "seed": start + len(rows),
                    "kind": "died",
                    "structured": False,
                    "outcome": "crash",
                    "what": what,
                    "seconds": 0.0,
                    "peak_bytes": 0,
                }
            )
    return rows


def summed(parts: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    for part in parts:
        outcomes.update(part["outcomes"])
    return {
        "inputs": sum(part["inputs"] for part in parts),
        "structured": sum(part["structured"] for part in parts),
        "outcomes": dict(sorted(outcomes.items())),
        "crashes": [row for part in parts for row in part["crashes"]],
        "faults": [row for part in parts for row in part["faults"]],
        "different": [seed for part in parts for seed in part["different"]],
        "peak_bytes": max(part["peak_bytes"] for part in parts),
        "longest": max(part["longest"] for part in parts),
        "seconds": round(sum(part["seconds"] for part in parts), 1),
    }


def told(result: dict[str, Any]) -> str:
    bad = ", ".join(f"{len(result[name])} {name}" for name in ("crashes", "faults", "different"))
    outcomes = ", ".join(f"{count:,} {name}" for name, count in result["outcomes"].items())
    return f"{bad}; {outcomes}; {result['peak_bytes'] / 2**20:.0f} MiB at most, longest {result['longest'][0]:.2f} s"


if __name__ == "__main__":
    main()
