"""The course of the training loss: flat, rising, spiking; and validation that rises while training goes on.

All by medians and the noise between neighbouring points, so that an uneven batch is no finding, and what the noise may
hide is none either; validation, which always reads the same text, is heard first where there is any. A stage with a
curriculum reads harder text later: there a rising loss means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import hypot, isfinite, log
from statistics import median
from typing import Any

from whet.doctor.case import Case, Trained
from whet.doctor.finding import CannotLook, Check, Finding
from whet.errors import LossNotFinite

FLAT, RISING, SPIKING, OVERFITTING = "loss flat", "loss rising", "loss spiking", "overfitting"
FEWEST = 10
"""Logged steps below which a course is not judged."""
FEWEST_VALIDATIONS = 3
FLAT_SHARE, RISING_SHARE, OVERFITTING_SHARE = 0.01, 0.03, 0.10
"""Of the loss: falling by less is flat, rising by more is rising."""
HIDDEN_SHARE = 0.05
"""Of the loss: a fall that the noise may hide and that flat must not be."""
RISEN_SHARE = 0.5
"""Of the loss: where validation rises too, no noise excuses such a rise, since a training that blows up is noisy."""
RISING_NOISE, FLAT_NOISE, SPIKE_NOISE, SPIKE_SHARE = 6.0, 2.0, 8.0, 0.3
"""In standard errors (spikes: in standard deviations), and of the loss."""
RARE_SPIKES, RARE_SKIPS = 1 / 500, 1 / 100
"""Shares of logged steps, and of steps, up to which single odd batches are nothing to mend."""
LEARNED = 0.05
"""Nats below which nothing is left to fall, and a rise means nothing."""
NEIGHBOURS = 5
TINY = 1e-9
FINDINGS_TOLD = 3


class Loss(Check):
    """Looks at the log of every stage."""

    NAME = "loss"
    SUMMARY = "a loss that is flat, rising or spiking, and overfitting"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a stage with FEWEST logged steps."""
        ended = list(_ended(case.failure or {}))
        yield from ended
        judged = [one for one in case.trained if _can_be_judged(one)]
        if not judged and not ended:
            raise CannotLook(f"no stage has {FEWEST} logged steps (log_every sets how often)")
        for one in judged:
            if not ended:
                yield from _spiking(one)
            if len(_points(one)) >= FEWEST and one.stage.curriculum is None:
                yield from _course(one)
            yield from _overfitting(one)


def _can_be_judged(one: Trained) -> bool:
    return len(_points(one)) >= FEWEST or bool(_skipped(one)) or len(_validation(one)) >= FEWEST_VALIDATIONS


def _noise(values: list[float]) -> float:
    """Standard deviation about the course, as a share, from the steps between neighbours: of each the typical one."""
    logs = [log(max(value, TINY)) for value in values]
    return 1.4826 * median(abs(after - before) for before, after in pairwise(logs)) / 2**0.5


def _error(noise: float, *counts: int) -> float:
    """Standard error of the difference between medians of so many values, as a share."""
    return 1.2533 * noise * hypot(*(count**-0.5 for count in counts))


def _higher(after: float, before: float) -> float:
    """By which share, as a logarithm."""
    return log(max(after, TINY) / max(before, TINY))


