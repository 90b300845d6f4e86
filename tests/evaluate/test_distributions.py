"""What the report draws of written functions: each value where it belongs, the paper's numbers too, and nothing of nothing."""

from __future__ import annotations

import random
import re
import statistics
from typing import Any

import numpy as np
import pytest
from tests.evaluate.written_example import example_written, record

from whet.evaluate.report import paper, render
from whet.evaluate.report.charts import Curve, Line, Strip, Strips, scale_to_one
from whet.evaluate.report.distributions import distributions
from whet.evaluate.report.keywords import frequencies, keywords, off
from whet.evaluate.report.scatters import by_length, correlation, distances, lengths
from whet.evaluate.report.spreads import boxes, length_shapes, quartiles, similarity_shapes, whiskers
from whet.evaluate.report.written import LIKENESS, STRUCTURE, written
from whet.evaluate.written import MODEL, NEAREST, figures

WRITTEN = example_written()
AXES = [
    "semantic similarity",
    "semantic similarity",
    "normalised edit distance",
    "normalised edit distance",
    "difference in characters, longer or shorter",
    "characters longer or, below zero, shorter",
    "characters of the true function",
    "normalised edit distance",
    "characters of the true function; dots: the model's, steps: means",
]


def of(metric: str, values: list[float], writer: str = MODEL) -> dict[str, Any]:
    """An evaluation in which one writer has these values of one metric."""
    return {
        "writers": [writer],
        "functions": [{"texts": {writer: {"metrics": {metric: value}}}} for value in values],
    }


def drawn(seed: int, count: int) -> dict[str, Any]:
    """An evaluation of two writers with values at random, of which some are missing."""
    draw = random.Random(seed)

    def metrics() -> dict[str, float]:
        every = {
            "semantic_similarity": draw.uniform(-0.2, 1),
            "edit_distance": draw.random(),
            "length_difference": float(draw.randint(-900, 900)),
        }
        return {name: value for name, value in every.items() if draw.random() < 0.9}

    return {
        "writers": [MODEL, NEAREST],
        "functions": [
            {
                "characters": draw.randint(20, 5000),
                "texts": {who: {"metrics": metrics()} for who in (MODEL, NEAREST)},
            }
            for _ in range(count)
        ],
    }


def numbers(path: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?[\d.]+", path)]


def line_of(strip: Strip | Curve, kind: str) -> Line:
    (found,) = [line for line in strip.lines if line.kind == kind]
    return found


def strip_of(plot: Strips | None, label: str) -> Strip:
    assert plot is not None
    (found,) = [strip for strip in plot.strips if strip.label == label]
    return found


def dots_of(plot: Curve | None) -> list[tuple[float, float]]:
    """Places of a scatter, in percent from the bottom left."""
    assert plot is not None
    places = re.findall(r"M(\S+) (\S+)h0", line_of(plot, "scatter").path)
    return [(float(x), round(100 - float(y), 2)) for x, y in places]


def test_the_papers_marks_are_drawn_where_its_figures_are() -> None:
    similar, _, distant, _, near, *_ = distributions(WRITTEN)
    assert isinstance(similar, Curve)
    assert [(dot.x, dot.y) for dot in similar.dots] == [
        (70.0, 10.0),
        (80.0, 21.7),
        (85.0, 50.0),
        (90.0, 54.8),
    ]
    assert line_of(similar, "paper").path == "M82 0V100"
    assert isinstance(distant, Curve)
    assert sorted(dot.y for dot in distant.dots if dot.x == 40.0) == [17.5, 40.0], "both of what it says"
    assert isinstance(near, Curve)
    assert [(dot.x, dot.y) for dot in near.dots] == [(10.0, 32.36)]


def test_a_cumulated_curve_ends_with_everything_and_steps_at_every_value() -> None:
    (distant, _) = distributions(of("edit_distance", [0.25, 0.5, 0.5, 1.0]))
    (similar, _) = distributions(of("semantic_similarity", [0.75, 0.5, 0.5, 0.0]))
    assert isinstance(distant, Curve)
    assert isinstance(similar, Curve)
    assert (
        distant.lines[0].path
        == "M0 100.00L25 100.00L25 75.00L50 75.00L50 50.00L50 50.00L50 25.00L100 25.00L100 0.00"
    )
    assert similar.lines[0].path.endswith("L75 75.00L75 100.00L100 100.00")


def test_everything_that_the_paper_plots_is_there_and_says_whose_its_marks_are() -> None:
    plots = distributions(WRITTEN)
    assert [plot.x_title for plot in plots] == AXES
    for plot in [*plots, frequencies(keywords(WRITTEN))]:
        assert plot is not None
        assert paper.NAME in plot.note
        assert "another model on another test set" in plot.note


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_functions_are_a_page_too(count: int) -> None:
    found = example_written(count)
    assert len(distributions(found)) == (len(AXES) if count else 0)
    page = render({"name": "few", "evaluation": {"solidity": {"code": found}}})
    assert page.count('<figure class="strips') == (4 if count else 0)
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', page))


def test_a_writer_without_values_is_left_out_of_a_figure_and_the_others_are_drawn() -> None:
    found = example_written(6)
    for one in found["functions"]:
        one["texts"][MODEL]["metrics"] = {}
        del one["texts"]["untrained"]
    found["tables"] = [{"by": "all", "writers": {NEAREST: {"keywords": {"emit": [1, 2]}}}}]
    plots = distributions(found)
    assert [plot.x_title for plot in plots] == [*AXES[:6], AXES[-1]], "scatters are of the model"
    for plot in plots:
        names = {one.label for one in (plot.strips if isinstance(plot, Strips) else plot.lines)}
        assert NEAREST in names
        assert not names & {MODEL, "untrained"}
    assert list(keywords(found)) == [NEAREST]
    for one in found["functions"]:
        one["texts"] = {}
    assert distributions(found) == []
    assert frequencies({}) is None


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 50])
def test_quartiles_are_numpys_and_whiskers_end_at_values(count: int) -> None:
    draw = random.Random(count)
    values = [draw.random() ** 3 for _ in range(count)]
    low, middle, high = quartiles(values)
    assert [low, middle, high] == pytest.approx(np.percentile(values, [25, 50, 75]))
    ends = whiskers(values)
    assert ends[0] <= low <= middle <= high <= ends[1]
    for value in values:
        outside = value < low - 1.5 * (high - low) or value > high + 1.5 * (high - low)
        assert outside == (not ends[0] <= value <= ends[1])


