"""Which chat template a tokenizer is used with: its own, else one of whet's for base models that have none.

A tokenizer's own lies in `chat_template.jinja`, or in tokenizer_config.json under `chat_template`, as text or as a
list of named ones of which "default" is meant; the file counts more, as it does for transformers. The text is not
run here.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whet import limits, untrusted
from whet.errors import DataError
from whet.text.tokenizer_bounds import data_errors

FILE, SETTINGS = "chat_template.jinja", "tokenizer_config.json"
_BUILT_IN = Path(__file__).parents[1] / "templates"

_INPUT = re.compile(r"""(\.|\[\s*['"]|\.get\(\s*['"])input\b""")
_CLOCK = re.compile(r"strftime_now")
_TOOLS = re.compile(r"\btools\b")
_MARK = re.compile(r"<\|\w+\|>")


@dataclass(frozen=True)
class Template:
    """A template's text and where it comes from. `name` is that of a built-in one, "" for a tokenizer's own."""

    text: str
    origin: str
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8, hexadecimal."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def takes_input(self) -> bool:
        """Whether it knows a message's `input`; for others it is joined to the content."""
        return _INPUT.search(self.text) is not None

    @cached_property
    def takes_tools(self) -> bool:
        """Whether it speaks of tools at all."""
        return _TOOLS.search(self.text) is not None

    @cached_property
    def marks(self) -> list[str]:
        """What it names in the form of `<|im_end|>`, each once."""
        return list(dict.fromkeys(_MARK.findall(self.text)))


def names() -> list[str]:
    """The built-in templates."""
    return sorted(file.stem for file in _BUILT_IN.glob("*.jinja"))


def built_in(name: str) -> Template:
    """One of whet's own. Raises DataError that lists them."""
    if name not in names():
        raise DataError(
            f"there is no chat template {name!r}",
            where="chat template",
            fix=f"there are: {', '.join(names())}",
        )
    text = (_BUILT_IN / f"{name}.jinja").read_text("utf-8")
    return Template(text, f"whet's own template {name}", name)


def choose(folder: Path | None, name: str | None) -> Template:
    """The template of the tokenizer in `folder`, else the built-in one called `name`.

    What a person should know of the choice is in its `notes`. Raises DataError if there is neither.
    """
    fallback = built_in(name) if name is not None else None
    found = own(folder) if folder is not None else None
    if found is None and fallback is None:
        raise DataError(
            "the tokenizer has no chat template",
            where=str(folder or "tokenizer"),
            fix=f"name one of whet's own: {', '.join(names())}",
        )
    if found is None:
        assert fallback
        return _noted(fallback)
    if fallback is not None and fallback.text != found.text:
        said = f"the tokenizer's own chat template is used; {name} is for tokenizers without one"
        found = Template(found.text, found.origin, notes=(*found.notes, said))
    return _noted(found)


def own(folder: Path) -> Template | None:
    """The template that a tokenizer's folder holds. Raises DataError for one that is too large or no text."""
    place = folder if folder.is_dir() else folder.parent
    in_settings, others = _in_settings(place)
    notes = (
        [f"the tokenizer has further chat templates, which are not used: {', '.join(others)}"]
        if others
        else []
    )
    if os.path.lexists(place / FILE):
        with data_errors(str(place / FILE)):
            raw = untrusted.read_inside(place, FILE, limits.TEMPLATE_BYTES)
        text = _decoded(raw, place / FILE)
        if in_settings is not None and in_settings != text:
            notes.append(f"{FILE} is used; {SETTINGS} holds another chat template")
        return Template(text, FILE, notes=tuple(notes))
    if in_settings is None:
        return None
    if len(in_settings) > limits.TEMPLATE_BYTES:
        raise DataError(
            f"the chat template is larger than {limits.TEMPLATE_BYTES:,} bytes", where=str(place / SETTINGS)
        )
    return Template(in_settings, SETTINGS, notes=tuple(notes))


def _in_settings(folder: Path) -> tuple[str | None, list[str]]:
    """The template in tokenizer_config.json, and the names of others beside it."""
    if not os.path.lexists(folder / SETTINGS):
        return None, []
    with data_errors(str(folder / SETTINGS)):
        given = untrusted.settings_inside(folder, SETTINGS).get("chat_template")
    if given is None or isinstance(given, str):
        return given, []
    named = _named(given)
    if named is None:
        raise DataError(
            "chat_template is neither a text nor a list of named ones", where=str(folder / SETTINGS)
        )
    others = sorted(name for name in named if name != "default")
    return named.get("default"), others


def _named(given: Any) -> dict[str, str] | None:
    pairs = list(given.items()) if isinstance(given, dict) else None
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        pairs = [(one.get("name"), one.get("template")) for one in given]
    if pairs is None or not all(isinstance(part, str) for pair in pairs for part in pair):
        return None
    return dict(pairs)


def _decoded(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8 at byte {error.start}", where=str(path)) from None


def _noted(template: Template) -> Template:
    """With a word on the clock, which templates are not given."""
    if not _CLOCK.search(template.text):
        return template
    said = "the chat template asks for today's date; it always gets the same one here, so that training and use agree"
    return Template(template.text, template.origin, template.name, (*template.notes, said))
