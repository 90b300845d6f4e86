"""How figures of written functions are spread: cumulated curves of every writer with the paper's points, and lengths.

A curve says which share of the functions is at least as similar, at most as distant, at most as far off in length. The
marks are what the paper says of its own (`paper`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.charts import Curve, Dot, Line, Point, Scale, Tick, axis, path
from whet.evaluate.report.fields import number, parts, texts
from whet.evaluate.report.wording import decimal, share, whole
from whet.evaluate.written import EMITTER, FALLBACK, MODEL, NEAREST

KINDS = {MODEL: "model", NEAREST: "nearest", EMITTER: "emitter", FALLBACK: "fallback"}
"""{writer: how it is drawn}; the model before training is what is left."""
LONGEST = 500
"""Characters at which the plot of length differences ends."""
_SHARES = Scale(0, 1)


def kind_of(writer: str) -> str:
    """The class of a writer's line."""
    return KINDS.get(writer, "beginning")


def distributions(found: Mapping[str, Any]) -> list[Curve]:
    """The plots of one domain; those for which there are values."""
    mean = (paper.SIMILARITY, "the paper's mean")
    similar = _cumulated(found, "semantic_similarity", Scale(0, 1), paper.MORE_SIMILAR, mean, more=True)
    distant = _cumulated(found, "edit_distance", Scale(0, 1), paper.LESS_DISTANT)
    lengths = _cumulated(found, "length_difference", Scale(0, LONGEST), paper.NEARER_LENGTH)
    return [plot for plot in (similar, distant, lengths, _lengths(found)) if plot]


_TITLES = {
    "semantic_similarity": ("Share of functions at least as similar", "semantic similarity"),
    "edit_distance": ("Share of functions at most as distant", "normalised edit distance"),
    "length_difference": (
        "Share of functions at most as far off in length",
        "difference in characters, longer or shorter",
    ),
}


def _cumulated(
    found: Mapping[str, Any],
    metric: str,
    scale: Scale,
    marks: Sequence[paper.Mark],
    line: tuple[float, str] | None = None,
    *,
    more: bool = False,
) -> Curve | None:
    """marks: points, and line: a value, that are drawn in."""
    lines = []
    for writer in texts(found, "writers"):
        values = _values(found, writer, metric)
        if values:
            lines.append(Line(kind_of(writer), writer, path(_steps(values, scale, more), scale, _SHARES)))
    if not lines:
        return None
    writers = ", ".join(one.label for one in lines)
    if line:
        lines.append(Line("paper", line[1], f"M{scale.place(line[0]):g} 0V100"))
    title, along = _TITLES[metric]
    return Curve(
        title=title,
        spoken=f"{title}, by {along}, for {writers}; dots are the paper's.",
        x_ticks=axis(scale, lambda value: f"{value:g}"),
        y_ticks=axis(_SHARES, lambda value: share(value)),
        lines=lines,
        dots=[_dot(mark, scale) for mark in marks],
        x_title=along,
    )


def _values(found: Mapping[str, Any], writer: str, metric: str) -> list[float]:
    values = [number(record, "texts", writer, "metrics", metric) for record in parts(found, "functions")]
    return [abs(value) for value in values if value is not None]


def _steps(values: list[float], scale: Scale, more: bool) -> list[Point]:
    """The share of values that are at least (or at most) each value, as steps over the whole scale."""
    inside = sorted(min(max(value, scale.low), scale.high) for value in values)
    line: list[Point] = [(scale.low, 1.0 if more else 0.0)]
    for at, value in enumerate(inside):
        before, after = at / len(inside), (at + 1) / len(inside)
        line += [(value, 1 - before), (value, 1 - after)] if more else [(value, before), (value, after)]
    return [*line, (scale.high, line[-1][1])] if inside[-1] < scale.high else line


def _dot(mark: paper.Mark, scale: Scale) -> Dot:
    label = f"{paper.NAME}, {mark.where}: {share(mark.share)} at {mark.x:g}"
    return Dot("paper", scale.place(mark.x), round(100 - _SHARES.place(mark.share), 2), label)


def _lengths(found: Mapping[str, Any]) -> Curve | None:
    """The model's lengths over the true ones, both in powers of ten."""
    both = [
        (true, true + more)
        for record in parts(found, "functions")
        if (true := number(record, "characters")) is not None
        and (more := number(record, "texts", MODEL, "metrics", "length_difference")) is not None
    ]
    points = [(math.log10(max(true, 1)), math.log10(max(written, 1))) for true, written in both]
    if not points:
        return None
    low = math.floor(min(min(point) for point in points))
    scale = Scale(low, max(low + 1, math.ceil(max(max(point) for point in points))))
    places = [f"M{scale.place(x):g} {100 - scale.place(y):.2f}h0" for x, y in points]
    marks = [
        Tick(scale.place(place), whole(value))
        for value in (
            round(10**power * times) for power in range(low, math.ceil(scale.high)) for times in (1, 3)
        )
        if (place := math.log10(value)) <= scale.high
    ]
    found_correlation = correlation([point[0] for point in both], [point[1] for point in both])
    return Curve(
        title=f"Length of the model's functions over the true length; correlation {decimal(found_correlation)} "
        f"(the paper's: {paper.LENGTH_CORRELATION})",
        spoken="Characters of each function the model wrote over the characters of the true one.",
        x_ticks=marks,
        y_ticks=marks,
        lines=[Line("even", "as long", "M0 100L100 0"), Line("scatter", "a function", "".join(places))],
        x_title="characters of the true function",
    )


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's; None where a side does not vary."""
    count = len(one)
    means = sum(one) / count, sum(other) / count
    spreads = [
        sum((value - mean) ** 2 for value in side) for side, mean in zip((one, other), means, strict=True)
    ]
    if not all(spreads):
        return None
    both = sum((a - means[0]) * (b - means[1]) for a, b in zip(one, other, strict=True))
    return both / math.sqrt(spreads[0] * spreads[1])
