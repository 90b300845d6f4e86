"""What a target means to the doctor: a run's folder, a recipe, a model's folder, or a model's name on the hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from whet.doctor.case import ADAPTER, CONFIG, Case
from whet.errors import RecipeError, WhetError
from whet.models import hub
from whet.recipe.load import Loaded, builtin_recipes, load_recipe

RECIPE = "recipe.yaml"


def open_case(target: str, overrides: Sequence[str] = ()) -> tuple[Case, list[str]]:
    """The case, and what is to be said of the choice. Raises RecipeError, ArtefactError, or WhetError for neither."""
    path = Path(os.path.expanduser(target))
    if os.path.isfile(path / RECIPE):
        return Case(target, load_recipe(str(path / RECIPE), overrides).recipe, path), []
    if os.path.isfile(path / CONFIG) or os.path.isfile(path / ADAPTER):
        return Case(target, model=_plain(path, overrides), thorough=True), []
    if path.suffix in (".yaml", ".yml") or os.path.isfile(path) or target in builtin_recipes():
        return _of_recipe(target, load_recipe(target, overrides))
    if os.path.isdir(path):
        raise WhetError(
            "this folder holds neither a run (recipe.yaml) nor a model (config.json)",
            where=target,
            fix="give a run that `whet runs` lists, a recipe, or a model's folder",
        )
    if "/" in target:
        found = hub.find(target, weights=False)
        said = [
            f"{target}: settings and tokenizer only; download it, and name its folder, to look at its weights"
        ]
        return Case(target, model=_plain(found, overrides)), said
    return _of_recipe(target, load_recipe(target, overrides))  # refuses it, with the names there are


def _of_recipe(target: str, loaded: Loaded) -> tuple[Case, list[str]]:
    """A recipe, with the records of its run where that has this very recipe."""
    folder = Path(loaded.recipe.output) / loaded.recipe.name
    if not (folder / RECIPE).is_file():
        return Case(target, loaded.recipe), []
    try:
        same = load_recipe(str(folder / RECIPE)).recipe == loaded.recipe
    except RecipeError:
        same = False
    if same:
        return Case(target, loaded.recipe, folder), [f"its run in {folder} is looked at too"]
    return Case(target, loaded.recipe), [f"the run in {folder} has another recipe and is not looked at"]


def _plain(model: Path, overrides: Sequence[str]) -> Path:
    if overrides:
        raise WhetError("--set is for recipes", where=str(model), fix="leave it out")
    return model
