"""What keeps a step from being taken, and what stops training.

A loss or gradient norm that is not finite, or a spike, is found before the optimiser has touched anything:
the step is passed over and said with its documents, up to a few in a thousand; one more stops training. In fp16
a gradient that overflows is first tried again with half the loss scale (Micikevicius et al. 2018, arXiv
1710.03740): the step's examples are not lost.
"""

from __future__ import annotations

import math
import signal
from types import FrameType, TracebackType

from whet.errors import LossNotFinite, TrainingError
from whet.train.data import TrainingData
from whet.train.state import Progress

SKIP_WINDOW_STEPS = 1000
NORM_MEMORY = 0.98
"""Weight of the past in the running mean of the gradient norm."""
STEPS_BEFORE_SPIKES = 20
"""Norms fall quickly at first; before this many good steps none is called a spike."""

FIRST_SCALE, LARGEST_SCALE = 2.0**16, 2.0**24
STEPS_TO_DOUBLE = 2000


def trouble(loss: float, grad_norm: float, spike_factor: float | None, progress: Progress) -> str | None:
    """Why the step must not be taken, in a few words; None if it may."""
    if not math.isfinite(loss):
        return f"loss {loss}"
    if not math.isfinite(grad_norm):
        return f"gradient norm {grad_norm}"
    good, mean = progress.step - len(progress.skipped), progress.norm_mean
    if spike_factor is None or mean is None or good < STEPS_BEFORE_SPIKES or grad_norm <= spike_factor * mean:
        return None
    return f"gradient norm {grad_norm:.3g}, {grad_norm / mean:.1f} times its mean"


def pass_over(what: str, progress: Progress, data: TrainingData) -> str:
    """Note the step as passed over and say so. Raises LossNotFinite instead if there were too many."""
    step, stage = progress.step, data.stage
    recent = [at for at in progress.skipped if at > step - SKIP_WINDOW_STEPS]
    documents = ", ".join(data.names(step))
    if len(recent) >= stage.skip_steps:
        before = f", after {len(recent)} passed over in the last {SKIP_WINDOW_STEPS:,}" if recent else ""
        raise LossNotFinite(
            f"{what} at step {step + 1}{before}; weights and optimiser are as they were before it",
            where=f"stage {stage.name}, documents: {documents}",
            fix="lower learning_rate, lengthen warmup_steps, or set precision: fp32; look at the documents named",
        )
    progress.skipped.append(step)
    return (
        f"stage {stage.name}: step {step + 1} passed over ({what}), weights and optimiser untouched; "
        f"documents: {documents}"
    )


def remember_norm(grad_norm: float, progress: Progress) -> None:
    """Take a good step's gradient norm into the running mean."""
    mean = progress.norm_mean
    progress.norm_mean = grad_norm if mean is None else NORM_MEMORY * mean + (1 - NORM_MEMORY) * grad_norm


def overflowed(loss: float, grad_norm: float, progress: Progress) -> bool:
    """fp16: whether the loss scale was too large; it is halved then, and the step is to be tried again."""
    if progress.loss_scale <= 1 or not math.isfinite(loss) or math.isfinite(grad_norm):
        return False
    progress.loss_scale /= 2
    progress.steps_at_scale = 0
    progress.overflows += 1
    return True


def adapt_scale(progress: Progress) -> None:
    """fp16: after a good step, double the loss scale where it has held long enough."""
    progress.steps_at_scale += 1
    if progress.steps_at_scale >= STEPS_TO_DOUBLE and progress.loss_scale < LARGEST_SCALE:
        progress.loss_scale *= 2
        progress.steps_at_scale = 0


def require_labels(weight: float, *, step: int, data: TrainingData) -> None:
    """Raise TrainingError where a whole step has nothing to learn from."""
    if weight <= 0:
        raise TrainingError(
            f"step {step + 1} has no token to learn from",
            where=f"stage {data.stage.name}, documents: {', '.join(data.names(step))}",
        )


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a flag that the loop reads between steps; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked: str | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
