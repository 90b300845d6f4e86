"""From a file (or a built-in name) and overrides to a validated recipe, or one error that lists everything wrong.

Nothing is written, downloaded or imported that is heavy: a check takes well under a second of work.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from whet.errors import RecipeError
from whet.recipe import yaml12
from whet.recipe.schema import Recipe
from whet.sources.base import SOURCES, Source
from whet.store import write_text

Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid recipe and where it came from."""

    recipe: Recipe
    origin: str

    @property
    def resolved(self) -> str:
        """The recipe with every default and derived value written out, as YAML that loads to the same."""
        return yaml12.dump(self.recipe.model_dump())


def builtin_recipes() -> dict[str, str]:
    """Name -> text of the recipes that come with whet."""
    folder = resources.files("whet.recipes")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item.read_text("utf-8") for item in files}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Loaded:
    """Read, override, validate. Raises RecipeError whose text has one line per problem, `file:line: key: ...`.

    Relative paths inside a recipe file start at its folder; in a built-in recipe and in overrides at
    the current one.
    """
    text, origin, folder = _find(name_or_path)
    tree = yaml12.parse(text, origin)
    _anchor_paths(tree.values, folder)
    for override in overrides:
        _override(tree, override)
    return Loaded(validate(tree, Path.cwd()), origin)


def validate(tree: yaml12.Tree, folder: Path) -> Recipe:
    """A recipe from parsed values; paths relative to `folder`. Raises RecipeError."""
    _refresh_schema()
    try:
        return Recipe.model_validate(tree.values, context={"folder": str(folder)})
    except ValidationError as error:
        problems = sorted({_explain(tree, dict(item)) for item in error.errors(include_url=False)}, key=_line_order)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise RecipeError(f"{count} in {tree.name}\n" + "\n".join(text for _, text in problems)) from None


def _find(name_or_path: str) -> tuple[str, str, Path]:
    path = Path(name_or_path).expanduser()
    if path.is_file():
        try:
            return path.read_text("utf-8"), name_or_path, path.absolute().parent
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot be read: {error}", where=name_or_path) from error
    known = builtin_recipes()
    if name_or_path in known:
        return known[name_or_path], f"recipe {name_or_path}", Path.cwd()
    near = get_close_matches(name_or_path, [*known, *(str(item) for item in Path(".").glob("*.y*ml"))], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(
        f"no file and no built-in recipe of this name: {name_or_path!r}",
        fix=f"{hint}`whet recipes` lists the built-in ones, `whet init NAME` copies one here",
    )


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the relative paths of a recipe *file* absolute, so that they mean the same from every folder."""
    if folder == Path.cwd():
        return
    anchored = ("path", "validation")
    sections: list[Any] = [values.get("tokenizer")]
    for stage in _list(values.get("stages")):
        sections += _list(stage.get("data")) if isinstance(stage, dict) else []
    for section in sections:
        for key in anchored if isinstance(section, dict) else ():
            if isinstance(section.get(key), str):
                section[key] = str(folder / Path(section[key]).expanduser())
            elif isinstance(section.get(key), list):
                section[key] = [str(folder / Path(p).expanduser()) if isinstance(p, str) else p for p in section[key]]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _override(tree: yaml12.Tree, override: str) -> None:
    key, equals, value = override.partition("=")
    name = f"--set {override}"
    if not equals or not key:
        raise RecipeError("an override is KEY=VALUE, for example --set stages.code.steps=100", where=name)
    at: Any = tree.values
    path: yaml12.Path = ()
    *parents, last = key.split(".")
    for part in parents:
        step = _step(at, part, name)
        if isinstance(at, dict) and step not in at:
            at[step] = {}
        at, path = at[step], (*path, step)
        if not isinstance(at, dict | list):
            raise RecipeError(f"{'.'.join(map(str, path))} holds a value, not a section", where=name)
    step = _step(at, last, name)
    at[step] = yaml12.parse_value(value, name)
    path = (*path, step)
    for known in [item for item in tree.places if item[: len(path)] == path]:
        del tree.places[known]
    tree.places[path] = name


def _step(at: Any, part: str, where: str) -> str | int:
    """One part of a dotted key: a mapping's key, or in a list an item's `name` (or its number)."""
    if isinstance(at, dict):
        return part
    names = [item.get("name") if isinstance(item, dict) else None for item in at]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(at):
        return int(part)
    known = [str(name) if name else str(index) for index, name in enumerate(names)]
    near = get_close_matches(part, known, n=1)
    raise RecipeError(f"no item {part!r}", where=where, fix=f"{f'did you mean {near[0]!r}? ' if near else ''}there are: {', '.join(known)}")


def _explain(tree: yaml12.Tree, error: dict[str, Any]) -> tuple[str, str]:
    path, model = _walk(tree.values, error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    key = path[-1] if path else ""
    if kind == "extra_forbidden":
        message = f"unknown key{_suggest(str(key), model)}"
    elif kind == "missing":
        message = "is required and missing"
    elif kind == "contradiction":
        path = (*path, *(int(part) if part.isdigit() else part for part in context["key"].split(".")))
        message = error["msg"]
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        message, path = _explain_tag(error, path)
    else:
        message = error["msg"].removeprefix("Value error, ")
        given = error.get("input")
        if kind != "value_error" and isinstance(given, str | int | float | bool | None):
            message += f" (got {given!r})"
    return tree.place(path), f"{tree.place(path)}: {_dotted(tree.values, path)}: {message}"


def _explain_tag(error: dict[str, Any], path: yaml12.Path) -> tuple[str, yaml12.Path]:
    context = error.get("ctx", {})
    key = str(context.get("discriminator", "")).strip("'") or "source"
    names = SOURCES.names() if key == "source" else ["greedy", "sample", "beam"]
    if error["type"] == "union_tag_not_found":
        return f"is required and missing; one of: {', '.join(names)}", (*path, key)
    near = get_close_matches(str(context.get("tag", "")), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {key} {context.get('tag')!r}{hint} (there are: {', '.join(names)})", (*path, key)


def _line_order(problem: tuple[str, str]) -> tuple[int, str]:
    line = problem[0].rpartition(":")[2]
    return (int(line) if line.isdigit() else 1_000_000, problem[1])


def _walk(values: Any, location: Location) -> tuple[yaml12.Path, type[BaseModel]]:
    """The path in the file for pydantic's location (which also holds union tags), and the section it ends in."""
    path: yaml12.Path = ()
    model: type[BaseModel] = Recipe
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(part, str) and part not in model.model_fields and not last:
            model = _by_tag(part, model)
            continue
        if not last and isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation), model)
        path = (*path, part)
    return path, model


