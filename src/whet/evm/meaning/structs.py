"""The structs that the meaning declares: which member lies where."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MEMBER = re.compile(r"(.+) f(\d+)(?:_(\d+))?")


@dataclass(slots=True)
class Struct:
    """members: (name as in a term, type, slot, byte within it)."""

    name: str
    members: list[tuple[str, str, int, int]]


def structs_of(declarations: Iterable[str]) -> dict[str, Struct]:
    """The structs that the meaning declares, by name."""
    found: dict[str, Struct] = {}
    for text in declarations:
        if not text.startswith("struct "):
            continue
        name, _, inside = text.removeprefix("struct ").partition(" { ")
        members = []
        for part in inside.removesuffix(" }").split(";"):
            match = _MEMBER.fullmatch(part.strip())
            if match is not None:
                members.append((part.strip().rpartition(" ")[2], match[1], int(match[2]), int(match[3] or 0)))
        found[name] = Struct(name, members)
    return found
