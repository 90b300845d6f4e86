"""One page and one text of a profile: where a step's time goes, and its memory.

The page is complete in itself like the report: inline SVG, no script, no request. Its chart is drawn in
percent of the plot, so that it stretches while the labels keep their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from whet.models.decoder import BODY_FORWARD, HEAD_AND_LOSS
from whet.progress import amount
from whet.train.profiling import trace
from whet.train.profiling.trace import KINDS, PREFIX, Moment, Seen

BACKWARD = f"{PREFIX}backward"
MOST_POINTS = 700
SHOWN_OPERATORS = 20
REST, OUTSIDE = "between the phases", "outside any operator"


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show."""

    record: dict[str, Any]
    seen: Seen
    held: dict[str, int]
    flops_per_token: float
    head_flops_per_token: float

    @property
    def step_ms(self) -> float:
        """Mean length of a recorded step."""
        return sum(step.ms for step in self.seen.steps) / len(self.seen.steps)

    @property
    def tokens(self) -> float:
        """Labels of a step."""
        return sum(step.recorded.tokens for step in self.seen.steps) / len(self.seen.steps)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table with a bar; `share` is of the step, `peak_share` of the matmul peak."""

    name: str
    ms: float
    share: float
    peak_share: float | None = None
    calls: float | None = None


def phase_rows(shown: Shown) -> list[Row]:
    """The phases of a step in their order, with the useful operations where they are known."""
    body = shown.flops_per_token - shown.head_flops_per_token
    per_token = {BODY_FORWARD: body / 3, HEAD_AND_LOSS: shown.head_flops_per_token, BACKWARD: 2 * body / 3}
    rows = [_row(shown, name, ms, per_token.get(PREFIX + name)) for name, ms in shown.seen.phases.items()]
    rest = shown.step_ms - sum(shown.seen.phases.values())
    return [*rows, _row(shown, REST, max(0.0, rest), None)]


def _row(shown: Shown, name: str, ms: float, flops_per_token: float | None) -> Row:
    peak = shown.record["peak_flops_per_s"]
    busy = flops_per_token * shown.tokens / (ms / 1000) / peak if flops_per_token and ms and peak else None
    return Row(name, ms, ms / shown.step_ms, busy)


def whole_peak_share(shown: Shown, seconds: float) -> float:
    """Share of the matmul peak of a step that takes so long."""
    return shown.flops_per_token * shown.tokens / seconds / float(shown.record["peak_flops_per_s"])


def operator_rows(shown: Shown) -> list[Row]:
    """The longest operators, one line for all others, and one for what is none: Python, mostly."""
    rows = [
        Row(item.name, item.ms, item.ms / shown.step_ms, calls=item.calls)
        for item in shown.seen.operators[:SHOWN_OPERATORS]
    ]
    others = shown.seen.operators[SHOWN_OPERATORS:]
    if others:
        ms, calls = sum(item.ms for item in others), sum(item.calls for item in others)
        rows.append(Row(f"{len(others)} others", ms, ms / shown.step_ms, calls=calls))
    outside = shown.step_ms - sum(item.ms for item in shown.seen.operators)
    return [*rows, Row(OUTSIDE, outside, outside / shown.step_ms)] if outside > 0 else rows


def memory_facts(shown: Shown) -> list[tuple[str, str]]:
    """What is held, in words: label and amount."""
    peak = shown.seen.typical.peak
    total = peak.total + sum(shown.held.values())
    return [
        ("weights", amount(shown.held["weights"], "B")),
        ("optimiser state", amount(shown.held["optimizer"], "B")),
        *((KIND_LABELS[kind], amount(size, "B")) for kind, size in zip(KINDS, peak.held, strict=True)),
        ("together", amount(total, "B")),
    ]


KIND_LABELS = {"gradients": "gradients", "kept": "kept for later phases", "working": "working memory"}


@dataclass(frozen=True, slots=True)
class Area:
    """One band of the memory chart, as SVG path data in a box of 100 x 100."""

    kind: str
    label: str
    path: str


def areas(shown: Shown) -> tuple[list[Area], float]:
    """The bands of the typical step from below, and how many bytes the box is high."""
    step = shown.seen.typical
    moments = trace.thin(step.moments, MOST_POINTS)
    base = [("weights", shown.held["weights"]), ("optimizer", shown.held["optimizer"])]
    highest = 1.06 * (max(moment.total for moment in moments) + sum(size for _, size in base)) or 1.0
    floor, bands = 0.0, []
    for kind, size in base:
        bands.append(Area(kind, BASE_LABELS[kind], _band(floor, floor + size, highest)))
        floor += size
    lower = [floor] * len(moments)
    for index, kind in enumerate(KINDS):
        upper = [at + moment.held[index] for at, moment in zip(lower, moments, strict=True)]
        bands.append(Area(kind, KIND_LABELS[kind], _stairs(moments, lower, upper, step.ms, highest)))
        lower = upper
    return bands, highest


BASE_LABELS = {"weights": "weights", "optimizer": "optimiser state"}


def _band(low: float, high: float, highest: float) -> str:
    return f"M0 {_down(low, highest)}V{_down(high, highest)}H100V{_down(low, highest)}Z"


def _stairs(
    moments: list[Moment], lower: list[float], upper: list[float], length_ms: float, highest: float
) -> str:
    """What is held stays as it is until the next moment, so the edges are stairs, not slopes."""
    across = [min(100.0, 100 * moment.ms / length_ms) for moment in moments]
    there = "".join(f"H{x:.2f}V{_down(y, highest)}" for x, y in zip(across, upper, strict=True))
    back = "".join(
        f"V{_down(y, highest)}H{x:.2f}" for x, y in reversed(list(zip(across, lower, strict=True)))
    )
    return f"M0 {_down(upper[0], highest)}{there}H100{back}Z"


def _down(value: float, highest: float) -> str:
    return f"{100 - 100 * value / highest:.2f}"


def ticks(highest: float) -> Iterator[tuple[float, str]]:
    """Round amounts up the side of the chart: percent and label."""
    step = 10.0 ** (len(str(int(highest / 4))) - 1)
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if highest / (step * factor) <= 5)
    at = 0.0
    while at <= highest:
        yield round(100 * at / highest, 2), amount(at, "B") if at else "0"
        at += step


def lanes(shown: Shown) -> list[tuple[str, float, float]]:
    """The phases under the chart: name, left edge and width in percent."""
    step = shown.seen.typical
    return [
        (
            span.name.removeprefix(PREFIX),
            round(100 * step.at(span.begin) / step.ms, 2),
            round(100 * (span.end - span.begin) / 1000 / step.ms, 2),
        )
        for span in step.phases
    ]


def html(shown: Shown) -> str:
    """The page."""
    bands, highest = areas(shown)
    page: str = (
        _environment()
        .get_template("profile.html")
        .render(
            record=shown.record,
            device=shown.seen.device,
            speed=speed(shown),
            phases=phase_rows(shown),
            operators=operator_rows(shown),
            facts=memory_facts(shown),
            step=shown.seen.typical,
            bands=bands,
            ticks=list(ticks(highest)),
            lanes=lanes(shown),
        )
    )
    return page


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader("whet.train.profiling", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}" if share < 0.1 else f"{share:.0%}"
    environment.filters["ms"] = _ms
    return environment


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def speed(shown: Shown) -> str:
    """One sentence on how long a step takes, with the profiler and without."""
    record = shown.record
    slow, plain = record["seconds_per_step"], record["seconds_per_step_unprofiled"]
    said = (
        f"A recorded step took {_ms(1000 * slow)} ms, {whole_peak_share(shown, slow):.0%} of the matmul peak "
        f"of {amount(record['peak_flops_per_s'], 'FLOP/s')} measured here"
    )
    if plain is None:
        return f"{said}; no step without the profiler was there to compare with."
    return f"{said}; without the profiler {_ms(1000 * plain)} ms, {whole_peak_share(shown, plain):.0%} of the peak."


def summary(shown: Shown) -> str:
    """The same as text."""
    record = shown.record
    head = [
        f"stage {record['stage']}, steps {record['first_step']} to {record['last_step']}, {record['on']}",
        speed(shown),
        "",
        f"{'phase':24}{'ms/step':>10}{'share':>8}{'of peak':>9}",
        *(_line(row) for row in phase_rows(shown)),
        "",
        f"memory at the highest moment of step {shown.seen.typical.recorded.number} ({shown.seen.device}):",
        *(f"  {label:24}{size:>10}" for label, size in memory_facts(shown)),
        "",
    ]
    table = [
        f"{'own ms/step':>12}{'share':>8}{'calls':>9}  operator",
        *(
            f"{_ms(row.ms):>12}{row.share:>8.1%}{'' if row.calls is None else _ms(row.calls):>9}  {row.name}"
            for row in operator_rows(shown)
        ),
    ]
    return "\n".join([*head, *table]) + "\n"


def _line(row: Row) -> str:
    peak = "" if row.peak_share is None else f"{row.peak_share:.0%}"
    return f"{row.name:24}{_ms(row.ms):>10}{row.share:>8.1%}{peak:>9}"
