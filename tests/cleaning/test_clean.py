"""The chain of filters: their order, and that every record which comes in goes out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whet.cleaning.base import FILTERS, Filter, clean
from whet.records import Document, Dropped


class Names(Filter):
    """Writes down its name."""

    NAME = "names"

    def apply(self, document: Document) -> Document | Dropped:
        return document.changed(document.text + self.NAME, self.NAME)


class Late(Names):
    NAME, ORDER = "late", 90


class Early(Names):
    NAME, ORDER = "early", 1


def document(text: str, language: str = "") -> Document:
    return Document(text=text, origin="here", group="here", language=language)


def test_filters_apply_in_their_order() -> None:
    (result,) = clean([document("")], [Late(), Early()])
    assert isinstance(result, Document)
    assert result.text == "earlylate"


def test_what_was_dropped_before_passes_through() -> None:
    gone = Dropped(origin="there", reason="binary")
    assert next(clean([gone, document("")], [Late()])) is gone


@given(st.lists(st.text(max_size=300), max_size=5))
def test_nothing_is_lost_and_cleaning_twice_changes_nothing(texts: list[str]) -> None:
    rules = [rule() for rule in FILTERS]
    once = list(clean(map(document, texts), rules))
    assert len(once) == len(texts)
    kept = [item for item in once if isinstance(item, Document)]
    assert list(clean(kept, rules)) == kept