def test_a_box_is_drawn_where_its_quartiles_are_and_the_papers_beside_it() -> None:
    plot = boxes(of("edit_distance", [0.2, 0.4, 0.5, 0.6, 0.7, 0.1, 0.45, 0.55, 0.5, 1.0, 0.48, 0.52]))
    mine, papers = strip_of(plot, MODEL), strip_of(plot, paper.MODEL)
    assert line_of(mine, "shape box").path == "M43.75 18H56.25V82H43.75Z"
    assert line_of(mine, "middle").path == "M50 12V88"
    assert line_of(mine, "reach").path.startswith("M40 50H70M"), "0.25 and 0.75 are as far as it may go"
    assert sorted(dot.x for dot in mine.dots) == [10, 20, 100]
    assert mine.value == "0.44 · 0.50 · 0.56"
    assert line_of(papers, "shape box").path == "M20 18H45V82H20Z"
    assert line_of(papers, "middle").path == "M30 12V88"
    assert "reach" not in {line.kind for line in papers.lines}, "the paper gives no whiskers"
    assert papers.value == "0.20 · 0.30 · 0.45"


def test_one_function_is_a_box_without_length() -> None:
    one = strip_of(boxes(of("edit_distance", [0.25])), MODEL)
    assert line_of(one, "shape box").path == "M25 18H25V82H25Z"
    assert one.dots == []


