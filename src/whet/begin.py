"""How a run begins: what cannot be is refused, what is trained there stays, and the recipe is written down."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from whet import __version__, launch, store
from whet.errors import ArtefactError, RecipeError
from whet.recipe.load import IN_PYTHON, load_recipe
from whet.recipe.schema import Recipe
from whet.records import DIAGNOSIS, FAILURE, SCHEMA_VERSION, differences
from whet.results import RECIPE, STATE

if TYPE_CHECKING:
    from whet.pipeline import Run


def begin(run: Run, *, force: bool = False) -> None:
    """Write the resolved recipe into the folder; refuse first if what is trained there has another recipe."""
    launch.require_alone("prepare and evaluate")
    run.reporter.begin_anew()
    require_possible(run)
    store.sweep(run.folder)
    if not force:
        require_same_training(run)
    store.write_text(run.folder / RECIPE, run.loaded.resolved)
    for name in (FAILURE, DIAGNOSIS):  # of the time before
        (run.folder / name).unlink(missing_ok=True)
    state = {
        "schema": SCHEMA_VERSION,
        "whet": __version__,
        "command": command(run),
        "python": sys.version.split()[0],
    }
    store.write_json(run.folder / STATE, state)


def require_possible(run: Run) -> None:
    """Raise WhetError for what can be known to fail before anything is read: the base, its limits, the device, the judge."""
    if run.recipe.tuned:
        from whet.models import hub, saved
        from whet.plan.size import of_base

        of_base(run.recipe, run.recipe.tuned)
        found = hub.of(run.recipe.tuned, weights=False)  # of a repository it looks at the list of files
        if os.path.isdir(os.path.expanduser(run.recipe.tuned.base)):
            saved.require_whole(found)
    if run.recipe.device not in ("auto", "cpu"):
        from whet.hardware import choose_device

        choose_device(run.recipe.device)
    solidity = run.recipe.evaluate.solidity
    if solidity and solidity.judge:
        from whet.evm.replay import (
            reference as reference,
        )  # says so now if there is no EVM, not after the training


def require_same_training(run: Run) -> None:
    """Raise ArtefactError if a stage was begun here with other settings than the recipe's now."""
    earlier = run.folder / RECIPE
    begun = {path.parent.name for path in run.folder.glob("stages/*/settings.json")}
    if not begun or not earlier.exists():
        return
    moved = (
        [f"model.base={run.recipe.tuned.base}"] if run.recipe.tuned else []
    )  # it may have moved; see `fingerprint`
    try:
        before = load_recipe(str(earlier), moved).recipe
    except RecipeError as error:
        raise ArtefactError(
            f"the recipe of what is trained here no longer holds: {error.what}",
            where=str(earlier),
            fix="bring back what it names; --force starts over, --set name=... starts another run",
        ) from error
    old, new = (_deciding(recipe, begun) for recipe in (before, run.recipe))
    changed = differences(old, new)
    if changed:
        raise ArtefactError(
            f"what is trained here had other settings: {'; '.join(changed[:6])}",
            where=str(run.folder),
            fix="--force (with run or train) starts over and removes it; --set name=... starts another run",
        )


def _deciding(recipe: Recipe, stages: set[str]) -> dict[str, Any]:
    """The part of a recipe that decides the weights of these stages."""
    without = {"keep", "log_every", "save_every", "batch_size", "accumulation"}
    rows = {stage.name: recipe.rows_per_step(stage) for stage in recipe.stages if stage.name in stages}
    return {
        "seed": recipe.seed,
        "rows_per_step": rows,
        "precision": recipe.precision,
        "prepare": recipe.prepare.model_dump(),
        "tokenizer": recipe.tokenizer.model_dump() if recipe.tokenizer else None,
        "chat_template": recipe.chat_template,
        "model": recipe.model.model_dump(exclude={"size", "base", "revision", "cache_dir"}),
        "stages": {
            stage.name: stage.model_dump(exclude=without) for stage in recipe.stages if stage.name in stages
        },
    }


def command(run: Run, verb: str = "run") -> str:
    """The command that makes the run again, or one room of it; of a recipe made in Python, its folder has the file."""
    if run.loaded.origin == IN_PYTHON:
        return f"whet {verb} {shlex.quote(str(run.folder))}"
    overrides = "".join(f" --set {shlex.quote(item)}" for item in run.overrides)
    return f"whet {verb} {shlex.quote(run.loaded.origin.removeprefix('recipe '))}{overrides}"
