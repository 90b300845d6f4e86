"""What stops training: a loss or gradient that is not finite, and a request to stop."""

from __future__ import annotations

import math
import signal
from types import FrameType, TracebackType

from whet.errors import LossNotFinite, TrainingError
from whet.packing import Batch
from whet.train.data import TrainingData


def require_finite(
    loss: float, grad_norm: float, *, step: int, data: TrainingData, batches: list[Batch]
) -> None:
    """Raise LossNotFinite before the optimiser has touched anything, naming step and documents."""
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {grad_norm}"
    raise LossNotFinite(
        f"{what} at step {step + 1}; weights and optimiser are as they were before it",
        where=f"stage {data.stage.name}, documents: {', '.join(data.names(batches))}",
        fix="lower learning_rate, lengthen warmup_steps, or set precision: fp32; look at the documents named",
    )


def require_labels(weight: float, *, step: int, data: TrainingData, batches: list[Batch]) -> None:
    """Raise TrainingError where a whole step has nothing to learn from."""
    if weight <= 0:
        raise TrainingError(
            f"step {step + 1} has no token to learn from",
            where=f"stage {data.stage.name}, documents: {', '.join(data.names(batches))}",
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
