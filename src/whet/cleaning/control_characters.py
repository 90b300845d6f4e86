"""Makes what a model reads the same as what a person sees.

Newlines become LF. A few stray control characters are removed; a text full of them is no text and is
dropped. Characters that hide or reorder text are removed: they smuggle instructions and disguise code
(bidirectional overrides, CVE-2021-42574; invisible tag letters, U+E0000 to U+E007F).

Kept: tab, form feed, and a zero-width joiner between two letters outside ASCII, where Persian, the Indic
scripts and emoji need it. Lost: soft hyphens, the direction marks of mixed Hebrew or Arabic lines, and the
flags of England, Scotland and Wales, which are spelt in tag letters.
"""

from __future__ import annotations

import re

from pydantic import Field

from whet.cleaning.base import Filter
from whet.records import Document, Dropped

FULL_OF_THEM = "control characters"
NEWLINES = "newlines normalised"
REMOVED = "control characters removed"
HIDDEN = "hidden characters removed"

_NEWLINES = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]+")
_ASCII_CONTROLS = bytes({*range(32), 0x7F} - set(b"\t\n\x0c\r"))
_C1_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")
_INVISIBLE = (
    "\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_JOINERS = "\u200c\u200d"
_LETTER = f"[^\x00-\x7f{_INVISIBLE}{_JOINERS}]"
_HIDDEN = re.compile(f"[{_INVISIBLE}]+|(?<!{_LETTER})[{_JOINERS}]|[{_JOINERS}](?!{_LETTER})")


class ControlCharacters(Filter):
    """Normalises newlines and removes what is not seen."""

    NAME = "control_characters"
    SUMMARY = "normalises newlines, removes hidden and control characters, drops texts full of them"
    REASONS = (FULL_OF_THEM, NEWLINES, REMOVED, HIDDEN)
    ORDER = 10
    ON_CONVERSATIONS = "messages"

    max_share: float = Field(default=0.01, ge=0, le=1, description="A larger share is dropped.")

    def apply(self, document: Document) -> Document | Dropped:
        """Keep, change, or drop."""
        if "\r" in document.text:
            document = self.change(document, _NEWLINES.sub("\n", document.text), NEWLINES)
        count = _controls(document.text)
        if count > self.max_share * len(document.text):
            return self.drop(document, FULL_OF_THEM, f"{count:,} of {len(document.text):,}")
        if count:
            document = self.change(document, _CONTROLS.sub("", document.text), REMOVED)
        visible = document.text if document.text.isascii() else _HIDDEN.sub("", document.text)
        return document if visible == document.text else self.change(document, visible, HIDDEN)


def _controls(text: str) -> int:
    """How many characters `_CONTROLS` would find."""
    raw = text.encode("utf-8", "surrogatepass")
    below_space = len(raw) - len(raw.translate(None, _ASCII_CONTROLS))
    return below_space if text.isascii() else below_space + len(_C1_CONTROLS.findall(raw))
