"""Proof: how a step's rows are split into micro-batches does not change the training.

8 x 1 = 2 x 4 = 1 x 8 (batch x accumulation), with rows of uneven label counts: the loss of a step is the
sum over its labels divided by their number, not a mean of means. In float64 the bar is 1e-9 over fifty steps, in
float32 1e-5 over ten. Both are for AdamW: torch's Muon orthogonalises in bfloat16, where two gradients that differ
in the last bit of float32 can round to neighbours 0.4 % apart; for it the gradients are held to these bars, and the
losses to 1e-3 (5e-7 was found; a rounding that tips over may come at any step).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.proofs.bench import Bench, settings
from whet.models.decoder import Decoder
from whet.packing import Batch

SPLITS = [(8, 1), (2, 4), (1, 8)]


def bench_of(
    prepared: Path, folder: Path, split: tuple[int, int], *, steps: int, dtype: torch.dtype, optimizer: str
) -> Bench:
    batch_size, accumulation = split
    chosen = settings(
        batch_size=batch_size, accumulation=accumulation, optimizer=optimizer, learning_rate=5e-3
    )
    bench = Bench(prepared, folder / f"{batch_size}x{accumulation}", chosen, steps=steps, dtype=dtype)
    bench.loop.validation = None
    return bench


def trained(
    prepared: Path, folder: Path, *, steps: int, dtype: torch.dtype, optimizer: str = "adamw"
) -> list[Bench]:
    benches = [
        bench_of(prepared, folder, split, steps=steps, dtype=dtype, optimizer=optimizer) for split in SPLITS
    ]
    for bench in benches:
        bench.run()
    return benches


def gradients(bench: Bench) -> torch.Tensor:
    """Of the first step, as the loop makes them (before any update), in one vector."""
    bench.optimizer.step = lambda rate: None  # type: ignore[method-assign]
    bench.run(until=1)
    return torch.cat([w.grad.flatten() for _, w in bench.optimizer.parameters if w.grad is not None])


def test_the_rows_are_uneven(integers: Path, tmp_path: Path) -> None:
    """Otherwise a mean of means would pass."""
    for split in SPLITS[1:]:
        bench = bench_of(integers, tmp_path, split, steps=1, dtype=torch.float32, optimizer="adamw")
        for step in range(8):
            counts = [batch.label_count for batch in bench.loop.training.step(step)]
            assert len(counts) == split[1]
            assert len(set(counts)) > 1, f"step {step}: {counts}"


@pytest.mark.parametrize("steps", [15, pytest.param(50, marks=pytest.mark.slow)])
def test_float64_to_a_billionth(integers: Path, tmp_path: Path, steps: int) -> None:
    """Each loss and gradient norm, and the residuals lean to no side."""
    one, *others = trained(integers, tmp_path, steps=steps, dtype=torch.float64)
    assert one.losses()[-1] < 0.97 * one.losses()[0], "it learns, so there is something to differ in"
    for other in others:
        assert other.losses() == pytest.approx(one.losses(), rel=1e-9)
        norms = [[line["grad_norm"] for line in bench.lines] for bench in (one, other)]
        assert norms[1] == pytest.approx(norms[0], rel=1e-9)
        residual = np.subtract(other.losses(), one.losses())
        assert abs(residual.mean()) <= 4 * residual.std() / len(residual) ** 0.5 + 1e-16
        for found, expected in zip(
            other.decoder.model.parameters(), one.decoder.model.parameters(), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_float32_to_a_hundred_thousandth_over_ten_steps(integers: Path, tmp_path: Path) -> None:
    one, *others = trained(integers, tmp_path, steps=10, dtype=torch.float32)
    for other in others:
        assert other.losses() == pytest.approx(one.losses(), rel=1e-5)


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_gradients_of_a_step(integers: Path, tmp_path: Path, dtype: torch.dtype, bar: float) -> None:
    """What every optimiser is given, Muon too: equal as a whole, and without a lean."""
    one, *others = (
        gradients(bench_of(integers, tmp_path, split, steps=1, dtype=dtype, optimizer="muon"))
        for split in SPLITS
    )
    assert one.norm() > 0
    for other in others:
        residual = other - one
        assert float(residual.norm() / one.norm()) < bar
        # A wrong divisor would scale all of them: the residual would point along the gradient.
        assert abs(float((residual @ one) / (one @ one))) < bar / 10


def test_muon_to_what_bfloat16_leaves(integers: Path, tmp_path: Path) -> None:
    one, *others = trained(integers, tmp_path, steps=10, dtype=torch.float32, optimizer="muon")
    for other in others:
        assert other.losses() == pytest.approx(one.losses(), rel=1e-3)


def test_a_mean_of_means_is_seen(integers: Path, tmp_path: Path) -> None:
    """The usual mistake: each micro-batch divided by its own labels. It must fail the bar of float32 by far."""
    right = bench_of(integers, tmp_path, (8, 1), steps=3, dtype=torch.float64, optimizer="adamw")
    right.run()
    wrong = bench_of(integers, tmp_path, (2, 4), steps=3, dtype=torch.float64, optimizer="adamw")
    loss_sum = wrong.loop.objective.loss_sum
    wrong.loop.objective.weight = lambda batch: 1.0  # type: ignore[method-assign]

    def mean(model: Decoder, batch: Batch) -> torch.Tensor:
        return loss_sum(model, batch) / batch.label_count

    wrong.loop.objective.loss_sum = mean  # type: ignore[method-assign]
    wrong.run()
    off = np.abs(np.subtract(wrong.losses(), right.losses())) / right.losses()
    assert off.max() > 1e-4
