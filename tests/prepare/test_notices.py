"""What is said of a recipe's pairs before anybody trusts their split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whet.prepare.notices import notices_of
from whet.prepare.split import Sides
from whet.recipe.load import load_recipe
from whet.recipe.schema import Recipe

SOLMATE = {"npm": ["solmate@6.8.0"]}
SOLADY = {"npm": ["solady@0.1.26"]}


def recipe(folder: Path, stages: dict[str, list[dict[str, Any]]], **prepare: float) -> Recipe:
    values = {
        "name": "t",
        "model": {"size": "tiny", "context": 64},
        "chat_template": "plain",
        "prepare": prepare,
        "stages": [
            {
                "name": name,
                "objective": "sft",
                "data": [{"source": "solidity", **settings} for settings in data],
                "steps": 1,
            }
            for name, data in stages.items()
        ],
    }
    (folder / "recipe.yaml").write_text(json.dumps(values))
    return load_recipe(str(folder / "recipe.yaml")).recipe


def apart(found: Recipe) -> list[str]:
    notices = notices_of({"stages": []}, found, [], Sides(42, 0.0, 0.0))
    return [notice for notice in notices if "forms its families" in notice]


@pytest.mark.parametrize("other", [SOLADY, {**SOLMATE, "builds": ["off"]}, {**SOLMATE, "families": "file"}])
def test_families_that_are_formed_apart_are_told(tmp_path: Path, other: dict[str, Any]) -> None:
    (said,) = apart(recipe(tmp_path, {"one": [SOLMATE, other]}))
    assert said.startswith("one.0, one.1: each entry of source solidity forms its families by itself")
    (said,) = apart(recipe(tmp_path, {"one": [SOLMATE], "two": [SOLMATE, other]}))
    assert said.startswith("one.0, two.0, two.1: ")


def test_what_has_the_same_families_is_not(tmp_path: Path) -> None:
    same = {**SOLMATE, "metadata": "both", "names": "context", "emitted": True}
    longer = {**SOLMATE, "prompt_tokens": 900, "most_per_era": 50}
    assert not apart(recipe(tmp_path, {"one": [SOLMATE]}))
    assert not apart(recipe(tmp_path, {"one": [same, longer], "two": [SOLMATE]}))


def test_nor_where_nothing_is_held_out(tmp_path: Path) -> None:
    shares = {"validation_share": 0.0, "test_share": 0.0}
    assert not apart(recipe(tmp_path, {"one": [SOLMATE, SOLADY]}, **shares))
    assert apart(recipe(tmp_path, {"one": [SOLMATE, SOLADY]}, **{**shares, "test_share": 0.1}))


@pytest.mark.parametrize("name", ["decompiler-qwen-32b", "decompiler-llama-3b", "decompiler-laptop"])
def test_nor_in_bundled_recipes(name: str) -> None:
    assert not apart(load_recipe(name).recipe)
