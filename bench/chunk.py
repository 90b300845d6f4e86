"""How many positions' logits should exist at one time: time and memory of the chunked loss by chunk size.

    python bench/chunk.py              all vocabularies, and bench/results/chunk.json
    python bench/chunk.py 128256       one of them, on the screen alone

4,096 labelled positions of width 256, head and loss forward and backward under bf16 autocast, for three
vocabularies and chunks from 256 to all positions. Memory is the growth of the process's peak resident
set, so every cell is measured in a process of its own; times come from one process, in rounds.
Justifies `whet.models.chunk.chunk_positions`. Left out: compiled code, GPUs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch import nn

import rounds
from quiet import wait_for_quiet
from whet import hardware
from whet.models import chunked
from whet.models.chunk import chunk_positions

CPU = torch.device("cpu")
POSITIONS, WIDTH = 4096, 256
VOCABULARIES = (4096, 32_000, 128_256)
CHUNKS = (256, 512, 1024, 2048, 4096)
ROUNDS = 7


def inputs(vocab_size: int) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    """Hidden states (N, D), labels (N,) and a head."""
    torch.manual_seed(0)
    hidden_ND = torch.randn(POSITIONS, WIDTH).bfloat16().requires_grad_()
    return hidden_ND, torch.randint(vocab_size, (POSITIONS,)), nn.Linear(WIDTH, vocab_size, bias=False)


def once(hidden_ND: torch.Tensor, labels_N: torch.Tensor, head: nn.Linear, chunk: int) -> float:
    """Seconds of loss and gradients."""
    began = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked.nll_sum(hidden_ND, labels_N, head, chunk=chunk)
    torch.autograd.grad(loss, (hidden_ND, head.weight))
    return time.perf_counter() - began


def plain(hidden_ND: torch.Tensor, labels_N: torch.Tensor, head: nn.Linear) -> float:
    """Seconds without chunks, as most trainers do it: all logits, one cross-entropy."""
    began = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked.chunk_nll(head, hidden_ND, labels_N)
    torch.autograd.grad(loss, (hidden_ND, head.weight))
    return time.perf_counter() - began


def run(way: int, tensors: tuple[torch.Tensor, torch.Tensor, nn.Linear]) -> float:
    """One measurement; way 0 is the plain loss, others are chunk sizes."""
    return once(*tensors, way) if way else plain(*tensors)


def times_of(vocab_size: int) -> dict[int, list[float]]:
    """Seconds per way and round, the ways in turns."""
    tensors = inputs(vocab_size)
    ways = (0, *CHUNKS)
    for way in ways:
        run(way, tensors)
    times: dict[int, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        wait_for_quiet(5.0)
        for way in ways:
            times[way].append(min(run(way, tensors) for _ in range(2)))
    return times


def peak_bytes(vocab_size: int, way: int) -> int:
    """Growth of the peak resident set by one measurement, in a fresh process."""
    command = [sys.executable, __file__, "--memory", str(vocab_size), str(way)]
    return int(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def _print_memory(vocab_size: int, way: int) -> None:
    hardware.keep_freed_memory(CPU)
    tensors = inputs(vocab_size)
    before = hardware.memory_peak_bytes(CPU)
    run(way, tensors)
    print(hardware.memory_peak_bytes(CPU) - before)


def measure(vocab_size: int) -> list[dict[str, Any]]:
    """One record per way."""
    times = times_of(vocab_size)
    return [
        {
            "vocab_size": vocab_size,
            "chunk": way or "plain",
            "seconds": found,
            "of_plain": [mine / theirs for mine, theirs in zip(found, times[0], strict=True)],
            "peak_bytes": peak_bytes(vocab_size, way),
        }
        for way, found in times.items()
    ]


def main() -> None:
    """Measure, print the table, write bench/results/chunk.json if everything was asked for."""
    if sys.argv[1:2] == ["--memory"]:
        _print_memory(int(sys.argv[2]), int(sys.argv[3]))
        return
    hardware.keep_freed_memory(CPU)
    asked = [int(size) for size in sys.argv[1:]]
    results = [record for vocab_size in asked or VOCABULARIES for record in measure(vocab_size)]
    rows = [
        [
            f"{record['vocab_size']:,}",
            record["chunk"],
            f"{1e3 * statistics.median(record['seconds']):.0f}",
            rounds.spread(record["of_plain"]),
            f"{record['peak_bytes'] / 2**20:,.0f}",
        ]
        for record in results
    ]
    print(rounds.table(["vocabulary", "chunk", "ms", "time / plain", "extra peak MiB"], rows))
    chosen = {size: chunk_positions(size) for size in asked or VOCABULARIES}
    print(f"\nvocabulary and chunk: {chosen}")
    if not asked:
        rounds.write("chunk", {"machine": rounds.machine(), "positions": POSITIONS, "results": results})


if __name__ == "__main__":
    main()
