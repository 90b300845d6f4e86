"""The five rooms in order, for the command line and for Python: each skips what is already done and unchanged.

    prepare -> plan -> train -> evaluate -> report

A `Run` is one recipe and its folder. What passes between rooms lies in the folder.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import __version__, launch, store
from whet.errors import ArtefactError, RecipeError, WhetError
from whet.progress import Reporter, Silent
from whet.recipe.load import IN_PYTHON, Loaded, load_recipe
from whet.recipe.schema import Recipe
from whet.records import SCHEMA_VERSION, differences
from whet.results import STATE, Evaluation, Plan, Prepared, Trained, TrainedStage

if TYPE_CHECKING:
    from whet.prepare.preview import Preview

RECIPE = "recipe.yaml"


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe, where its results go, and who is told. Its rooms, each after those before it:"""

    loaded: Loaded
    folder: Path
    reporter: Reporter
    overrides: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The validated recipe."""
        return self.loaded.recipe

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and speaks; the only one, unless torchrun started several."""
        return launch.started().leads

    def prepare(self, *, force: bool = False, npy: str | Path | None = None) -> Prepared:
        """Raw material to clean, split and tokenized documents; `npy`: also as arrays into this folder."""
        made = prepare(self, force=force)
        self.reporter.event("prepared", folder=str(made.folder), record=made.record)
        if npy is not None:
            from whet.prepare.export import write_arrays

            for line in write_arrays(self.recipe, made, Path(npy)):
                self.reporter.say(line)
        return Prepared.of(made)

    def preview(self, *, stage: str | None = None, split: str = "train", rows: int = 2) -> Preview:
        """The first training rows of a stage, or of each, and what was dropped or changed and why."""
        from whet.prepare.preview import preview

        return preview(prepare(self), self.recipe, stage=stage, split=split, rows=rows)

    def plan(self) -> Plan:
        """What training will take."""
        return Plan.of(plan(self, prepare(self)))

    def train(self, *, force: bool = False, profile: bool = False) -> Trained:
        """Every stage in order; each is skipped if it is finished and unchanged, and goes on if it was stopped."""
        models = train(self, force=force, profile=profile)[2]
        return Trained(tuple(TrainedStage.of(model) for model in models))

    def evaluate(self, *, force: bool = False) -> Evaluation:
        """Every model on held-out text. Raises ArtefactError where training is not finished."""
        return Evaluation.of(evaluate(self, force=force))

    def report(self) -> Path:
        """The HTML report and the cards, from what the folder holds so far; the report's path."""
        return report(self)


def open_run(
    target: str | Path | Recipe, overrides: Sequence[str] = (), reporter: Reporter | None = None
) -> Run:
    """From a recipe, its name or file, or from the folder of an earlier run. Raises RecipeError; writes nothing.

    `overrides` are `KEY=VALUE` as after `--set`. A run's folder stays its own place unless `name` or `output` is
    overridden.
    """
    path = Path(target) if not isinstance(target, Recipe) else None
    folder = path if path is not None and path.is_dir() else None
    if folder and not (folder / RECIPE).exists():
        raise WhetError(
            "this folder holds no run (no recipe.yaml)",
            where=str(folder),
            fix="give a recipe, or a folder that `whet runs` lists",
        )
    loaded = load_recipe(folder / RECIPE if folder else target, overrides)
    if folder is None or any(item.startswith(("name=", "output=")) for item in overrides):
        folder = Path(loaded.recipe.output) / loaded.recipe.name
    return Run(loaded, folder, reporter or Reporter(), tuple(overrides))


def begin(run: Run, *, force: bool = False) -> None:
    """Write the resolved recipe into the folder; refuse first if what is trained there has another recipe."""
    launch.require_alone("prepare and evaluate")
    require_possible(run)
    store.sweep(run.folder)
    if not force:
        require_same_training(run)
    store.write_text(run.folder / RECIPE, run.loaded.resolved)
    state = {
        "schema": SCHEMA_VERSION,
        "whet": __version__,
        "command": _command(run),
        "python": sys.version.split()[0],
    }
    store.write_json(run.folder / STATE, state)


def require_possible(run: Run) -> None:
    """Raise WhetError for what can be known to fail before anything is read: the base, its limits, the device."""
    if run.recipe.tuned:
        from whet.plan.size import of_base

        of_base(run.recipe, run.recipe.tuned)
    if run.recipe.device not in ("auto", "cpu"):
        from whet.hardware import choose_device

        choose_device(run.recipe.device)


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


def prepare(run: Run, *, force: bool = False) -> store.Artefact:
    """The prepare room. Raises ArtefactError, before anything is written, if other settings are trained here."""
    from whet.prepare.run import run as room

    begin(run)
    return room(run.recipe, run.folder, run.reporter, force=force)


