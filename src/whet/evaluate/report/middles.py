"""How often the model fills in the end of a held-out line exactly, and what it wrote in the first few.

The first examples are shown as they were drawn, matches or not; all of them are in evaluation.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.fields import Estimate, estimate, named, number, part, parts, text
from whet.evaluate.report.samples import Passage, passage
from whet.evaluate.report.wording import ABSENT, share, whole

SHOWN = 4
"""Examples per domain."""


@dataclass(frozen=True, slots=True)
class Gap:
    origin: str
    prefix: Passage
    suffix: Passage
    expected: Passage
    got: Passage
    outcome: str


@dataclass(frozen=True, slots=True)
class Filled:
    domain: str
    count: str
    matches: str
    share: str
    interval: str
    cut: str
    rearranged: str
    gaps: list[Gap]


def middles(data: Mapping[str, Any]) -> list[Filled]:
    """One entry per domain that was measured; nothing where no stage trained on rearranged pieces."""
    found = part(data, "evaluation", "middles")
    return [_domain(name, part(found, name), data) for name in found]


def _domain(name: str, found: Mapping[str, Any], data: Mapping[str, Any]) -> Filled:
    measured = estimate(found, "share")
    return Filled(
        domain=name,
        count=whole(number(found, "count")),
        matches=whole(number(found, "matches")),
        share=share(measured.value) if measured else ABSENT,
        interval=_interval(measured),
        cut=f"{whole(number(found, 'prefixes_cut'))} / {whole(number(found, 'suffixes_cut'))}",
        rearranged=_rearranged(named(parts(data, "train", "stages"), name)),
        gaps=[_gap(example) for example in parts(found, "examples")[:SHOWN]],
    )


def _interval(measured: Estimate | None) -> str:
    if measured is None or measured.low is None or measured.high is None:
        return ""
    return f"[{share(measured.low)}, {share(measured.high)}]"


def _rearranged(stage: Mapping[str, Any]) -> str:
    """The share of the stage's pieces that were really rearranged."""
    counted = part(stage, "fill_in_the_middle")
    pieces = number(counted, "pieces")
    made = [number(counted, "outcomes", name) for name in ("psm", "spm")]
    return share(sum(filter(None, made)) / pieces) if pieces else ABSENT


def _gap(example: Mapping[str, Any]) -> Gap:
    exact, ended = example.get("exact") is True, example.get("ended") is not False
    return Gap(
        origin=text(example, "origin"),
        prefix=passage(text(example, "prefix"), tail=True),
        suffix=passage(text(example, "suffix")),
        expected=passage(text(example, "expected")),
        got=passage(text(example, "got")),
        outcome="exact" if exact else "different" if ended else "did not end",
    )
