"""Drops documents that mostly repeat their own lines: logs, tables of one value, pages of one template.

A line counts when it repeats an earlier one and is long enough to mean something (`}` and `return` may
repeat). Left out: near-repetitions, and repetition within a line.
"""

from __future__ import annotations

from pydantic import Field

from whet.cleaning.base import Filter
from whet.records import Document, Dropped

REPETITIVE = "repetitive"

_MEANINGFUL_CHARACTERS = 12
_FEWEST_LINES = 20


class Repetitive(Filter):
    """Measures how much of a text its own earlier lines already said."""

    NAME = "repetitive"
    SUMMARY = "drops documents that mostly repeat their own lines"
    REASONS = (REPETITIVE,)
    ORDER = 50

    max_share: float = Field(default=0.75, ge=0, le=1, description="The share of text in repeated lines.")

    def apply(self, document: Document) -> Document | Dropped:
        """Keep or drop; short documents and short lines are not judged."""
        lines = [line.strip() for line in document.text.splitlines()]
        lines = [line for line in lines if len(line) >= _MEANINGFUL_CHARACTERS]
        total = sum(map(len, lines))
        if len(lines) < _FEWEST_LINES:
            return document
        share = 1 - sum(map(len, set(lines))) / total
        return self.drop(document, REPETITIVE, f"{share:.0%}") if share > self.max_share else document