def plan(run: Run, prepared: store.Artefact) -> dict[str, Any]:
    """The plan room."""
    from whet.plan.run import run as room

    return room(run.recipe, run.folder, prepared, run.reporter)


Made = tuple[store.Artefact, dict[str, Any], list[store.Artefact]]
"""Prepared data, plan, and every stage's model."""


def train(run: Run, *, force: bool = False, profile: bool = False) -> Made:
    """Prepare, plan and train; returns all three results. `profile` also records a few steps of every stage.

    torchrun may start it in several processes.
    """
    started = launch.required(run.recipe.processes)
    if started.size == 1:
        return _train(run, *_prepared_and_planned(run, force=force), force=force, profile=profile)
    from whet.train.world import joined

    with joined(run.recipe.device, started) as world:
        if not world.leads:
            run = replace(run, reporter=Silent())
        ready = world.first(lambda: _prepared_and_planned(run, force=force), lambda: _made_by_the_first(run))
        return _train(run, *ready, force=force, profile=profile, world=world)


def _prepared_and_planned(run: Run, *, force: bool) -> tuple[store.Artefact, dict[str, Any]]:
    from whet.prepare.run import run as prepare_room

    begin(run, force=force)
    prepared = prepare_room(run.recipe, run.folder, run.reporter)
    return prepared, plan(run, prepared)


def _made_by_the_first(run: Run) -> tuple[store.Artefact, dict[str, Any]]:
    """What another process prepared and planned just now, in the same folder."""
    planned = store.read_json(run.folder / "plan.json")
    return store.open_artefact(run.folder / "prepared", "prepared", verify=False), planned


def _train(
    run: Run,
    prepared: store.Artefact,
    planned: dict[str, Any],
    *,
    force: bool,
    profile: bool,
    world: Any = None,
) -> Made:
    from whet.train.run import run as room
    from whet.train.world import ALONE

    models = room(
        run.recipe,
        run.folder,
        prepared,
        planned,
        run.reporter,
        world or ALONE,
        force=force,
        profile=profile,
    )
    return prepared, planned, models


def evaluate(run: Run, *, force: bool = False) -> store.Artefact:
    """Evaluate what is trained. Raises ArtefactError where training is not finished."""
    models = finished_models(run)
    prepared = prepare(run)
    return _evaluate(run, prepared, plan(run, prepared), models, force=force)


def _evaluate(
    run: Run, prepared: store.Artefact, planned: dict[str, Any], models: list[store.Artefact], *, force: bool
) -> store.Artefact:
    from whet.evaluate.run import run as room

    return room(run.recipe, run.folder, prepared, planned, models, run.reporter, force=force)


def finished_models(run: Run) -> list[store.Artefact]:
    """Every stage's model. Raises ArtefactError that names the first missing one."""
    models = []
    for stage in run.recipe.stages:
        folder = run.folder / "stages" / stage.name / "model"
        if not folder.exists():
            raise ArtefactError(
                f"stage {stage.name} is not trained yet",
                where=str(folder),
                fix=f"whet train {run.recipe.name}",
            )
        models.append(store.open_artefact(folder, "model"))
    return models


def report(run: Run) -> Path:
    """Make the report and the two cards from whatever the folder holds; returns the report's path."""
    from whet.cards.gather import write as write_cards
    from whet.evaluate.report.gather import write

    if not run.folder.exists():
        raise ArtefactError(
            "there is no such run yet", where=str(run.folder), fix=f"whet run {run.recipe.name}"
        )
    cards = write_cards(run.recipe, run.folder)
    if cards:
        run.reporter.say(f"report: {' and '.join(map(str, cards))}")
    return write(run.recipe, run.loaded.resolved, run.folder, _commands(run))


def show_preview(shown: Preview) -> None:
    """Print what `Run.preview` found, in colour where the output is a terminal."""
    from rich.console import Console

    from whet.prepare.preview import render

    render(shown, Console(highlight=False))


def run_all(run: Run, *, force: bool = False, profile: bool = False) -> Path:
    """Every room; returns the report's path."""
    prepared, planned, models = train(run, force=force, profile=profile)
    if not launch.started().leads:
        return run.folder / "report.html"  # the first process makes it
    _evaluate(run, prepared, planned, models, force=force)
    path = report(run)
    run.reporter.event("report", path=str(path))
    return path


def _command(run: Run) -> str:
    """The command that makes the run again; of a recipe made in Python, its folder has the file."""
    if run.loaded.origin == IN_PYTHON:
        return f"whet run {shlex.quote(str(run.folder))}"
    overrides = "".join(f" --set {shlex.quote(item)}" for item in run.overrides)
    return f"whet run {shlex.quote(run.loaded.origin.removeprefix('recipe '))}{overrides}"


def _commands(run: Run) -> list[str]:
    folder = shlex.quote(str(run.folder))
    return [_command(run), f'whet generate {folder} --prompt "def "']
