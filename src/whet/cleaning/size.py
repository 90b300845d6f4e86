"""Drops documents that are too short to learn from, or so long that one would outweigh many.

Measured in UTF-8 bytes, since no tokenizer is known yet; for the lower bound the white space around the
text does not count. Comes after `control_characters`, so that what is measured is what stays. A conversation is
measured as its JSON, tools included.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from whet.cleaning.base import Filter
from whet.records import Document, Dropped

TOO_SHORT = "too short"
TOO_LONG = "too long"


class Size(Filter):
    """Keeps what lies between two sizes."""

    NAME = "size"
    SUMMARY = "drops documents below or above a size in bytes"
    REASONS = (TOO_SHORT, TOO_LONG)
    ORDER = 20
    ON_CONVERSATIONS = "whole"

    min_bytes: int = Field(default=32, ge=0, description="The shortest document kept.")
    max_bytes: int = Field(default=1_000_000, ge=1, description="The longest document kept.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_bytes > self.max_bytes:
            raise ValueError(f"min_bytes {self.min_bytes} is above max_bytes {self.max_bytes}")
        return self

    def apply(self, document: Document) -> Document | Dropped:
        """Keep or drop; the text stays as it is."""
        size = document.size_bytes
        if size > self.max_bytes:
            return self.drop(document, TOO_LONG, f"{size:,} bytes")
        if len(document.text.strip().encode("utf-8", "surrogatepass")) < self.min_bytes:
            return self.drop(document, TOO_SHORT, f"{size:,} bytes")
        return document
