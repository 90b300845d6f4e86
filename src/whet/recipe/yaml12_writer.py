"""Writes plain values as YAML 1.2 that reads back to equal values: the resolved recipe.

Block style, no anchors, no folded lines; short lists of numbers and words stand in one line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from whet.recipe.yaml12 import UNPRINTABLE, scalar

_PLAIN = re.compile(r"[^\W_](?:[\w ,.;()/+=%'-]*[\w.;()/+=%'-])?|/[\w./-]*")
_PLAIN_IN_FLOW = re.compile(r"[^\W_][\w./-]*")
_FLOW_WIDTH = 80
_WORDS_OF_1_1 = frozenset(("y", "n", "yes", "no", "on", "off"))


def dump(values: dict[str, Any]) -> str:
    """Plain values (with text as keys) as YAML that `parse` reads back to equal values.

    Text is quoted whenever a reader of YAML 1.1 or 1.2 could take it for something else.
    """
    return "".join(f"{line}\n" for line in _lines(values))


def _lines(value: Any) -> Iterator[str]:
    """The lines of a value in block style, not indented."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{_text(key, _PLAIN_IN_FLOW)}:", item)
    elif isinstance(value, list) and value and not _fits_in_flow(value):
        for item in value:
            yield from (("  " if index else "- ") + line for index, line in enumerate(_lines(item)))
    else:
        yield _inline(value)


def _entry(key: str, item: Any) -> Iterator[str]:
    nested = isinstance(item, dict | list) and item and not _fits_in_flow(item)
    if not nested:
        yield f"{key} {_inline(item)}"
        return
    yield key
    yield from (f"  {line}" for line in _lines(item))


def _fits_in_flow(value: Any) -> bool:
    scalars = isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    return scalars and len(_inline(value)) <= _FLOW_WIDTH


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return f"[{', '.join(_number_or_text(item, _PLAIN_IN_FLOW) for item in value)}]"
    return _number_or_text(value, _PLAIN)


def _number_or_text(value: Any, plain: re.Pattern[str]) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return repr(value) if isinstance(value, int | float) else _text(str(value), plain)


def _text(text: str, plain: re.Pattern[str]) -> str:
    """Text as it is where that is safe, else in double quotes."""
    numeric = text[:1].isdigit()
    if not numeric and plain.fullmatch(text) and text.lower() not in _WORDS_OF_1_1 and scalar(text) == text:
        return text
    return UNPRINTABLE.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
