"""Attention on a CPU: torch's fused kernel against two explicit products, forward and backward, in bf16.

    python bench/attention.py

Four ways over rows of growing length, always 4,096 positions in all (4 heads of width 64): `scaled_dot_product_attention`
with a boolean block mask, the same causal without a mask (which lets documents see one another),
`whet.models.attention._explicit`, and the same without cutting its queries into blocks. Each length is measured in rounds
A B C D A B C D. Up to `whet.models.attention_blocks.LONGEST` whet takes `explicit`; what that costs is memory for half of
the scores. Left out: other widths, dropout, GPUs, compiled code.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import rounds
from quiet import wait_for_quiet
from whet import hardware
from whet.models import attention
from whet.models.attention_blocks import LONGEST
from whet.models.decoder import packed_mask

POSITIONS = 4096
HEADS, WIDTH = 4, 64
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
ROUNDS = 7
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """torch's kernel, documents kept apart."""
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """torch's kernel without a mask: half the work, documents leak."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def explicit(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """whet's."""
    return attention._explicit(q, k, v, mask, 0.0, None)


def uncut(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """whet's, all queries and keys of a row at once."""
    query, key, value = (x.flatten(0, 1) for x in (q, k, v))
    return attention._seen(query, key, value, mask, 0.0, WIDTH**-0.5).view_as(q).transpose(1, 2).contiguous()


WAYS: dict[str, Attend] = {"sdpa, mask": masked, "sdpa, causal": causal, "explicit": explicit, "uncut": uncut}


def inputs(length: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Queries, keys and values as the model makes them, and the mask of rows of two documents each."""
    rows = POSITIONS // length
    shape = (rows, length, HEADS, WIDTH)
    qkv = [torch.randn(shape).bfloat16().transpose(1, 2).requires_grad_() for _ in range(3)]
    segments = np.repeat([[1, 2]], length // 2, axis=1).repeat(rows, axis=0)
    return qkv, packed_mask(torch.from_numpy(segments))


def seconds(attend: Attend, qkv: list[torch.Tensor], mask: torch.Tensor) -> float:
    """Of one forward and backward pass: the fastest of three, after one to warm up."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        out = attend(qkv[0], qkv[1], qkv[2], mask)
        torch.autograd.grad(out.sum(), qkv)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def measure(length: int) -> dict[str, Any]:
    """Seconds per way and round."""
    qkv, mask = inputs(length)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        wait_for_quiet(5.0)
        for name, attend in WAYS.items():
            times[name].append(seconds(attend, qkv, mask))
    return {
        "length": length,
        "seconds": times,
        "explicit_of_masked": ratios(times["explicit"], times["sdpa, mask"]),
        "explicit_of_uncut": ratios(times["explicit"], times["uncut"]),
        "peak_gflops": rounds.peak_gflops(),
    }


def ratios(mine: list[float], theirs: list[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(mine, theirs, strict=True)]


def crossover(results: list[dict[str, Any]]) -> int:
    """The longest length up to which the explicit products take less time at every length measured."""
    ahead = 0
    for result in results:
        if statistics.median(result["explicit_of_masked"]) >= 1.0:
            break
        ahead = result["length"]
    return ahead


def main() -> None:
    """Measure, print the table, write bench/results/attention.json."""
    hardware.keep_freed_memory(torch.device("cpu"))
    torch.manual_seed(0)
    results = [measure(length) for length in LENGTHS]
    rows = [
        [
            result["length"],
            *(f"{1e3 * statistics.median(result['seconds'][name]):.1f}" for name in WAYS),
            rounds.spread(result["explicit_of_masked"]),
            rounds.spread(result["explicit_of_uncut"]),
        ]
        for result in results
    ]
    names = (*(f"{name}, ms" for name in WAYS), "explicit / sdpa with mask", "explicit / uncut")
    print(rounds.table(["row length", *names], rows))
    ahead = crossover(results)
    print(f"\nexplicit is ahead up to {ahead}; whet.models.attention_blocks.LONGEST is {LONGEST}")
    rounds.write("attention", {"machine": rounds.machine(), "ahead_to": ahead, "results": results})


if __name__ == "__main__":
    main()
