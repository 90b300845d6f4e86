"""What evaluation.json says of the writers of one domain: their values function by function, and how each is drawn.

A name of a value is that of a metric, or `characters` (of the true function) or `written_characters`. A function that
lacks it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.evaluate.report.charts import Point
from whet.evaluate.report.fields import number, parts
from whet.evaluate.written import EMITTER, FALLBACK, MODEL, NEAREST

KINDS = {MODEL: "model", NEAREST: "nearest", EMITTER: "emitter", FALLBACK: "fallback"}
"""{writer: how it is drawn}; the model before training is what is left."""


def kind_of(writer: str) -> str:
    """The class of a writer's line."""
    return KINDS.get(writer, "beginning")


def values(found: Mapping[str, Any], writer: str, name: str) -> list[float]:
    """A writer's values, in the order of the functions."""
    every = (_value(record, writer, name) for record in parts(found, "functions"))
    return [value for value in every if value is not None]


def pairs(found: Mapping[str, Any], writer: str, one: str, other: str) -> list[Point]:
    """Both values of each function that has both."""
    every = (
        (_value(record, writer, one), _value(record, writer, other)) for record in parts(found, "functions")
    )
    return [(x, y) for x, y in every if x is not None and y is not None]


def _value(record: Mapping[str, Any], writer: str, name: str) -> float | None:
    if name == "characters":
        return number(record, "characters")
    if name == "written_characters":
        both = _value(record, writer, "characters"), _value(record, writer, "length_difference")
        return None if both[0] is None or both[1] is None else both[0] + both[1]
    return number(record, "texts", writer, "metrics", name)
