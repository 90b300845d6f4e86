"""What all settings are made of: the sections of a recipe, and its data entries.

They are read from files (`whet.recipe.load`) or made in Python. A mistake made in Python is said in the words that a
file's gets; those know the whole recipe, so `whet.recipe.python` brings them (`made_by`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

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

    if not TYPE_CHECKING:  # type checkers make it from the fields

        def __init__(self, /, **values: Any) -> None:
            with _making(type(self), values):
                super().__init__(**values)

        # As of BaseModel's own: what stands within other values is validated with them, not made through here.
        __init__.__pydantic_base_init__ = True

    def model_post_init(self, context: Any) -> None:
        """After the values were checked."""
        if self.TAG:
            self.model_fields_set.add(self.TAG)

    def given(self) -> dict[str, Any]:
        """What was given, as plain values, without defaults and what follows from other keys."""
        return self.model_dump(exclude_unset=True)

    def fill(self, **values: Any) -> None:
        """Set those that were not given. They still count as not given, so elsewhere they follow anew."""
        self.__dict__.update(
            {name: value for name, value in values.items() if name not in self.model_fields_set}
        )
