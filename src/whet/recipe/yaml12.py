"""Reads YAML 1.2 into plain values, and remembers the line of every key.

The common loaders read YAML 1.1: `2e-4` becomes a string, `off` a boolean, and the last of two equal
keys wins without a word. Here plain scalars follow the 1.2 core schema, a repeated key is a problem, and
anchors, aliases, tags, directives and several documents are refused: a recipe says one thing, in one way.
The scanner is ruamel.yaml's; values are built from its events in one pass, with bounds on depth and number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from whet import limits
from whet.errors import RecipeError

if TYPE_CHECKING:
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.events import Event

Path = tuple[str | int, ...]

MAX_VALUES = 10_000
"""More keys and values are no recipe (real ones have some hundred); keeps a check under a second."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400
_WORDS: dict[str, Any] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
_WORDS |= {sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}

UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML does not allow raw, and three characters that it counts as line ends and no editor does."""


class Place(NamedTuple):
    """Where something was written: `text` is "file:line" or the override; `line` sorts, overrides last."""

    line: int
    text: str


OVERRIDES = 2**31
"""The `line` of the first override."""


@dataclass(slots=True)
class Tree:
    """A parsed file: plain values, and for every path the place where its key (or item) stands.

    `problems` holds what was found wrong while reading that does not hinder reading on: repeated keys.
    """

    values: dict[str, Any]
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[tuple[Place, Path, str]] = field(default_factory=list)
    name: str = ""

    def place(self, path: Path) -> Place:
        """The place of the path, or of the nearest parent that was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, f"{self.name}:1"))


def tree_of(values: dict[str, Any], name: str) -> Tree:
    """Plain values that were written in Python: `name` is the place of them all."""
    return Tree(values, dict.fromkeys(_paths(values, ()), Place(1, name)), name=name)


def _paths(value: Any, at: Path) -> Iterator[Path]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*at, key))


def scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema (section 10.3.2 of the specification).

    A number of hundreds of digits stays text: no key can hold it, and Python will not print it.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) >= _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def parse(text: str, name: str) -> Tree:
    """Parse one document whose top is a mapping; repeated keys are in the tree's `problems`.

    Raises RecipeError with `name:line` for everything that is not YAML or not allowed in a recipe.
    """
    tree = Tree({}, name=name)
    reader = _Reader(text, tree, one_line=False)
    if not reader.has_document():
        raise RecipeError(
            "the file is empty", where=f"{name}:1", fix="`whet init NAME` writes a recipe to start from"
        )
    values = reader.document()
    if not isinstance(values, dict):
        first = tree.place(())
        raise RecipeError("the top of a recipe is a mapping of keys to values", where=first.text)
    tree.values = values
    return tree


def parse_value(text: str, name: str) -> Any:
    """One value as it would be read in a recipe, for `--set key=value`. Raises RecipeError."""
    tree = Tree({}, name=name)
    reader = _Reader(text, tree, one_line=True)
    value = reader.document() if reader.has_document() else None
    for _, path, message in tree.problems:
        raise RecipeError(f"{'.'.join(map(str, path))}: {message}", where=name)
    return value


