"""The pairs that stay of several projects and builds, each with its family; and why the others leave.

Two passes over what was kept: the first looks at sources and TAC by their hashes, the second gives pair by pair. A function
stays in several builds, as long as its TAC differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whet.evm.pairs.families import Families, Function, Runs, families, runs
from whet.evm.pairs.kept import Kept
from whet.evm.pairs.nouns import EQUAL_TAC, FULL, OTHER_FAMILY, SAME_SOURCE, SAME_TAC, Pair


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pair. `family`: of its project. `why`: one of `nouns.LEAVING` if it leaves, else ""."""

    pair: Pair
    family: str
    why: str = ""


def unit_of(pair: Pair, by: str) -> str:
    """What is one family in any case: "package", or "file"."""
    return pair.lineage if by == "package" else f"{pair.lineage}:{pair.file}"


def grouped(kept: Sequence[Kept], by: str = "package") -> Families:
    """The families of all pairs. Memory: see `families`."""
    functions: dict[Function, Runs] = {}
    for one in kept:
        for pair in one.pairs():
            key = (pair.source_hash, unit_of(pair, by))
            if key not in functions:
                functions[key] = runs(pair.source)
    return families(functions)


def distinct(
    kept: Sequence[Kept], found: Families, by: str = "package", most_per_era: int | None = None
) -> Iterator[Chosen]:
    """Every pair in order, those that leave with the reason. most_per_era: so many pairs of one era stay (None: all)."""
    built: set[tuple[str, str, str]] = set()
    tacs: dict[str, str] = {}
    eras: Counter[str] = Counter()
    for one in kept:
        for pair in one.pairs():
            unit, why = unit_of(pair, by), ""
            if (pair.source_hash, unit) in found.leaving:
                why = OTHER_FAMILY
            elif (pair.source_hash, pair.solc, pair.build) in built:
                why = SAME_SOURCE
            elif pair.tac_hash in tacs:
                why = SAME_TAC if tacs[pair.tac_hash] == pair.source_hash else EQUAL_TAC
            elif most_per_era is not None and eras[pair.era] >= most_per_era:
                why = FULL
            else:
                eras[pair.era] += 1
                built.add((pair.source_hash, pair.solc, pair.build))
                tacs[pair.tac_hash] = pair.source_hash
            yield Chosen(pair, found.of[unit], why)
