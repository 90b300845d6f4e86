"""Shapes and boxes, a row for each writer and one for the paper: density of similarity and signed length, box of distance.

A shape is as wide as functions are near a value: a sum of Gaussians, one for each function, scaled to the row. A box has
quartiles and median (linear between neighbours), whiskers to the last value within 1.5 times its length, and dots beyond.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.charts import Dot, Line, Point, Scale, Strip, Strips, axis, scale_to_one
from whet.evaluate.report.fields import texts
from whet.evaluate.report.wording import decimal, difference, round_count, whole
from whet.evaluate.report.writers import kind_of, values

FARTHEST = 500
"""Characters to either side at which the plot of signed length differences ends."""
SIMILARITY_WIDTH, LENGTH_WIDTH = 0.02, 20
"""Standard deviation of a Gaussian, in similarity and in characters."""
STEPS = 160
"""Into which the outline of a shape is divided."""
WHISKER = 1.5


def similarity_shapes(found: Mapping[str, Any]) -> Strips | None:
    """Where similarities lie close together, with the peaks of the paper's violin."""
    every = _measured(found, "semantic_similarity")
    if not every:
        return None
    scale = scale_to_one([value for mine in every.values() for value in mine])
    peaks = Line(
        "paper", "peaks", "".join(f"M{scale.place(peak):g} 0V100" for peak in paper.SIMILARITY_PEAKS)
    )

    def strip(mine: Sequence[float]) -> tuple[str, list[Line], list[Dot]]:
        median = statistics.median(mine)
        return decimal(median), [_shape(mine, scale, SIMILARITY_WIDTH), _middle(median, scale), peaks], []

    told = " and ".join(decimal(peak) for peak in paper.SIMILARITY_PEAKS)
    return Strips(
        title="Density of similarity; at the right the median",
        strips=[*_strips(every, strip), Strip(paper.MODEL, "paper", "", [peaks])],
        ticks=axis(scale, lambda value: f"{value:g}"),
        x_title="semantic similarity",
        note=f"Each function is a Gaussian of {SIMILARITY_WIDTH}. "
        + paper.said(f"Dashed, the two peaks near {told}", "figure 5"),
    )


def boxes(found: Mapping[str, Any]) -> Strips | None:
    """Quartiles, whiskers and outliers of the edit distance, with the paper's quartiles."""
    every = _measured(found, "edit_distance")
    if not every:
        return None
    scale = Scale(0, 1)

    def strip(mine: Sequence[float]) -> tuple[str, list[Line], list[Dot]]:
        three = quartiles(mine)
        low, high = whiskers(mine)
        beyond = [value for value in mine if not low <= value <= high]
        lines = [_reach((low, high), scale), *_box(three, scale)]
        return _three(three), lines, [_beyond(value, scale) for value in beyond]

    papers = Strip(
        paper.MODEL, "paper", _three(paper.DISTANCE_QUARTILES), _box(paper.DISTANCE_QUARTILES, scale)
    )
    return Strips(
        title="Box plot of the edit distance; at the right first quartile · median · third quartile",
        strips=[*_strips(every, strip), papers],
        ticks=axis(scale, lambda value: f"{value:g}"),
        x_title="normalised edit distance",
        note=paper.said("The last box, without whiskers", "its box plot"),
    )


def length_shapes(found: Mapping[str, Any]) -> Strips | None:
    """Characters too many (or too few), with median and standard deviation, and the paper's."""
    every = _measured(found, "length_difference")
    if not every:
        return None
    scale = Scale(-FARTHEST, FARTHEST)

    def strip(mine: Sequence[float]) -> tuple[str, list[Line], list[Dot]]:
        median, spread = statistics.median(mine), statistics.pstdev(mine)
        lines = [_shape(mine, scale, LENGTH_WIDTH), *_deviation(median, spread, scale)]
        return _median_and_spread(median, spread), lines, []

    papers = _deviation(paper.LENGTH_MEDIAN, paper.LENGTH_SPREAD, scale)
    told = _median_and_spread(paper.LENGTH_MEDIAN, paper.LENGTH_SPREAD)
    return Strips(
        title="Signed length difference; at the right, and as a bar, median ± standard deviation",
        strips=[*_strips(every, strip), Strip(paper.MODEL, "paper", told, papers)],
        ticks=axis(scale, round_count, about=4),
        x_title="characters longer or, below zero, shorter",
        note=f"Each function is a Gaussian of {LENGTH_WIDTH} characters; none beyond {whole(FARTHEST)} is drawn. "
        + paper.said("The last bar", "figure 2"),
    )


