"""Which pairs stay where an era has a bound: some of every family and build, the same in whatever order they come."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from whet.evm.pairs.distinct import Chosen, distinct
from whet.evm.pairs.families import Families
from whet.evm.pairs.nouns import EQUAL_TAC, FULL, OTHER_FAMILY, SAME_SOURCE, Pair, View

Made = tuple[str, str, str, int]
"""Package, build, compiler, how many functions."""

MADE: list[Made] = [
    ("large", "runs200", "0.8.30", 400),
    ("large", "off", "0.8.30", 300),
    ("middle", "runs200", "0.8.19", 60),
    ("small", "runs200", "0.8.30", 5),
    ("small", "off", "0.8.30", 5),
    ("old", "runs200", "0.4.26", 20),
]


def pair(package: str, build: str, solc: str, at: int) -> Pair:
    return Pair(
        name=f"f{at}", signature=f"f{at}()", selector="", kind="function", visibility="public", mutability="",
        contract="C", source="", source_hash=f"{package} {at}", tac="", body="", called={}, storage=[], emitted="",
        names={}, hidden=View("", {}, []), mentions={}, tac_hash=f"{package} {build} {solc} {at}", label="selector",
        project=f"{package}@1", lineage=package, file="C.sol", line=at, within="C", solc=solc, build=build,
        licence="MIT",
    )  # fmt: skip


def pairs(made: Made) -> list[Pair]:
    package, build, solc, count = made
    return [pair(package, build, solc, at) for at in range(count)]


def chosen(results: list[list[Pair]], most: int | None, leaving: Any = ()) -> list[Chosen]:
    kept: Any = [SimpleNamespace(pairs=lambda its=its: iter(its)) for its in results]
    packages = {one.lineage for its in results for one in its}
    return list(distinct(kept, Families({name: name for name in packages}, set(leaving)), "package", most))


def stays(found: list[Chosen]) -> set[str]:
    return {one.pair.origin for one in found if not one.why}


def test_a_large_package_and_the_first_build_do_not_fill_an_era() -> None:
    found = chosen([pairs(one) for one in MADE], 90)
    counted = Counter((one.pair.era, one.family, one.pair.build) for one in found if not one.why)
    assert counted == {
        ("0.8", "large", "runs200"): 20,
        ("0.8", "large", "off"): 20,
        ("0.8", "middle", "runs200"): 40,
        ("0.8", "small", "runs200"): 5,
        ("0.8", "small", "off"): 5,
        ("0.4", "old", "runs200"): 20,
    }
    assert Counter(one.why for one in found)[FULL] == 770 - 90
    assert len(found) == 790


@pytest.mark.parametrize("most", [1, 3, 90, 769, 770, 10_000])
def test_the_order_decides_nothing(most: int) -> None:
    results = [pairs(one) for one in MADE]
    first = chosen(results, most)
    wanted = stays(first)
    assert Counter(one.pair.era for one in first if not one.why) == {
        "0.8": min(most, 770),
        "0.4": min(most, 20),
    }
    families = {one.family for one in first if not one.why}
    assert most < 3 or families == {"large", "middle", "small", "old"}
    for seed in range(3):
        shuffled = [random.Random(seed).sample(its, len(its)) for its in results]
        random.Random(seed).shuffle(shuffled)
        assert stays(chosen(shuffled, most)) == wanted


def test_what_leaves_otherwise_takes_no_room() -> None:
    large, small = pairs(("large", "runs200", "0.8.30", 10)), pairs(("small", "off", "0.8.30", 10))
    equal = replace(pair("other", "off", "0.8.30", 0), tac_hash=large[0].tac_hash)
    same = [equal, pair("large", "runs200", "0.8.30", 3)]
    found = chosen([large, same, small], 8, {(one.source_hash, "small") for one in small[3:]})
    assert Counter(one.why for one in found) == {
        "": 8,
        FULL: 5,
        OTHER_FAMILY: 7,
        EQUAL_TAC: 1,
        SAME_SOURCE: 1,
    }
    assert Counter(one.family for one in found if not one.why) == {"large": 5, "small": 3}


def test_without_a_bound_all_that_are_different_stay() -> None:
    assert {one.why for one in chosen([pairs(one) for one in MADE], None)} == {""}
