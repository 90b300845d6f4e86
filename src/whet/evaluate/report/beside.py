"""Functions side by side: as written by its author, as asked, as the model and the emitter wrote it, with verdicts.

The best, the worst and some at random of those that were asked. Best is what behaves the same, then what could not be told,
then what came furthest (parses, compiles, ABI); of these what is nearest in characters. Chance is a hash of the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.fields import look, number, part, parts, text
from whet.evaluate.report.samples import Passage, passage
from whet.evaluate.report.wording import decimal
from whet.evaluate.written import EMITTER, MODEL

EACH = 3
"""Functions of each kind."""
SHOWN = (MODEL, EMITTER)
SAID = {
    "same": "behaves the same",
    "different": "behaves differently",
    "inconclusive": "compiles; whether it behaves the same could not be told",
}
STEPS = {"parses": "does not parse", "compiles": "does not compile", "abi": "has another ABI"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one wrote: `outcome` is a class of the page, `said` the verdict in words, `figures` how near it is."""

    writer: str
    outcome: str
    said: str
    figures: str
    text: Passage


@dataclass(frozen=True, slots=True)
class Beside:
    why: str
    name: str
    origin: str
    facts: str
    true: Passage
    prompt: Passage
    sides: list[Side]


def beside(found: Mapping[str, Any]) -> list[Beside]:
    """The functions shown, each once."""
    records = parts(found, "functions")
    order = sorted(range(len(records)), key=lambda at: _goodness(records[at]), reverse=True)
    best = order[:EACH]
    worst = [at for at in reversed(order) if at not in best][:EACH]
    left = [at for at in range(len(records)) if at not in best and at not in worst]
    drawn = sorted(left, key=lambda at: _hash(records[at]))[:EACH]
    chosen = {"best": best, "worst": worst, "at random": drawn}
    return [_beside(records[at], why) for why, places in chosen.items() for at in places]


def _goodness(record: Mapping[str, Any]) -> tuple[bool, bool, int, float]:
    verdict = part(record, "texts", MODEL, "verdict")
    passed = sum(look(verdict, step) is True for step in STEPS)
    distance = number(record, "texts", MODEL, "metrics", "edit_distance")
    outcome = text(verdict, "behaves")
    return outcome == "same", outcome == "inconclusive", passed, -(1.0 if distance is None else distance)


def _hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(text(record, "origin").encode("utf-8", "surrogatepass")).hexdigest()


def _beside(record: Mapping[str, Any], why: str) -> Beside:
    signature = text(record, "metadata")
    facts = [
        text(record, "signature"),
        f"solc {text(record, 'solc')}",
        text(record, "build"),
        f"signature {signature}" if signature else "",
    ]
    return Beside(
        why=why,
        name=text(record, "name"),
        origin=text(record, "origin"),
        facts=" · ".join(filter(None, facts)),
        true=passage(text(record, "true")),
        prompt=passage(text(record, "prompt"), tail=True),
        sides=[
            _side(writer, part(record, "texts", writer)) for writer in SHOWN if part(record, "texts", writer)
        ],
    )


def _side(writer: str, one: Mapping[str, Any]) -> Side:
    metrics = part(one, "metrics")
    named = {"semantic_similarity": "similarity", "edit_distance": "edit distance"}
    figures = [
        f"{name} {decimal(value)}"
        for metric, name in named.items()
        if (value := number(metrics, metric)) is not None
    ]
    ended = {"length": "cut", "no room": "no room for an answer"}.get(text(one, "ended"), "")
    outcome, said = _verdict(part(one, "verdict"))
    return Side(
        writer=writer,
        outcome=outcome,
        said=", ".join(filter(None, [said, ended])),
        figures=", ".join(figures),
        text=passage(text(one, "text")),
    )


def _verdict(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """A class of the page, and words."""
    if not verdict:
        return "unknown", "not judged"
    outcome = text(verdict, "behaves")
    failed = next((words for step, words in STEPS.items() if look(verdict, step) is False), "not compared")
    said = SAID.get(outcome, failed)
    why = text(verdict, "why")
    kind = {"same": "ahead", "inconclusive": "level"}.get(outcome, "behind")
    return kind, f"{said}: {why}" if why and outcome != "same" else said
