"""Pragmas as ranges of versions, and the compiler that is chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.evm.pairs.pragma import Unreadable, choose, number, ranges, supported, written

VERSIONS = [(0, 4, 26), (0, 5, 17), (0, 6, 12), (0, 7, 6), (0, 8, 19), (0, 8, 30)]


def allows(pragma: str, version: str) -> bool:
    return any(low <= number(version) < high for low, high in ranges(pragma))


@pytest.mark.parametrize(
    ("pragma", "inside", "outside"),
    [
        ("^0.8.0", "0.8.30", "0.9.0"),
        ("^0.4.18", "0.4.26", "0.4.17"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^1.2.3", "1.9.0", "2.0.0"),
        ("~0.8.4", "0.8.9", "0.9.0"),
        (">=0.6.0 <0.8.0", "0.7.6", "0.8.0"),
        (">=0.6.0<0.8.0", "0.6.0", "0.5.17"),
        ("> 0.6.0", "0.6.1", "0.6.0"),
        ("<=0.7.6", "0.7.6", "0.7.7"),
        ("0.8.10", "0.8.10", "0.8.11"),
        ("=0.7.6", "0.7.6", "0.7.5"),
        ("0.5.x", "0.5.17", "0.6.0"),
        ("0.5", "0.5.1", "0.6.0"),
        ("*", "0.4.0", "1073741824.0.0"),
        ("0.4.18 - 0.6.0", "0.6.0", "0.6.1"),
        ("^0.5.0 || ^0.7.0", "0.7.6", "0.6.12"),
        ('"^0.8.0"', "0.8.1", "0.7.6"),
        (">=0.8", "0.8.0", "0.7.6"),
    ],
)
def test_ranges(pragma: str, inside: str, outside: str) -> None:
    assert allows(pragma, inside)
    assert not allows(pragma, outside)


@pytest.mark.parametrize(
    "pragma", ["", "latest", "^^0.8.0", "0.8.0 and more", ">=0.6.0 <<0.8.0", "0.8.0 -", "^0.8." + "9" * 5000]
)
def test_what_is_no_range(pragma: str) -> None:
    with pytest.raises(Unreadable):
        ranges(pragma)


@given(st.text(alphabet='0123456789.^~<>=|-xX* v"a', max_size=16))
def test_any_text_is_ranges_or_unreadable(pragma: str) -> None:
    try:
        found = ranges(pragma)
    except Unreadable:
        return
    assert all(low < high for low, high in found)
    version, allowed = choose([pragma], VERSIONS)
    assert version is None or not allowed or any(low <= version < high for low, high in found)


def test_the_newest_that_all_files_allow() -> None:
    assert choose(["^0.8.0"], VERSIONS) == ((0, 8, 30), True)
    assert choose([">=0.6.0 <0.8.0"], VERSIONS) == ((0, 7, 6), True)
    assert choose([">=0.6.0 <0.8.0", "^0.6.2"], VERSIONS) == ((0, 6, 12), True)
    assert choose([], VERSIONS) == ((0, 8, 30), True)


def test_a_pin_to_another_version_gets_the_next_of_its_era_and_it_is_told() -> None:
    assert choose(["0.8.7"], [(0, 8, 4), (0, 8, 13), (0, 8, 19)]) == ((0, 8, 13), False), (
        "0.8.4 knows no london"
    )
    assert choose(["=0.8.31"], VERSIONS) == ((0, 8, 30), False)
    assert choose(["0.8.10"], VERSIONS) == ((0, 8, 19), False)
    assert choose(["=0.8.29"], VERSIONS) == ((0, 8, 30), False)
    assert choose(["=0.7.1"], VERSIONS) == ((0, 7, 6), False)
    assert choose(["0.3.6"], VERSIONS) == (None, False)
    assert choose([">=0.8.0 <0.7.0"], VERSIONS) == (None, False)


def test_the_supported_ones_are_those_that_are_pinned() -> None:
    assert {written(version) for version in supported()} >= {"0.4.26", "0.8.30"}
    assert list(supported()) == sorted(supported())
    assert number("v0.8.19+commit.7dd6d404") == (0, 8, 19)
    with pytest.raises(Unreadable):
        number("0.8")
