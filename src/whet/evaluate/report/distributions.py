"""How figures of written functions are spread: everything that the paper plots, with its numbers drawn in (`paper`).

Cumulated curves of every writer are here: which share of the functions is at least as similar, at most as distant, at most
as far off in length. Shapes and boxes are `spreads`, one value over another is `scatters`, words are `keywords`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.charts import Curve, Dot, Line, Point, Scale, Strips, axis, path
from whet.evaluate.report.fields import texts
from whet.evaluate.report.scatters import by_length, distances, lengths
from whet.evaluate.report.spreads import boxes, length_shapes, similarity_shapes
from whet.evaluate.report.wording import share
from whet.evaluate.report.writers import kind_of, values

LONGEST = 500
"""Characters at which the curve of length differences ends."""
_SHARES = Scale(0, 1)


def distributions(found: Mapping[str, Any]) -> list[Curve | Strips]:
    """The plots of one domain; those for which there are values."""
    mean = (paper.SIMILARITY, "the paper's mean")
    similar = "figures 3 and 4, the line its mean"
    plots = [
        _cumulated(found, "semantic_similarity", Scale(0, 1), paper.MORE_SIMILAR, similar, mean, more=True),
        similarity_shapes(found),
        _cumulated(found, "edit_distance", Scale(0, 1), paper.LESS_DISTANT, "figures 3 to 5"),
        boxes(found),
        _cumulated(found, "length_difference", Scale(0, LONGEST), paper.NEARER_LENGTH, "figure 2"),
        length_shapes(found),
        lengths(found),
        distances(found),
        by_length(found),
    ]
    return [plot for plot in plots if plot]


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
    where: str,
    line: tuple[float, str] | None = None,
    *,
    more: bool = False,
) -> Curve | None:
    """marks: points, and line: a value, that are drawn in; where: the paper has them."""
    lines = []
    for writer in texts(found, "writers"):
        mine = values(found, writer, metric)
        sizes = [abs(value) for value in mine] if metric == "length_difference" else mine
        if sizes:
            lines.append(Line(kind_of(writer), writer, path(_steps(sizes, scale, more), scale, _SHARES)))
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
        note=paper.said("Dots", where),
    )


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
