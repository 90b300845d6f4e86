"""`--set stages.code.steps=100`: one value of a recipe changed from the command line.

List items are named by their `name` or their number. A missing section is made; whether its key exists is
the schema's to say. Relative paths start at the current folder, those of the file at the file's.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from whet.errors import RecipeError
from whet.recipe import yaml12

_PATH_KEYS = ("path", "validation")


def override(tree: yaml12.Tree, text: str) -> None:
    """Change the tree by KEY=VALUE. Raises RecipeError if the syntax is wrong or a list has no such item."""
    key, equals, written = text.partition("=")
    where = f"--set {text}"
    steps = key.strip().split(".")
    if not equals or not all(steps):
        example = "--set stages.code.steps=100"
        raise RecipeError(
            "an override is KEY=VALUE, with dots between keys", where=where, fix=f"for example {example}"
        )
    holder, path = _holder(tree, steps, where)
    value = yaml12.parse_value(written, where)
    holder[path[-1]] = _from_here(str(path[-1]), value)
    _note(tree, path, where)


def _holder(tree: yaml12.Tree, steps: list[str], where: str) -> tuple[Any, yaml12.Path]:
    """The mapping or list that holds the last key, and the whole path."""
    at: Any = tree.values
    path: yaml12.Path = ()
    while True:
        part, steps = _step(at, steps, where)
        path = (*path, part)
        if not steps:
            return at, path
        if isinstance(at, dict) and part not in at:
            at[part] = {}
            _note(tree, path, where)
        at = at[part]
        if not isinstance(at, dict | list):
            raise RecipeError(f"{'.'.join(map(str, path))} holds a value, not a section", where=where)


def _step(at: Any, steps: list[str], where: str) -> tuple[str | int, list[str]]:
    """The next key or position, and the steps after it. A list item's name may contain dots."""
    if isinstance(at, dict):
        return steps[0], steps[1:]
    names = [item.get("name") if isinstance(item, dict) else None for item in at]
    for count in range(len(steps), 0, -1):
        if ".".join(steps[:count]) in names:
            return names.index(".".join(steps[:count])), steps[count:]
    if steps[0].isascii() and steps[0].isdigit() and int(steps[0]) < len(at):
        return int(steps[0]), steps[1:]
    known = [name if isinstance(name, str) else str(index) for index, name in enumerate(names)]
    near = get_close_matches(steps[0], known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(f"no item {steps[0]!r}", where=where, fix=f"{hint}there are: {', '.join(known)}")


def _note(tree: yaml12.Tree, path: yaml12.Path, where: str) -> None:
    """From now on this path, with all below it, was written by the override."""
    for known in [item for item in tree.places if item[: len(path)] == path]:
        del tree.places[known]
    latest = max(place.line for place in tree.places.values()) if tree.places else 0
    tree.places[path] = yaml12.Place(max(yaml12.OVERRIDES, latest + 1), where)


def _from_here(key: str, value: Any) -> Any:
    """The value with the relative paths in it made absolute."""
    if isinstance(value, dict):
        return {name: _from_here(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_here(key, item) for item in value]
    if isinstance(value, str) and key in _PATH_KEYS:
        return str(Path(os.path.expanduser(value)).absolute())
    return value
