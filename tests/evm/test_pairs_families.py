"""Families: units that share most are one, and no run of tokens stands in two."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from whet.evm.pairs.families import COMMON, RUN, families, runs
from whet.evm.pairs.inventory import digest, normalised


def function(seed: int, words: int = 40) -> str:
    """A text that shares no run with one of another seed."""
    random_words = random.Random(seed)
    return " ".join(f"w{random_words.randrange(10**9)}" for _ in range(words))


def table(*functions: tuple[str, str]) -> dict[tuple[str, str], object]:
    return {(digest(normalised(text)), unit): runs(text) for unit, text in functions}


def key(unit: str, text: str) -> tuple[str, str]:
    return digest(normalised(text)), unit


def test_runs_do_not_see_comments_and_space() -> None:
    text = "function f(uint a) public { return a + 1; } "
    assert (runs(text) == runs("function f(uint a)/* x */ public {\n return a+1; // y\n}")).all()
    assert len(runs(function(1, 40))) == 40 - RUN + 1
    assert len(runs("a b")) == 1


def test_a_copy_leaves_the_smaller_family() -> None:
    copied = function(0)
    large = [("large", function(seed)) for seed in range(1, 9)]
    small = [("small", function(seed)) for seed in range(11, 16)]
    found = families(table(*large, *small, ("large", copied), ("small", copied)))  # type: ignore[arg-type]
    assert found.of == {"large": "large", "small": "small"}
    assert found.leaving == {key("small", copied)}


def test_one_shared_run_is_enough() -> None:
    run = function(0, RUN)
    mine, theirs = f"{function(1)} {run} {function(2)}", f"{function(3)} {run}"
    found = families(table(("large", mine), ("large", function(4)), ("small", theirs)))  # type: ignore[arg-type]
    assert found.leaving == {key("small", theirs)}
    short = " ".join(run.split()[:-1])
    found = families(table(("large", mine), ("large", function(4)), ("small", f"{function(3)} {short}")))  # type: ignore[arg-type]
    assert not found.leaving


def test_a_function_shorter_than_a_run_is_one() -> None:
    short = function(0, RUN - 1)
    large = [("large", function(seed)) for seed in range(1, 9)]
    small = [("small", function(seed)) for seed in range(9, 13)]
    found = families(table(*large, *small, ("large", short), ("small", short)))  # type: ignore[arg-type]
    assert found.leaving == {key("small", short)}
    within = f"{function(13)} {short}"
    found = families(table(*large, *small, ("large", within), ("small", short)))  # type: ignore[arg-type]
    assert not found.leaving


def test_versions_of_one_library_are_one_family() -> None:
    old = [("lib-1", function(seed)) for seed in range(5)]
    new = [("lib-2", function(seed)) for seed in range(2, 10)]
    found = families(table(*old, *new, ("other", function(99))))  # type: ignore[arg-type]
    assert found.of == {"lib-1": "lib-2", "lib-2": "lib-2", "other": "other"}
    assert not found.leaving
    assert found.near[("lib-1", "lib-2")] == 3


def test_what_thousands_have_makes_no_family_and_stays_in_one() -> None:
    common = function(0)
    every = [(f"unit{at}", common) for at in range(3000)]
    found = families(table(*every, *((f"unit{at}", function(at + 1)) for at in range(3000))))  # type: ignore[arg-type]
    assert len(set(found.of.values())) == 3000
    assert len(found.leaving) == 2999
    few = families(table(*every[: COMMON - 1]))  # type: ignore[arg-type]
    assert len(set(few.of.values())) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.lists(st.integers(0, 5), min_size=1, max_size=4)), max_size=20
    )
)
def test_no_run_stands_in_two_families(made: list[tuple[str, list[int]]]) -> None:
    functions = table(*((unit, " ".join(function(seed, 15) for seed in seeds)) for unit, seeds in made))
    found = families(functions)  # type: ignore[arg-type]
    assert set(found.of) == {unit for _, unit in functions}
    owners: dict[int, set[str]] = {}
    for one, its in functions.items():
        if one not in found.leaving:
            for run in its.tolist():  # type: ignore[attr-defined]
                owners.setdefault(run, set()).add(found.of[one[1]])
    assert all(len(owner) == 1 for owner in owners.values())
    if functions:
        assert len(found.leaving) < len(functions)
