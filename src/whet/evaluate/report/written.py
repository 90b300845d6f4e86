"""What was written for held-out functions: is it right, how near is it, and by what kind of function.

Tables of writers and figures from evaluation.json; the paper's figures stand below as what they are, another model's on
other data. Distributions and side-by-side texts are `distributions` and `beside`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.beside import Beside, beside
from whet.evaluate.report.charts import Curve, Strips
from whet.evaluate.report.distributions import distributions
from whet.evaluate.report.fields import Estimate, estimate, number, part, parts, text, texts
from whet.evaluate.report.keywords import Counts, frequencies, keywords, off
from whet.evaluate.report.wording import ABSENT, SPACE, decimal, difference, plural, share, whole
from whet.evaluate.report.writers import kind_of
from whet.evaluate.written import MODEL

RIGHT = {
    "parses": "Parses",
    "compiles": "Compiles",
    "abi": "ABI exact",
    "abi_outside": "ABI exact, of those called from outside",
    "same": "Behaves the same",
}
OUTCOMES = ("different", "inconclusive", "not compared")
LIKENESS = {
    "semantic_similarity": ("Similarity", 2),
    "edit_distance": ("Edit distance", 2),
    "bleu": ("BLEU", 1),
    "chrf": ("chrF", 1),
    "length_difference": ("Characters off", 0),
}
STRUCTURE = {
    "structural_fidelity": ("Structure", 2),
    "syntax_shape": ("Syntax tree", 2),
    "control_flow": ("Control flow", 2),
    "called": ("Calls", 2),
    "keywords": ("Keywords", 2),
    "renamed_match": ("Same but for names", 4),
}
"""{metric: (heading, decimals)}, a table each: of the text, and of what it consists of."""
BOUNDS = {"floor": "floor: another true function", "ceiling": "ceiling: the true one, renamed"}
_PAPER = f"{paper.MODEL} ({paper.NAME})"
GROUPED = {"era": "Compiler", "length": "Characters", "via-IR": "Through Yul", "signature": "Signature"}

Cell = tuple[str, str]
"""A figure, and what stands small beside it."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    kind: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Grid:
    corner: str
    head: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of a writer, what the paper says of its own, and whether floor and ceiling are of it."""

    head: str
    of: Callable[[Mapping[str, Any]], Cell]
    paper: str
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    domain: str
    asked: str
    held_out: str
    same: str
    same_interval: str
    ended: str
    right: Grid | None
    near: list[Grid]
    words: Grid | None
    frequencies: Strips | None
    groups: list[Grid]
    bounds: str
    plots: list[Curve | Strips]
    legend: list[tuple[str, str]]
    beside: list[Beside]


def written(data: Mapping[str, Any]) -> list[Written]:
    """One entry per domain that was asked; nothing where the recipe does not ask for it."""
    found = part(data, "evaluation", "solidity")
    return [_domain(name, part(found, name)) for name in found if part(found, name)]


def _domain(name: str, found: Mapping[str, Any]) -> Written:
    whole_table = next((table for table in parts(found, "tables") if text(table, "by") == "all"), {})
    same = estimate(whole_table, "writers", MODEL, "same")
    plots, words = distributions(found), keywords(found)
    return Written(
        domain=name,
        asked=asked(whole_table),
        held_out=whole(number(found, "held_out")),
        same=share(same.value) if same else "",
        same_interval=_interval(same),
        ended=_ended(part(whole_table, "writers", MODEL, "ended")),
        right=_right(found, whole_table),
        near=list(_near(found, whole_table)),
        words=_words(words),
        frequencies=frequencies(words),
        groups=list(_groups(found)),
        bounds=_bounds_told(part(found, "similarity")),
        plots=plots,
        legend=[(kind_of(writer), writer) for writer in texts(found, "writers")],
        beside=beside(found),
    )


def asked(table: Mapping[str, Any]) -> str:
    """`240 records of 120 functions`; an older evaluation did not count the functions."""
    return " ".join(filter(None, [plural(number(table, "functions"), "record"), _functions(table)]))


def _right(found: Mapping[str, Any], table: Mapping[str, Any]) -> Grid | None:
    """Parses, compiles, ABI, behaves; nothing where nobody judged."""
    rows = [
        Row(
            writer,
            kind_of(writer),
            [
                *(_share(estimate(figures, step)) for step in RIGHT),
                *((whole(number(figures, "behaves", outcome)), "") for outcome in OUTCOMES),
            ],
        )
        for writer, figures in _writers(found, table)
        if estimate(figures, "same")
    ]
    return Grid("Writer", [*RIGHT.values(), *map(str.capitalize, OUTCOMES)], rows) if rows else None


def _near(found: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Grid]:
    """Every metric that was computed, and what else the paper counts."""
    writers = list(_writers(found, table))
    for metrics in (LIKENESS, STRUCTURE):
        known = {name: said for name, said in metrics.items() if name in part(found, "metrics")}
        if known and writers:
            columns = list(_columns(known))
            if metrics is STRUCTURE:
                columns.append(Column("Not read whole", _unread, ABSENT))
            rows = [
                Row(writer, kind_of(writer), [column.of(figures) for column in columns])
                for writer, figures in writers
            ]
            rows += _bounds(part(found, "similarity"), columns)
            yield Grid("Writer", [column.head for column in columns], rows)


def _bounds(similarity: Mapping[str, Any], columns: list[Column]) -> Iterator[Row]:
    """Floor, ceiling and the paper's figures, where there is one for any of the columns."""
    for bound, name in BOUNDS.items():
        value = number(similarity, bound)
        if value is not None and any(column.bounded for column in columns):
            yield Row(name, "bound", [(decimal(value) if column.bounded else "", "") for column in columns])
    if any(column.paper != ABSENT for column in columns):
        yield Row(_PAPER, "paper", [(column.paper, "") for column in columns])


