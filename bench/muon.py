"""Muon's update alone: how near its products come to the matmul peak, and whether another form of it is faster.

    python bench/muon.py                        # torch.optim.Muon, stacked by shape, compiled, on the tiny model's matrices
    python bench/muon.py --width 768 --layers 4

The forms do the same arithmetic on the same gradients:

    torch         torch.optim.Muon, matrix after matrix
    stacked       matrices of one shape (or its transpose) as one batched product
    compiled      torch's own Newton-Schulz, compiled for each shape
    both          stacked, and compiled

They take turns; figures are medians of ratios within one round, of wall time and of processor time (the
latter holds on a machine that others use). `of the matmul peak` counts the products alone and takes each
form's best round, as the peak itself is a best. `differs` is the largest difference to torch's weights after
`--updates` updates, over the largest change that torch made.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import _muon  # type: ignore[attr-defined]

import rounds

RATE, DECAY, MOMENTUM = 2e-3, 0.1, 0.95
COEFFICIENTS = (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)
ROUNDS, EPS = _muon.DEFAULT_NS_STEPS, _muon.EPS
OWN = _muon._zeropower_via_newtonschulz
Matrices = list[torch.Tensor]
Orthogonalise = Callable[[torch.Tensor], torch.Tensor]


def one_by_one(update_MN: torch.Tensor) -> torch.Tensor:
    """torch's own."""
    result: torch.Tensor = OWN(update_MN, COEFFICIENTS, ROUNDS, EPS)
    return result


def all_at_once(update_KMN: torch.Tensor) -> torch.Tensor:
    """The same for K matrices that are no taller than wide: Newton-Schulz (Jordan et al. 2024) in bf16."""
    a, b, c = COEFFICIENTS
    x_KMN = update_KMN.bfloat16()
    x_KMN = x_KMN / x_KMN.flatten(1).norm(dim=1).clamp(min=EPS)[:, None, None]
    for _ in range(ROUNDS):
        gram_KMM = torch.bmm(x_KMN, x_KMN.mT)
        poly_KMM = torch.baddbmm(gram_KMM, gram_KMM, gram_KMM, beta=b, alpha=c)
        x_KMN = torch.baddbmm(x_KMN, poly_KMM, x_KMN, beta=a)
    return x_KMN


class Torch:
    """torch.optim.Muon as whet uses it; `orthogonalise` replaces its Newton-Schulz."""

    def __init__(self, weights: Matrices, orthogonalise: Orthogonalise | None = None) -> None:
        self.own = torch.optim.Muon(
            weights, lr=RATE, weight_decay=DECAY, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"
        )
        self.orthogonalise = orthogonalise

    def step(self) -> None:
        """One update."""
        if self.orthogonalise is None:
            self.own.step()
            return
        chosen = self.orthogonalise
        _muon._zeropower_via_newtonschulz = lambda grad, *unused: chosen(grad)
        try:
            self.own.step()
        finally:
            _muon._zeropower_via_newtonschulz = OWN


class Stacked:
    """Matrices of one shape together; momentum stays one tensor per matrix, as a checkpoint wants it."""

    def __init__(self, weights: Matrices, orthogonalise: Orthogonalise) -> None:
        self.orthogonalise = orthogonalise
        self.momentum = {weight: torch.zeros_like(weight) for weight in weights}
        self.groups: dict[tuple[int, int], Matrices] = {}
        for weight in weights:
            self.groups.setdefault((min(weight.shape), max(weight.shape)), []).append(weight)

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        for (_, longer), weights in self.groups.items():
            grads = [weight.grad for weight in weights]
            momentum = [self.momentum[weight] for weight in weights]
            torch._foreach_lerp_(momentum, grads, 1 - MOMENTUM)
            updates = torch._foreach_lerp(grads, momentum, MOMENTUM)
            wide = [_wide(update) for update in updates]
            found = self.orthogonalise(torch.stack([update.bfloat16() for update in wide]))
            torch._foreach_mul_(weights, 1 - RATE * DECAY)
            for weight, update in zip(weights, found.unbind(), strict=True):
                turned = update.T if weight.shape[0] > weight.shape[1] else update
                weight.add_(turned, alpha=-RATE * 0.2 * longer**0.5)


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def matrices(width: int, layers: int) -> Matrices:
    """The matrices of a Llama's blocks, with random weights."""
    shapes = [(width, width)] * 4 + [(4 * width, width)] * 2 + [(width, 4 * width)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) * 0.02 for _ in range(layers) for shape in shapes]


