"""The training example whose TAC is nearest: what a model could do that only looks up.

How near two functions are is the Jaccard index of the sets of GRAM tokens in a row (words, and signs one by one) of their
TAC: the function's and that of the private functions shown with it, names from places in the code numbered. Compared are
records that show as much of the metadata. Of equally near ones the first counts; where none shares a run there is none.

Cost: one pass over the training pairs; memory: the runs of the functions that are asked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whet.evaluate.written.held_out import Asked, view
from whet.evm.pairs.nouns import Pair
from whet.evm.pairs.prompt import Metadata
from whet.evm.pairs.texts import placeless

GRAM = 4
"""Tokens in a row."""

Run = tuple[str, ...]
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Near:
    """A training example and how near it is, 0 to 1. `text`: its answer."""

    origin: str
    overlap: float
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A training record."""

    pair: Pair
    metadata: Metadata
    origin: str
    answer: str


def nearest(asked: Sequence[Asked], training: Iterable[Example]) -> list[Near | None]:
    """For each function that is asked, in their order."""
    sizes, holders = [], defaultdict[tuple[str, Run], list[int]](list)
    for number, one in enumerate(asked):
        found = runs(one.pair, one.metadata)
        sizes.append(len(found))
        for run in found:
            holders[one.metadata, run].append(number)
    best: list[Near | None] = [None] * len(asked)
    for example in training:
        theirs = runs(example.pair, example.metadata)
        shared = Counter(number for run in theirs for number in holders.get((example.metadata, run), ()))
        for number, both in shared.items():
            overlap, known = both / (sizes[number] + len(theirs) - both), best[number]
            if known is None or overlap > known.overlap:
                best[number] = Near(example.origin, overlap, example.answer)
    return best


def runs(pair: Pair, metadata: Metadata) -> frozenset[Run]:
    """The sets that are compared; of a text with fewer tokens, all of them in one."""
    shown = view(pair, metadata)
    tokens = _TOKEN.findall(placeless("\n".join([shown.tac, *shown.called.values()])))
    return frozenset(tuple(tokens[at : at + GRAM]) for at in range(max(1, len(tokens) - GRAM + 1)))