def _by_tag(tag: str, model: type[BaseModel]) -> type[BaseModel]:
    if tag in SOURCES.names():
        return SOURCES.get(tag)
    from whet.recipe import schema

    return {"greedy": schema.Greedy, "sample": schema.Sample, "beam": schema.Beam}.get(tag, model)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _suggest(key: str, model: type[BaseModel]) -> str:
    near = get_close_matches(key, model.model_fields, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    elsewhere = [place for place, names in _sections().items() if get_close_matches(key, names, n=1, cutoff=0.85)]
    if elsewhere:
        return f"; a key of this name belongs under {' or '.join(elsewhere)}"
    return f" (known here: {', '.join(model.model_fields)})"


def _sections() -> dict[str, list[str]]:
    """Dotted place of each section -> its keys."""
    places = {"the top of the recipe": list(Recipe.model_fields)}
    for name, field in Recipe.model_fields.items():
        for model in _models_in(field.annotation):
            places[f"{name}[]" if name == "stages" else name] = list(model.model_fields)
    return places


def _dotted(values: Any, path: yaml12.Path) -> str:
    """`stages.code.steps`: list items by their name where they have one."""
    parts: list[str] = []
    for part in path:
        item = values[part] if isinstance(values, list) and isinstance(part, int) and part < len(values) else None
        named = isinstance(item, dict) and isinstance(item.get("name"), str)
        parts.append(item["name"] if named and item else str(part))
        values = values.get(part) if isinstance(values, dict) else item
    return ".".join(parts) or "recipe"


_schema_revision = -1


def _refresh_schema() -> None:
    """Sources registered since the schema was built become part of it."""
    global _schema_revision
    SOURCES.names()
    if SOURCES.revision != _schema_revision:
        from whet.recipe import schema

        schema.Stage.model_rebuild(force=True)
        schema.Recipe.model_rebuild(force=True)
        _schema_revision = SOURCES.revision


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a recipe, for editors."""
    _refresh_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def parse_source(values: dict[str, Any], folder: Path) -> Source:
    """One `data:` entry by itself, for Python callers and tests."""
    kind = SOURCES.get(str(values.get("source")))
    return TypeAdapter(kind).validate_python(values, context={"folder": str(folder)})


def copy_builtin(name: str, to: Path) -> Path:
    """Write a built-in recipe to a new file. Raises RecipeError if there is none of that name, or the file exists."""
    known = builtin_recipes()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"no built-in recipe named {name!r}", fix=f"{hint}there are: {', '.join(known)}")
    if to.exists():
        raise RecipeError("this file exists already", where=str(to), fix="choose another with --to FILE")
    write_text(to, known[name])
    return to