class _Reader:
    """Turns the events of one document into plain values, and fills the tree's places and problems."""

    def __init__(self, text: str, tree: Tree, *, one_line: bool) -> None:
        self.tree, self.one_line = tree, one_line
        self.values_left = MAX_VALUES
        self.text = text
        self.stream = self._events()

    def has_document(self) -> bool:
        """Whether there is anything but white space and comments."""
        from ruamel.yaml.events import DocumentStartEvent

        next(self.stream)
        event = next(self.stream)
        if getattr(event, "version", None) or getattr(event, "tags", None):
            line = self._line(re.search(r"^%", self.text, re.MULTILINE))
            raise RecipeError(
                "directives (%) are not part of a recipe", where=self._where(line), fix="remove it"
            )
        return isinstance(event, DocumentStartEvent)

    def document(self) -> Any:
        """The value of the one document."""
        from ruamel.yaml.events import DocumentStartEvent

        value = self._value(next(self.stream), (), 0)
        for event in self.stream:
            if isinstance(event, DocumentStartEvent):
                raise self._refusal(
                    event, "a second document begins here; a recipe is one", fix="remove `---`"
                )
        return value

    def _value(self, event: Event, path: Path, depth: int) -> Any:
        from ruamel.yaml.events import MappingStartEvent, ScalarEvent, SequenceStartEvent

        self._check(event, depth)
        self.tree.places.setdefault(path, self._place(event))
        if isinstance(event, ScalarEvent):
            return event.value if event.style else scalar(event.value)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path, depth + 1)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(path, depth + 1)

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        from ruamel.yaml.events import SequenceEndEvent

        items: list[Any] = []
        while not isinstance(event := next(self.stream), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        from ruamel.yaml.events import MappingEndEvent, ScalarEvent

        result: dict[str, Any] = {}
        while not isinstance(event := next(self.stream), MappingEndEvent):
            self._check(event, depth)
            if not isinstance(event, ScalarEvent):
                raise self._refusal(event, "a key is a plain word, not a list or a mapping")
            place, key = self._place(event), str(event.value)
            if key in result:
                first = self.tree.places[*path, key]
                message = f"this key stands twice (first on line {first.line}); remove one"
                self.tree.problems.append((place, (*path, key), message))
                self._value(next(self.stream), (*path, f"{key} (again)"), depth)
                continue
            self.tree.places[*path, key] = place
            result[key] = self._value(next(self.stream), (*path, key), depth)
        return result

    def _check(self, event: Event, depth: int) -> None:
        """Refuse what YAML allows and a recipe does not."""
        from ruamel.yaml.events import AliasEvent

        self.values_left -= 1
        if self.values_left < 0:
            raise self._refusal(
                event, f"more than {MAX_VALUES:,} values", fix="recipes are short; data goes in files"
            )
        if depth > limits.RECIPE_DEPTH:
            raise self._refusal(event, f"nested deeper than {limits.RECIPE_DEPTH} levels")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise self._refusal(
                event, "anchors (&) and aliases (*) are not part of a recipe", fix="write the value out"
            )
        tag = getattr(event, "ctag", None)
        if tag is not None and str(tag) != "None":
            raise self._refusal(event, f"tags are not part of a recipe ({_short_tag(tag)})", fix="remove it")

    def _events(self) -> Iterator[Event]:
        """The events of the text; raises RecipeError where it is not YAML."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        self._check_characters()
        try:
            yield from YAML(typ="safe", pure=True).parse(self.text)
        except MarkedYAMLError as error:
            line, what, fix = _explain(error)
            raise RecipeError(f"not valid YAML: {what}", where=self._where(line), fix=fix) from None
        except (YAMLError, RecursionError, ValueError) as error:
            raise RecipeError(f"not valid YAML: {error}", where=self.tree.name) from None

    def _check_characters(self) -> None:
        found = UNPRINTABLE.search(self.text)
        if found:
            line = self._line(found)
            raise RecipeError(
                f"a character that cannot stand in a recipe: U+{ord(found[0]):04X}",
                where=self._where(line),
                fix="remove it, or write it as an escape in double quotes",
            )

    def _place(self, event: Event) -> Place:
        line = event.start_mark.line + 1
        return Place(line, self._where(line))

    def _line(self, found: re.Match[str] | None) -> int:
        """The number of the line in which a match begins."""
        return len(re.findall(r"\r\n|\r|\n", self.text[: found.start() if found else 0])) + 1

    def _where(self, line: int | None) -> str:
        return self.tree.name if self.one_line or line is None else f"{self.tree.name}:{line}"

    def _refusal(self, event: Event, what: str, fix: str = "") -> RecipeError:
        return RecipeError(what, where=self._place(event).text, fix=fix)


_EXPLAINED = (
    (r"character '\\t'", False, "a tab cannot indent", "use spaces"),
    (r"character '.' that cannot", False, "a value cannot begin with this character", "put it in quotes"),
    (
        r"mapping values are not",
        False,
        "a `key:` is not expected here",
        "put text with a colon in quotes, and check the indentation",
    ),
    (r"sequence entries are not", False, "`- ` begins a line of its own", "put each item on its own line"),
    (r"could not find expected ':'", True, "a key without a colon", "write `key: value`"),
    (r"unexpected end of stream", True, "a quote that is never closed", "close the quote"),
    (
        r"expected ',' or",
        True,
        "a bracket that is never closed, or a missing comma",
        "close it, or put a comma between the items",
    ),
    (
        r"expected <block end>",
        False,
        "the indentation fits no line above",
        "indent the keys of one section alike",
    ),
    (
        r"expected the node content",
        False,
        "a value is missing or a bracket is out of place",
        "check the commas and brackets",
    ),
    (
        r"unknown escape character",
        False,
        "an unknown escape in double quotes",
        "use single quotes, or write the backslash twice",
    ),
)
"""A pattern of ruamel's words, whether to look where the construct begins, what it means, what to do."""


def _explain(error: MarkedYAMLError) -> tuple[int | None, str, str]:
    """The line, what is wrong, and what to do, for an error of the scanner."""
    problem = str(error.problem or error.context)
    for pattern, at_start, what, fix in _EXPLAINED:
        if re.search(pattern, problem):
            mark = error.context_mark if at_start else error.problem_mark
            return mark.line + 1 if mark else None, what, fix
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else None, problem, ""


def _short_tag(tag: Any) -> str:
    text = str(tag)
    return text.replace("tag:yaml.org,2002:", "!!")
