"""From a file (or a built-in name) and overrides to a validated recipe, or one error that lists everything wrong.

Nothing is written, downloaded or imported that is heavy: a check takes well under a second of work.
What contradicts what is looked at in a section once each of its keys is right by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from threading import RLock
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from whet import limits, settings
from whet.cleaning.base import FILTERS
from whet.errors import RecipeError
from whet.recipe import explain, yaml12
from whet.recipe.override import override
from whet.recipe.schema import Prepare, Recipe, Stage
from whet.recipe.yaml12_writer import dump
from whet.settings import Settings
from whet.sources.base import SOURCES, Source
from whet.store import write_text

IN_PYTHON = "whet.Recipe(...)"
"""The origin of a recipe that was made in Python."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid recipe and where it came from."""

    recipe: Recipe
    origin: str

    @property
    def resolved(self) -> str:
        """The recipe with every default and derived value written out, as YAML that loads to the same."""
        return dump(self.recipe.model_dump())


def builtin_recipes() -> dict[str, str]:
    """Name -> text of the recipes that come with whet."""
    folder = resources.files("whet.recipes")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda f: f.name)
    return {item.name.removesuffix(".yaml"): item.read_text("utf-8") for item in files}


def builtin_descriptions() -> dict[str, str]:
    """Name -> one line on each recipe that comes with whet."""
    return {
        name: str(yaml12.parse(text, name).values["description"]) for name, text in builtin_recipes().items()
    }


def load_recipe(target: str | Path | Recipe, overrides: Sequence[str] = ()) -> Loaded:
    """Read, override, validate. Raises RecipeError whose text has one line per problem, `file:line: key: ...`.

    `target`: a recipe's file, a built-in one's name, or one made in Python, of which only what was given counts (so an
    override acts as in a file). Relative paths inside a recipe file start at its folder; elsewhere at the current one.
    """
    if isinstance(overrides, str):
        raise RecipeError(
            "one string is not several overrides", where=overrides, fix=f"give a list: [{overrides!r}]"
        )
    if isinstance(target, Recipe):
        tree, origin, folder = yaml12.tree_of(target.given(), IN_PYTHON), IN_PYTHON, Path.cwd()
    else:
        text, origin, folder = _find(str(target))
        tree = yaml12.parse(text, origin)
    for item in overrides:
        override(tree, item)
    return Loaded(validate(tree, folder), origin)


def validate(tree: yaml12.Tree, folder: Path) -> Recipe:
    """A recipe from parsed values; paths relative to `folder`. Raises RecipeError."""
    refresh_schema()
    recipe, errors = None, []
    try:
        recipe = Recipe.model_validate(tree.values, context={"folder": str(folder)})
    except ValidationError as error:
        errors = error.errors(include_url=False)
    problems = explain.problems(tree, errors)
    if recipe is None or problems:
        raise explain.refused(tree, problems)
    return recipe


def _find(name_or_path: str) -> tuple[str, str, Path]:
    """The text of a recipe, its name for messages, and the folder at which its paths start."""
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isfile(path):  # also where the system takes it for no name, as it does a whole recipe
        return _read(path, name_or_path), name_or_path, path.absolute().parent
    if os.path.isdir(path):
        raise RecipeError(
            "this is a folder, not a recipe", where=name_or_path, fix="name the .yaml file in it"
        )
    known = builtin_recipes()
    if name_or_path in known:
        return known[name_or_path], f"recipe {name_or_path}", Path.cwd()
    near = get_close_matches(name_or_path, [*known, *(str(item) for item in Path(".").glob("*.y*ml"))], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(
        f"no file and no built-in recipe of this name: {explain.cut(name_or_path)!r}",
        fix=f"{hint}`whet recipes` lists the built-in ones, `whet init NAME` copies one here",
    )


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(limits.RECIPE_BYTES + 1)
    except OSError as error:
        raise RecipeError(
            f"cannot be read: {error.strerror or error}", where=name, fix="check its rights"
        ) from error
    if len(raw) > limits.RECIPE_BYTES:
        fix = "recipes are short; data goes in files"
        raise RecipeError(f"larger than {limits.RECIPE_BYTES:,} bytes", where=f"{name}:1", fix=fix)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 (byte 0x{raw[error.start]:02x})"
        raise RecipeError(what, where=f"{name}:{line}", fix="save the file as UTF-8") from None


_schema_revision = (-1, -1)
_refreshing = RLock()


def refresh_schema() -> None:
    """Sources and filters registered since the schema was built become part of it."""
    global _schema_revision
    SOURCES.names()
    FILTERS.names()
    with _refreshing:
        revision = (SOURCES.revision, FILTERS.revision)
        if revision != _schema_revision:
            for section in (Prepare, Stage, Recipe):
                section.model_rebuild(force=True)
            _schema_revision = revision


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe, for editors."""
    refresh_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def parse_source(values: dict[str, Any], folder: Path) -> Source:
    """One `data:` entry by itself, for Python callers and tests."""
    kind = SOURCES.get(str(values.get("source")))
    return TypeAdapter(kind).validate_python(values, context={"folder": str(folder)})


def copy_builtin(name: str, to: str | Path) -> Path:
    """Write a built-in recipe to a new file. Raises RecipeError if there is none of that name, or the file exists."""
    known = builtin_recipes()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"no built-in recipe named {name!r}", fix=f"{hint}there are: {', '.join(known)}")
    to = Path(to)
    if to.exists():
        raise RecipeError("this file exists already", where=str(to), fix="choose another with --to FILE")
    write_text(to, known[name])
    return to


@contextmanager
def _making(kind: type[BaseModel], values: dict[str, Any]) -> Iterator[None]:
    """How settings are made in Python: with what is registered by then, and refused as a file's are."""
    refresh_schema()
    here = f"whet.{kind.__name__}(...)"
    try:
        yield
    except UnicodeEncodeError as error:  # pydantic's message of it cannot be written
        raise RecipeError(f"text that is not valid Unicode: {error}", where=here) from None
    except ValidationError as error:
        tree = yaml12.tree_of(_plain(values), here)
        raise explain.refused(tree, explain.problems(tree, error.errors(include_url=False), kind)) from None


def _plain(value: Any) -> Any:
    """Plain values of settings within settings, for the message."""
    if isinstance(value, Settings):
        return explain.Made(value.given(), type(value).__name__)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


settings.made_by(_making)
