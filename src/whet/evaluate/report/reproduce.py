"""All it takes to make the run again and to use its model: commands, recipe, machine, versions, hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.fields import number, part, parts, text, texts
from whet.evaluate.report.wording import memory, size, whole


@dataclass(frozen=True, slots=True)
class Reproduce:
    commands: str
    recipe: str
    recipe_lines: str
    facts: list[tuple[str, str]]
    data_hash: str
    artefacts: list[tuple[str, str, str]]
    """(path, size, SHA-256)"""
    model_path: str
    loading: str


def reproduce(data: Mapping[str, Any]) -> Reproduce:
    """The section; what is not known is left out of the table and said by the template."""
    recipe, model_path = text(data, "recipe"), text(data, "model_path")
    return Reproduce(
        commands="\n".join(texts(data, "commands")),
        recipe=recipe,
        recipe_lines=whole(len(recipe.splitlines())),
        facts=[(label, value) for label, value in _facts(data) if value],
        data_hash=text(data, "prepare", "hash"),
        artefacts=[
            (text(row, "path"), size(number(row, "bytes")), text(row, "sha256"))
            for row in parts(data, "artefacts")
        ],
        model_path=model_path,
        loading=_loading(model_path) if model_path else "",
    )


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine = part(data, "machine")
    cores, ram = number(machine, "cores"), number(machine, "memory_bytes")
    return [
        ("Seed", _plain(number(data, "seed"))),
        ("Processor", text(machine, "processor")),
        ("Cores", _plain(cores)),
        ("Memory", memory(ram) if ram is not None else ""),
        ("Device", text(machine, "device")),
        ("Precision", text(machine, "precision")),
        ("Platform", text(machine, "platform")),
        ("whet", text(data, "version")),
        ("Python", text(machine, "python")),
        ("PyTorch", text(machine, "torch")),
        ("transformers", text(machine, "transformers")),
    ]


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _loading(model_path: str) -> str:
    """Three lines of plain transformers; the path is written as a Python string, whatever it holds."""
    return "\n".join(
        [
            "from transformers import pipeline",
            f'write = pipeline("text-generation", model={json.dumps(model_path)})',
            'print(write("Once", max_new_tokens=64)[0]["generated_text"])',
        ]
    )
