"""Whole groups are held out, by their name alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.prepare import split
from whet.prepare.split import Side, Sides, number
from whet.records import Document
from whet.sources.stdlib import StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource


def side(group: str, seed: int, validation_share: float, test_share: float) -> Side:
    return Sides(seed, validation_share, test_share)[group]


def assign(
    groups: dict[str, list[str]], seed: int, validation_share: float, test_share: float
) -> tuple[dict[str, Side], list[str]]:
    """The side of every group by name; asked for one by one and together, the answers agree."""
    numbers = {
        stage: np.array([number(group, seed) for group in names], np.uint64)
        for stage, names in groups.items()
    }

    def named(stage: str, group: int) -> str:
        return next(name for name in groups[stage] if number(name, seed) == group)

    sides, notices = split.assign(numbers, seed, validation_share, test_share, named)
    for stage, names in groups.items():
        for name in split.SIDES:
            assert sides.on(name, numbers[stage]).tolist() == [sides[group] == name for group in names]
    return {group: sides[group] for names in groups.values() for group in names}, notices


GROUPS = [f"folder/file{number}.py" for number in range(10_000)]


def test_shares_are_about_right() -> None:
    sides, notices = assign({"s": GROUPS}, 42, 0.02, 0.03)
    counts = {name: list(sides.values()).count(name) for name in ("train", "validation", "test")}
    assert notices == []
    assert 140 < counts["validation"] < 260
    assert 230 < counts["test"] < 370
    assert sum(counts.values()) == 10_000


def test_it_never_changes() -> None:
    assert [side(group, 42, 0.3, 0.3) for group in ("a", "é", "\udc80", "", "topic:x")] == GOLDEN


GOLDEN = ["train", "validation", "validation", "train", "validation"]


def test_adding_files_moves_none_of_the_others() -> None:
    few, _ = assign({"s": GROUPS[:2000]}, 42, 0.05, 0.05)
    many, _ = assign({"s": GROUPS}, 42, 0.05, 0.05)
    assert all(many[group] == few[group] for group in few)


def test_a_larger_share_only_adds() -> None:
    small, _ = assign({"s": GROUPS}, 42, 0.02, 0.03)
    large, _ = assign({"s": GROUPS}, 42, 0.10, 0.03)
    assert {g for g in GROUPS if small[g] == "test"} == {g for g in GROUPS if large[g] == "test"}
    assert {g for g in GROUPS if small[g] == "validation"} < {g for g in GROUPS if large[g] == "validation"}


def test_seeds_are_independent() -> None:
    one, _ = assign({"s": GROUPS}, 1, 0.0, 0.5)
    two, _ = assign({"s": GROUPS}, 2, 0.0, 0.5)
    assert 0.45 < sum(one[group] == two[group] for group in GROUPS) / len(GROUPS) < 0.55


@given(st.text(), st.integers(0, 2**63 - 1))
@settings(deadline=None)
def test_every_name_has_a_number(group: str, seed: int) -> None:
    assert 0 <= number(group, seed) < 2**64
    assert side(group, seed, 0.0, 0.0) == "train"


class TestTinyStages:
    def test_one_whole_group_is_held_out_for_each_split_and_said(self) -> None:
        sides, notices = assign({"small": ["a", "b", "c", "d"]}, 1, 0.001, 0.001)
        assert sorted(sides.values()) == ["test", "train", "train", "validation"]
        named = {side: name for name, side in sides.items()}
        assert notices == [
            f"stage small: too small for a {side} share of 0.001; one whole group was held out instead: "
            f"{named[side]} (1 of 4 records)"
            for side in ("test", "validation")
        ]

    @pytest.mark.parametrize("seed", range(20))
    def test_the_smallest_groups_are_moved_and_named(self, seed: int) -> None:
        records = ["library"] * 2000 + ["mine"] * 30 + ["other"] * 31
        sides, notices = assign({"s": records}, seed, 0.0, 1e-9)
        assert sides == {"library": "train", "mine": "test", "other": "train"}
        assert [notice.partition("instead: ")[2] for notice in notices] == ["mine (30 of 2,061 records)"]
        sides, notices = assign({"s": records}, seed, 1e-9, 1e-9)
        assert sides == {"library": "train", "mine": "test", "other": "validation"}
        assert len(notices) == 2

    def test_what_moving_costs_every_stage_counts(self) -> None:
        stages = {"many": ["shared"] * 900 + ["own"] * 5, "few": ["shared"] * 2 + ["theirs"] * 3}
        for seed in range(20):
            sides, _ = assign({**stages, "many": [*stages["many"], "more"]}, seed, 0.0, 1e-9)
            assert sides == {"shared": "train", "own": "train", "theirs": "test", "more": "test"}

    @pytest.mark.parametrize(("count", "said"), [(1, ["test", "validation"]), (2, ["validation"])])
    def test_too_few_groups_keep_one_for_training(self, count: int, said: list[str]) -> None:
        sides, notices = assign({"s": GROUPS[:count]}, 1, 1e-9, 1e-9)
        assert list(sides.values()).count("train") == 1
        few = [notice for notice in notices if "nothing is held out" in notice]
        assert few == [
            f"stage s: {count} group(s) are too few for a {name} split; nothing is held out for it "
            "(of one large text file, piece_bytes makes many documents)"
            for name in said
        ]

    def test_nothing_is_moved_where_nothing_is_wanted(self) -> None:
        sides, notices = assign({"s": ["a"], "none": []}, 1, 0.0, 0.0)
        assert (sides, notices) == ({"a": "train"}, [])

    def test_one_stage_does_not_take_the_last_training_group_of_another(self) -> None:
        for seed in range(50):
            stages = {"one": ["shared"], "two": ["shared", "own", "other"]}
            sides, _ = assign(stages, seed, 0.0, 1e-9)
            assert sides["shared"] == "train"
            assert sorted(sides.values()) == ["test", "train", "train"]

    def test_the_bundled_recipes_hold_out_by_hash_what_they_say(self) -> None:
        laptop = Sides(42, 0.0, 0.55)
        held_out = ["@prb/math", "@uniswap/v2-core", "@gnosis.pm/safe-contracts", "solmate"]
        assert {laptop[name] for name in held_out} == {"test"}
        openzeppelin = "@openzeppelin/contracts"
        trained = [openzeppelin, "@aave/core-v3", "@aave/protocol-v2", "@balancer-labs/v2-vault"]
        assert {laptop[name] for name in trained} == {"train"}
        quickstart = Sides(42, 0.0, 0.6)
        assert (quickstart["solmate"], quickstart[openzeppelin]) == ("test", "train")

    @given(
        st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=4),
        st.integers(0, 99),
        st.sampled_from([0.0, 0.01, 0.2]),
    )
    @settings(deadline=None, max_examples=150)
    def test_moving_never_empties_a_training_split(
        self, stages: list[set[int]], seed: int, share: float
    ) -> None:
        groups = {f"s{at}": [f"g{number}" for number in sorted(names)] for at, names in enumerate(stages)}
        sides, notices = assign(groups, seed, share, share)
        for stage, names in groups.items():
            natural = {side(group, seed, share, share) for group in names}
            assert "train" not in natural or "train" in {sides[group] for group in names}
            for wanted in ("validation", "test") if share else ():
                held_out = wanted in {sides[group] for group in names}
                assert held_out or any(
                    notice.startswith(f"stage {stage}:") and f"for a {wanted} split" in notice
                    for notice in notices
                )


def test_a_module_and_its_docstrings_share_a_side() -> None:
    code = [
        item for item in islice(StdlibSource(source="stdlib").documents(), 150) if isinstance(item, Document)
    ]
    english = [
        item
        for item in islice(StdlibEnglishSource(source="stdlib_english").documents(), 250)
        if isinstance(item, Document) and not item.group.startswith("topic:")
    ]
    groups = {"language": [d.group for d in english], "code": [d.group for d in code]}
    sides, _ = assign(groups, 42, 0.3, 0.3)
    by_module = {item.origin: sides[item.group] for item in code}
    both = [item for item in english if item.origin.removesuffix(" docstrings") in by_module]
    assert len(both) > 50
    assert len(set(by_module.values())) == 3
    for item in both:
        assert sides[item.group] == by_module[item.origin.removesuffix(" docstrings")]
