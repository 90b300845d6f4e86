"""What a person cannot see is removed, named and counted; what scripts need stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.cleaning import control_characters
from whet.cleaning.control_characters import ControlCharacters
from whet.records import Document, Dropped

PROSE = "a sentence that is long enough to carry one stray character. " * 4


def outcome(text: str) -> tuple[str, tuple[str, ...]]:
    result = ControlCharacters().apply(Document(text=text, origin="a", group="a"))
    return ("", (result.reason,)) if isinstance(result, Dropped) else (result.text, result.changes)


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd", ("newlines normalised",)),
        ("a\tb\x0cc\n", "a\tb\x0cc\n", ()),
        (PROSE + "\x07", PROSE, ("control characters removed",)),
        (PROSE + "\x85", PROSE, ("control characters removed",)),
        ("if admin\u202e {} \u2066//", "if admin {} //", ("hidden characters removed",)),
        ("pass\u200bword", "password", ("hidden characters removed",)),
        ("hi\U000e0069\U000e0067 there", "hi there", ("hidden characters removed",)),
        ("a\u200db", "ab", ("hidden characters removed",)),
        ("é\u200d\u200c\u200dé", "éé", ("hidden characters removed",)),
        ("می\u200cخواهم", "می\u200cخواهم", ()),
        ("👩\u200d💻", "👩\u200d💻", ()),
        ("naïve — “quoted”", "naïve — “quoted”", ()),
    ],
)
def test_table(text: str, expected: str, changes: tuple[str, ...]) -> None:
    assert outcome(text) == (expected, changes)


def test_a_text_full_of_them_is_dropped() -> None:
    assert outcome("ab\x01" * 50)[1] == ("control characters",)


@given(st.text("ab\r\n\x07é\u200c\u200d\u200b\u202e", max_size=60))
def test_a_second_pass_finds_nothing(text: str) -> None:
    once, _ = outcome(text)
    assert outcome(once) == (once, ())


@pytest.mark.parametrize("text", ["\u200d" * 500_000 + "é", "é" + "\u200c\u200d" * 300_000, "\r" * 500_000])
def test_hostile_runs_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    outcome(text)
    assert time.perf_counter() - start < 5


@given(st.text("a\t\n\r\x0c\x0b\x00\x1b\x1f\x7f\x80\x85\x9f\xa0Â😀\ud800"))
def test_control_characters_are_counted_as_they_are_removed(text: str) -> None:
    assert control_characters._controls(text) == len(text) - len(control_characters._CONTROLS.sub("", text))
