"""The top of the page: the outcome in one sentence, the key figures, the model beside what counting can do.

The comparison is with the best n-gram model, not with the weakest; a difference whose 95 % interval holds
zero is called too close to call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.charts import Bar, Bars, Scale, axis, scale_over, whisker
from whet.evaluate.report.checks import final_model
from whet.evaluate.report.fields import Estimate, estimate, named, number, part, parts, text, texts
from whet.evaluate.report.wording import (
    apart,
    count,
    decimal,
    duration,
    flops,
    interval,
    listed,
    memory,
    moment,
    plural,
    share,
)
from whet.evaluate.report.written import asked
from whet.evaluate.written import FALLBACK, MODEL

BEGINNINGS = frozenset({"untrained", "base"})
"""Names of models that no stage has touched."""


@dataclass(frozen=True, slots=True)
class Tile:
    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The final model against the best floor on one domain; `verdict` is ahead, behind, level or unknown."""

    domain: str
    model: str
    floor_name: str
    floor: str
    counted_on: str
    verdict: str
    gap: str
    gap_share: str
    gap_interval: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """For which share of a domain's held-out records the text behaves the same: the model's, and with the fallback."""

    domain: str
    asked: str
    same: str
    fallback: str


@dataclass(frozen=True, slots=True)
class Headline:
    name: str
    description: str
    meta: list[str]
    outcomes: list[Outcome]
    tiles: list[Tile]
    charts: list[Bars]
    trained: str
    measured: str
    written: list[Wrote]


def headline(data: Mapping[str, Any]) -> Headline:
    """Everything above the fold, whatever of it is there."""
    evaluation = part(data, "evaluation")
    domains = by_importance(evaluation)
    return Headline(
        name=text(data, "name") or "unnamed run",
        description=text(data, "description") or "",
        meta=_meta(data),
        outcomes=[found for domain in domains if (found := _outcome(data, domain))],
        tiles=_tiles(data),
        charts=_charts(evaluation, domains),
        trained=_trained(data),
        measured=listed(domains),
        written=_written(part(evaluation, "solidity")),
    )


def by_importance(evaluation: Mapping[str, Any]) -> list[str]:
    """The domains, that of the last stage first: it is what the model is for."""
    domains = texts(evaluation, "domains")
    first = final_model(evaluation) if final_model(evaluation) in domains else "".join(domains[-1:])
    return sorted(domains, key=lambda domain: domain != first)


def _meta(data: Mapping[str, Any]) -> list[str]:
    machine = part(data, "machine")
    precision = " · ".join(filter(None, [text(machine, "device"), text(machine, "precision")]))
    items = [moment(text(data, "created")), text(machine, "processor"), precision]
    return [item for item in items if item]


def _trained(data: Mapping[str, Any]) -> str:
    """For the sentence of a run that was not evaluated: what was trained so far."""
    tokens, seconds = _total(data, "tokens"), _total(data, "seconds")
    return f"{count(tokens)} tokens in {duration(seconds)}" if tokens is not None else ""


def _written(solidity: Mapping[str, Any]) -> list[Wrote]:
    """Of every domain whose written functions were judged."""
    found = []
    for domain in solidity:
        table = next(iter(parts(solidity, domain, "tables")), {})
        same = estimate(table, "writers", MODEL, "same")
        fallback = estimate(table, "writers", FALLBACK, "same")
        if same and fallback:
            found.append(Wrote(domain, asked(table), share(same.value), share(fallback.value)))
    return found


def _total(data: Mapping[str, Any], key: str) -> float | None:
    found = [value for stage in parts(data, "train", "stages") if (value := number(stage, key)) is not None]
    return sum(found) if found else None


def _outcome(data: Mapping[str, Any], domain: str) -> Outcome | None:
    evaluation = part(data, "evaluation")
    model = estimate(evaluation, "matrix", "bits_per_byte", final_model(evaluation), domain)
    rows = parts(evaluation, "floors", domain)
    floors = [(row, bits) for row in rows if (bits := estimate(row, "bits_per_byte"))]
    if model is None or not floors:
        return None
    row, floor = min(floors, key=lambda pair: pair[1].value)
    paired = estimate(row, "difference")
    model_bits, floor_bits = apart(model.value, floor.value)
    gap = abs(paired.value) if paired else abs(model.value - floor.value)
    return Outcome(
        domain=domain,
        model=model_bits,
        floor_name=text(row, "name"),
        floor=floor_bits,
        counted_on=_counted_on(data, domain),
        verdict=verdict(paired),
        gap=decimal(gap, 3),
        gap_share=share(gap / floor.value) if floor.value else "",
        gap_interval=interval(paired, 3, signed=True),
    )


def verdict(paired: Estimate | None) -> str:
    """What a difference (model minus floor, fewer bits are better) lets one say."""
    if paired is None or paired.low is None or paired.high is None:
        return "unknown"
    return "ahead" if paired.high < 0 else "behind" if paired.low > 0 else "level"


