"""Watches the loop from outside: after a warm-up it records a few steps and writes what it saw.

The first step compiles and the next ones are timed without the profiler, for comparison. What is written is
an artefact, `profile/`: the trace (for Perfetto or chrome://tracing), `memory.json`, `profile.html` and
`summary.txt`. No random number is drawn and no tensor touched that training uses, so the weights are those
of an unwatched training. Cost: the recorded steps are slower, and writing takes a few seconds between two.

Left out: other processes of a distributed training (each would need its own folder), and what the CUDA
allocator holds in reserve.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from whet import store
from whet.models.decoder import Decoder
from whet.train.optim import Optimizer
from whet.train.profiling import page, trace
from whet.train.state import Progress

KIND = "profile"
WARM_UP_STEPS, RECORDED_STEPS = 4, 5


class Watch:
    """What the loop tells before and after each step. This one does nothing; it is the default."""

    def before_step(self, progress: Progress) -> None:
        """A step is about to begin."""

    def after_step(self, progress: Progress) -> None:
        """It has ended and was timed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


@dataclass(slots=True)
class Setting:
    """What the figures are compared with: operations per token of the whole model and of its head."""

    stage: str
    summary: str
    flops_per_token: float
    head_flops_per_token: float
    peak_flops: Callable[[], float]
    """Measures the matmul peak; called between two steps."""


@dataclass
class Profiler(Watch):
    """Records the steps after the warm-up; `done` is told the record once it is written."""

    folder: Path
    key: str
    steps_left: int
    decoder: Decoder
    optimizer: Optimizer
    setting: Setting
    done: Callable[[dict[str, Any]], None]
    _seen: int = 0
    _began: float = 0.0
    _plain_seconds: list[float] = field(default_factory=list)
    _recorded: list[trace.Recorded] = field(default_factory=list)
    _torch: Any = None
    _mark: Any = None
    _hook: Any = None

    def __post_init__(self) -> None:
        self._skip = min(WARM_UP_STEPS, max(0, self.steps_left - 1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """A training that stopped while it was recorded leaves what there is."""
        if self._torch is not None:
            self._stop(write=kind is None and bool(self._recorded))

    def before_step(self, progress: Progress) -> None:
        if self._seen == self._skip:
            self._start()
        if self._torch is not None:
            self._recorded.append(trace.Recorded(progress.step + 1, tokens=-progress.tokens))
            self._mark = record_function(trace.STEP)
            self._mark.__enter__()
        self._began = time.perf_counter()

    def after_step(self, progress: Progress) -> None:
        seconds = time.perf_counter() - self._began
        self._seen += 1
        if self._torch is None:
            if self._seen > 1 and not self._recorded:
                self._plain_seconds.append(seconds)
            return
        self._mark.__exit__(None, None, None)
        self._recorded[-1].seconds = seconds
        self._recorded[-1].tokens += progress.tokens
        if len(self._recorded) == min(RECORDED_STEPS, self.steps_left - self._skip):
            self._stop(write=True)

    def _start(self) -> None:
        self._held = self._bytes_held()
        # Otherwise it names its own stages on standard error, which is of no use to anyone.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [ProfilerActivity.CPU]
        if self.decoder.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._hook = self.optimizer.parts[0].register_step_pre_hook(self._note_gradients)
        self._torch = profile(activities=activities, profile_memory=True)
        self._torch.start()

    def _bytes_held(self) -> dict[str, int]:
        """What stays from step to step."""
        weights = (weight for _, weight in self.optimizer.parameters)
        kept = (
            value
            for part in self.optimizer.parts
            for state in part.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
        return {"weights": sum(map(_bytes, weights)), "optimizer": sum(map(_bytes, kept))}

    def _note_gradients(self, *called_with: Any) -> None:
        """Where the gradients lie just before the update: an allocation does not say what it is for."""
        for _, weight in self.optimizer.parameters:
            if weight.grad is not None:
                self._recorded[-1].gradients.add(_own_part(weight.grad).data_ptr())

    def _stop(self, *, write: bool) -> None:
        finished, self._torch = self._torch, None
        finished.stop()
        self._hook.remove()
        if write:
            self.done(self._write(finished))

    def _write(self, finished: profile) -> dict[str, Any]:
        steps = [step for step in self._recorded if step.seconds]
        device = self.decoder.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            peak = self.setting.peak_flops()
        record: dict[str, Any] = {}
        with store.staged(self.folder, kind=KIND, key=self.key, record=record) as work:
            _export(finished, work / "trace.json.gz")
            seen = trace.read(work / "trace.json.gz", steps)
            record.update(_record(self.setting, steps, self._plain_seconds, peak))
            memory = {"device": seen.device, **self._held, "steps": [step.memory() for step in seen.steps]}
            store.write_json(work / "memory.json", memory)
            shown = page.Shown(
                record,
                seen,
                self._held,
                self.setting.flops_per_token,
                self.setting.head_flops_per_token,
            )
            store.write_text(work / "profile.html", page.html(shown))
            store.write_text(work / "summary.txt", page.summary(shown))
        return record


def _record(setting: Setting, steps: list[trace.Recorded], plain: list[float], peak: float) -> dict[str, Any]:
    return {
        "stage": setting.stage,
        "on": setting.summary,
        "first_step": steps[0].number,
        "last_step": steps[-1].number,
        "seconds_per_step": sum(step.seconds for step in steps) / len(steps),
        "seconds_per_step_unprofiled": sorted(plain)[len(plain) // 2] if plain else None,
        "peak_flops_per_s": peak,
    }


def _export(finished: profile, path: Path) -> None:
    """The trace, compressed; torch's own way to do that is several times slower."""
    plain = path.with_suffix("")
    finished.export_chrome_trace(str(plain))
    with plain.open("rb") as whole, gzip.open(path, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(whole, packed, 2**20)
    plain.unlink()


def _bytes(tensor: torch.Tensor) -> int:
    own = _own_part(tensor)
    return own.numel() * own.element_size()


def _own_part(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor that is spread over several."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor
