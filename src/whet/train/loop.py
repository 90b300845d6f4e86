"""The one training loop, for every objective and every device.

    for step: forward and backward over the micro-batches -> clip -> guard -> update -> log, validate, save

The loss of a step is the sum over all its labels divided by their number, however they are split into
micro-batches. Between two steps everything that matters is in `Progress`, the weights, the optimiser and
the random number generators; a stop at any moment resumes at the last checkpoint and gives the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from whet import hardware
from whet.models.decoder import Decoder
from whet.objectives.base import Objective
from whet.packing import Batch
from whet.progress import Task, amount
from whet.recipe.schema import Stage
from whet.train.data import TrainingData
from whet.train.guards import StopRequest, require_finite, require_labels
from whet.train.optim import Optimizer, clip, rate_share
from whet.train.state import Progress


@dataclass(slots=True)
class Loop:
    """Everything a stage's training needs. `log` receives one flat record per logged or validated step."""

    stage: Stage
    steps: int
    decoder: Decoder
    objective: Objective
    optimizer: Optimizer
    training: TrainingData
    validation: TrainingData | None
    progress: Progress
    log: Callable[[dict[str, Any]], None]
    save: Callable[[], None]
    save_best: Callable[[], None]

    def run(self, task: Task, stop: StopRequest) -> bool:
        """Train to the end, or to a requested stop. True if the end was reached; either way all is saved."""
        evaluate_every = self.stage.evaluate_every or max(1, self.steps // 20)
        save_every = self.stage.save_every or max(1, self.steps // 10)
        self.decoder.model.train()
        saved: int | None = None
        self._validate(stop)
        meter = _Meter(self.progress.tokens)
        while self.progress.step < self.steps and not stop.asked:
            began = time.perf_counter()
            loss, norm, rate = self._step()
            self.progress.seconds += time.perf_counter() - began
            meter.add(self.progress.tokens, time.perf_counter() - began)
            step = self.progress.step
            figures = self._figures(loss, norm, rate, meter)
            task.advance(
                1,
                loss=f"{loss:.3f}",
                speed=amount(figures["tokens_per_s"], "tok/s"),
                memory=amount(figures["memory_peak_bytes"], "B"),
            )
            if step % self.stage.log_every == 0 or step in (1, self.steps):
                self.log(figures)
            self.progress.validation_due = step % evaluate_every == 0 or step == self.steps
            self._validate(stop)
            if step % save_every == 0:
                self.save()
                saved = step
        if saved != self.progress.step:
            self.save()
        return self.progress.step >= self.steps and not self.progress.validation_due

    def _step(self) -> tuple[float, float, float]:
        """One optimiser step: mean loss, gradient norm before clipping, learning rate."""
        step = self.progress.step
        batches = self.training.step(step)
        weight = sum(self.objective.weight(batch) for batch in batches)
        require_labels(weight, step=step, data=self.training, batches=batches)
        parts = []
        for batch in batches:
            part = self.objective.loss_sum(self.decoder, batch) / weight
            part.backward()  # type: ignore[no-untyped-call]
            parts.append(part.detach())
        loss = float(torch.stack(parts).sum())
        norm = clip(self.optimizer, self.stage.grad_clip)
        require_finite(loss, norm, step=step, data=self.training, batches=batches)
        rate = self.stage.learning_rate * rate_share(self.stage, step, self.steps)
        self.optimizer.step(rate)
        self.progress.step += 1
        self.progress.tokens += sum(batch.label_count for batch in batches)
        return loss, norm, rate

    def _figures(self, loss: float, norm: float, rate: float, meter: _Meter) -> dict[str, Any]:
        """What is known of the step just finished."""
        return {
            "step": self.progress.step,
            "tokens": self.progress.tokens,
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens_per_s": meter.tokens_per_s(),
            "memory_peak_bytes": hardware.memory_peak_bytes(self.decoder.device),
            "seconds": round(self.progress.seconds, 3),
        }

    def _validate(self, stop: StopRequest) -> None:
        """Validate if that is due; a request to stop leaves it due, for a validation may take minutes."""
        if self.validation is None or not self.progress.validation_due:
            self.progress.validation_due = False
            return
        batches = self.validation.in_order(self.stage.validation_tokens)
        loss = validation_loss(self.decoder, self.objective, batches, stop)
        if loss is None:
            return
        self.progress.validation_due = False
        best = self.progress.best_loss is None or loss < self.progress.best_loss
        if best:
            self.progress.best_step, self.progress.best_loss = self.progress.step, loss
            if self.stage.result == "best":
                self.save_best()
        self.log(
            {
                "step": self.progress.step,
                "tokens": self.progress.tokens,
                "validation_loss": loss,
                "best": best,
            }
        )


@torch.no_grad()
def validation_loss(
    decoder: Decoder, objective: Objective, batches: list[Batch], stop: StopRequest | None = None
) -> float | None:
    """Mean loss over all labels of these batches, without dropout; leaves the random state as it was.

    None if asked to stop before its end.

    Uncompiled: compiling again for inference and for a last, smaller batch would take longer than it saves.
    """
    decoder.model.eval()
    losses = []
    try:
        with torch.compiler.set_stance("force_eager"):
            for batch in batches:
                if stop and stop.asked:
                    return None
                losses.append(float(objective.loss_sum(decoder, batch)))
    finally:
        decoder.model.train()
    return sum(losses) / sum(objective.weight(batch) for batch in batches)


class _Meter:
    """Tokens per second over the last few seconds of training proper (not validating, not saving)."""

    WINDOW_S = 20.0

    def __init__(self, tokens: int) -> None:
        self.last, self.parts = tokens, list[tuple[int, float]]()

    def add(self, tokens: int, seconds: float) -> None:
        self.parts.append((tokens - self.last, seconds))
        self.last = tokens
        while len(self.parts) > 1 and sum(s for _, s in self.parts[1:]) > self.WINDOW_S:
            self.parts.pop(0)

    def tokens_per_s(self) -> float:
        return sum(t for t, _ in self.parts) / max(1e-9, sum(s for _, s in self.parts))
