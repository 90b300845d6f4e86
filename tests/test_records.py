"""Counting what came in, what stayed and what left."""

from __future__ import annotations

import hashlib

import pytest

from whet.records import Document, Dropped, Tally


def document(text: str = "text", changes: tuple[str, ...] = ()) -> Document:
    return Document(text=text, origin="a", group="a", changes=changes)


def test_a_change_is_appended_and_the_original_stays() -> None:
    first = document(changes=("one",))
    second = first.changed("other", "two")
    assert (second.text, second.changes, second.origin) == ("other", ("one", "two"), "a")
    assert (first.text, first.changes) == ("text", ("one",))


@pytest.mark.parametrize(("text", "size"), [("", 0), ("abc", 3), ("é", 2), ("😀", 4), ("\udc80", 3)])
def test_size_and_digest_are_those_of_utf8(text: str, size: int) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    assert document(text).size_bytes == size == len(raw)
    assert document(text).digest == hashlib.sha256(raw).hexdigest()


class TestTally:
    def test_what_came_in_is_what_stayed_and_what_left(self) -> None:
        tally = Tally()
        tally.keep(document("four", ("trimmed", "trimmed")))
        tally.keep_counted(10)
        tally.drop(Dropped(origin="x", reason="binary", size_bytes=7))
        tally.drop(Dropped(origin="y", reason="binary", detail="NUL bytes", size_bytes=3))
        tally.drop(Dropped(origin="z", reason="empty"))
        found = tally.as_dict()
        assert (found["documents_in"], found["documents_kept"]) == (5, 2)
        assert (found["bytes_in"], found["bytes_kept"]) == (24, 14)
        assert found["changed"] == {"trimmed": 2}
        assert found["dropped"] == [
            {"reason": "binary", "documents": 2, "bytes": 10, "examples": ["x", "y (NUL bytes)"]},
            {"reason": "empty", "documents": 1, "bytes": 0, "examples": ["z"]},
        ]

    def test_reasons_are_sorted_by_count_and_hold_a_few_examples(self) -> None:
        tally = Tally()
        tally.drop(Dropped(origin="once", reason="rare"))
        for number in range(50):
            tally.drop(Dropped(origin=str(number), reason="common"))
        common, rare = tally.as_dict()["dropped"]
        assert (common["reason"], rare["reason"]) == ("common", "rare")
        assert common["examples"] == ["0", "1", "2", "3", "4"]
