"""Reads a trace that torch.profiler wrote: the phases of each step, and which tensors were held when.

A phase is a `record_function` range whose name begins with `PREFIX`. What a tensor was for is told from its
life: it held a gradient if one lies at its address when the update begins; it was *kept* if it outlived the
phase that made it (activations, mostly); else it was *working* memory. Weights and optimiser state are older
than the trace and are not in it. On CUDA the times of phases are those on the device.

Memory: the whole trace, some 300 bytes an event.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from bisect import bisect
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

PREFIX = "whet: "
STEP = f"{PREFIX}step"
UPDATE = f"{PREFIX}update"
"""When it begins, all gradients are there."""
KINDS = ("gradients", "kept", "working")
MOST_MOMENTS = 2000
"""Per step in `memory.json`; of more, the highest of each stretch is kept."""

Event = dict[str, Any]


@dataclass(slots=True)
class Recorded:
    """One step as the recorder saw it: its number (from 1), seconds, labels, and where its gradients lay."""

    number: int
    seconds: float = 0.0
    tokens: int = 0
    gradients: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of a step, in microseconds of the trace's clock."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Bytes held from `ms` after the step's beginning on, by `KINDS`."""

    ms: float
    held: tuple[int, ...]

    @property
    def total(self) -> int:
        """Bytes of all kinds."""
        return sum(self.held)


