"""Who is trained on and who is held out: whole groups, decided by a hash of the group's name and the seed.

A group is one file, one module with its docstring, one conversation tree: what must not stand on both
sides. The decision for a group depends on nothing but its name, the seed and the shares, so adding files
moves none of the others. Only where that leaves a stage without held-out groups is one moved, and said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


def position(group: str, seed: int) -> float:
    """A number in [0, 1) that is the group's own."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side(group: str, seed: int, validation_share: float, test_share: float) -> Side:
    """The side of a group, by its position."""
    at = position(group, seed)
    if at < test_share:
        return "test"
    return "validation" if at < test_share + validation_share else "train"


def assign(
    groups_by_stage: dict[str, Iterable[str]], seed: int, validation_share: float, test_share: float
) -> tuple[dict[str, Side], list[str]]:
    """The side of every group, and notices about what had to be moved or could not be held out."""
    sides: dict[str, Side] = {}
    for groups in groups_by_stage.values():
        for group in groups:
            sides[group] = side(group, seed, validation_share, test_share)
    notices = []
    for stage, groups in groups_by_stage.items():
        ordered = sorted(set(groups), key=lambda group: position(group, seed))
        for wanted, share in (("test", test_share), ("validation", validation_share)):
            present = [sides[group] for group in ordered]
            if not share or wanted in present or not ordered:
                continue
            free = next((group for group in ordered if sides[group] == "train"), None)
            if free is None or present.count("train") < 2:
                notices.append(f"stage {stage}: {len(ordered)} group(s) are too few for a {wanted} split; nothing is held out for it")
                continue
            sides[free] = "test" if wanted == "test" else "validation"
            notices.append(f"stage {stage}: too small for a {wanted} share of {share:g}; one whole group was held out instead")
    return sides, notices
