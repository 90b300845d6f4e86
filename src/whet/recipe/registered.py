"""How the schema reaches the registries: sources and filters bring their own settings, the rest a name.

What is registered after the schema was built becomes part of it when it is built again (see `load`).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from whet.cleaning.base import FILTERS
from whet.registry import Registry
from whet.sources.base import SOURCES


class AnySource:
    """Validates one entry of `data:` by the registered source that its `source:` key names."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds: dict[Any, Any] = {kind.NAME: handler.generate_schema(kind) for kind in SOURCES}
        return core_schema.tagged_union_schema(kinds, "source", strict=True)


class AnyFilters:
    """Validates `prepare.cleaning`: each entry by the filter of its name; the values stay as given."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {kind.NAME: cls._field(handler.generate_schema(kind)) for kind in FILTERS}
        anything = core_schema.simple_ser_schema("any")
        return core_schema.typed_dict_schema(
            fields, extra_behavior="forbid", strict=True, serialization=anything
        )

    @classmethod
    def _field(cls, settings: CoreSchema) -> core_schema.TypedDictField:
        kept = core_schema.no_info_wrap_validator_function(cls._as_given, settings)
        choices: dict[Any, CoreSchema] = {"settings": kept, "off": core_schema.literal_schema([False])}
        return core_schema.typed_dict_field(
            core_schema.tagged_union_schema(choices, cls._kind, strict=True), required=False
        )

    @staticmethod
    def _as_given(value: Any, check: core_schema.ValidatorFunctionWrapHandler) -> Any:
        check(value)
        return value

    @staticmethod
    def _kind(value: Any) -> str | None:
        if isinstance(value, dict):
            return "settings"
        return "off" if value is False else None


@dataclass(frozen=True)
class NameIn:
    """Text that must be a name in a registry; the names are in the JSON schema."""

    registry: Registry[Any]
    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": self.registry.names()}

    def _known(self, name: str) -> str:
        names = self.registry.names()
        if name not in names:
            raise PydanticCustomError("unknown_name", "{text}", {"text": no_such(self.what, name, names)})
        return name


def no_such(what: str, name: object, names: list[str]) -> str:
    """The message for a name that is not among the registered ones."""
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {what} {name!r}{hint} (there are: {', '.join(names)})"
