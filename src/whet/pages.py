"""Templates of pages whose every text is hostile: it is escaped, and characters that hide or reorder others are spelled out."""

from __future__ import annotations

from functools import cache

from jinja2 import ChoiceLoader, PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

from whet.visible import visible


@cache
def environment(package: str) -> SandboxedEnvironment:
    """The templates in the folder of a package, and the style of all pages, `pages.css`. The filter `block` is for text in a
    `<pre>`."""
    made = SandboxedEnvironment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("whet", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_in_line,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["block"] = _in_block
    return made


def _in_line(value: object) -> object:
    """What the template engine does to every value it prints: even a line break is spelled out."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _in_block(value: str) -> Markup:
    """For text in a `<pre>`, where line breaks and tabs mean what they say."""
    return escape(visible(value, keep="\n\t"))
