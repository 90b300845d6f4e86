"""Who is trained on and who is held out: whole groups, decided by a hash of the group's name and the seed.

A group is one file, one module with its docstring, one conversation tree: what must not stand on both
sides. The decision for a group depends on nothing but its name, the seed and the shares, so adding files
moves none of the others. Only where that leaves a stage without held-out groups is one moved, and said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
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
    groups_by_stage: Mapping[str, Collection[str]], seed: int, validation_share: float, test_share: float
) -> tuple[dict[str, Side], list[str]]:
    """The side of every group, and notices about what had to be moved or could not be held out."""
    sides = {
        group: side(group, seed, validation_share, test_share)
        for groups in groups_by_stage.values()
        for group in groups
    }
    wanted: tuple[tuple[Side, float], ...] = (("test", test_share), ("validation", validation_share))
    notices = []
    for stage, groups in groups_by_stage.items():
        for name, share in wanted:
            if share and groups and not any(sides[group] == name for group in groups):
                notices.append(_hold_out_one(stage, name, share, sides, groups_by_stage, seed))
    return sides, notices


def _hold_out_one(
    stage: str,
    name: Side,
    share: float,
    sides: dict[str, Side],
    groups_by_stage: Mapping[str, Collection[str]],
    seed: int,
) -> str:
    """Move one training group of a small stage to the side it lacks, if every stage can do without it."""
    needed = set().union(*(_last_for_training(groups, sides) for groups in groups_by_stage.values()))
    free = [group for group in groups_by_stage[stage] if sides[group] == "train" and group not in needed]
    if not free:
        few = f"{len(groups_by_stage[stage])} group(s) are too few for a {name} split"
        hint = "of one large text file, piece_bytes makes many documents"
        return f"stage {stage}: {few}; nothing is held out for it ({hint})"
    sides[min(free, key=lambda group: position(group, seed))] = name
    return f"stage {stage}: too small for a {name} share of {share:g}; one whole group was held out instead"


def _last_for_training(groups: Collection[str], sides: dict[str, Side]) -> list[str]:
    training = [group for group in groups if sides[group] == "train"]
    return training if len(training) == 1 else []
