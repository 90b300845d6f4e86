"""The storage layout as rows of 32 bytes with boxes: the geometry for the page, no drawing.

A row is a slot, its highest byte on the left, as a word is written. What takes several slots, or whose elements lie behind a
hash, is one box over the whole row that says so. Slots that nothing names lie between rows as gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whet.evm.decompile.parts import bytes_text, slot_text

_BYTES = 32
_LARGE = 1 << 32


@dataclass(frozen=True, slots=True)
class Box:
    """first, last: columns of the row from 1 on, `last` behind the box. kind: "value", "whole" (its elements lie
    elsewhere, or in further slots). narrow: no room for a name."""

    first: int
    last: int
    name: str
    type: str
    where: str
    kind: str
    narrow: bool


@dataclass(frozen=True, slots=True)
class Row:
    """gap: said before this row about slots that are left out, "" for none."""

    slot: str
    transient: bool
    boxes: tuple[Box, ...]
    gap: str
    legend: bool
    """Whether some box is too narrow for its name."""


def drawn(storage: list[dict[str, Any]]) -> list[Row]:
    """Rows for variables as `meaning.base.StateVariable` has them, transient ones last."""
    places = sorted({(bool(one["transient"]), one["slot"]) for one in storage})
    rows: list[Row] = []
    behind: tuple[bool, int] = (False, 0)
    for transient, slot in places:
        here = [one for one in storage if (bool(one["transient"]), one["slot"]) == (transient, slot)]
        boxes = tuple(_box(one) for one in sorted(here, key=lambda one: (-one["offset"], one["name"])))
        if transient != behind[0]:
            behind = (transient, 0)
        rows.append(
            Row(
                slot_text(here[0]),
                transient,
                boxes,
                _gap(behind[1], slot),
                any(box.narrow for box in boxes),
            )
        )
        behind = (transient, slot + max(-(-one["size"] // _BYTES) for one in here))
    return rows


def _box(variable: dict[str, Any]) -> Box:
    whole = _is_whole(variable)
    first, size = variable["offset"], variable["size"]
    left = 1 if whole else max(_BYTES - first - size, 0) + 1
    right = _BYTES + 1 if whole else min(_BYTES - first, _BYTES) + 1
    return Box(
        left,
        max(right, left + 1),
        variable["name"],
        variable["type"],
        f"bytes {bytes_text(variable)}" if size <= _BYTES else bytes_text(variable),
        "whole" if whole else "value",
        not whole and size < 4 + len(variable["name"]) // 3,
    )


def _is_whole(variable: dict[str, Any]) -> bool:
    type_ = variable["type"]
    elsewhere = type_.startswith("mapping") or type_.endswith("]") or type_ in ("string", "bytes")
    return elsewhere or variable["size"] > _BYTES or variable["offset"] + variable["size"] > _BYTES


def _gap(expected: int, slot: int) -> str:
    if slot <= expected:
        return ""
    if slot >= _LARGE:
        return "a slot made by a hash"
    last = slot - 1
    return f"slot {last} is not named" if last == expected else f"slots {expected} to {last} are not named"