def forms(width: int, layers: int) -> dict[str, tuple[Any, Matrices]]:
    """Each form with weights of its own, alike."""

    def fresh() -> Matrices:
        return [torch.nn.Parameter(matrix) for matrix in matrices(width, layers)]

    compiled = torch.compile(one_by_one, dynamic=False)
    both = torch.compile(all_at_once, dynamic=False)
    found = {}
    for name in ("torch", "stacked", "compiled", "both"):
        weights = fresh()
        if name in ("torch", "compiled"):
            found[name] = (Torch(weights, compiled if name == "compiled" else None), weights)
        else:
            found[name] = (Stacked(weights, both if name == "both" else all_at_once), weights)
    return found


def give_gradients(weights: Matrices, seed: int) -> None:
    """The same random ones for each form."""
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator) * 1e-3


def timed(optimizer: Any) -> tuple[float, float]:
    """Wall and processor seconds of one update."""
    began, used = time.perf_counter(), time.process_time()
    optimizer.step()
    return time.perf_counter() - began, time.process_time() - used


def flops(weights: Matrices) -> float:
    """Of Newton-Schulz: three products per round."""
    sizes = [sorted(weight.shape) for weight in weights]
    return sum(ROUNDS * 2.0 * (2 * short * short * long + short**3) for short, long in sizes)


def main() -> None:
    """Measure, print the table, write bench/results/muon.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--updates", type=int, default=10, help="before weights are compared")
    parser.add_argument("--name", default="muon", help="of the result file")
    options = parser.parse_args()
    found = forms(options.width, options.layers)
    start, differs = matrices(options.width, options.layers), {}
    for seed in range(options.updates):
        for optimizer, weights in found.values():
            give_gradients(weights, seed)
            optimizer.step()
    theirs = found["torch"][1]
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(theirs, start, strict=True))
    for name, (_, weights) in found.items():
        apart = max(float((a - b).detach().abs().max()) for a, b in zip(weights, theirs, strict=True))
        differs[name] = apart / moved
    turns: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        peak = rounds.peak_gflops() if len(turns) % 10 == 0 else turns[-1]["peak_gflops"]
        turns.append(
            {"peak_gflops": peak, **{name: timed(optimizer) for name, (optimizer, _) in found.items()}}
        )
    results = [_figures(name, turns, flops(theirs), differs[name]) for name in found]
    print(rounds.table(list(results[0]["shown"]), [list(one["shown"].values()) for one in results]))
    settings = {"width": options.width, "layers": options.layers, "rounds": options.rounds}
    rounds.write(options.name, {"machine": rounds.machine(), "settings": settings, "results": results})


def _figures(name: str, turns: list[dict[str, Any]], work: float, differs: float) -> dict[str, Any]:
    wall = [turn["torch"][0] / turn[name][0] for turn in turns]
    processor = [turn["torch"][1] / turn[name][1] for turn in turns]
    seconds = statistics.median(turn[name][0] for turn in turns)
    of_peak = max(work / turn[name][0] / turn["peak_gflops"] / 1e9 for turn in turns)
    shown = {
        "form": name,
        "ms": f"{1e3 * seconds:.1f}",
        "faster than torch": rounds.spread(wall),
        "in processor time": rounds.spread(processor),
        "of the matmul peak": f"{of_peak:.0%}",
        "differs": f"{differs:.1e}",
    }
    return {
        "name": name,
        "seconds": seconds,
        "wall_ratios": wall,
        "processor_ratios": processor,
        "peak_share": of_peak,
        "differs": differs,
        "shown": shown,
    }


if __name__ == "__main__":
    main()
