"""Contracts compiled from front_old.sol and front_new.sol, and code written by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Compiled:
    """creation: hex text, with placeholders where a library is not linked. runtime: the compiler's, hex text."""

    version: str
    name: str
    creation: str
    offset: int
    runtime: str
    immutables: tuple[int, ...] = field(default=())

    @property
    def id(self) -> str:
        return f"{self.name} {self.version}"


@lru_cache
def compiled() -> tuple[Compiled, ...]:
    raw = json.loads((FIXTURES / "front.json").read_text("utf-8"))
    return tuple(
        Compiled(
            version,
            name,
            one["creation"],
            one["runtime_offset"],
            one["creation"][2 * one["runtime_offset"] :][: 2 * one["runtime_length"]],
            tuple(one.get("immutables", ())),
        )
        for version, contracts in raw.items()
        for name, one in contracts.items()
    )


def one(name: str, version: str = "0.8.30") -> Compiled:
    return next(each for each in compiled() if (each.name, each.version) == (name, version))