def _counted_on(data: Mapping[str, Any], domain: str) -> str:
    """ "the same tokens" only where the counts say so."""
    counted = number(data, "evaluation", "floor_tokens", domain)
    stage = named(parts(data, "prepare", "stages"), domain)
    if counted is None:
        return ""
    same = counted == number(stage, "splits", "train", "tokens")
    return "the same tokens" if same else f"{count(counted)} tokens"


def _tiles(data: Mapping[str, Any]) -> list[Tile]:
    stages = parts(data, "train", "stages")
    tokens, seconds = _total(data, "tokens"), _total(data, "seconds")
    other = number(data, "plan", "parameters", "other")
    peaks = [value for stage in stages if (value := number(stage, "peak_memory_bytes")) is not None]
    return [
        Tile(
            "Parameters",
            count(number(data, "plan", "parameters", "total")),
            f"{count(other)} outside embeddings" if other is not None else "no plan yet",
        ),
        Tile("Tokens trained", count(tokens), _stages_note(stages)),
        Tile("Training time", duration(seconds), _other_time(data)),
        Tile(
            "Tokens per second",
            count(tokens / seconds if tokens and seconds else None),
            "on average" if tokens and seconds else "not trained yet",
        ),
        Tile("Of matmul peak", share(_peak_share(stages)), _peak_note(data, stages)),
        Tile("Peak memory", memory(max(peaks, default=None)), _machine_memory(data)),
    ]


def _stages_note(stages: list[Mapping[str, Any]]) -> str:
    return f"in {plural(len(stages), 'stage')}" if stages else "not trained yet"


def _other_time(data: Mapping[str, Any]) -> str:
    rooms = {"prepare": number(data, "prepare", "seconds"), "evaluate": number(data, "evaluation", "seconds")}
    return ", ".join(f"{room} {duration(seconds)}" for room, seconds in rooms.items() if seconds is not None)


def _peak_share(stages: list[Mapping[str, Any]]) -> float | None:
    """The mean over time; absent unless it was measured in every stage."""
    shares = [(number(stage, "peak_share"), number(stage, "seconds")) for stage in stages]
    known = [(peak, seconds) for peak, seconds in shares if peak is not None and seconds is not None]
    total = sum(seconds for _, seconds in known)
    if len(known) < len(shares) or not total:
        return None
    return sum(peak * seconds for peak, seconds in known) / total


def _peak_note(data: Mapping[str, Any], stages: list[Mapping[str, Any]]) -> str:
    peak = number(data, "train", "peak_flops_per_s")
    if _peak_share(stages) is None:
        return "not measured"
    return f"{flops(peak)} measured here" if peak is not None else "of this machine"


def _machine_memory(data: Mapping[str, Any]) -> str:
    total = number(data, "machine", "memory_bytes")
    return f"of {memory(total)}" if total is not None else ""


def _charts(evaluation: Mapping[str, Any], domains: list[str]) -> list[Bars]:
    """One panel per domain, all on the same scale."""
    rows = {domain: _bar_rows(evaluation, domain) for domain in domains}
    scale = scale_over((_reach(figure) for found in rows.values() for _, _, figure in found), zero=True)
    return [_chart(domain, found, scale) for domain, found in rows.items() if found]


def _bar_rows(evaluation: Mapping[str, Any], domain: str) -> list[tuple[str, str, Estimate]]:
    """(label, kind, bits per byte): the floors by order, then the models in the order of training."""
    floors = [
        (text(row, "name"), "floor", estimate(row, "bits_per_byte"))
        for row in parts(evaluation, "floors", domain)
    ]
    bits = part(evaluation, "matrix", "bits_per_byte")
    models = [
        (model_label(name), _kind(evaluation, name), estimate(bits, name, domain))
        for name in texts(evaluation, "models")
    ]
    return [(label, kind, figure) for label, kind, figure in floors + models if figure]


def model_label(name: str) -> str:
    """The model that training began with keeps its name; a stage's name becomes `after` it."""
    return name if name in BEGINNINGS else f"after {name}"


def _kind(evaluation: Mapping[str, Any], name: str) -> str:
    return "untrained" if name in BEGINNINGS else "final" if name == final_model(evaluation) else "model"


def _reach(figure: Estimate) -> float:
    return max(figure.value, figure.high if figure.high is not None else figure.value)


def _chart(domain: str, rows: list[tuple[str, str, Estimate]], scale: Scale) -> Bars:
    bars = [
        Bar(
            label,
            kind,
            decimal(figure.value),
            scale.place(figure.value),
            whisker(figure, scale),
            f"{label}: {decimal(figure.value, 3)} {interval(figure, 3)}".strip(),
        )
        for label, kind, figure in rows
    ]
    mark = next((scale.place(figure.value) for _, kind, figure in rows if kind == "final"), None)
    return Bars(domain, bars, axis(scale, lambda value: f"{value:g}", 6), mark)
