"""Sizes are bytes of UTF-8, with both bounds kept."""

from __future__ import annotations

import pytest

from whet.cleaning.size import Size
from whet.records import Document, Dropped


def outcome(text: str, **settings: int) -> str:
    result = Size(**settings).apply(Document(text=text, origin="a", group="a"))
    return result.reason if isinstance(result, Dropped) else "kept"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 31, "too short"),
        ("a" * 32, "kept"),
        ("é" * 16, "kept"),
        (" " * 500 + "a", "too short"),
        ("", "too short"),
        ("a" * 1_000_000, "kept"),
        ("é" * 500_001, "too long"),
    ],
)
def test_bounds(text: str, expected: str) -> None:
    assert outcome(text) == expected


def test_bounds_are_settings() -> None:
    assert outcome("", min_bytes=0) == "kept"
    assert outcome("abc", min_bytes=1, max_bytes=2) == "too long"
    with pytest.raises(ValueError, match="above"):
        Size(min_bytes=10, max_bytes=5)
