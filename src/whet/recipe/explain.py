"""From pydantic's errors to one plain line per problem: where it stands, which key, what is wrong, what to write.

Pydantic's messages speak of types; here they speak of what a person wrote and could write instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, NamedTuple

from pydantic import BaseModel

from whet.cleaning.base import FILTERS
from whet.errors import RecipeError
from whet.recipe import suggest
from whet.recipe.locate import Spot, bare, locate
from whet.recipe.registered import AnyFilters, AnySource, no_such
from whet.recipe.schema import Recipe
from whet.recipe.yaml12 import OVERRIDES, Path, Place, Tree, scalar
from whet.sources.base import SOURCES

Error = dict[str, Any]
MOST_PROBLEMS = 100
"""Nobody reads more lines, and finding the key meant takes a millisecond for each."""

_SHOWN_CHARACTERS = 60
_KINDS = ["greedy", "sample", "beam"]


class Made(dict[str, Any]):
    """The plain values of settings that were made in Python, and what they were made as."""

    def __init__(self, values: dict[str, Any], kind: str) -> None:
        super().__init__(values)
        self.kind = kind


class Problem(NamedTuple):
    """One line of the report; sorts by place."""

    place: Place
    text: str


def refused(tree: Tree, found: Sequence[Problem]) -> RecipeError:
    """One error that lists them all."""
    most = "at least " if len(found) == MOST_PROBLEMS else ""
    count = f"{most}{len(found)} problem{'s' if len(found) > 1 else ''} in {tree.name}"
    return RecipeError("\n".join([count, *(problem.text for problem in found)]))


def problems(tree: Tree, errors: Iterable[Any], root: type[BaseModel] = Recipe) -> list[Problem]:
    """What is wrong with a recipe, in the order of the file, each thing once; the first MOST_PROBLEMS of it.

    `root`: the section that the tree holds, if it is not a whole recipe.
    """
    located = sorted(
        ((locate(error["loc"], root), error) for error in errors), key=lambda item: tree.place(item[0].path)
    )
    explained = _explained(tree, located[:MOST_PROBLEMS])
    everything = {(tree.place(path), path, text) for path, text in explained} | set(tree.problems)
    lines = {Problem(at, f"{at.text}: {dotted(tree.values, path)}: {text}") for at, path, text in everything}
    return sorted(lines)[:MOST_PROBLEMS]


def dotted(values: Any, path: Path) -> str:
    """`stages.code.steps`: list items by their name where they have one."""
    parts: list[str] = []
    for part in path:
        item = (
            values[part]
            if isinstance(values, list) and isinstance(part, int) and part < len(values)
            else None
        )
        name = item.get("name") if isinstance(item, dict) else None
        label = name if isinstance(name, str) and name else str(part)
        fits = label.isprintable() and len(label) <= _SHOWN_CHARACTERS
        parts.append(label if fits else repr(cut(label)))
        values = values.get(part) if isinstance(values, dict) else item
    return ".".join(parts) or "recipe"


def shown(value: Any) -> str:
    """A value as a person would name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {cut(value)!r}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, PurePath):
        return f"a Path; write str({cut(str(value))!r})"
    if isinstance(value, dict):
        return f"whet.{value.kind}(...)" if isinstance(value, Made) else "keys and values"
    if not isinstance(value, int | float):
        return f"{cut(str(value))} (a {type(value).__name__})"
    return cut(number(value))


def number(value: Any) -> str:
    """A number as it is written in a recipe."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def cut(text: str) -> str:
    """The text, or its beginning, as a message can hold it."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _explained(tree: Tree, located: list[tuple[Spot, Error]]) -> Iterator[tuple[Path, str]]:
    tried = [spot.arms for spot, _ in located]
    misspelt = {_meant(spot) for spot, error in located if error["type"] == "extra_forbidden"}
    for spot, error in located:
        if error["type"] == "missing" and spot.path in misspelt:
            continue
        if error["type"] == "contradiction":
            yield from _contradictions(tree, spot.path, error["ctx"]["problems"])
            continue
        wrong = _no_arm_fits(tree, spot, tried)
        if wrong is not None:
            yield wrong
        elif all(_fits(tree, path, arm) for path, arm in spot.arms.items()):
            yield _explain(error, spot, value_at(tree.values, spot.path))