@dataclass(slots=True)
class Step:
    """One recorded step, from the trace."""

    recorded: Recorded
    span: Span
    phases: list[Span]
    moments: list[Moment]

    @property
    def peak(self) -> Moment:
        """When most was held."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def ms(self) -> float:
        """Length in milliseconds."""
        return (self.span.end - self.span.begin) / 1000

    def memory(self) -> dict[str, Any]:
        """For `memory.json`."""
        shown = thin(self.moments, MOST_MOMENTS)
        return {
            "step": self.recorded.number,
            "ms": round(self.ms, 3),
            "peak": {"ms": self.peak.ms, **dict(zip(KINDS, self.peak.held, strict=True))},
            "phases": [
                {"name": name, "from_ms": self.at(span.begin), "to_ms": self.at(span.end)}
                for span in self.phases
                for name in [span.name.removeprefix(PREFIX)]
            ],
            "moments_seen": len(self.moments),
            "columns": ["ms", *KINDS],
            "moments": [[moment.ms, *moment.held] for moment in shown],
        }

    def at(self, clock: float) -> float:
        """Milliseconds since the step began."""
        return round((clock - self.span.begin) / 1000, 4)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator without what it calls: milliseconds and calls per step."""

    name: str
    ms: float
    calls: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trace says; `device` is where its tensors lay."""

    device: str
    steps: list[Step]
    phases: dict[str, float]
    """Phase -> milliseconds per step, in the order of a step; on CUDA of the device."""
    operators: list[Operator]
    """Longest first; on CUDA these are the device's kernels."""

    @property
    def typical(self) -> Step:
        """The step of median length."""
        return sorted(self.steps, key=lambda step: step.ms)[len(self.steps) // 2]


def read(path: Path, recorded: list[Recorded]) -> Seen:
    """The trace at `path`, gzip-compressed JSON, of these steps."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return digest(json.load(file)["traceEvents"], recorded)


def digest(events: list[Event], recorded: list[Recorded]) -> Seen:
    """The same from the trace's events."""
    marks = sorted(_spans(events, "user_annotation"), key=lambda span: span.begin)
    whole = [span for span in marks if span.name == STEP][: len(recorded)]
    phases = [span for span in marks if span.name != STEP]
    found = [event for event in events if event.get("name") == "[memory]"]
    on_cuda = any(event["args"]["Device Type"] == 1 for event in found)
    lives = _lives([event for event in found if event["args"]["Device Type"] == int(on_cuda)])
    steps = [
        _step(span, own, [phase for phase in phases if span.begin <= phase.begin < span.end], lives)
        for span, own in zip(whole, recorded, strict=True)
    ]
    on_device = {span.name for span in _spans(events, "gpu_user_annotation")}
    timed = _spans(events, "gpu_user_annotation") if on_device else [p for step in steps for p in step.phases]
    return Seen("cuda" if on_cuda else "cpu", steps, _mean_ms(timed, steps), _operators(events, whole))


def _spans(events: list[Event], category: str) -> list[Span]:
    return [
        Span(event["name"], float(event["ts"]), float(event["ts"]) + float(event["dur"]))
        for event in events
        if event.get("cat") == category and event["name"].startswith(PREFIX)
    ]


def _mean_ms(spans: list[Span], steps: list[Step]) -> dict[str, float]:
    order = dict.fromkeys(phase.name for step in steps for phase in step.phases)
    total: dict[str, float] = dict.fromkeys(order, 0.0)
    for span in spans:
        if span.name in total:
            total[span.name] += (span.end - span.begin) / 1000 / len(steps)
    return {name.removeprefix(PREFIX): ms for name, ms in total.items()}


def _operators(events: list[Event], steps: list[Span]) -> list[Operator]:
    """By their own time; what runs between two steps (validation, saving) does not count."""
    kernels = [event for event in events if event.get("cat") == "kernel"]
    called = kernels or [event for event in events if event.get("cat") == "cpu_op"]
    begins = [step.begin for step in steps]
    own_us: dict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    open_on: dict[Any, list[Event]] = defaultdict(list)
    for event in sorted(called, key=lambda event: (float(event["ts"]), -float(event["dur"]))):
        begin, length = float(event["ts"]), float(event["dur"])
        step = bisect(begins, begin) - 1
        if step < 0 or begin >= steps[step].end:
            continue
        outer = open_on[event["pid"], event["tid"]]
        while outer and float(outer[-1]["ts"]) + float(outer[-1]["dur"]) <= begin:
            outer.pop()
        if outer:
            own_us[outer[-1]["name"]] -= length
        outer.append(event)
        own_us[event["name"]] += length
        calls[event["name"]] += 1
    found = [
        Operator(_short(name), us / 1000 / len(steps), calls[name] / len(steps))
        for name, us in own_us.items()
    ]
    return sorted(found, key=lambda operator: (-operator.ms, operator.name))


def _short(name: str) -> str:
    """Compiled graphs are named by a hash of 50 characters."""
    return re.sub(r"^## Call CompiledFxGraph (\w{8})\w* ##$", r"compiled graph \1", name)


@dataclass(slots=True)
class _Life:
    """One allocation from its beginning to its end."""

    address: int
    size_bytes: int
    begin: float
    end: float = math.inf


def _lives(events: list[Event]) -> list[_Life]:
    """Allocations in order of time; a release of what is older than the trace has no beginning here and is left out."""
    open_at: dict[int, _Life] = {}
    lives = []
    for event in sorted(events, key=lambda event: float(event["ts"])):
        address, size = int(event["args"]["Addr"]), int(event["args"]["Bytes"])
        if size > 0:
            life = _Life(address, size, float(event["ts"]))
            open_at[address] = life
            lives.append(life)
        elif (known := open_at.pop(address, None)) is not None:
            known.end = float(event["ts"])
    return lives


def _step(span: Span, recorded: Recorded, phases: list[Span], lives: list[_Life]) -> Step:
    own = [life for life in lives if life.begin < span.end and life.end > span.begin]
    update = next((phase.begin for phase in phases if phase.name == UPDATE), span.end)
    changes: dict[float, list[int]] = defaultdict(lambda: [0] * len(KINDS))
    changes[span.begin] = [0] * len(KINDS)
    for life in own:
        kind = _kind(life, recorded, phases, update)
        changes[max(life.begin, span.begin)][kind] += life.size_bytes
        if life.end < span.end:
            changes[life.end][kind] -= life.size_bytes
    times = sorted(changes)
    running = accumulate(
        (tuple(changes[time]) for time in times),
        lambda held, change: tuple(map(sum, zip(held, change, strict=True))),
    )
    moments = [
        Moment(round((time - span.begin) / 1000, 4), held) for time, held in zip(times, running, strict=True)
    ]
    return Step(recorded, span, phases, moments)


def _kind(life: _Life, recorded: Recorded, phases: list[Span], update: float) -> int:
    if life.address in recorded.gradients and life.begin < update <= life.end:
        return KINDS.index("gradients")
    made_in = next((phase for phase in phases if phase.begin <= life.begin < phase.end), None)
    outlives = made_in is not None and life.end > made_in.end
    return KINDS.index("kept" if outlives else "working")


def thin(moments: list[Moment], most: int) -> list[Moment]:
    """At most that many: of each stretch the moment with the most bytes, and the last of all."""
    if len(moments) <= most:
        return moments
    width = math.ceil(len(moments) / (most - 1))
    stretches = (moments[at : at + width] for at in range(0, len(moments), width))
    return [max(stretch, key=lambda moment: moment.total) for stretch in stretches] + [moments[-1]]
