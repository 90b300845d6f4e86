"""Reads YAML 1.2 into plain values and remembers the line of every key.

The common loaders read YAML 1.1: `2e-4` becomes a string, `off` a boolean, and the last of two equal
keys wins without a word. Here plain scalars follow the 1.2 core schema, a repeated key is an error, and
anchors, aliases, tags and several documents are refused: a recipe says one thing, in one way.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from whet import limits
from whet.errors import RecipeError

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}


@dataclass(slots=True)
class Tree:
    """A parsed file: plain values, and for every path the place where its key (or item) stands."""

    values: dict[str, Any]
    places: dict[Path, str] = field(default_factory=dict)
    name: str = ""

    def place(self, path: Path) -> str:
        """`file:line` of the path, or of the nearest parent that stands in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, f"{self.name}:1")


def scalar(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema (section 10.3.2 of the specification)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 400 else text
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def parse(text: str, name: str) -> Tree:
    """Parse one document whose top is a mapping. Raises RecipeError with `name:line`."""
    tree = Tree({}, name=name)
    node = _compose(text, name)
    if node is None:
        raise RecipeError("the file is empty", where=name, fix="`whet init NAME` writes a recipe to start from")
    values = _Builder(tree).build(node, ())
    if not isinstance(values, dict):
        raise RecipeError("the top of a recipe is a mapping of keys to values", where=f"{name}:1")
    tree.values = values
    return tree


def parse_value(text: str, name: str) -> Any:
    """One value as it would be read in a recipe, for `--set key=value`."""
    node = _compose(text, name)
    return None if node is None else _Builder(Tree({}, name=name)).build(node, ())


def dump(values: dict[str, Any]) -> str:
    """Plain values as YAML that `parse` reads back to equal values."""
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.width = 100
    out = StringIO()
    writer.dump(values, out)
    return out.getvalue()


def _compose(text: str, name: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent, NodeEvent

    if len(text) > limits.RECIPE_BYTES:
        raise RecipeError(f"larger than {limits.RECIPE_BYTES} bytes", where=name, fix="recipes are short; data goes in files")
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += {"Start": 1, "End": -1}.get(re.sub(r"Mapping|Sequence|Event", "", type(event).__name__), 0)
            if depth > limits.RECIPE_DEPTH:
                raise RecipeError(f"nested deeper than {limits.RECIPE_DEPTH} levels", where=_at(event, name))
            alias = isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor)
            if alias:
                raise RecipeError("anchors and aliases are not part of a recipe", where=_at(event, name), fix="write the value out")
            tag = getattr(event, "ctag", None) or getattr(event, "tag", None)
            if tag and str(tag) != "None":
                raise RecipeError(f"tags are not part of a recipe ({tag})", where=_at(event, name), fix="remove it")
        return YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise RecipeError(f"not valid YAML: {error.problem or error.context}", where=where) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"not valid YAML: {error}", where=name) from error


def _at(event: Any, name: str) -> str:
    return f"{name}:{event.start_mark.line + 1}"


class _Builder:
    """Turns composed nodes into plain values and fills the tree's places."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def build(self, node: Any, path: Path) -> Any:
        self.tree.places.setdefault(path, f"{self.tree.name}:{node.start_mark.line + 1}")
        if node.id == "mapping":
            return self._mapping(node, path)
        if node.id == "sequence":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return scalar(node.value) if not node.style else node.value

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = f"{self.tree.name}:{key_node.start_mark.line + 1}"
            if key_node.id != "scalar":
                raise RecipeError("a key is a plain word", where=line)
            key = str(key_node.value)
            if key in result:
                first = self.tree.places[(*path, key)].rpartition(":")[2]
                raise RecipeError(f"the key {key!r} stands twice (first on line {first})", where=line, fix="remove one")
            self.tree.places[(*path, key)] = line
            result[key] = self.build(value_node, (*path, key))
        return result