def _contradictions(tree: Tree, section: Path, found: list[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    """Each at the first of its keys that an override wrote, else at the first that the file has."""
    for keys, message in found:
        paths = [(*section, *_parts(key)) for key in keys.split()]
        written = [path for path in paths if path in tree.places]
        overridden = [path for path in written if tree.places[path].line >= OVERRIDES]
        yield [*overridden, *written, *paths][0], message


def _meant(spot: Spot) -> Path:
    """The path that an unknown key was likely meant to have."""
    meant = None if spot.inside is AnyFilters else suggest.meant_here(str(spot.path[-1]), spot.inside)
    return (*spot.path[:-1], meant or "")


def _parts(key: str) -> Path:
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def value_at(values: Any, path: Path) -> Any:
    """What stands at a path; None if nothing does."""
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


_PYTHON_NAMES = {str: "str", list: "list", dict: "dict", bool: "bool", int: "int", float: "float"}
_ARM_NOUNS = {
    "str": "text",
    "list": "a list",
    "dict": "keys and values",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
}


def _fits(tree: Tree, path: Path, arm: str) -> bool:
    """Whether what stands at a union was meant for this arm of it."""
    name = _PYTHON_NAMES.get(type(value_at(tree.values, path)), "")
    return arm.partition("[")[0] == name


def _no_arm_fits(tree: Tree, spot: Spot, tried: list[dict[Path, str]]) -> tuple[Path, str] | None:
    """One problem for a value that none of a union's arms takes."""
    for path in spot.arms:
        arms = list(dict.fromkeys(arms[path] for arms in tried if path in arms))
        if not any(_fits(tree, path, arm) for arm in arms):
            value = value_at(tree.values, path)
            listed = isinstance(value, str) and any(arm.startswith("list") for arm in arms)
            hint = f"; write [{cut(value)}]" if listed else ""
            return path, f"must be {' or '.join(dict.fromkeys(map(_noun, arms)))}, not {shown(value)}{hint}"
    return None


def _noun(arm: str) -> str:
    """What an arm of a union takes; of fixed words, these."""
    kind, _, words = arm.partition("[")
    return " or ".join(re.findall(r"'([^']*)'", words)) if kind == "literal" else _ARM_NOUNS.get(kind, arm)


def _explain(error: Error, spot: Spot, value: Any) -> tuple[Path, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return spot.path, _unknown_key(spot)
    if kind == "missing":
        return spot.path, "is required and missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_tag(spot, value)
    if kind in _NOUNS:
        return spot.path, f"must be {_NOUNS[kind]}, not {shown(value)}{_hint(kind, spot, value)}"
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return spot.path, f"must be {word} {number(context[bound])}, not {shown(value)}"
    if kind in _WORDED:
        return spot.path, _WORDED[kind](context, value)
    message = re.sub(r"^(Value error|Assertion failed), ", "", error["msg"])
    return spot.path, message.replace("Input should", "must")


def _unknown_key(spot: Spot) -> str:
    key = str(spot.path[-1])
    if spot.inside is AnyFilters:
        return no_such("filter", key, FILTERS.names())
    return "unknown key" + suggest.for_key(key, spot.inside)


def _unknown_tag(spot: Spot, value: Any) -> tuple[Path, str]:
    """For an entry whose `source:` or `kind:` is missing or unknown, and for a filter's settings."""
    expected = bare(spot.expected)
    if spot.inside is AnyFilters:
        return spot.path, f"must be the filter's settings, or false to switch it off, not {shown(value)}"
    key, names = ("source", SOURCES.names()) if expected is AnySource else ("kind", _KINDS)
    if isinstance(value, Made) and key == "source" and value.get(key) not in [None, *names]:
        register = f"whet.sources.base.SOURCES.register({value.kind})"
        return spot.path, f"the source {value[key]!r} is not registered; call {register} first"
    if isinstance(value, Made) or not isinstance(value, dict):
        return spot.path, f"must be a section with {key} one of {', '.join(names)}, not {shown(value)}"
    if key in value and isinstance(value[key], str):
        return (*spot.path, key), no_such(key, cut(value[key]), names)
    if key in value:
        return (*spot.path, key), f"must be one of {', '.join(names)}, not {shown(value[key])}"
    typo = get_close_matches(key, [name for name in value if isinstance(name, str)], n=1)
    if typo:
        return (*spot.path, typo[0]), f"unknown key; did you mean {key!r}?"
    return (*spot.path, key), f"is required and missing; one of: {', '.join(names)}"


_NOUNS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "model_attributes_type": "a section of keys and values",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _hint(kind: str, spot: Spot, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that is plain."""
    if isinstance(value, str):
        return _hint_for_text(kind, spot, value)
    if value is None:
        return "; leave the key out for its default" if _has_default(spot) else ""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind == "list_type":
        if isinstance(value, dict) and not isinstance(value, Made):
            return "; put `- ` before each item"
        items = ", ".join(map(str, value)) if isinstance(value, tuple) else shown(value)
        return f"; write [{items}]"
    return ""


def _has_default(spot: Spot) -> bool:
    field = getattr(spot.inside, "model_fields", {}).get(spot.path[-1])
    return field is not None and not field.is_required()


def _hint_for_text(kind: str, spot: Spot, value: str) -> str:
    plain = value.strip().replace("_", "").replace(",", "")
    if kind in ("int_type", "float_type") and isinstance(scalar(plain), int | float):
        return f"; write {plain} without quotes"
    if kind == "list_type" and re.fullmatch(r"[\w./-]{1,60}", value):
        return f"; write [{value}]"
    expected = bare(spot.expected)
    if expected is AnySource and value in SOURCES.names():
        return f"; write {{source: {value}}}"
    return f"; write {{kind: {value}}}" if value in _KINDS else ""


def _one_of(context: dict[str, Any], value: Any) -> str:
    words = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
    meant = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else value
    near = get_close_matches(meant, words, n=1) if isinstance(meant, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}, not {shown(value)}{hint}"


def _too_few(context: dict[str, Any], value: Any) -> str:
    return f"must have at least {_items(context['min_length'])}, not {context['actual_length']}"


def _too_many(context: dict[str, Any], value: Any) -> str:
    return f"must have at most {_items(context['max_length'])}, not {context['actual_length']}"


def _items(count: int) -> str:
    return f"{count} item{'s' if count != 1 else ''}"


def _not_finite(context: dict[str, Any], value: Any) -> str:
    return f"must be a finite number, not {shown(value)}"


def _pattern(context: dict[str, Any], value: Any) -> str:
    return f"must be {name_rule(context['pattern'])}, not {shown(value)}"


def name_rule(pattern: str) -> str:
    """A pattern in words, if it is the one of names."""
    name = re.fullmatch(r"\^\[A-Za-z0-9\]\[A-Za-z0-9_\.-\]\{0,(\d+)\}\$", pattern)
    if name is None:
        return f"text that matches {pattern}"
    return f"at most {int(name[1]) + 1} letters, digits, `_`, `.` and `-`, a letter or digit first"


_WORDED: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "literal_error": _one_of,
    "string_pattern_mismatch": _pattern,
    "too_short": _too_few,
    "too_long": _too_many,
    "finite_number": _not_finite,
}
