"""The ids of a rendering's parts: stretches of ordinary text between special tokens and the borders of answers.

Each part is encoded by itself. Some tokenizers put a mark for a word's beginning before every text they are given;
within a rendering that would be a space nobody wrote. For those, a part that goes on after other text is encoded
behind a line feed, whose ids are taken off again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from whet.text.encoder import Encoder
from whet.text.tokenizer import Tokenizer, with_special
from whet.text.tokenizer_bounds import data_errors

BATCH = 64
"""From so many parts on they are encoded by the fast encoder, which takes a while to make."""

REMEMBERED_CHARACTERS, REMEMBERED_PARTS = 64, 10_000
"""Short parts come again and again: the words a template writes."""

_BEFORE = "\n"

Part = tuple[str, bool]
"""A text, and whether it goes on after ordinary text (True) or begins a stretch (False)."""


class PartEncoder:
    """Encodes parts with one tokenizer, special tokens' strings as ordinary text, and those of the added tokens
    `written` too, which the tokenizer would find in any text, or in what its normalizer makes of one."""

    def __init__(self, tokenizer: Tokenizer, written: Iterable[str] = ()) -> None:
        self.tokenizer = tokenizer
        self._names = sorted(written)
        ids = (tokenizer.backend.token_to_id(name) for name in self._names)
        self._written = frozenset(index for index in ids if index is not None)
        self._known: dict[Part, list[int]] = {}
        self._before = self._plain([_BEFORE])[0]
        alone, behind = self._plain(["a", f"{_BEFORE}a"])
        marked = behind[: len(self._before)] == self._before and behind[len(self._before) :] != alone
        self.marks_words = marked
        self.marks_after_specials = marked and self._after_special() == alone

    def encode(self, parts: Sequence[Part]) -> list[list[int]]:
        """The ids of every part."""
        wanted = [part if self.marks_words else (part[0], False) for part in parts]
        new = [part for part in dict.fromkeys(wanted) if part not in self._known]
        found = dict(zip(new, self._encoded(new), strict=True))
        for part, ids in found.items():
            if len(part[0]) <= REMEMBERED_CHARACTERS and len(self._known) < REMEMBERED_PARTS:
                self._known[part] = ids
        return [found[part] if part in found else self._known[part] for part in wanted]

    def _encoded(self, parts: list[Part]) -> list[list[int]]:
        rows = self._plain([_BEFORE + text if goes_on else text for text, goes_on in parts])
        return [
            self._without(text, row) if goes_on else row
            for (text, goes_on), row in zip(parts, rows, strict=True)
        ]

    def _without(self, text: str, row: list[int]) -> list[int]:
        """The ids behind those of the line feed; of the text alone where the two have grown together."""
        size = len(self._before)
        return row[size:] if row[:size] == self._before else self._plain([text])[0]

    def _plain(self, texts: list[str]) -> list[list[int]]:
        rows = self._usual(texts)
        held = [at for at, row in enumerate(rows) if not self._written.isdisjoint(row)]
        if held:
            for at, row in zip(held, self._inert.encode_parts([texts[at] for at in held]), strict=True):
                rows[at] = row
        return rows

    def _usual(self, texts: list[str]) -> list[list[int]]:
        if len(texts) >= BATCH:
            return self._fast.encode_parts(texts)
        return self.tokenizer.encode_parts(texts)

    @cached_property
    def _inert(self) -> Tokenizer:
        return with_special(self.tokenizer, self._names)

    @cached_property
    def _fast(self) -> Encoder:
        return Encoder(self.tokenizer)

    def _after_special(self) -> list[int]:
        """What becomes of a word behind a special token."""
        backend = self.tokenizer.backend
        special = next(iter(self.tokenizer.special_tokens.values()))
        backend.encode_special_tokens = False
        try:
            with data_errors("tokenizer.json"):
                return list(backend.encode(f"{special}a", add_special_tokens=False).ids[1:])
        finally:
            backend.encode_special_tokens = True
