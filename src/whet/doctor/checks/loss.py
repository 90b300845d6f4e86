"""The course of the training loss: flat, rising, spiking; and validation that rises while training goes on.

All by medians and the noise between neighbouring points, so that an uneven batch is no finding. A stage with a
curriculum reads harder text later: there a rising loss means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import median

from whet.doctor.case import Case, Trained
from whet.doctor.finding import CannotLook, Check, Finding

FLAT, RISING, SPIKING, OVERFITTING = "loss flat", "loss rising", "loss spiking", "overfitting"
FEWEST = 10
"""Logged steps below which a course is not judged."""
FLAT_SHARE, RISING_SHARE, OVERFITTING_SHARE = 0.01, 0.03, 0.10
"""Of the loss: falling by less is flat, rising by more is rising."""
RISEN_SHARE = 0.5
"""Of the loss: a rise that no noise excuses, since a training that blows up is noisy too."""
RISING_NOISE, SPIKE_NOISE, SPIKE_SHARE = 6.0, 8.0, 0.3
"""In standard errors, in standard deviations, and of the loss."""
LEARNED = 0.05
"""Nats below which nothing is left to fall."""
NEIGHBOURS = 5
TINY = 1e-9


class Loss(Check):
    """Looks at the log of every stage."""

    NAME = "loss"
    SUMMARY = "a loss that is flat, rising or spiking, and overfitting"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a stage with FEWEST logged steps."""
        judged = [one for one in case.trained if len(_points(one)) >= FEWEST or _skipped(one)]
        if not judged:
            raise CannotLook(f"no stage has {FEWEST} logged steps (log_every sets how often)")
        for one in judged:
            yield from _spiking(one)
            if len(_points(one)) >= FEWEST and one.stage.curriculum is None:
                yield from _course(one)
            yield from _overfitting(one)


@dataclass(frozen=True, slots=True)
class Course:
    """Beginning, lowest stretch and end of a series, as medians; `noise` between neighbours, as a share."""

    first: float
    lowest: float
    last: float
    noise: float
    error: float
    """Standard error of `last`, as a share."""


def course(values: list[float]) -> Course:
    """Of at least FEWEST values."""
    end = max(3, len(values) // 5)
    windows = [median(values[at : at + end]) for at in range(len(values) - end + 1)]
    noise = _noise(values)
    return Course(
        first=median(values[: max(1, len(values) // 20)]),
        lowest=min(median(values[:3]), *windows),
        last=windows[-1],
        noise=noise,
        error=1.2533 * noise / end**0.5,
    )


def _noise(values: list[float]) -> float:
    """Standard deviation about the course, as a share, from the steps between neighbours: of each the typical one."""
    logs = [log(max(value, TINY)) for value in values]
    return 1.4826 * median(abs(after - before) for before, after in pairwise(logs)) / 2**0.5


def spikes(values: list[float]) -> list[int]:
    """Where a value stands out by far from those around it and those before it (a fast fall is no spike)."""
    if len(values) < FEWEST:
        return []
    factor = exp(max(SPIKE_NOISE * _noise(values), log(1 + SPIKE_SHARE)))
    found = []
    for at in range(1, len(values)):
        before, after = values[max(0, at - NEIGHBOURS) : at], values[at + 1 : at + 1 + NEIGHBOURS]
        if values[at] > factor * max(median(before), median(before + after)):
            found.append(at)
    return found


def _points(one: Trained) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in one.lines if "loss" in line]


def _skipped(one: Trained) -> list[int]:
    return [line["step"] for line in one.lines if "skipped" in line]


def _spiking(one: Trained) -> Iterator[Finding]:
    points, skipped = _points(one), _skipped(one)
    found = [points[at] for at in spikes([loss for _, loss in points])]
    if not found and not skipped:
        return
    told = [f"the loss jumps to {loss:.3g} at step {step:,}" for step, loss in found[:3]]
    if len(found) > 3:
        told.append(f"{len(found) - 3} more jumps")
    if skipped:
        told.append(f"{len(skipped)} steps were passed over, the first at step {skipped[0]:,}")
    yield Finding(
        name=SPIKING,
        where=one.name,
        evidence="; ".join(told),
        cause="single batches that are unlike the rest (damaged or very odd texts), or a learning rate near its limit",
        todo="look at these documents (the notices name those of passed-over steps); lower learning_rate, lengthen "
        "the warm-up, set spike_factor to pass such steps over",
    )


def _course(one: Trained) -> Iterator[Finding]:
    found = course([loss for _, loss in _points(one)])
    surely = min(RISING_NOISE * found.error, RISEN_SHARE)
    if found.last > found.lowest * (1 + max(surely, RISING_SHARE)):
        yield Finding(
            name=RISING,
            where=one.name,
            evidence=f"the loss was down to {found.lowest:.3g} and ends at {found.last:.3g}",
            cause=f"the learning rate ({one.stage.learning_rate:g}) is too high, or the warm-up too short",
            todo=f"try learning_rate {one.stage.learning_rate / 5:.1g}, and a longer warm-up",
            explains=("incoherent output", "looping output", SPIKING, OVERFITTING),
        )
    elif found.first > LEARNED and found.last > found.first * (1 - max(found.error, FLAT_SHARE)):
        yield Finding(
            name=FLAT,
            where=one.name,
            evidence=f"the loss begins at {found.first:.4g} and ends at {found.last:.4g} after "
            f"{_points(one)[-1][0]:,} steps",
            cause=f"the learning rate ({one.stage.learning_rate:g}) is too low, the adapter too small, or there is "
            "nothing to learn from these data that the model does not know",
            todo=f"try learning_rate {one.stage.learning_rate * 10:.1g}; then targets: all-linear or a higher rank; "
            "look at the data with whet preview",
            explains=("incoherent output",),
        )


def _overfitting(one: Trained) -> Iterator[Finding]:
    values = [(line["step"], line["validation_loss"]) for line in one.lines if "validation_loss" in line]
    if len(values) < 3:
        return
    step, best = min(values, key=lambda pair: pair[1])
    last = values[-1][1]
    if last <= (1 + OVERFITTING_SHARE) * best:
        return
    result = (
        "the best weights are the result" if one.stage.result == "best" else "the last weights are the result"
    )
    yield Finding(
        name=OVERFITTING,
        where=one.name,
        evidence=f"validation loss was {best:.3g} at step {step:,} and is {last:.3g} at the end ({result})",
        cause="the data are learned by heart: too many passes over too few of them",
        todo=f"end near step {step:,}, or take more data, fewer epochs, a lower rank, dropout",
    )