def quartiles(mine: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile: linear between neighbours, as numpy's percentiles are."""
    low, middle, high = statistics.quantiles([*mine, *mine] if len(mine) == 1 else mine, method="inclusive")
    return low, middle, high


def whiskers(mine: Sequence[float]) -> Point:
    """The least and the largest value within WHISKER box lengths of the box, or the box's end where none is outside it."""
    low, _, high = quartiles(mine)
    reach = WHISKER * (high - low)
    inside = [value for value in mine if low - reach <= value <= high + reach]
    return min(low, *inside), max(high, *inside)


def _measured(found: Mapping[str, Any], metric: str) -> dict[str, list[float]]:
    """{writer: its values}, of writers that have any."""
    every = {writer: values(found, writer, metric) for writer in texts(found, "writers")}
    return {writer: mine for writer, mine in every.items() if mine}


def _strips(
    every: Mapping[str, list[float]],
    strip: Callable[[Sequence[float]], tuple[str, list[Line], list[Dot]]],
) -> Iterator[Strip]:
    """strip: from values to what stands at the right, lines and dots."""
    for writer, mine in every.items():
        yield Strip(writer, kind_of(writer), *strip(mine))


def _shape(mine: Sequence[float], scale: Scale, width: float) -> Line:
    """The outline of a sum of Gaussians, symmetric about the middle of the row; empty where all values are far outside."""
    near = [value for value in mine if scale.low - 5 * width <= value <= scale.high + 5 * width]
    places = [scale.low + (scale.high - scale.low) * step / STEPS for step in range(STEPS + 1)]
    heights = [sum(math.exp(-(((place - value) / width) ** 2) / 2) for value in near) for place in places]
    highest = max(heights)
    if not highest:
        return Line("shape", "density", "")
    upper = [
        f"{scale.place(place):g} {50 - 46 * height / highest:.1f}"
        for place, height in zip(places, heights, strict=True)
    ]
    lower = [
        f"{scale.place(place):g} {50 + 46 * height / highest:.1f}"
        for place, height in zip(reversed(places), reversed(heights), strict=True)
    ]
    return Line("shape", "density", f"M{'L'.join([*upper, *lower])}Z")


def _middle(median: float, scale: Scale) -> Line:
    return Line("middle", "median", f"M{scale.place(median):g} 12V88")


def _reach(ends: Point, scale: Scale) -> Line:
    """A bar with caps."""
    low, high = (scale.place(end) for end in ends)
    return Line("reach", "reach", f"M{low:g} 50H{high:g}M{low:g} 34V66M{high:g} 34V66")


def _box(three: tuple[float, float, float], scale: Scale) -> list[Line]:
    low, _, high = (scale.place(value) for value in three)
    box = Line("shape box", "quartiles", f"M{low:g} 18H{high:g}V82H{low:g}Z")
    return [box, _middle(three[1], scale)]


def _deviation(median: float, spread: float, scale: Scale) -> list[Line]:
    """One standard deviation to each side of the median, as far as the scale goes."""
    ends = max(median - spread, scale.low), min(median + spread, scale.high)
    inside = scale.low <= median <= scale.high
    return [_reach(ends, scale), _middle(median, scale)] if inside else []


def _beyond(value: float, scale: Scale) -> Dot:
    return Dot("beyond", scale.place(value), 50, decimal(value))


def _three(three: tuple[float, float, float]) -> str:
    return " · ".join(decimal(value) for value in three)


def _median_and_spread(median: float, spread: float) -> str:
    return f"{difference(median, 1).removesuffix('.0')} ± {decimal(spread, 0)}"
