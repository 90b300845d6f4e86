"""The five rooms in order, for the command line and for Python: each skips what is already done and unchanged.

    prepare -> plan -> train -> evaluate -> report

A `Run` is one recipe and its folder. What passes between rooms lies in the folder.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import launch, store
from whet.begin import begin, command
from whet.errors import ArtefactError, CannotWrite, OutOfMemory, RecipeError, Stopped, WhetError
from whet.models.hub import Say
from whet.progress import Reporter, Silent, aside
from whet.recipe.load import IN_PYTHON, Loaded, load_recipe
from whet.recipe.schema import Recipe
from whet.records import DIAGNOSIS, FAILURE, SCHEMA_VERSION
from whet.results import RECIPE, STATE, Evaluation, Plan, Prepared, Trained, TrainedStage

if TYPE_CHECKING:
    from whet.doctor.run import Diagnosis
    from whet.prepare.preview import Preview


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe, where its results go, and who is told. Its methods are the rooms."""

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
        if npy is not None and os.path.isfile(npy):
            raise CannotWrite(
                "a file stands where the folder would", where=str(npy), fix="name another folder"
            )
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
    path = Path(os.path.expanduser(target)) if not isinstance(target, Recipe) else None
    folder = path if path is not None and os.path.isdir(path) else None
    if folder and not (folder / RECIPE).exists():
        raise WhetError(
            "this folder holds no run (no recipe.yaml)",
            where=str(folder),
            fix="give a recipe, or a folder that `whet runs` lists",
        )
    loaded = load_recipe(folder / RECIPE if folder else target, overrides)
    keys = {item.partition("=")[0].strip() for item in overrides}
    if folder is None or keys & {"name", "output"}:
        folder = Path(loaded.recipe.output) / loaded.recipe.name
    return Run(loaded, folder, reporter or Reporter(), tuple(overrides))


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

    torchrun may start it in several processes. What went wrong is told at the end (`whet.doctor`).
    """
    with _examined(run):
        return _train_all(run, force=force, profile=profile)


def _train_all(run: Run, *, force: bool, profile: bool) -> Made:
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
    import torch

    from whet.train.run import run as room
    from whet.train.world import ALONE

    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=cuda):  # what the caller draws afterwards is none of the recipe's seed
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
    with _examined(run):
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
                fix=_first(run, "train"),
            )
        models.append(store.open_artefact(folder, "model"))
    return models


def report(run: Run) -> Path:
    """Make the report and the two cards from whatever the folder holds; returns the report's path."""
    from whet.cards.gather import write as write_cards
    from whet.evaluate.report.gather import write

    if not run.folder.exists():
        raise ArtefactError("there is no such run yet", where=str(run.folder), fix=_first(run, "run"))
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
    """Every room; returns the report's path. What went wrong is told at the end (`whet.doctor`)."""
    with _examined(run):
        prepared, planned, models = _train_all(run, force=force, profile=profile)
        if not launch.started().leads:
            return run.folder / "report.html"  # the first process makes it
        _evaluate(run, prepared, planned, models, force=force)
    path = report(run)
    run.reporter.event("report", path=str(path))
    return path


def diagnose(target: str | Path | Recipe, overrides: Sequence[str] = (), *, say: Say = aside) -> Diagnosis:
    """What is wrong with a recipe, a run or a model, why, and what to do. Writes nothing.

    Of a recipe made in Python its settings alone are looked at; for what came of it, name its run's folder.
    `say` hears what was taken for the target. Raises RecipeError, ArtefactError or WhetError if it is none of them.
    """
    from whet.doctor.case import Case
    from whet.doctor.open import open_case
    from whet.doctor.run import examine

    if isinstance(target, Recipe):
        recipe = load_recipe(target, overrides).recipe
        return examine(Case(recipe.name, recipe))
    case, remarks = open_case(str(target), overrides)
    for remark in remarks:
        say(remark)
    return examine(case)


@contextmanager
def _examined(run: Run) -> Iterator[None]:
    """Afterwards, and also if it fails, the run's records are examined, and what is wrong is told."""
    leads, before = launch.started().leads, _begun(run)
    try:
        yield
    except (Stopped, RecipeError):
        raise
    except Exception as error:
        if leads and _begun(run) != before:  # else it was refused: what lies there is as it was
            _tell(run, error)
        raise
    if leads:
        _tell(run)


def _begun(run: Run) -> int | None:
    """When the run was begun last; None if it never was."""
    state = run.folder / STATE
    return state.stat().st_mtime_ns if state.exists() else None


def _tell(run: Run, error: Exception | None = None) -> None:
    """Examine the run, which `error` has ended. Never raises: neither its result nor this error is to be lost."""
    from whet.doctor.case import Case
    from whet.doctor.run import examine

    try:
        if error is not None:
            _keep_failure(run, error)
        found = examine(Case(str(run.folder), run.recipe, run.folder))
        store.write_sealed(run.folder / DIAGNOSIS, {"schema": SCHEMA_VERSION, **found.as_dict()})
        run.reporter.event("diagnosis", **found.as_dict())
        if not found.healthy:
            run.reporter.show_notice("\n".join(["the doctor has found:", *found.told(whole=False)]))
    except Exception as trouble:  # noqa: BLE001
        run.reporter.notice(f"the doctor could not look at this run: {type(trouble).__name__}: {trouble}")


def _keep_failure(run: Run, error: Exception) -> None:
    out = isinstance(error, OutOfMemory)
    if not isinstance(
        error, WhetError
    ):  # an accident, perhaps of loading a model, that nobody put into words
        from whet.train.probe import out_of_memory

        out = out_of_memory(error)
    about = {name: getattr(error, name, "") for name in ("where", "fix")}
    what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
    kind = type(error).__name__
    store.write_json(
        run.folder / FAILURE,
        {"schema": SCHEMA_VERSION, "kind": kind, "out_of_memory": out, "what": what, **about},
    )


def _first(run: Run, verb: str) -> str:
    """What to do before; a recipe made in Python is no command's to find until its run has begun."""
    known = run.loaded.origin != IN_PYTHON or (run.folder / RECIPE).exists()
    return command(run, verb) if known else f"{verb} it first"


def _commands(run: Run) -> list[str]:
    folder = shlex.quote(str(run.folder))
    return [command(run), f'whet generate {folder} --prompt "def "']
