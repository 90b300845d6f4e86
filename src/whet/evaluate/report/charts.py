"""The geometry of the report's charts: from measured points to percentages of a plot.

Everything is placed in percent, so a chart stretches to the page while its lines keep their width and its
labels their size; colours come from the style sheet, which is how a chart follows dark mode. Drawing is
`figures.html`. A point that is not a finite number cannot be drawn and is left to `checks.py` to report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from whet.evaluate.report.fields import Estimate, number

Point = tuple[float, float]
MOST_POINTS = 800
"""Per line: more than a screen has pixels to show, and the page stays small however long the run was."""


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Dot:
    kind: str
    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One plot, over tokens if nothing else is said: lines, dots, ticks, and what a reader who cannot see it should hear."""

    title: str
    spoken: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    dots: list[Dot] = field(default_factory=list)
    tall: bool = False
    x_title: str = "tokens seen in this stage"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of a plot: its name, lines and dots in percent of the row (the top is 0), and what stands at its right."""

    label: str
    kind: str
    value: str
    lines: list[Line]
    dots: list[Dot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Strips:
    """Rows over one scale."""

    title: str
    strips: list[Strip]
    ticks: list[Tick]
    x_title: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to 0..100 percent."""

    low: float
    high: float

    def place(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5, 5 times a power of ten) inside [low, high], about that many."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{step * index:.10g}") for index in range(first, last + 1)]


def scale_over(values: Iterable[float], *, zero: bool = False, margin: float = 0.04) -> Scale:
    """A scale that holds all values with some air; from zero where a length must mean something."""
    found = list(values) or [0.0]
    low, high = (min(0.0, *found) if zero else min(found)), max(found)
    air = (high - low) * margin or abs(high) * 0.1 or 1.0
    return Scale(low if zero else low - air, high + air)


def scale_to_one(values: Iterable[float]) -> Scale:
    """From zero to one; from as many tenths below zero as it takes to hold all values."""
    return Scale(math.floor(10 * min([0.0, *values])) / 10, 1)


def points(rows: Sequence[Mapping[str, Any]], key: str, along: str = "tokens") -> list[Point]:
    """The (tokens, value) pairs of a log in which both are there."""
    pairs = ((number(row, along), number(row, key)) for row in rows)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def window(length: int) -> int:
    """How many logged steps a smoothed line averages: about a twentieth of the run, and odd."""
    return length // 40 * 2 + 1


def smooth(line: Sequence[Point]) -> list[Point]:
    """The mean over `window` points around each; at the start it narrows, at the end it looks back only.

    Narrowing keeps the steep beginning where it is; looking back keeps the last value a mean.
    """
    reach = window(len(line)) // 2
    sums = [0.0]
    for _, y in line:
        sums.append(sums[-1] + y)
    smoothed = []
    for index, (x, _) in enumerate(line):
        back, ahead = min(reach, index), min(reach, index, len(line) - 1 - index)
        smoothed.append((x, (sums[index + ahead + 1] - sums[index - back]) / (back + ahead + 1)))
    return smoothed


def thin(line: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most that many points: the lowest and highest of every group, so that no spike is lost."""
    if len(line) <= most:
        return list(line)
    groups = most // 2
    bounds = [len(line) * index // groups for index in range(groups + 1)]
    kept: list[Point] = []
    for start, stop in pairwise(bounds):
        group = line[start:stop]
        kept.extend(sorted({min(group, key=lambda point: point[1]), max(group, key=lambda point: point[1])}))
    return kept


def path(line: Sequence[Point], x: Scale, y: Scale) -> str:
    """SVG path data in a 100 x 100 box with the origin at the top left."""
    return "M" + "L".join(f"{x.place(a):g} {100 - y.place(b):.2f}" for a, b in thin(line)) if line else ""


def axis(scale: Scale, write: Callable[[float], str], about: int = 5) -> list[Tick]:
    """Ticks at round numbers, placed in percent."""
    return [Tick(scale.place(value), write(value)) for value in ticks(scale.low, scale.high, about)]


@dataclass(frozen=True, slots=True)
class Bar:
    """One horizontal bar from zero; the whisker is the interval, where one was measured."""

    label: str
    kind: str
    value: str
    width: float
    whisker: tuple[float, float] | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    title: str
    bars: list[Bar]
    ticks: list[Tick]
    mark: float | None = None
    """Where the dashed line stands that every bar is compared with."""


def whisker(figure: Estimate, scale: Scale) -> tuple[float, float] | None:
    """Left edge and width of the interval, in percent."""
    if figure.low is None or figure.high is None:
        return None
    left = scale.place(figure.low)
    return left, round(scale.place(figure.high) - left, 2)
