"""What every filter promises: a document in; the document, a changed one, or a drop with a reason out.

Filters are pure and look at one document at a time. Duplicates need a view of the whole corpus and are
the prepare room's own work (`whet.prepare.duplicates`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from whet.records import Document, Dropped
from whet.registry import Registry


class Filter(BaseModel):
    """One rule. Its fields are its settings; a recipe sets them under `prepare.cleaning.<NAME>`.

    ORDER sorts the filters: cheap and certain ones first.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    REASONS: ClassVar[tuple[str, ...]] = ()
    """Every reason (of a drop or a change) this filter can name."""
    ORDER: ClassVar[int] = 50
    ON_CONVERSATIONS: ClassVar[Literal["messages", "whole", ""]] = ""
    """What it is given of a conversation: every text that was said, or the whole as its JSON, which it may keep or
    drop but not change. "": it judges files, and is not asked."""

    @abstractmethod
    def apply(self, document: Document) -> Document | Dropped:
        """Keep, change, or drop."""

    def drop(self, document: Document, reason: str, detail: str = "") -> Dropped:
        """A `Dropped` for this document; `reason` must be one of REASONS."""
        assert reason in self.REASONS, f"{self.NAME} names an unlisted reason {reason!r}"
        return Dropped(origin=document.origin, reason=reason, detail=detail, size_bytes=document.size_bytes)

    def change(self, document: Document, text: str, reason: str) -> Document:
        """The document with another text; `reason` names the change and must be one of REASONS."""
        assert reason in self.REASONS, f"{self.NAME} names an unlisted reason {reason!r}"
        return document.changed(text, reason)


FILTERS: Registry[Filter] = Registry(Filter, "whet.cleaning", ("REASONS",))


def clean(stream: Iterable[Document | Dropped], filters: Iterable[Filter]) -> Iterator[Document | Dropped]:
    """Each document through the filters in their ORDER, up to the first that drops it.

    What was dropped before passes through, so that every record that comes in goes out.
    """
    ordered = sorted(filters, key=lambda rule: (rule.ORDER, rule.NAME))
    for item in stream:
        for rule in ordered:
            if isinstance(item, Dropped):
                break
            item = rule.apply(item)
        yield item
