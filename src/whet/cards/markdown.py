"""Markdown from plain values. Names from the material are hostile: they may hold markup, links, line breaks.

`code` is for names, `prose` for whet's own sentences that may quote such names. Neither lets a character mean
anything to Markdown, GitHub's tables and links, or HTML. Long names are cut, and how much is said.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from whet.visible import visible

MOST_CHARACTERS = 200
_PLAIN_NAME = re.compile(r"[^`|]+")
_MARKUP = re.compile(r"([\\`*{}\[\]~$^]|(?<![^\W_])_|_(?![^\W_]))")
_LINE_START = re.compile(r"^(\d*)([-+#=.)])(?=\s|$|[-+#=])")


def code(name: str) -> str:
    """A name as inline code, readable as it stands where nothing in it is special."""
    shown = visible(name)
    if len(shown) > MOST_CHARACTERS:
        shown = f"{shown[:MOST_CHARACTERS]}… ({len(shown) - MOST_CHARACTERS:,} characters more)"
    if not shown.strip():
        return f"<code>{'&nbsp;' * len(shown)}</code>"
    if _PLAIN_NAME.fullmatch(shown):
        return f"`{shown}`"
    entities = (f"&#{ord(char)};" if char in string.punctuation else char for char in shown)
    return f"<code>{''.join(entities)}</code>"


def prose(sentence: str) -> str:
    """A sentence on one line, in which nothing is markup and no address becomes a link."""
    shown = visible(sentence).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(_MARKUP, r"\\\1", shown).replace("|", "&#124;").replace("@", "&#64;")
    shown = re.sub(r"(?i)\bwww\.", lambda found: f"{found[0][:-1]}&#46;", shown.replace("://", "&#58;//"))
    return _LINE_START.sub(r"\1\\\2", shown)


def plural(number: int, noun: str) -> str:
    """`1 document`, `2,000 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bullets(lines: Iterable[str]) -> list[str]:
    """A list; the lines are Markdown already."""
    return [f"- {line}" for line in lines]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first column is text and whose others are figures; the cells are Markdown already."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return ["", *(f"| {' | '.join(row)} |" for row in (header, marks, *rows)), ""]


def document(parts: Iterable[Iterable[str]]) -> str:
    """The sections one after another, with one blank line where there are several."""
    lines = [line for part in parts for line in part]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
