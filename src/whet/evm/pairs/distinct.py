"""The pairs that stay of several projects and builds, each with its family; and why the others leave.

Two passes over what was kept: the first looks at sources and TAC by their hashes, the second gives pair by pair. A function
stays in several builds, as long as its TAC differs. Where eras have a bound there is one more pass between, which draws what
stays; it takes some 200 bytes a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
    full = set() if most_per_era is None else _full(_different(kept, found, by), most_per_era)
    for at, chosen in enumerate(_different(kept, found, by)):
        yield replace(chosen, why=FULL) if at in full else chosen


def _different(kept: Sequence[Kept], found: Families, by: str) -> Iterator[Chosen]:
    """Every pair, whatever room its era has."""
    built: set[tuple[str, str, str]] = set()
    tacs: dict[str, str] = {}
    for one in kept:
        for pair in one.pairs():
            unit, why = unit_of(pair, by), ""
            if (pair.source_hash, unit) in found.leaving:
                why = OTHER_FAMILY
            elif (pair.source_hash, pair.solc, pair.build) in built:
                why = SAME_SOURCE
            elif pair.tac_hash in tacs:
                why = SAME_TAC if tacs[pair.tac_hash] == pair.source_hash else EQUAL_TAC
            else:
                built.add((pair.source_hash, pair.solc, pair.build))
                tacs[pair.tac_hash] = pair.source_hash
            yield Chosen(pair, found.of[unit], why)


Drawn = tuple[bytes, int]
"""A hash of a pair, and its place among all of them."""


def _full(every: Iterable[Chosen], most: int) -> set[int]:
    """The places of those for which their era has no room.

    Families give one in turn, and of a family its builds do, in the order of a hash of the pair. So neither a large family
    nor the first build fills an era, and the order of the projects decides nothing.
    """
    eras: dict[str, dict[str, dict[str, list[Drawn]]]] = {}
    for at, one in enumerate(every):
        if not one.why:
            builds = eras.setdefault(one.pair.era, {}).setdefault(one.family, {})
            builds.setdefault(one.pair.build, []).append((_hash(one.pair), at))
    full: set[int] = set()
    for era in eras.values():
        order = _in_turn(_in_turn(map(sorted, builds.values())) for builds in era.values())
        full.update(at for _, at in order[most:])
    return full


def _in_turn(lists: Iterable[list[Drawn]]) -> list[Drawn]:
    """The first of every list, then the second of every list, and so on."""
    return [one for _, one in sorted((turn, one) for its in lists for turn, one in enumerate(its))]


def _hash(pair: Pair) -> bytes:
    said = f"{pair.source_hash} {pair.solc} {pair.build}"
    return hashlib.blake2b(said.encode(), digest_size=8).digest()