def test_a_shape_is_widest_where_most_functions_are() -> None:
    values = [0.3] * 3 + [0.9] * 9
    mine = strip_of(similarity_shapes(of("semantic_similarity", values)), MODEL)
    outline = numbers(line_of(mine, "shape").path)
    upper = dict(zip(outline[: len(outline) // 2 : 2], outline[1 : len(outline) // 2 : 2], strict=True))
    assert upper[90] == min(upper.values()) == 4
    assert 50 - upper[30] == pytest.approx((50 - upper[90]) / 3, abs=0.1)
    assert upper[60] == upper[0] == 50
    lower = dict(zip(outline[len(outline) // 2 :: 2], outline[len(outline) // 2 + 1 :: 2], strict=True))
    assert lower == pytest.approx({x: 100 - y for x, y in upper.items()}), "both halves are alike"
    assert line_of(mine, "middle").path == "M90 12V88"
    assert mine.value == "0.90"


def test_the_peaks_of_the_paper_go_through_every_row() -> None:
    plot = similarity_shapes(WRITTEN)
    assert plot is not None
    assert [strip.label for strip in plot.strips] == [*WRITTEN["writers"], paper.MODEL]
    scale = scale_to_one(
        one["texts"][who]["metrics"]["semantic_similarity"]
        for one in WRITTEN["functions"]
        for who in one["texts"]
    )
    for strip in plot.strips:
        assert line_of(strip, "paper").path == f"M{scale.place(0.85):g} 0V100M{scale.place(0.95):g} 0V100"


def test_cosines_below_zero_have_a_place() -> None:
    assert (scale_to_one([0.2, 0.9]).low, scale_to_one([]).low, scale_to_one([-0.21]).low) == (0, 0, -0.3)
    mine = strip_of(similarity_shapes(of("semantic_similarity", [-0.2, -0.2, 0.6])), MODEL)
    assert line_of(mine, "middle").path == "M0 12V88"
    (similar, *_) = distributions(of("semantic_similarity", [-0.2]))
    assert isinstance(similar, Curve)
    assert similar.lines[0].path == "M0 0.00L0 0.00L0 100.00L100 100.00", "in a share it is none"


def test_signed_lengths_have_median_and_deviation_beside_the_papers() -> None:
    values = [-100.0, 0.0, 20.0, 300.0, 8000.0]
    plot = length_shapes(of("length_difference", values))
    mine, papers = strip_of(plot, MODEL), strip_of(plot, paper.MODEL)
    assert mine.value == f"+20 ± {np.std(values):.0f}"
    assert line_of(mine, "middle").path == "M52 12V88"
    assert line_of(mine, "reach").path.startswith("M0 50H100M"), "cut at the ends of the plot"
    assert line_of(papers, "middle").path == "M50.5 12V88"
    assert line_of(papers, "reach").path.startswith("M25.08 50H75.92M"), "5 - 254.18 and 5 + 254.18"
    assert papers.value == "+5 ± 254"
    far = strip_of(length_shapes(of("length_difference", [9000.0, 1e200])), MODEL)
    assert [line.path for line in far.lines] == [""], "nothing of it is in the plot"


def test_nothing_is_correlated_where_it_could_not_be_otherwise() -> None:
    assert correlation([], []) is None
    assert correlation([1, 2], [5, 3]) is None, "two points are always on a line"
    assert correlation([1, 2, 3], [4, 4, 4]) is None


@pytest.mark.parametrize("seed", range(4))
def test_correlations_are_numpys(seed: int) -> None:
    found = drawn(seed, 40)
    both = [
        (one["characters"], metrics)
        for one in found["functions"]
        if (metrics := one["texts"][MODEL]["metrics"])
    ]
    near = [
        (m["edit_distance"], m["semantic_similarity"])
        for _, m in both
        if {"edit_distance", "semantic_similarity"} <= m.keys()
    ]
    long = [(n, n + m["length_difference"]) for n, m in both if "length_difference" in m]
    for points, plot, papers in ((near, distances(found), "−0.72"), (long, lengths(found), "0.89")):
        expected = np.corrcoef(*zip(*points, strict=True))[0, 1]
        assert correlation(*zip(*points, strict=True)) == pytest.approx(expected)
        assert plot is not None
        written_number = f"{expected:.2f}".replace("-", "−")
        assert plot.title.endswith(f"; correlation {written_number} (the paper's: {papers})")
        assert len(dots_of(plot)) == len(points)


def test_a_dot_of_a_scatter_stands_at_its_values() -> None:
    found = of("edit_distance", [0.25])
    found["functions"][0]["texts"][MODEL]["metrics"]["semantic_similarity"] = 0.8
    plot = distances(found)
    assert dots_of(plot) == [(25, 80)]
    assert plot is not None
    assert "correlation – (the paper's: −0.72)" in plot.title, "one function has none"


def test_similarity_by_length_has_means_of_bins_and_the_papers_two() -> None:
    found = of("semantic_similarity", [0.2, 0.4, 0.9, 0.5])
    for one, characters in zip(found["functions"], (10, 99, 100, 1000), strict=True):
        one["characters"] = characters
    plot = by_length(found)
    assert plot is not None
    assert dots_of(plot) == [(0, 20), (49.78, 40), (50, 90), (100, 50)]
    assert line_of(plot, "model").path == "M0 70.00H50M50 10.00H65.05M100 50.00H100"
    assert line_of(plot, "paper").path == "M0 15.00H100M100 30.00H100"
    assert "below 1,000 characters 0.50 (3), from there on 0.50 (1)" in plot.title
    found["functions"][-1]["characters"] = 10_000
    longer = by_length(found)
    assert longer is not None
    assert line_of(longer, "paper").path == "M0 15.00H66.67M66.67 30.00H100"
    assert line_of(longer, "model").path.endswith("M66.67 50.00H100")


@pytest.mark.parametrize("seed", range(3))
def test_the_two_means_by_length_are_of_all_functions(seed: int) -> None:
    found = drawn(seed, 60)
    sides: dict[bool, list[float]] = {True: [], False: []}
    for one in found["functions"]:
        if "semantic_similarity" in one["texts"][MODEL]["metrics"]:
            sides[one["characters"] < paper.LONG].append(
                one["texts"][MODEL]["metrics"]["semantic_similarity"]
            )
    plot = by_length(found)
    assert plot is not None
    told = [f"{statistics.fmean(side):.2f} ({len(side)})" for side in sides.values()]
    assert plot.title.endswith(f"below 1,000 characters {told[0]}, from there on {told[1]}")


def test_words_are_counted_for_every_writer_and_drawn_over_the_truth() -> None:
    records = [record(at) for at in range(4)]
    for one in records:
        one["texts"][NEAREST]["text"] = one["true"].replace("require", "assert")
    found = {
        "writers": list(records[0]["texts"]),
        "tables": figures.tables(records, figures.measure(records, print)),
    }
    every = keywords(found)
    assert list(every) == found["writers"]
    assert every[NEAREST] == {"require": (0, 4), "msg.sender": (8, 8), "assert": (4, 0)}
    assert every[MODEL]["assert"] == (0, 0), "the words are the same for all"
    plot = frequencies(every)
    assert plot is not None
    assert [(strip.label, strip.value) for strip in plot.strips] == [
        ("require", "4"), ("msg.sender", "8"), ("assert", "0"),
    ]  # fmt: skip
    ends = {strip.label: numbers(line_of(strip, "nearest").path)[-1] for strip in plot.strips}
    assert ends == {"require": 0, "msg.sender": 50, "assert": 100}, "none, as often, and where none should be"
    assert [dot.y for dot in plot.strips[0].dots] == [10, 30, 50, 70, 90], "one below the other"
    bands = [[line.path for line in strip.lines if line.kind == "band"] for strip in plot.strips]
    assert bands == [["M49 0H51V100H49Z"], ["M49 0H51V100H49Z"], []], "2 % of the two that the paper names"


def test_the_table_of_words_has_every_writer_the_truth_and_what_the_paper_says() -> None:
    (one,) = written({"evaluation": {"solidity": {"code": WRITTEN}}})
    assert one.words is not None
    assert [row.name for row in one.words.rows] == [
        *WRITTEN["writers"], "the true functions", "the paper's model (arXiv 2506.19624)",
    ]  # fmt: skip
    assert one.words.head == ["require", "msg.sender"]
    papers = [value.replace("\N{NO-BREAK SPACE}", " ") for value, _ in one.words.rows[-1].cells]
    assert papers == ["± 2.0 %", "± 2.0 %"]
    assert one.words.rows[-2].cells == [("12", ""), ("24", "")]
    counts = WRITTEN["tables"][0]["writers"][NEAREST]["keywords"]["msg.sender"]
    assert counts == [12, 24]
    assert one.words.rows[2].cells[1] == ("12", "−50\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize(
    ("counts", "expected"), [((26, 33), "−21 %"), ((22, 11), "+100 %"), ((3, 3), "0 %"), ((2, 0), "")]
)
def test_how_far_a_frequency_is_off(counts: tuple[float, float], expected: str) -> None:
    assert off(counts).replace("\N{NO-BREAK SPACE}", " ") == expected


def test_every_metric_and_the_median_of_lengths_have_a_column() -> None:
    (one,) = written({"evaluation": {"solidity": {"code": WRITTEN}}})
    text, structure = one.near
    assert set(WRITTEN["metrics"]) == {*LIKENESS, *STRUCTURE}
    assert text.head[-1] == "Median, signed"
    median = WRITTEN["tables"][0]["writers"][MODEL]["length_difference_median"]
    assert text.rows[0].cells[-1][0] == f"{median:+.1f}".replace("-", "−")
    assert text.rows[-1].cells[-1] == ("+5", "")
    assert len(structure.rows) == len(WRITTEN["writers"]), "neither bounds nor the paper have any of these"
    means = WRITTEN["tables"][0]["writers"][MODEL]["metrics"]
    assert structure.rows[0].cells[1:4] == [
        (f"{means[name]:.2f}", "") for name in ("syntax_shape", "control_flow", "called")
    ]
    assert structure.head[-1] == "Not read whole"
    assert [row.cells[-1] for row in structure.rows] == [
        (str(figures_["errors"]), "") for figures_ in WRITTEN["tables"][0]["writers"].values()
    ]
