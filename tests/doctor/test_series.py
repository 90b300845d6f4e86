"""Courses of a loss by simulation: healthy ones of any noise give no finding, spoiled ones theirs."""

from __future__ import annotations

import math
import random
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


def names(values: list[float], stage: Stage) -> list[str]:
    lines = [{"step": at + 1, "loss": value} for at, value in enumerate(values)]
    one = Trained(stage, Path(), {}, lines, None)
    course = loss._course(one) if len(values) >= loss.FEWEST else iter(())
    return [finding.name for finding in (*loss._spiking(one), *course)]


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.02, 0.1])
@pytest.mark.parametrize("steps", [10, 40, 400])
def test_healthy_courses(stage: Stage, steps: int, noise: float) -> None:
    draw = random.Random(steps)
    wrong = [found for _ in range(100) if (found := names(healthy(draw, steps, noise), stage))]
    assert len(wrong) <= 1, wrong


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
