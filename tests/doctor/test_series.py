"""Courses of a loss by simulation: healthy ones of any noise give no finding, spoiled ones theirs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from whet.doctor.case import Trained
from whet.doctor.checks import loss
from whet.recipe.load import load_recipe
from whet.recipe.schema import Stage


@pytest.fixture(scope="module")
def stage() -> Stage:
    return load_recipe("scratch-quickstart").recipe.stages[-1].model_copy(update={"curriculum": None})


def healthy(draw: random.Random, steps: int, noise: float) -> list[float]:
    """From `first` towards `last`, quickly or slowly, with noise in proportion."""
    first, last = draw.uniform(2, 11), draw.uniform(0.3, 1.8)
    pace = draw.uniform(2, 30) / steps
    clean = [last + (first - last) * math.exp(-pace * step) for step in range(steps)]
    return [value * math.exp(draw.gauss(0, noise)) for value in clean]


def tuned(draw: random.Random, steps: int, noise: float, fall: float) -> list[float]:
    """As a model that can talk is tuned: a little lower in the end, with as much noise as uneven batches have."""
    first, pace = draw.uniform(0.6, 1.6), draw.uniform(1, 30) / steps
    clean = [first * (1 - fall * (1 - math.exp(-pace * step))) for step in range(steps)]
    return [value * math.exp(draw.gauss(0, noise)) for value in clean]


def names(values: list[float], stage: Stage, validation: Sequence[float] = ()) -> list[str]:
    lines = [{"step": at + 1, "loss": value} for at, value in enumerate(values)]
    lines += [{"step": at, "validation_loss": value} for at, value in enumerate(validation)]
    one = Trained(stage, Path(), lines, None)
    course = loss._course(one) if len(values) >= loss.FEWEST else iter(())
    return [finding.name for finding in (*loss._spiking(one), *course)]


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.02, 0.1])
@pytest.mark.parametrize("steps", [10, 40, 400])
def test_healthy_courses(stage: Stage, steps: int, noise: float) -> None:
    draw = random.Random(steps)
    wrong = [found for _ in range(100) if (found := names(healthy(draw, steps, noise), stage))]
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("steps", [11, 20, 60, 300])
def test_healthy_tuning_that_falls_by_a_tenth(stage: Stage, steps: int, noise: float) -> None:
    draw = random.Random(steps)
    wrong = [found for _ in range(100) if (found := names(tuned(draw, steps, noise, 0.13), stage))]
    assert len(wrong) <= 3, wrong


def test_validation_tells_what_noise_hides(stage: Stage) -> None:
    draw = random.Random(4)
    level = [tuned(draw, 200, 0.08, 0.0) for _ in range(50)]
    same, better, worse = ([1.2 * (1 + way * at / 10) for at in range(10)] for way in (0.0, -0.03, 0.5))
    assert sum(names(values, stage, same) == [loss.FLAT] for values in level) >= 25
    assert not any(names(values, stage, better) for values in level)
    risen = [[value * (1 + at / 200) for at, value in enumerate(values)] for values in level]
    assert sum(names(values, stage, worse) == [loss.RISING] for values in risen) >= 40
    assert not any(loss.RISING in names(values, stage, [1.0, 0.9, 0.8, 0.5]) for values in risen)


def test_a_warm_up_is_not_flat(stage: Stage) -> None:
    lines = [
        {"step": at + 1, "loss": 3.0, "learning_rate": stage.learning_rate * at / 200} for at in range(50)
    ]
    one = Trained(stage, Path(), lines, None)
    assert list(loss._course(one)) == []
    late = [{**line, "learning_rate": stage.learning_rate} for line in lines]
    assert [finding.name for finding in loss._course(Trained(stage, Path(), late, None))] == [loss.FLAT]


def test_batches_of_a_rarer_source_are_no_spikes(stage: Stage) -> None:
    draw = random.Random(6)
    values = [(1.8 if draw.random() < 0.08 else 1.0) * math.exp(draw.gauss(0, 0.02)) for _ in range(300)]
    assert loss.spikes(values)
    assert not loss.spikes(values, mixed=True)
    assert loss.spikes([*values, 9.0, *values], mixed=True) == []
    assert loss.spikes([*values[:200], 9.0, *values[200:]], mixed=True) == [200]


def test_one_odd_batch_in_a_long_training_is_no_spike(stage: Stage) -> None:
    assert loss.spikes([*[1.0] * 100, 3.0, *[1.0] * 100]) == [100]
    assert loss.spikes([*[1.0] * 1000, 3.0, *[1.0] * 1000]) == []


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_spoiled_courses(stage: Stage, noise: float) -> None:
    draw = random.Random(1)
    for _ in range(50):
        well = healthy(draw, 200, noise)
        jump = [*well[:120], 2 * well[120] + 1, *well[121:]]
        assert names(jump, stage) == [loss.SPIKING]
        level = well[-1]
        flat = [level * math.exp(draw.gauss(0, noise)) for _ in range(200)]
        assert names(flat, stage) == [loss.FLAT] or noise
        up = [*well[:100], *(well[100] * (1 + at / 100) for at in range(100))]
        assert names(up, stage) == [loss.RISING]


def test_flat_is_found_through_noise(stage: Stage) -> None:
    draw = random.Random(2)
    runs = [[3 * math.exp(draw.gauss(0, 0.02)) for _ in range(200)] for _ in range(100)]
    assert sum(names(values, stage) == [loss.FLAT] for values in runs) >= 80


def test_what_has_learned_everything_is_not_flat(stage: Stage) -> None:
    assert names([0.01] * 50, stage) == []
