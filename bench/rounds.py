"""Medians of per-round ratios, tables, and what a result file says about machine and versions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from whet import hardware, store

RESULTS = Path(__file__).with_name("results")
CPU = torch.device("cpu")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (smallest-largest)`."""
    if not values:
        return "-"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(*libraries: str) -> dict[str, Any]:
    """Processor, memory, versions and the code that was measured."""
    versions = {}
    for name in libraries:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    code = store.code_hash("train", "models", "objectives", "packing")[:16]
    return {**hardware.describe(CPU), **versions, "threads": torch.get_num_threads(), "whet_code": code}


def peak_gflops() -> float:
    """The bf16 matmul peak now, in GFLOP/s."""
    return hardware.matmul_peak(CPU, "bf16", budget_s=0.4) / 1e9


def write(name: str, result: dict[str, Any]) -> Path:
    """Replace `bench/results/<name>.json`."""
    path = RESULTS / f"{name}.json"
    store.write_json(path, result)
    return path
