"""Memory, disk and speed of `whet prepare` on much text: 5 GB unless told otherwise.

    python bench/large.py                       # 5 GB, needs some 12 GB of disk and half an hour or two
    python bench/large.py --gigabytes 1 --folder /scratch --vocab-size 32000

The text is `material.py`'s, written to .jsonl.zst files of 50 MB. whet runs in a process of its own, first on an
eighth of the text and then on all of it; the highest resident size of each is the kernel's (VmHWM), the growth
between them is a slope, if an eighth of the text is more than the tokenizer's sample. Disk is looked at every
second. Default settings, cleaning and near-duplicates on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import material
import rounds
from whet import store

LIMIT_BYTES = 10**9


def prepare(data: list[str], work: Path, tokenizer: dict[str, int]) -> dict[str, Any]:
    """Run `whet prepare` on these files and watch it; what it took and what it found."""
    work.mkdir()
    values = {
        "name": "large",
        "output": str(work / "out"),
        "model": {"size": "tiny", "context": 1024},
        "tokenizer": tokenizer,
        "stages": [{"name": "s", "data": [{"source": "text", "path": data}]}],
    }
    (work / "recipe.yaml").write_text(json.dumps(values))
    command = [sys.executable, "-m", "whet", "prepare", str(work / "recipe.yaml")]
    began, before = time.monotonic(), os.times()
    with (work / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        seen = _watched(process, work)
    after = os.times()
    if process.returncode:
        raise SystemExit((work / "log.txt").read_text())
    record = store.open_artefact(work / "out" / "large" / "prepared", "prepared", verify=False).record
    tally = record["stages"][0]["tally"]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "text_bytes": tally["bytes_in"],
        "documents": tally["documents_in"],
        "documents_kept": tally["documents_kept"],
        "dropped": {entry["reason"]: entry["documents"] for entry in tally["dropped"]},
        "tokens": sum(split["tokens"] for split in record["stages"][0]["splits"].values()),
        "seconds": time.monotonic() - began,
        "cpu_seconds": cpu,
        "text_mb_per_cpu_second": tally["bytes_in"] / 1e6 / cpu,
        **seen,
    }


def _watched(process: subprocess.Popen[bytes], work: Path) -> dict[str, int]:
    """Highest resident size, and most disk in use, until the process ends."""
    seen = {"peak_bytes": 0, "disk_bytes": 0, "index_bytes": 0}
    while process.poll() is None:
        sizes = _sizes(work)
        seen["disk_bytes"] = max(seen["disk_bytes"], sum(sizes.values()))
        seen["index_bytes"] = max(seen["index_bytes"], sizes.get("seen.sqlite", 0))
        seen["peak_bytes"] = max(seen["peak_bytes"], _high_water(process.pid))
        time.sleep(1.0 if seen["disk_bytes"] > 10**8 else 0.1)
    return seen


def _sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                sizes[name] = sizes.get(name, 0) + os.stat(os.path.join(where, name)).st_size
            except OSError:  # gone since it was listed
                continue
    return sizes


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(found[0]) if found else 0


def summary(small: dict[str, Any], whole: dict[str, Any]) -> dict[str, float]:
    """Growth between the two runs, and the peak at 5 GB that it leads to."""
    grown = whole["peak_bytes"] - small["peak_bytes"]
    per_byte = grown / (whole["text_bytes"] - small["text_bytes"])
    at_5_gb = whole["peak_bytes"] + max(0.0, per_byte) * max(0, 5 * 10**9 - whole["text_bytes"])
    return {
        "growth_bytes_per_text_mb": per_byte * 1e6,
        "growth_bytes_per_document": grown / (whole["documents"] - small["documents"]),
        "peak_bytes_at_5_gb": at_5_gb,
        "index_bytes_per_document": whole["index_bytes"] / whole["documents"],
    }


def main() -> None:
    """Write the material, measure, print, write bench/results/large.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", default=None, help="where to write (removed afterwards)")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--sample-bytes", type=int, default=100_000_000, help="for the tokenizer")
    asked = parser.parse_args()
    tokenizer = {"vocab_size": asked.vocab_size, "sample_bytes": asked.sample_bytes}
    with tempfile.TemporaryDirectory(prefix="whet-large-", dir=asked.folder) as name:
        data = Path(name, "data")
        data.mkdir()
        # in a process of its own, so that its memory is gone
        command = [sys.executable, material.__file__, str(data), str(1000 * asked.gigabytes)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        files = sorted(map(str, data.iterdir()))
        results = []
        for label, some in (("an eighth", files[: max(1, len(files) // 8)]), ("all", files)):
            work = Path(name, label.replace(" ", "-"))
            results.append({"name": label, **prepare(some, work, tokenizer)})
            shutil.rmtree(work)
    found = summary(results[0], results[1])
    columns = ["text", "MB", "documents", "dropped", "peak MB", "disk MB", "s", "CPU s", "MB per CPU s"]
    rows = [
        [
            one["name"],
            f"{one['text_bytes'] / 1e6:,.0f}",
            f"{one['documents']:,}",
            f"{one['documents'] - one['documents_kept']:,}",
            f"{one['peak_bytes'] / 1e6:,.0f}",
            f"{one['disk_bytes'] / 1e6:,.0f}",
            f"{one['seconds']:,.0f}",
            f"{one['cpu_seconds']:,.0f}",
            f"{one['text_mb_per_cpu_second']:.2f}",
        ]
        for one in results
    ]
    print(rounds.table(columns, rows))
    print(f"growth: {found['growth_bytes_per_text_mb'] / 1e3:,.0f} kB per MB of text; ", end="")
    print(f"{found['peak_bytes_at_5_gb'] / 1e6:,.0f} MB at 5 GB (limit {LIMIT_BYTES / 1e6:,.0f})")
    machine = rounds.machine("tokenizers", "numpy")
    rounds.write("large", {"machine": machine, "tokenizer": tokenizer, "results": results, **found})


if __name__ == "__main__":
    main()
