"""Repetition is counted in words: golden values, and properties over random texts."""

from __future__ import annotations

import random

import pytest

from whet.text.repetition import loop, repeated_share, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ([], 0)),
        ("once upon a time", ([], 0)),
        ("no no", ([], 0)),
        ("no no no", (["no"], 3)),
        ("well, a b a b a b", (["a", "b"], 3)),
        ("well, a b a b a b a", (["b", "a"], 3)),
        ("x = 1\nx = 1\nx = 1\nx = 1", (["x", "=", "1"], 4)),
        ("a b a b a b and on", ([], 0)),
    ],
)
def test_loops(text: str, expected: tuple[list[str], int]) -> None:
    assert loop(words(text)) == expected


def test_shares() -> None:
    assert repeated_share(words("one two three four five six")) == 0
    assert repeated_share(["a"] * 8) == pytest.approx(4 / 5)
    assert repeated_share(["a", "b"]) == 0


def test_a_planted_loop_is_found_whatever_stands_before() -> None:
    draw = random.Random(4)
    for _ in range(200):
        before = [f"w{draw.randint(0, 10**6)}" for _ in range(draw.randint(0, 40))]
        stretch = [f"s{at}" for at in range(draw.randint(1, 12))]
        times = draw.randint(3, 9)
        found, count = loop([*before, *stretch * times])
        assert (found, count) == (stretch, times)
        assert loop(before) == ([], 0)
