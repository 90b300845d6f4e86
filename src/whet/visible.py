"""Hostile text made visible: what hides or reorders other characters is spelled out. Escaping is done elsewhere."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Persian, Indic scripts and emoji need them and they move nothing, so they alone stay as they are."""


def visible(raw: str, keep: str = "") -> str:
    """The text with every character that hides or reorders something spelled out; `keep` stays as it is."""
    return "".join(char if char in keep else _spelled(char) for char in raw)


def _spelled(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in JOINERS:
        return f"⟨U+{code:04X}⟩"
    return char
