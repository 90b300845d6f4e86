"""Families: what must not stand on both sides of a split, and which functions would carry text from one into another.

A function's runs are its stretches of 13 tokens (Solidity's own tokens, without comments). Two projects of which the smaller
has `MERGED` of its functions near the other's are one family, such as two versions of one library. After that the larger
family keeps what several have: a function elsewhere that shares any run with a larger family leaves. So no run stands in two
families, and whole families go to the sides. A function of fewer than 13 tokens has one run, its whole text.

Memory: 16 bytes a token of distinct functions, three times over while sorting.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from whet.evm.pairs.inventory import tokens

RUN = 13
"""Tokens; the length of the GPT-3 report (Brown et al. 2020, appendix C), as `prepare.leakage` has it."""

NEAR = 0.5
"""A function is near another unit's if this share of its runs stands there."""

MERGED = 0.3
"""Units are one family if this share of the smaller one's functions is near the other's."""

COMMON = 50
"""A run that stands in more units than this says nothing of their kinship (safe arithmetic, copied into thousands)."""

Runs = npt.NDArray[np.uint64]

Function = tuple[str, str]
"""Hash of the source, and the unit it stands in; a unit is what is one family in any case."""


def runs(source: str) -> Runs:
    """The hashes of a function's runs, each once."""
    words = tokens(source)
    found = {" ".join(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1))}
    digests = [hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8).digest() for run in found]
    return np.sort(np.frombuffer(b"".join(digests), np.uint64))


@dataclass(slots=True)
class Families:
    """of: {unit: its family, named after its largest unit}. leaving: (hash of a source, unit) of functions that share runs
    with a larger family. near: {(unit, other unit): functions of the first that are near the other's}."""

    of: dict[str, str] = field(default_factory=dict)
    leaving: set[Function] = field(default_factory=set)
    near: dict[tuple[str, str], int] = field(default_factory=dict)


def families(functions: Mapping[Function, Runs]) -> Families:
    """functions: every one with its runs."""
    sizes = Counter(unit for _, unit in functions)
    units = [unit for unit, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))]
    number = {unit: at for at, unit in enumerate(units)}
    keys = list(functions)
    home = np.array([number[unit] for _, unit in keys], np.int64)
    lengths = np.array([len(functions[key]) for key in keys], np.int64)
    table = _Table(np.concatenate([np.zeros(0, np.uint64), *functions.values()]), lengths)
    near = _near(table, home, lengths, len(units))
    root = _merged(near, [sizes[unit] for unit in units])
    order = np.array(root, np.int64)[home]
    leaving = table.shared_with_smaller(order)
    return Families(
        of={unit: units[root[at]] for at, unit in enumerate(units)},
        leaving={keys[at] for at in leaving},
        near={(units[one], units[other]): count for (one, other), count in near.items()},
    )


class _Table:
    """Every run of every function, those that stand in one function alone left out."""

    def __init__(self, hashes: Runs, lengths: npt.NDArray[np.int64]) -> None:
        function = np.repeat(np.arange(len(lengths)), lengths)
        order = np.argsort(hashes, kind="stable")
        hashes, function = hashes[order], function[order]
        same = hashes[1:] == hashes[:-1]
        shared = np.concatenate([same, [False]]) | np.concatenate([[False], same]) if len(hashes) else same
        hashes, self.function = hashes[shared], function[shared]
        self.run = (
            np.cumsum(np.concatenate([[True], hashes[1:] != hashes[:-1]])) - 1
            if len(hashes)
            else self.function
        )
        """Numbers of runs from 0, ascending."""

    def pairs(self, home: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(function, other unit) for every run of a function that stands in another unit too, and in no more than COMMON;
        with repetitions."""
        if not len(self.run):
            return self.function, self.function
        units = np.unique(np.stack([self.run, home[self.function]]), axis=1)
        first = np.searchsorted(units[0], self.run)
        count = np.searchsorted(units[0], self.run, "right") - first
        count[count > COMMON] = 0
        function = np.repeat(self.function, count)
        at = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        other = units[1][at]
        apart = other != home[function]
        return function[apart], other[apart]

    def shared_with_smaller(self, order: npt.NDArray[np.int64]) -> list[int]:
        """Functions that share a run with a function of a smaller number in `order`."""
        if not len(self.run):
            return []
        least = np.full(int(self.run[-1]) + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, self.run, order[self.function])
        return [int(at) for at in np.unique(self.function[least[self.run] < order[self.function]])]


def _near(
    table: _Table, home: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], units: int
) -> dict[tuple[int, int], int]:
    function, other = table.pairs(home)
    if not len(function):
        return {}
    joined, shared = np.unique(function * units + other, return_counts=True)
    function, other = joined // units, joined % units
    close = shared >= NEAR * lengths[function]
    counted = Counter(zip(home[function[close]].tolist(), other[close].tolist(), strict=True))
    return dict(sorted(counted.items()))


def _merged(near: Mapping[tuple[int, int], int], sizes: Sequence[int]) -> list[int]:
    """For each unit the number of its family: that of its largest unit, which has the smallest number."""
    root = list(range(len(sizes)))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for (one, other), count in near.items():
        if sizes[one] <= sizes[other] and count >= MERGED * sizes[one]:
            low, high = sorted((find(one), find(other)))
            root[high] = low
    return [find(at) for at in range(len(sizes))]
