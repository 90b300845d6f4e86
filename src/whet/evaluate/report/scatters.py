"""One value of a written function over another, a dot a function of the model: lengths, similarity over distance and length.

Correlations are Pearson's, of the values as they are, also where the axes are logarithmic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.charts import Curve, Line, Point, Scale, Tick, axis, scale_to_one
from whet.evaluate.report.fields import texts
from whet.evaluate.report.wording import ABSENT, decimal, whole
from whet.evaluate.report.writers import kind_of, pairs
from whet.evaluate.written import LENGTHS, MODEL


def lengths(found: Mapping[str, Any]) -> Curve | None:
    """The model's lengths over the true ones, both in powers of ten."""
    both = pairs(found, MODEL, "characters", "written_characters")
    if not both:
        return None
    points = _logarithms(both, x=True, y=True)
    scale = _powers([value for point in points for value in point])
    marks = _power_ticks(scale)
    return Curve(
        title=f"Length of the model's functions over the true length; {_correlations(both, paper.LENGTH_CORRELATION)}",
        spoken="Characters of each function the model wrote over the characters of the true one.",
        x_ticks=marks,
        y_ticks=marks,
        lines=[Line("even", "as long", "M0 100L100 0"), _scatter(points, scale, scale)],
        x_title="characters of the true function",
        note=paper.said("The paper's correlation", "RQ1"),
    )


def distances(found: Mapping[str, Any]) -> Curve | None:
    """The model's similarities over its edit distances."""
    both = pairs(found, MODEL, "edit_distance", "semantic_similarity")
    if not both:
        return None
    x, y = Scale(0, 1), scale_to_one([similarity for _, similarity in both])
    correlations = _correlations(both, paper.SIMILARITY_DISTANCE_CORRELATION)
    return Curve(
        title=f"Similarity of the model's functions over their edit distance; {correlations}",
        spoken="Semantic similarity of each function the model wrote over its normalised edit distance.",
        x_ticks=axis(x, lambda value: f"{value:g}"),
        y_ticks=axis(y, decimal),
        lines=[_scatter(both, x, y)],
        x_title="normalised edit distance",
        note=paper.said("The paper's correlation", "figure 7"),
    )


def by_length(found: Mapping[str, Any]) -> Curve | None:
    """Similarities over the true length: every function of the model, and each writer's mean in the bins of LENGTHS."""
    every = {
        writer: pairs(found, writer, "characters", "semantic_similarity")
        for writer in texts(found, "writers")
    }
    measured = {writer: _logarithms(both, x=True) for writer, both in every.items() if both}
    if not measured:
        return None
    points = [point for some in measured.values() for point in some]
    x, y = _powers([point[0] for point in points]), scale_to_one([point[1] for point in points])
    lines = [
        _scatter(measured.get(MODEL, []), x, y),
        *(Line(kind_of(writer), writer, _means(some, x, y)) for writer, some in measured.items()),
        Line("paper", paper.MODEL, _paper_steps(x, y)),
    ]
    return Curve(
        title=f"Similarity by length of the function; {_two_means(every.get(MODEL, []))}",
        spoken="Semantic similarity of each function the model wrote over the characters of the true one, "
        f"and the mean in each range of lengths for {', '.join(measured)}.",
        x_ticks=_power_ticks(x),
        y_ticks=axis(y, decimal),
        lines=lines,
        x_title="characters of the true function; dots: the model's, steps: means",
        note=paper.said(
            f"Dashed, similarities that shorter and longer ones exceed "
            f"({paper.SIMILARITY_BELOW_LONG} and {paper.SIMILARITY_ABOVE_LONG:.2f})",
            "RQ4",
        ),
    )


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's; None where a side does not vary, and of fewer than three points, since two are always on a line."""
    count = len(one)
    if count < 3:
        return None
    means = sum(one) / count, sum(other) / count
    spreads = [
        sum((value - mean) ** 2 for value in side) for side, mean in zip((one, other), means, strict=True)
    ]
    if not all(spreads):
        return None
    both = sum((a - means[0]) * (b - means[1]) for a, b in zip(one, other, strict=True))
    return both / math.sqrt(spreads[0] * spreads[1])


def _correlations(points: Sequence[Point], papers: float) -> str:
    mine = correlation([x for x, _ in points], [y for _, y in points])
    return f"correlation {decimal(mine)} (the paper's: {decimal(papers)})"


def _two_means(points: Sequence[Point]) -> str:
    """The model's mean below and from LONG characters on, with how many functions each is of."""
    short = [y for x, y in points if x < paper.LONG]
    long = [y for x, y in points if x >= paper.LONG]
    below, above = (
        f"{decimal(fmean(some)) if some else ABSENT} ({whole(len(some))})" for some in (short, long)
    )
    return f"the model's mean (functions) below {whole(paper.LONG)} characters {below}, from there on {above}"


def _means(points: Sequence[Point], x: Scale, y: Scale) -> str:
    """One step for each bin of lengths that has a function."""
    edges = [x.low, *(math.log10(edge) for edge in LENGTHS), math.inf]
    bins: list[list[float]] = [[] for _ in edges[1:]]
    for length, value in points:
        bins[bisect_right(edges[1:-1], length)].append(value)
    return "".join(
        f"M{x.place(max(begin, x.low)):g} {100 - y.place(fmean(some)):.2f}H{x.place(min(end, x.high)):g}"
        for (begin, end), some in zip(pairwise(edges), bins, strict=True)
        if some
    )


def _paper_steps(x: Scale, y: Scale) -> str:
    border = min(max(x.place(math.log10(paper.LONG)), 0), 100)
    below, above = (
        100 - y.place(value) for value in (paper.SIMILARITY_BELOW_LONG, paper.SIMILARITY_ABOVE_LONG)
    )
    return f"M0 {below:.2f}H{border:g}M{border:g} {above:.2f}H100"


def _scatter(points: Sequence[Point], x: Scale, y: Scale) -> Line:
    places = [f"M{x.place(one):g} {100 - y.place(other):.2f}h0" for one, other in points]
    return Line("scatter", "a function", "".join(places))


def _logarithms(points: Sequence[Point], *, x: bool = False, y: bool = False) -> list[Point]:
    """Of the sides asked for; an empty text counts as one character."""
    return [
        (math.log10(max(one, 1)) if x else one, math.log10(max(other, 1)) if y else other)
        for one, other in points
    ]


def _powers(logarithms: Sequence[float]) -> Scale:
    low = math.floor(min(logarithms))
    return Scale(low, max(low + 1, math.ceil(max(logarithms))))


def _power_ticks(scale: Scale) -> list[Tick]:
    """1, 3, 10, 30, ... within a scale of powers of ten."""
    labels = (
        round(10**power * times)
        for power in range(math.floor(scale.low), math.ceil(scale.high) + 1)
        for times in (1, 3)
    )
    return [
        Tick(scale.place(place), whole(label))
        for label in labels
        if (place := math.log10(label)) <= scale.high
    ]
