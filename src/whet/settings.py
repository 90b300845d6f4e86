"""What all settings are made of: the sections of a recipe, and its data entries.

They are read from files (`whet.recipe.load`) or made in Python. A mistake made in Python is said in the words that a
file's gets; those know the whole recipe, so `whet.recipe.load` brings them (`made_by`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

from whet.errors import RecipeError

Making = Callable[[type[BaseModel], dict[str, Any]], AbstractContextManager[None]]


def _as_pydantic_does(kind: type[BaseModel], values: dict[str, Any]) -> AbstractContextManager[None]:
    return nullcontext()


_making: Making = _as_pydantic_does


def made_by(making: Making) -> None:
    """From now on every object that is made in Python is made within `making(its class, the values given)`."""
    global _making
    _making = making


class Settings(BaseModel):
    """Unknown keys are errors; types are never bent (a number in quotes is not a number)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    TAG: ClassVar[str] = ""
    """The key that says what the others mean, such as `kind`, if there is one: it always counts as given."""

    _derived: dict[str, Any] = PrivateAttr(default_factory=dict)
    """What `fill` gave."""

    if not TYPE_CHECKING:  # type checkers make them from the fields

        def __init__(self, /, **values: Any) -> None:
            with _making(type(self), values):
                super().__init__(**values)

        # As of BaseModel's own: what stands within other values is validated with them, not made through here.
        __init__.__pydantic_base_init__ = True

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                return super().__setattr__(name, value)
            if self.model_config.get("frozen"):
                where = f"whet.{type(self).__name__}.{name}"
                raise RecipeError("cannot be changed once it is made", where=where, fix="make a new one")
            if name not in type(self).model_fields:
                type(self)(**{**self.given(), name: value})  # refuses it, and knows the word that was meant
            return super().__setattr__(name, value)

    def model_post_init(self, context: Any) -> None:
        """After the values were checked."""
        if self.TAG:
            self.model_fields_set.add(self.TAG)

    def given(self) -> dict[str, Any]:
        """What was given or changed since, as plain values, without defaults and what follows from other keys."""
        return {name: _plain(getattr(self, name)) for name in self.names_given()}

    def names_given(self) -> list[str]:
        """The keys that were given, or changed since, be it within: a section's key, or the items of a list."""
        own = self.model_fields_set
        fields = type(self).model_fields
        return [name for name in fields if name in own or getattr(self, name) != self._untouched(name)]

    def fill(self, **values: Any) -> None:
        """Set those that were not given. They still count as not given, so elsewhere they follow anew."""
        self._derived.update(deepcopy(values))
        self.__dict__.update(
            {name: value for name, value in values.items() if name not in self.model_fields_set}
        )

    def _untouched(self, name: str) -> Any:
        """The value that a key has if it was not given."""
        if name in self._derived:
            return self._derived[name]
        return type(self).model_fields[name].get_default(call_default_factory=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.given()
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else deepcopy(value)
