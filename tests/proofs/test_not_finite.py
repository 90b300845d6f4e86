"""A loss or gradient that is not finite, or a spike: nothing is touched, it is named, and only a few are passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.proofs.bench import Bench, settings
from whet import store
from whet.errors import LossNotFinite
from whet.train import guards


def snapshot(bench: Bench) -> list[torch.Tensor]:
    state = bench.optimizer.state_tensors()
    return [
        tensor.detach().clone()
        for tensor in (*bench.decoder.model.parameters(), *(state[name] for name in sorted(state)))
    ]


def spoil(bench: Bench, bad: dict[int, float], where: str) -> None:
    """Multiply the loss, or one weight's gradient, by a factor in the steps named (0-based)."""

    def factor() -> float:
        return bad.get(bench.progress.step, 1.0)

    if where == "loss":
        right = bench.loop.objective.loss_sum
        bench.loop.objective.loss_sum = lambda model, batch: right(model, batch) * factor()  # type: ignore[method-assign]
    else:
        weight = list(bench.decoder.model.parameters())[3]
        weight.register_hook(lambda gradient: gradient * factor())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(
    prepared: store.Artefact, tmp_path: Path, value: float, where: str, optimizer: str
) -> None:
    bench = Bench(prepared, tmp_path, settings(optimizer=optimizer, evaluate_every=100), steps=6)
    bench.run(until=2)
    spoil(bench, {2: value}, where)
    before = snapshot(bench)
    bench.run(until=3)
    assert all(torch.equal(old, new) for old, new in zip(before, snapshot(bench), strict=True))
    assert bench.progress.skipped == [2]
    (notice,) = bench.notices
    assert "step 3 passed over" in notice
    assert "a/m" in notice, "the documents are named"
    assert bench.lines[-1]["skipped"].startswith("loss" if where == "loss" else "gradient norm")
    bench.run()
    assert bench.progress.step == 6
    assert any(not torch.equal(old, new) for old, new in zip(before, snapshot(bench), strict=True))


def test_the_documents_named_are_those_of_the_step(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(accumulation=2), steps=4)
    spoil(bench, {1: float("nan")}, "loss")
    bench.run(until=2)
    origins = [about["origin"] for about in bench.loop.training.store.origins()]
    read = {origins[at] for batch in bench.loop.training.step(1) for at in batch.documents}
    named = {name.strip() for name in bench.notices[0].partition("documents: ")[2].split(",")}
    assert {name for name in named if not name.startswith("and ")} <= read
    assert len(read) > 8 or named == read


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_one_more_than_allowed_stops(prepared: store.Artefact, tmp_path: Path, allowed: int) -> None:
    bench = Bench(prepared, tmp_path, settings(skip_steps=allowed), steps=12)
    spoil(bench, {at: float("nan") for at in (2, 3, 5, 7)}, "gradient")
    bad = (2, 3, 5, 7)[allowed]
    with pytest.raises(LossNotFinite, match=f"step {bad + 1}"):
        bench.run()
    assert bench.progress.step == bad
    assert bench.progress.skipped == [2, 3, 5, 7][:allowed]


def test_old_skips_are_forgiven(prepared: store.Artefact, tmp_path: Path) -> None:
    bench = Bench(prepared, tmp_path, settings(skip_steps=1), steps=4)
    bench.progress.step, bench.progress.skipped = 1500, [400]
    assert "passed over" in guards.pass_over("loss nan", bench.progress, bench.loop.training)
    with pytest.raises(LossNotFinite, match="after 1 passed over"):
        guards.pass_over("loss nan", bench.progress, bench.loop.training)


def test_a_spike_is_passed_over_where_asked(prepared: store.Artefact, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"evaluate_every": 1000, "optimizer": "adamw", "learning_rate": 1e-3}
    for factor, expected in ((5.0, [25]), (None, [])):
        bench = Bench(prepared, tmp_path / str(factor), settings(spike_factor=factor, **chosen), steps=28)
        spoil(bench, {25: 1e4}, "loss")
        bench.run()
        assert bench.progress.skipped == expected
    assert bench.notices == []


def test_resume_knows_what_was_passed_over(prepared: store.Artefact, tmp_path: Path) -> None:
    """Bitwise the straight run's: skipped steps, running mean and all."""
    bad = {2: float("nan"), 26: 1e4}

    def bench(name: str) -> Bench:
        made = Bench(prepared, tmp_path / name, settings(spike_factor=6.0, evaluate_every=9), steps=30)
        spoil(made, bad, "loss")
        return made

    straight = bench("straight")
    straight.run()
    assert straight.progress.skipped == [2, 26]
    first = bench("stopped")
    first.run(until=24)
    second = bench("stopped")
    second.resume()
    second.run()
    assert first.figures() + second.figures() == straight.figures()
    assert second.progress.skipped == [2, 26]
    assert all(torch.equal(a, b) for a, b in zip(snapshot(second), snapshot(straight), strict=True))
