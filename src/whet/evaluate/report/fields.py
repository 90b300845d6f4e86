"""Reads the report's input without ever failing on what is absent.

A report is most wanted when a run stopped half-way, so a missing key, a None or a value of another type
reads as "absent" and the page says so. Checks nothing; that is `checks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def look(data: object, *keys: str) -> Any:
    """The value under a chain of keys, or None where the chain breaks."""
    for key in keys:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def part(data: object, *keys: str) -> Mapping[str, Any]:
    """The mapping under the keys, or an empty one."""
    value = look(data, *keys)
    return value if isinstance(value, Mapping) else {}


def parts(data: object, *keys: str) -> list[Mapping[str, Any]]:
    """The list of mappings under the keys; whatever else is in the list is left out."""
    value = look(data, *keys)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def number(data: object, *keys: str) -> float | None:
    """The finite number under the keys, or None."""
    value = look(data, *keys)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def text(data: object, *keys: str) -> str:
    """The text under the keys, or the empty string."""
    value = look(data, *keys)
    return value if isinstance(value, str) else ""


def texts(data: object, *keys: str) -> list[str]:
    """The list of texts under the keys, or an empty one."""
    value = look(data, *keys)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def named(items: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The first mapping with this name, or an empty one."""
    return next((item for item in items if text(item, "name") == name), {})


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure and its 95 % interval, which may be absent."""

    value: float
    low: float | None = None
    high: float | None = None


def estimate(data: object, *keys: str) -> Estimate | None:
    """The `{value, low, high}` under the keys, or None when it has no value."""
    found = part(data, *keys)
    value = number(found, "value")
    return None if value is None else Estimate(value, number(found, "low"), number(found, "high"))
