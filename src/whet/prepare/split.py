"""Who is trained on and who is held out: whole groups, decided by a hash of the group's name and the seed.

A group is one file, one module with its docstring, one conversation tree: what must not stand on both
sides. The decision for a group depends on nothing but its name, the seed and the shares, so adding files
moves none of the others. Only where that leaves a stage without held-out groups is one moved, and named: the one
with the fewest records, which costs training least.

A group is known by its *number*, 64 bits of that hash; no name is kept, so the caller looks up those that are
named. Two groups with one number would share a side, which harms nobody. Memory: what the caller keeps, 8 bytes a
record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")

Numbers = npt.NDArray[np.uint64]


def number(group: str, seed: int) -> int:
    """64 bits that are the group's own."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True, slots=True)
class Sides:
    """The side of every group there could be: by its number's place in [0, 1), but for those that were moved."""

    seed: int
    validation_share: float
    test_share: float
    moved: dict[int, Side] = field(default_factory=dict)

    def __getitem__(self, group: str) -> Side:
        """The side of a group, by its name."""
        own = number(group, self.seed)
        at = own / 2**64
        if own in self.moved:
            return self.moved[own]
        if at < self.test_share:
            return "test"
        return "validation" if at < self.test_share + self.validation_share else "train"

    def on(self, name: Side, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these groups are on a side."""
        at = numbers / 2**64
        test, held_out = at < self.test_share, at < self.test_share + self.validation_share
        found = {"test": test, "validation": held_out & ~test, "train": ~held_out & ~test}[name]
        for one, side in self.moved.items():
            found[numbers == one] = side == name
        return found


def assign(
    numbers_by_stage: Mapping[str, Numbers],
    seed: int,
    validation_share: float,
    test_share: float,
    named: Callable[[str, int], str],
) -> tuple[Sides, list[str]]:
    """The side of every group, and notices about what had to be moved or could not be held out.

    numbers_by_stage: the number of every record's group. named: the name of a stage's group, by its number.
    """
    sides = Sides(seed, validation_share, test_share)
    wanted: tuple[tuple[Side, float], ...] = (("test", test_share), ("validation", validation_share))
    notices = []
    for stage, numbers in numbers_by_stage.items():
        for name, share in wanted:
            if share and len(numbers) and not sides.on(name, numbers).any():
                moved = _spared(stage, sides, numbers_by_stage)
                if moved is None:
                    notices.append(_too_few(stage, name, numbers))
                else:
                    sides.moved[moved] = name
                    size = f"{np.count_nonzero(numbers == moved):,} of {len(numbers):,} records"
                    notices.append(
                        f"stage {stage}: too small for a {name} share of {share:g}; "
                        f"one whole group was held out instead: {named(stage, moved)} ({size})"
                    )
    return sides, notices


def _too_few(stage: str, name: Side, numbers: Numbers) -> str:
    few = f"{len(np.unique(numbers))} group(s) are too few for a {name} split"
    hint = "of one large text file, piece_bytes makes many documents"
    return f"stage {stage}: {few}; nothing is held out for it ({hint})"


def _spared(stage: str, sides: Sides, numbers_by_stage: Mapping[str, Numbers]) -> int | None:
    """The training group of a stage that every stage can do without and that has the fewest records in all of them."""
    training = {
        other: np.unique(numbers[sides.on("train", numbers)]) for other, numbers in numbers_by_stage.items()
    }
    needed = [numbers for numbers in training.values() if len(numbers) == 1]
    free = np.setdiff1d(training[stage], np.concatenate([*needed, np.zeros(0, np.uint64)]))
    if not len(free):
        return None
    groups, records = np.unique(np.concatenate([*numbers_by_stage.values()]), return_counts=True)
    return int(free[np.argmin(records[np.searchsorted(groups, free)])])
