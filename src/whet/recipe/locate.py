"""The path in the file for one of pydantic's locations, which also hold tags and names of union arms."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from whet.cleaning.base import FILTERS
from whet.recipe.registered import AnyFilters, AnySource
from whet.recipe.schema import Recipe
from whet.recipe.yaml12 import Path
from whet.sources.base import SOURCES

_UNIONS = (Union, types.UnionType)


@dataclass(slots=True)
class Spot:
    """Where an error lies.

    `path` is the path in the file, `inside` what the last key of it stands in (a section, or AnyFilters),
    `expected` the annotation of what should stand there; `arms` maps the path of a union to the arm tried.
    """

    path: Path = ()
    inside: Any = Recipe
    expected: Any = Recipe
    arms: dict[Path, str] = field(default_factory=dict)


def locate(location: tuple[int | str, ...], root: type[BaseModel] = Recipe) -> Spot:
    """Follow a location through the annotations of the recipe, or of one of its sections."""
    spot = Spot(inside=root, expected=root)
    for part in location:
        expected = bare(spot.expected)
        if expected is AnySource:
            spot.expected = SOURCES.get(str(part))
        elif isinstance(expected, _Settings):
            spot.expected = expected.filter if part == "settings" else bool
        elif typing.get_origin(expected) in _UNIONS:
            spot.expected = _arm(expected, str(part))
            if not _is_section(spot.expected):
                spot.arms[spot.path] = str(part)
        else:
            spot.inside, spot.expected = expected, _below(expected, part)
            spot.path = (*spot.path, part)
    return spot


@dataclass(frozen=True, slots=True)
class _Settings:
    """Expected under the name of a filter."""

    filter: type[BaseModel]


def bare(annotation: Any) -> Any:
    """An annotation without its bounds and without None; AnySource and AnyFilters for what they validate."""
    if isinstance(annotation, FieldInfo):
        hook = next((item for item in annotation.metadata if item in (AnySource, AnyFilters)), None)
        return hook or bare(annotation.annotation)
    if typing.get_origin(annotation) is Annotated:
        base, *metadata = typing.get_args(annotation)
        return next((item for item in metadata if item in (AnySource, AnyFilters)), None) or bare(base)
    if typing.get_origin(annotation) in _UNIONS:
        arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
        return bare(arms[0]) if len(arms) == 1 else annotation
    return annotation


def _below(container: Any, part: int | str) -> Any:
    """The annotation of one key or item of a section, a list or a mapping."""
    if _is_section(container):
        return container.model_fields.get(part, Any)
    if container is AnyFilters:
        return _Settings(FILTERS.get(str(part))) if part in FILTERS.names() else Any
    arguments = typing.get_args(container)
    return arguments[-1] if typing.get_origin(container) in (list, dict) and arguments else Any


def _arm(union: Any, tag: str) -> Any:
    """The arm of a union that pydantic calls by this tag: a section's `kind`, or a type's name."""
    for arm in typing.get_args(union):
        base = bare(arm)
        if _is_section(base) and tag in _literals(base):
            return base
        if getattr(typing.get_origin(base) or base, "__name__", "") == tag.partition("[")[0]:
            return base
    return Any


def _literals(section: type[BaseModel]) -> set[Any]:
    """Every fixed word that a key of this section can hold."""
    return {word for item in section.model_fields.values() for word in typing.get_args(bare(item))}


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