def _bounds_told(similarity: Mapping[str, Any]) -> str:
    """For where they have no rows; they are of all functions there too."""
    told = {bound: number(similarity, bound) for bound in BOUNDS}
    return ", ".join(f"{bound} {decimal(value)}" for bound, value in told.items() if value is not None)


def _columns(known: Mapping[str, tuple[str, int]]) -> Iterator[Column]:
    """The metrics, and what the paper counts beside the metric that it is of."""
    for name, (heading, places) in known.items():
        similar = name == "semantic_similarity"
        told = decimal(paper.SIMILARITY) if similar else ABSENT
        yield Column(heading, partial(_metric, name, places), told, similar)
        for mark, value in paper.ABOVE.items() if similar else ():
            yield Column(f"> {mark}", partial(_counted, "similar", mark), share(value))
        if name == "length_difference":
            yield Column("Within ±50", partial(_counted, "near_length"), share(paper.NEAR_LENGTH))
            yield Column("Median, signed", _median, difference(paper.LENGTH_MEDIAN, 0))


def _metric(name: str, places: int, figures: Mapping[str, Any]) -> Cell:
    return decimal(number(figures, "metrics", name), places), ""


def _unread(figures: Mapping[str, Any]) -> Cell:
    """How many texts the grammar cannot read to their end; the other figures are of what it could."""
    return whole(number(figures, "errors")), ""


def _median(figures: Mapping[str, Any]) -> Cell:
    """Of the signed differences of length, in characters; it is of two functions where their number is even."""
    return difference(number(figures, "length_difference_median"), 1), ""


def _counted(*where: Any) -> Cell:
    *keys, figures = where
    return _share(estimate(figures, *keys))


def _groups(found: Mapping[str, Any]) -> Iterator[Grid]:
    """One table for each way to tell functions apart: a row a group, a column a writer."""
    writers = texts(found, "writers")
    for by, corner in GROUPED.items():
        tables = [table for table in parts(found, "tables") if text(table, "by") == by]
        rows = [
            Row(
                text(table, "group"),
                "",
                [
                    (whole(number(table, "functions")), _functions(table)),
                    *(_short(part(table, "writers", writer)) for writer in writers),
                ],
            )
            for table in tables
        ]
        if rows:
            yield Grid(corner, ["Records", *writers], rows)


def _functions(table: Mapping[str, Any]) -> str:
    functions = number(table, "distinct")
    return "" if functions is None else f"of {plural(functions, 'function')}"


def _short(figures: Mapping[str, Any]) -> Cell:
    """The share that behaves the same, and the similarity and edit distance beside; of what there is."""
    same = estimate(figures, "same")
    near = [number(figures, "metrics", name) for name in ("semantic_similarity", "edit_distance")]
    words = " · ".join(decimal(value) for value in near if value is not None)
    return (share(same.value), words) if same else (words or ABSENT, "")


def _words(every: Mapping[str, Mapping[str, Counts]]) -> Grid | None:
    """How often the words that matter for security stand in each writer's functions, and in the true ones."""
    if not every:
        return None
    words = next(iter(every.values()))
    rows = [
        Row(writer, kind_of(writer), [(whole(counts[0]), off(counts)) for counts in mine.values()])
        for writer, mine in every.items()
    ]
    true = Row("the true functions", "bound", [(whole(true), "") for _, true in words.values()])
    within = f"±{SPACE}{share(paper.KEYWORDS_WITHIN)}"
    papers = Row(_PAPER, "paper", [(within if word in paper.KEYWORDS else ABSENT, "") for word in words])
    return Grid("Writer", list(words), [*rows, true, papers])


def _writers(found: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for writer in texts(found, "writers"):
        if part(table, "writers", writer):
            yield writer, part(table, "writers", writer)


def _share(measured: Estimate | None) -> Cell:
    return (share(measured.value), _interval(measured)) if measured else (ABSENT, "")


def _interval(measured: Estimate | None) -> str:
    if measured is None or measured.low is None or measured.high is None:
        return ""
    return f"[{share(measured.low)}, {share(measured.high)}]"


def _ended(counts: Mapping[str, Any]) -> str:
    cut, none = number(counts, "length") or 0, number(counts, "no room") or 0
    said = [
        f"{whole(cut)} answers of the model were cut at the length allowed" if cut else "",
        f"{whole(none)} prompts left no room for an answer" if none else "",
    ]
    return "; ".join(filter(None, said))
