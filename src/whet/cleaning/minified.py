"""Drops code squeezed onto a few lines, and files that are data more than text: tables of numbers, base64.

Four measures, each tested on the whole document; prose with a paragraph on a line passes, and so do
scripts that need no spaces. The thresholds and the shares they were chosen between are in the tests.
"""

from __future__ import annotations

import re

from pydantic import Field

from whet.cleaning.base import Filter
from whet.records import Document, Dropped

MINIFIED = "minified or data"

# Possessive (*+, ++), so that a megabyte of digits with a letter behind it takes linear time.
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:0[xX][0-9a-fA-F]++|\d[\d_]*+(?:\.\d*+)?+(?:[eE][-+]?\d++)?+)[uUlLfF]*+(?!\w)[\s,;]*+"
)
_BLANKS = "".join(filter(str.isspace, map(chr, range(128))))
_IN_NUMBERS = (b"0123456789eEuUlLfF_.+-,;" + _BLANKS.encode(), b"abcdABCDxX")
"""ASCII characters that numbers are written in, and those for which it takes a 0x."""
_ENCODED_CHARACTERS = 60
_ENCODED = re.compile(
    r"[A-Za-z0-9+/=_-]{60,}|(?:\\x[0-9a-fA-F]{2}){15,}"
)  # both at least _ENCODED_CHARACTERS


class Minified(Filter):
    """Tells squeezed code and data from text that was written."""

    NAME = "minified"
    SUMMARY = "drops minified code, tables of numbers and encoded data"
    REASONS = (MINIFIED,)
    ORDER = 40

    max_line: int = Field(default=100_000, ge=1, description="The longest line, in characters.")
    max_mean_line: int = Field(default=200, ge=1, description="The mean line of code with hardly a space.")
    max_numbers: float = Field(default=0.6, ge=0, le=1, description="The share of the text that is numbers.")
    max_encoded: float = Field(default=0.5, ge=0, le=1, description="The share of long runs without a space.")

    def apply(self, document: Document) -> Document | Dropped:
        """Keep or drop; the detail names the measure."""
        why = self._why(document.text)
        return self.drop(document, MINIFIED, why) if why else document

    def _why(self, text: str) -> str:
        lines = text.splitlines() or [""]
        longest = max(map(len, lines))
        if longest > self.max_line:
            return f"a line of {longest:,} characters"
        mean = len(text) / len(lines)
        if mean > self.max_mean_line and _is_squeezed(text):
            return f"lines of {mean:,.0f} characters, hardly a space"
        numbers = _number_share(text, self.max_numbers)
        if numbers > self.max_numbers:
            return f"{numbers:.0%} numbers"
        encoded = _encoded_share(text, self.max_encoded)
        return f"{encoded:.0%} encoded data" if encoded > self.max_encoded else ""


def _number_share(text: str, threshold: float) -> float:
    """The share of numbers; 0 where their characters alone show that it cannot exceed the threshold."""
    allowed = _IN_NUMBERS[0] + (_IN_NUMBERS[1] if "0x" in text or "0X" in text else b"")
    raw = text.encode("utf-8", "surrogatepass")
    others = len(raw.translate(None, bytes(range(128, 256)) + allowed))
    return 0.0 if others >= (1 - threshold) * len(text) else _share(_NUMBER, text)


def _encoded_share(text: str, threshold: float) -> float:
    """The share of encoded data; 0 where words are too short for it to exceed the threshold."""
    long = sum(length for length in map(len, text.split()) if length >= _ENCODED_CHARACTERS)
    return 0.0 if long <= threshold * len(text) else _share(_ENCODED, text)


def _is_squeezed(text: str) -> bool:
    """Whether spaces are too rare for code or prose in a script that uses them."""
    others = sum(not character.isascii() for character in text)
    return others < 0.2 * len(text) and sum(map(str.isspace, text)) < 0.08 * len(text)


def _share(pattern: re.Pattern[str], text: str) -> float:
    return sum(len(found[0]) for found in pattern.finditer(text)) / max(1, len(text))
