"""Proof: a run that was stopped and resumed is, bit for bit, the run that was not.

Compared are the loss and gradient norm of every step, every validation loss, the optimiser's state, the random
state and the final weights; for every optimiser and schedule, across epochs, inside an accumulation window, with
dropout, gradient checkpointing, bf16 and float64. Whole runs of two stages are in test_stage_resume.py, compiled
ones in test_compiled_resume.py.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from tests.proofs.bench import SHAPE, Bench, settings
from whet.recipe.schema import Stage
from whet.train.guards import StopRequest

STEPS, HALF = 10, 5
OPTIMIZERS = get_args(Stage.model_fields["optimizer"].annotation)
SCHEDULES = get_args(Stage.model_fields["schedule"].annotation)


def require_same(straight: Bench, *parts: Bench) -> None:
    """`parts` are one run in pieces; together they must be the straight one to the last bit."""
    logged = [figures for part in parts for figures in part.figures()]
    assert logged == straight.figures()
    last = parts[-1]
    for (name, found), expected in zip(
        last.decoder.model.named_parameters(), straight.decoder.model.parameters(), strict=True
    ):
        assert torch.equal(found, expected), name
    ours, theirs = last.optimizer.state_tensors(), straight.optimizer.state_tensors()
    assert ours.keys() == theirs.keys()
    assert ours, "an optimiser without state would prove nothing"
    for name, expected in theirs.items():
        assert torch.equal(ours[name], expected), name
        assert ours[name].dtype == expected.dtype, name


def go_on(prepared: Path, folder: Path, chosen: Stage, **how: Any) -> Bench:
    """What another process would do: a new model and optimiser, other random state, the newest checkpoint."""
    bench = Bench(prepared, folder, chosen, steps=STEPS, **how)
    torch.manual_seed(999)
    bench.resume()
    return bench


def straight_and_stopped(prepared: Path, folder: Path, chosen: Stage, **how: Any) -> None:
    """2N steps, and N steps, a stop, N more."""
    straight = Bench(prepared, folder / "straight", chosen, steps=STEPS, **how)
    assert straight.run()
    random_state = torch.get_rng_state()
    first = Bench(prepared, folder / "stopped", chosen, steps=STEPS, **how)
    assert not first.run(until=HALF)
    second = go_on(prepared, folder / "stopped", chosen, **how)
    assert second.progress.step == HALF
    assert second.run()
    assert torch.equal(torch.get_rng_state(), random_state)
    require_same(straight, first, second)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_and_schedule(integers: Path, tmp_path: Path, optimizer: str, schedule: str) -> None:
    accumulation = 1 + SCHEDULES.index(schedule) % 3
    chosen = settings(optimizer=optimizer, schedule=schedule, accumulation=accumulation, batch_size=2)
    straight_and_stopped(integers, tmp_path, chosen)


def test_across_epochs(integers: Path, tmp_path: Path) -> None:
    """Stops before, in and after the steps that hold the end of one epoch and the start of the next."""
    chosen = settings(accumulation=2)
    straight = Bench(integers, tmp_path / "straight", chosen, steps=STEPS)
    rows, a_step = len(straight.loop.training.rows), chosen.batch_size * chosen.accumulation
    epochs = [{row // rows for row in range(step * a_step, (step + 1) * a_step)} for step in range(STEPS)]
    assert [step + 1 for step, seen in enumerate(epochs) if len(seen) == 2] == [5, 10]
    straight.run()
    for stop in (4, 5, 9):
        first = Bench(integers, tmp_path / f"stopped-{stop}", chosen, steps=STEPS)
        first.run(until=stop)
        second = go_on(integers, tmp_path / f"stopped-{stop}", chosen)
        second.run()
        require_same(straight, first, second)


def test_every_step_in_a_life_of_its_own(integers: Path, tmp_path: Path) -> None:
    """Ten processes of one step each."""
    chosen = settings(optimizer="muon")
    straight = Bench(integers, tmp_path / "straight", chosen, steps=STEPS)
    straight.run()
    lives = [Bench(integers, tmp_path / "lives", chosen, steps=STEPS)]
    lives[0].run(until=1)
    for step in range(2, STEPS + 1):
        lives.append(go_on(integers, tmp_path / "lives", chosen))
        lives[-1].run(until=step if step < STEPS else None)  # the last one also validates
    require_same(straight, *lives)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_inside_an_accumulation_window(
    integers: Path, tmp_path: Path, asked: signal.Signals
) -> None:
    """A real signal before the third of four micro-batches: the window is finished, then saved."""
    chosen = settings(accumulation=4, batch_size=2)
    straight = Bench(integers, tmp_path / "straight", chosen, steps=STEPS)
    straight.run()
    first = Bench(integers, tmp_path / "stopped", chosen, steps=STEPS)
    first.before_micro_batch(4 * 4 + 3, lambda: os.kill(os.getpid(), asked))
    with StopRequest() as stop:
        assert not first.run(stop=stop)
    assert stop.asked == asked.name
    assert first.progress.step == 5
    second = go_on(integers, tmp_path / "stopped", chosen)
    second.run()
    require_same(straight, first, second)


class Abandoned(BaseException):
    """Nothing in whet catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_window_left_in_the_middle_is_replayed_from_its_start(
    integers: Path, tmp_path: Path, optimizer: str
) -> None:
    """Steps after the last checkpoint are done again, with the same figures; half a window leaves no trace."""
    chosen = settings(accumulation=4, batch_size=2, save_every=3, optimizer=optimizer)
    straight = Bench(integers, tmp_path / "straight", chosen, steps=STEPS)
    straight.run()
    first = Bench(integers, tmp_path / "killed", chosen, steps=STEPS)

    def abandon() -> None:
        raise Abandoned

    first.before_micro_batch(4 * 4 + 3, abandon)
    with pytest.raises(Abandoned):
        first.run()
    assert any(weight.grad is not None for weight in first.decoder.model.parameters()), (
        "half a window's gradient"
    )
    second = go_on(integers, tmp_path / "killed", chosen)
    assert second.progress.step == 3, "the last checkpoint; step 4 was finished, and is lost"
    second.run()
    again = [line for line in first.figures() if line[0] > 3]
    assert again == [line for line in second.figures() if line[0] == 4]
    first.lines = [line for line in first.lines if line["step"] <= 3]
    require_same(straight, first, second)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_with_dropout_checkpointing_and_bf16(
    integers: Path, tmp_path: Path, checkpointing: bool, precision: str
) -> None:
    """GPT-2, where dropout is everywhere; the random state is part of a checkpoint."""
    shape = replace(SHAPE, norm="layernorm", positions="learned", dropout=0.2)
    chosen = settings(gradient_checkpointing=checkpointing, accumulation=2, batch_size=2)
    bench = Bench(integers, tmp_path / "probe", chosen, steps=1, shape=shape, precision=precision)
    batch = bench.loop.training.step(0)[0]
    bench.decoder.model.train()
    assert bench.decoder.nll_sum(batch).item() != bench.decoder.nll_sum(batch).item(), "dropout acts"
    straight_and_stopped(integers, tmp_path, chosen, shape=shape, precision=precision)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_in_float64(integers: Path, tmp_path: Path, optimizer: str) -> None:
    straight_and_stopped(integers, tmp_path, settings(optimizer=optimizer), dtype=torch.float64)


def test_the_comparison_can_fail(integers: Path, tmp_path: Path) -> None:
    """One weight that is one bit off after the resume is seen."""
    chosen = settings()
    straight = Bench(integers, tmp_path / "straight", chosen, steps=STEPS)
    straight.run()
    first = Bench(integers, tmp_path / "stopped", chosen, steps=STEPS)
    first.run(until=HALF)
    second = go_on(integers, tmp_path / "stopped", chosen)
    with torch.no_grad():
        weight = next(second.decoder.model.parameters())
        weight[5] = torch.nextafter(weight[5], torch.tensor(9.0))
    second.run()
    with pytest.raises(AssertionError):
        require_same(straight, first, second)
