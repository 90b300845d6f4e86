"""`Meaning` as plain JSON values, to lie beside the JSON of the three-address code; written only, for other programs to read."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from whet.evm.meaning.base import END, Meaning

SCHEMA = "whet.meaning/1"


def to_json(meaning: Meaning) -> dict[str, Any]:
    """Words as "0x..", terms as {"term": name of its class, fields}, places as "block:index" or "block:end"."""
    functions = {}
    for name, said in meaning.functions.items():
        raw = {
            f.name: _plain(getattr(said, f.name)) for f in fields(said) if f.name not in ("forms", "absorbed")
        }
        raw["forms"] = {_place(place): _plain(form) for place, form in said.forms.items()}
        raw["absorbed"] = [_place(place) for place in sorted(said.absorbed)]
        functions[name] = raw
    return {
        "schema": SCHEMA,
        "functions": functions,
        "storage": [_plain(variable) for variable in meaning.storage],
        "declarations": list(meaning.declarations),
    }


def _place(place: tuple[str, int]) -> str:
    return f"{place[0]}:{'end' if place[1] == END else place[1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    assert is_dataclass(value)
    raw = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return {"term": type(value).__name__, **raw} if type(value).__module__.endswith("terms") else raw
