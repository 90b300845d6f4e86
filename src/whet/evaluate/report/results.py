"""What each stage gained and forgot, and how far the final model is from counting.

The change from row to row is the plain difference of two figures; only the comparison with a floor is
paired (both models on the same documents), so only that one has an interval of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.checks import final_model
from whet.evaluate.report.fields import Estimate, estimate, number, part, parts, text, texts
from whet.evaluate.report.headline import by_importance, model_label, verdict
from whet.evaluate.report.wording import (
    ABSENT,
    count,
    decimal,
    difference,
    duration,
    interval,
    plural,
    significant,
    size,
)

FAINTEST, STRONGEST = 0.03, 0.26
"""Opacity of the tint of the worst and the best model in a column."""


@dataclass(frozen=True, slots=True)
class Cell:
    value: str
    interval: str
    perplexity: str
    change: str
    direction: str
    heat: float


@dataclass(frozen=True, slots=True)
class Matrix:
    domains: list[str]
    rows: list[tuple[str, list[Cell]]]
    split: str
    seconds: str


@dataclass(frozen=True, slots=True)
class FloorRow:
    name: str
    bits: str
    interval: str
    perplexity: str
    difference: str
    difference_interval: str
    verdict: str


@dataclass(frozen=True, slots=True)
class FloorTable:
    domain: str
    scored: str
    counted_on: str
    rows: list[FloorRow]
    model: FloorRow | None


def matrix(data: Mapping[str, Any]) -> Matrix | None:
    """Models by domains, or None when nothing was evaluated yet."""
    evaluation = part(data, "evaluation")
    domains, models = texts(evaluation, "domains"), texts(evaluation, "models")
    if not domains or not models or not part(evaluation, "matrix", "bits_per_byte"):
        return None
    columns = [_column(evaluation, domain, models) for domain in domains]
    rows = [(model_label(name), [column[index] for column in columns]) for index, name in enumerate(models)]
    splits = sorted({text(evaluation, "split", domain) for domain in domains} - {""})
    return Matrix(domains, rows, " or ".join(splits), duration(number(evaluation, "seconds")))


def _column(evaluation: Mapping[str, Any], domain: str, models: list[str]) -> list[Cell]:
    figures = [estimate(evaluation, "matrix", "bits_per_byte", model, domain) for model in models]
    known = [figure.value for figure in figures if figure]
    cells = []
    for index, (model, figure) in enumerate(zip(models, figures, strict=True)):
        before = figures[index - 1] if index else None
        perplexity = estimate(evaluation, "matrix", "perplexity", model, domain)
        cells.append(_cell(figure, before, perplexity, _heat(figure, known)))
    return cells


def _cell(figure: Estimate | None, before: Estimate | None, perplexity: Estimate | None, heat: float) -> Cell:
    change = figure.value - before.value if figure and before else None
    return Cell(
        value=decimal(figure.value if figure else None),
        interval=interval(figure),
        perplexity=significant(perplexity.value) if perplexity else "",
        change="" if change is None else difference(change, 2),
        direction=_direction(change),
        heat=heat,
    )


def _direction(change: float | None) -> str:
    """Fewer bits are better; what rounds to nothing at the two decimals shown is neither."""
    if change is None or abs(change) < 0.005:
        return "same"
    return "better" if change < 0 else "worse"


def _heat(figure: Estimate | None, column: list[float]) -> float:
    if figure is None:
        return 0.0
    span = max(column) - min(column)
    return round(FAINTEST + (STRONGEST - FAINTEST) * ((max(column) - figure.value) / span if span else 0), 3)


def floors(data: Mapping[str, Any]) -> list[FloorTable]:
    """One table per domain that has floors, the domain of the last stage first."""
    evaluation = part(data, "evaluation")
    return [
        _table(evaluation, domain)
        for domain in by_importance(evaluation)
        if parts(evaluation, "floors", domain)
    ]


def _table(evaluation: Mapping[str, Any], domain: str) -> FloorTable:
    counted = number(evaluation, "floor_tokens", domain)
    return FloorTable(
        domain=domain,
        scored=_scored(part(evaluation, "scored", domain)),
        counted_on=f"{count(counted)} tokens" if counted is not None else "",
        rows=[_floor(row) for row in parts(evaluation, "floors", domain)],
        model=_final(evaluation, domain),
    )


def _scored(scored: Mapping[str, Any]) -> str:
    """`214 documents, 1.23 MB, 301 k tokens`, of what is known."""
    documents, length, tokens = (number(scored, key) for key in ("documents", "bytes", "tokens"))
    said = [
        plural(documents, "document") if documents is not None else "",
        size(length) if length is not None else "",
        plural(tokens, "token") if tokens is not None else "",
    ]
    return ", ".join(filter(None, said))


def _floor(row: Mapping[str, Any]) -> FloorRow:
    bits, perplexity = estimate(row, "bits_per_byte"), estimate(row, "perplexity")
    paired = estimate(row, "difference")
    return FloorRow(
        name=text(row, "name"),
        bits=decimal(bits.value if bits else None, 3),
        interval=interval(bits, 3),
        perplexity=_perplexity(perplexity, row),
        difference=difference(paired.value if paired else None),
        difference_interval=interval(paired, 3, signed=True),
        verdict=verdict(paired),
    )


def _final(evaluation: Mapping[str, Any], domain: str) -> FloorRow | None:
    name = final_model(evaluation)
    bits = estimate(evaluation, "matrix", "bits_per_byte", name, domain)
    perplexity = estimate(evaluation, "matrix", "perplexity", name, domain)
    if bits is None:
        return None
    return FloorRow(
        name=model_label(name),
        bits=decimal(bits.value, 3),
        interval=interval(bits, 3),
        perplexity=significant(perplexity.value) if perplexity else ABSENT,
        difference="",
        difference_interval="",
        verdict="",
    )


def _perplexity(found: Estimate | None, row: Mapping[str, Any]) -> str:
    """With or without an interval around it."""
    return significant(found.value if found else number(row, "perplexity"))