def rises(values: list[float], validation: list[float]) -> tuple[float, float] | None:
    """The lowest stretch and the end, where the loss surely rises in between. Of at least FEWEST values."""
    size = max(3, len(values) // 5)
    starts = [*range(0, len(values) - size, max(1, size // 20)), len(values) - size]
    windows = {at: median(values[at : at + size]) for at in starts}
    lowest, last = min(windows.values()), windows[starts[-1]]
    end, best = (validation[-1], min(validation)) if len(validation) >= FEWEST_VALIDATIONS else (None, 0.0)
    if last <= LEARNED:
        return None
    if end is not None and min(end, last) > (1 + RISEN_SHARE) * values[0]:
        return values[0], last
    if end is not None and end <= (1 + RISING_SHARE) * best:
        return None
    first = median(values[:3])
    until = size + min(at for at, value in windows.items() if value == lowest)
    before = values[: max(until, FEWEST)]  # a training that blows up is noisy afterwards
    for low, count in ((lowest, size), (first, 3)):
        surely = RISING_NOISE * _error(_noise(before), count, size)
        if end is not None and end > (1 + RISEN_SHARE) * best:
            surely = min(surely, log(1 + RISEN_SHARE))
        if _higher(last, low) > max(surely, log(1 + RISING_SHARE)):
            return low, last
    return None


def falls(values: list[float], validation: list[float]) -> bool:
    """Whether the loss falls, or may for all that can be told. Of at least FEWEST values."""
    noise, count = _noise(values), len(values)
    last = median(values[-max(3, count // 5) :])
    stretches = [
        (median(values[:size]), _error(noise, size, max(3, count // 5)))
        for size in (max(1, count // 20), count // 3)
    ]
    hidden = HIDDEN_SHARE
    if len(validation) >= FEWEST_VALIDATIONS:
        if min(validation) < validation[0] * (1 - FLAT_SHARE):
            return True
        hidden *= 3  # only what fell before the first validation may be hidden
    return any(
        _higher(first, last) > FLAT_SHARE or _higher(first, last) + FLAT_NOISE * error > hidden
        for first, error in stretches
    )


def spikes(values: list[float], *, mixed: bool = False) -> list[int]:
    """Where a value stands out by far from those around it and those before it (a fast fall is no spike).

    `mixed`: of several sources, so that now and then a batch has more of a harder one; that is the usual deviation.
    """
    if len(values) < FEWEST:
        return []
    around = [_around(values, at) for at in range(1, len(values))]
    above = [_higher(value, usual) for value, usual in zip(values[1:], around, strict=True)]
    factor = max(SPIKE_NOISE * _noise(values), log(1 + SPIKE_SHARE))
    if mixed:
        factor = max(factor, 2 * sorted(above)[len(above) * 19 // 20])
    found = [at for at, share in enumerate(above, 1) if share > factor and values[at] > LEARNED]
    return found if len(found) > RARE_SPIKES * len(values) else []


def _around(values: list[float], at: int) -> float:
    before, after = values[max(0, at - NEIGHBOURS) : at], values[at + 1 : at + 1 + NEIGHBOURS]
    return max(median(before), median(before + after))


def _points(one: Trained) -> list[tuple[int, float]]:
    return _logged(one, "loss")


def _validation(one: Trained) -> list[tuple[int, float]]:
    return _logged(one, "validation_loss")


def _logged(one: Trained, name: str) -> list[tuple[int, float]]:
    found = [(line["step"], line.get(name)) for line in one.lines]
    return [
        (step, float(value)) for step, value in found if isinstance(value, int | float) and isfinite(value)
    ]


def _skipped(one: Trained) -> list[int]:
    """Steps that were passed over; none where these are few."""
    found = [line["step"] for line in one.lines if "skipped" in line]
    return found if found and len(found) > RARE_SKIPS * one.lines[-1]["step"] else []


def _ended(failure: dict[str, Any]) -> Iterator[Finding]:
    """Where training ended because too many steps had to be passed over."""
    if failure.get("kind") == LossNotFinite.__name__:
        yield Finding(
            name=SPIKING,
            where=str(failure.get("where")),
            evidence=str(failure.get("what")),
            cause="a learning rate that is too high (if it began soon), numbers that fp16 cannot hold, or damaged texts",
            todo=str(failure.get("fix")),
        )


def _spiking(one: Trained) -> Iterator[Finding]:
    points, skipped = _points(one), _skipped(one)
    found = [points[at] for at in spikes([loss for _, loss in points], mixed=len(one.stage.data) > 1)]
    if not found and not skipped:
        return
    told = [f"the loss jumps to {loss:.3g} at step {step:,}" for step, loss in found[:FINDINGS_TOLD]]
    if len(found) > FINDINGS_TOLD:
        told.append(f"{len(found) - FINDINGS_TOLD} more jumps")
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
    points = _points(one)
    values, validation = [loss for _, loss in points], [loss for _, loss in _validation(one)]
    first, risen = values[0], rises(values, validation)
    if risen:
        yield Finding(
            name=RISING,
            where=one.name,
            evidence=f"the loss was down to {risen[0]:.3g} and ends at {risen[1]:.3g}",
            cause=f"the learning rate ({one.stage.learning_rate:g}) is too high, or the warm-up too short",
            todo=f"try learning_rate {one.stage.learning_rate / 5:.1g}, and a longer warm-up",
            explains=("incoherent output", "looping output", SPIKING, OVERFITTING),
        )
    elif first > LEARNED and _at_full_rate(one) >= FEWEST // 2 and not falls(values, validation):
        yield Finding(
            name=FLAT,
            where=one.name,
            evidence=f"the loss begins at {first:.4g} and ends at {median(values[-3:]):.4g} after {points[-1][0]:,} steps",
            cause=f"the learning rate ({one.stage.learning_rate:g}) is too low, the adapter too small, or there is "
            "nothing to learn from these data that the model does not know",
            todo=f"try learning_rate {one.stage.learning_rate * 10:.1g}; then targets: all-linear or a higher rank; "
            "look at the data with whet preview",
            explains=("incoherent output",),
        )


def _at_full_rate(one: Trained) -> int:
    """Logged steps at half of the learning rate or more: in a warm-up nothing falls yet."""
    rates = [rate for _, rate in _logged(one, "learning_rate")] or [one.stage.learning_rate] * len(one.lines)
    return sum(rate >= one.stage.learning_rate / 2 for rate in rates)


def _overfitting(one: Trained) -> Iterator[Finding]:
    values = _validation(one)
    if len(values) < FEWEST_VALIDATIONS:
        return
    step, best = min(values, key=lambda pair: pair[1])
    last = values[-1][1]
    if last <= max((1 + OVERFITTING_SHARE) * best, LEARNED):
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
