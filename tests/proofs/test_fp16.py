"""fp16 with loss scaling: learns what fp32 learns, tries an overflowing step again, resumes bitwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.proofs.bench import Bench, settings
from whet import store
from whet.errors import LossNotFinite
from whet.train import guards


def bench(prepared: store.Artefact, folder: Path, precision: str = "fp16", **more: Any) -> Bench:
    made = Bench(prepared, folder, settings(optimizer="adamw", learning_rate=1e-3, **more), steps=8)
    made.decoder.precision = precision
    if precision == "fp16":
        made.progress.loss_scale = guards.FIRST_SCALE
    return made


def test_it_learns_what_fp32_learns(prepared: store.Artefact, tmp_path: Path) -> None:
    half, single = (bench(prepared, tmp_path / name, name) for name in ("fp16", "fp32"))
    half.run()
    single.run()
    losses, expected = ([line["loss"] for line in made.lines if "loss" in line] for made in (half, single))
    assert losses == pytest.approx(expected, rel=2e-3)
    assert losses != expected, "it is fp16 indeed"
    assert all(weight.dtype == torch.float32 for weight in half.decoder.model.parameters())


def test_small_gradients_survive_because_of_the_scale(prepared: store.Artefact, tmp_path: Path) -> None:
    """A loss times 1e-7: in fp16 the body's gradients vanish unscaled, and are right scaled."""

    def norm(scale: float, precision: str) -> float:
        made = bench(prepared, tmp_path / f"{scale}{precision}", precision)
        made.progress.loss_scale = scale
        right = made.loop.objective.loss_sum
        made.loop.objective.loss_sum = lambda model, batch: right(model, batch) * 1e-7  # type: ignore[method-assign]
        norms: list[float] = []
        weight = made.decoder.model.model.layers[0].self_attn.v_proj.weight
        weight.register_hook(lambda gradient: norms.append(float(gradient.norm()) / scale))
        made.run(until=1)
        return norms[0]

    expected = norm(1.0, "fp32")
    assert norm(guards.FIRST_SCALE, "fp16") == pytest.approx(expected, rel=0.02)
    assert norm(1.0, "fp16") != pytest.approx(expected, rel=0.2)


def overflow_above(made: Bench, scale: float) -> None:
    """Gradients overflow while the loss scale is larger than this."""
    weight = list(made.decoder.model.parameters())[3]
    weight.register_hook(
        lambda gradient: gradient * (float("inf") if made.progress.loss_scale > scale else 1.0)
    )


def test_an_overflow_halves_the_scale_and_loses_no_example(prepared: store.Artefact, tmp_path: Path) -> None:
    lower = guards.FIRST_SCALE / 4
    made, plain = (bench(prepared, tmp_path / name) for name in ("overflowing", "plain"))
    overflow_above(made, lower)
    plain.progress.loss_scale = lower
    made.run()
    plain.run()
    assert made.progress.loss_scale == lower
    assert made.progress.overflows == 2
    assert made.progress.skipped == made.notices == []
    assert made.figures() == plain.figures(), "the scale is a power of two: the same bits"


def test_what_no_scale_helps_against_is_passed_over_and_stops(
    prepared: store.Artefact, tmp_path: Path
) -> None:
    made = bench(prepared, tmp_path, skip_steps=1)
    overflow_above(made, 0.0)
    with pytest.raises(LossNotFinite, match="step 2"):
        made.run()
    assert made.progress.skipped == [0]
    assert made.progress.loss_scale == 1.0


def test_the_scale_grows_again_and_resumes(
    prepared: store.Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "STEPS_TO_DOUBLE", 3)
    straight = bench(prepared, tmp_path / "straight")
    straight.run()
    scales = [line["loss_scale"] / guards.FIRST_SCALE for line in straight.lines if "loss" in line]
    assert scales == [1, 1, 2, 2, 2, 4, 4, 4]
    first, second = (bench(prepared, tmp_path / "stopped") for _ in range(2))
    first.run(until=4)
    second.progress.loss_scale = 1.0
    second.resume()
    second.run()
    assert first.figures() + second.figures() == straight.figures()
    assert second.progress.loss_scale == straight.progress.loss_scale
