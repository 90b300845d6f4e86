"""What a user sees while whet works: progress, plain statements, notices; or JSON lines for scripts.

Rooms speak to a `Reporter` and know nothing of terminals. A *notice* is something the user should know
(a fallback taken, records dropped, a check skipped): notices are collected and end up in the report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Literal

Mode = Literal["terminal", "plain", "quiet", "json"]


class Task:
    """One piece of long work. `advance` adds finished units and shows the latest figures."""

    def __init__(self, label: str, total: float | None) -> None:
        self.label, self.total, self.done = label, total, 0.0

    def advance(self, amount: float = 1.0, **figures: str) -> None:
        """Count `amount` units as done; `figures` are short texts such as loss="3.21"."""
        self.done += amount


_shown_on: ContextVar[Task | None] = ContextVar("shown_on", default=None)


@contextmanager
def shown_on(task: Task) -> Iterator[None]:
    """What `working` says within shows on this task."""
    before = _shown_on.set(task)
    try:
        yield
    finally:
        _shown_on.reset(before)


def working(**figures: str) -> None:
    """What a long step is at, from where no reporter is known; shown on the task of `shown_on`, if there is one."""
    task = _shown_on.get()
    if task is not None:
        task.advance(0, **figures)


class Reporter:
    """Collects notices and shows nothing: the base, and what `--quiet` and Python callers get."""

    _begun = 0

    @cached_property
    def notices(self) -> list[str]:
        """What was said as a notice so far. (Made when it is asked for: a subclass need not call `__init__`.)"""
        return []

    def say(self, text: str) -> None:
        """A statement for the person watching."""

    def notice(self, text: str) -> None:
        """Something the user should know; kept for the report, said once until `begin_anew`."""
        if text not in self.notices[self._begun :]:
            self.notices.append(text)
            self.show_notice(text)

    def begin_anew(self) -> None:
        """What was said before is said again, and kept: another call of a room, whose record is its own."""
        self._begun = len(self.notices)

    def show_notice(self, text: str) -> None:
        """How a notice appears; quiet ones still go to standard error."""
        print(f"note: {text}", file=sys.stderr)

    def event(self, kind: str, **fields: Any) -> None:
        """A machine-readable fact; only the JSON reporter prints it."""

    @contextmanager
    def task(self, label: str, total: float | None = None, *, initial: float = 0.0) -> Iterator[Task]:
        """Long work of `total` units, `initial` of them done before (a resumed run)."""
        yield Task(label, total)


class Silent(Reporter):
    """Says nothing at all: for the other processes of a training, whose first one speaks for them."""

    def show_notice(self, text: str) -> None:
        """Kept, not shown."""


class JsonReporter(Reporter):
    """One JSON object a line on standard output."""

    def _print(self, kind: str, fields: dict[str, Any]) -> None:
        line = {"event": kind, "time": round(time.time(), 3), **fields}
        print(json.dumps(line, default=str), flush=True)  # ASCII: whatever the output's encoding

    def say(self, text: str) -> None:
        self._print("message", {"text": text})

    def show_notice(self, text: str) -> None:
        self._print("notice", {"text": text})

    def event(self, kind: str, **fields: Any) -> None:
        self._print(kind, fields)


class PlainReporter(Reporter):
    """Lines on standard error; progress every few seconds. For logs and pipes."""

    EVERY_S = 10.0

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def task(self, label: str, total: float | None = None, *, initial: float = 0.0) -> Iterator[Task]:
        yield _PlainTask(self, label, total, initial)


class _PlainTask(Task):
    def __init__(self, reporter: PlainReporter, label: str, total: float | None, initial: float) -> None:
        super().__init__(label, total)
        self.reporter, self.done, self.started_at = reporter, initial, initial
        self.began = self.shown = time.monotonic()

    def advance(self, amount: float = 1.0, **figures: str) -> None:
        super().advance(amount, **figures)
        now = time.monotonic()
        finished = self.total is not None and self.done >= self.total
        if now - self.shown < self.reporter.EVERY_S and not (finished and now - self.began > 1):
            return
        self.shown = now
        total = f"/{self.total:,.0f}" if self.total else ""
        parts = [f"{self.label} {self.done:,.0f}{total}" if self.done or total else self.label]
        parts += [f"{name} {value}" for name, value in figures.items()]
        if self.total and self.started_at < self.done < self.total:
            left = (now - self.began) * (self.total - self.done) / (self.done - self.started_at)
            parts.append(f"left {duration(left)}")
        self.reporter.say("  ".join(parts))


class TerminalReporter(Reporter):
    """Coloured lines and live progress bars (rich)."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def show_notice(self, text: str) -> None:
        self.console.print(f"note: {text}", style="yellow", markup=False)

    @contextmanager
    def task(self, label: str, total: float | None = None, *, initial: float = 0.0) -> Iterator[Task]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", style="dim", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, refresh_per_second=4) as bars:
            yield _RichTask(bars, label, total, initial)


class _RichTask(Task):
    def __init__(self, bars: Any, label: str, total: float | None, initial: float) -> None:
        super().__init__(label, total)
        self.bars, self.figures = bars, ""
        self.bar = bars.add_task(label, total=total, completed=initial, figures="")

    def advance(self, amount: float = 1.0, **figures: str) -> None:
        super().advance(amount, **figures)
        if figures:
            self.figures = "  ".join(f"{name} {value}" for name, value in figures.items())
        self.bars.update(self.bar, advance=amount, figures=self.figures)


def reporter_for(mode: Mode) -> Reporter:
    """The reporter of a mode; `terminal` falls back to plain lines where standard error is no terminal."""
    if mode == "terminal" and not sys.stderr.isatty():
        mode = "plain"
    kinds: dict[str, type[Reporter]] = {
        "terminal": TerminalReporter,
        "plain": PlainReporter,
        "quiet": Reporter,
        "json": JsonReporter,
    }
    return kinds[mode]()


def aside(text: str) -> None:
    """A line beside the result, on standard error: what whoever uses a model should know."""
    print(text, file=sys.stderr)


def duration(seconds: float) -> str:
    """1 h 02 min, 3 min 05 s, 4.2 s."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def amount(number: float, unit: str = "") -> str:
    """12.4 M, 3.1 k, 812; with a unit after it."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g} {letter}{unit}"
    return f"{number:.3g} {unit}".rstrip()
