"""The five rooms in order, for the command line and for Python: each skips what is already done and unchanged.

    prepare -> plan -> train -> evaluate -> report

A `Run` is one recipe and its folder. What passes between rooms lies in the folder.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import __version__, launch, store
from whet.errors import ArtefactError, OutOfMemory, RecipeError, Stopped, WhetError
from whet.models.hub import Say, silent
from whet.progress import Reporter, Silent
from whet.recipe.load import Loaded, load_recipe
from whet.recipe.schema import Recipe
from whet.records import SCHEMA_VERSION, differences
from whet.use.choose import stage_names

if TYPE_CHECKING:
    from whet.doctor.run import Diagnosis

RECIPE, STATE = "recipe.yaml", "run.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe, where its results go, and who is told."""

    loaded: Loaded
    folder: Path
    reporter: Reporter
    overrides: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The validated recipe."""
        return self.loaded.recipe


def open_run(target: str, overrides: Sequence[str] = (), reporter: Reporter | None = None) -> Run:
    """From a recipe's name or file, or from the folder of an earlier run. Raises RecipeError; writes nothing.

    A run's folder stays its own place unless `name` or `output` is overridden.
    """
    path = Path(target)
    earlier = path / RECIPE
    if path.is_dir() and not earlier.exists():
        raise WhetError(
            "this folder holds no run (no recipe.yaml)",
            where=target,
            fix="give a recipe, or a folder that `whet runs` lists",
        )
    loaded = load_recipe(str(earlier) if path.is_dir() else target, overrides)
    moved = any(item.startswith(("name=", "output=")) for item in overrides)
    folder = path if path.is_dir() and not moved else Path(loaded.recipe.output) / loaded.recipe.name
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
        from whet.models import hub, saved
        from whet.plan.size import of_base

        of_base(run.recipe, run.recipe.tuned)
        found = hub.of(run.recipe.tuned, weights=False)  # of a repository it looks at the list of files
        if Path(run.recipe.tuned.base).expanduser().is_dir():
            saved.require_whole(found)
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


Trained = tuple[store.Artefact, dict[str, Any], list[store.Artefact]]


def train(run: Run, *, force: bool = False, profile: bool = False) -> Trained:
    """Prepare, plan and train; returns all three results. `profile` also records a few steps of every stage.

    torchrun may start it in several processes. What went wrong is told at the end (`whet.doctor`).
    """
    with _examined(run):
        return _train_all(run, force=force, profile=profile)


def _train_all(run: Run, *, force: bool, profile: bool) -> Trained:
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
) -> Trained:
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


def diagnose(target: str, overrides: Sequence[str] = (), *, say: Say = silent) -> Diagnosis:
    """What is wrong with a recipe, a run or a model, why, and what to do. Writes nothing.

    `say` hears what was taken for the target. Raises RecipeError, ArtefactError or WhetError if it is none of them.
    """
    from whet.doctor.open import open_case
    from whet.doctor.run import examine

    case, remarks = open_case(target, overrides)
    for remark in remarks:
        say(remark)
    return examine(case)


@contextmanager
def _examined(run: Run) -> Iterator[None]:
    """Afterwards, and also if it fails, the run's records are examined, and what is wrong is told."""
    from whet.doctor.case import FAILURE
    from whet.doctor.run import DIAGNOSIS

    leads = launch.started().leads
    if leads:
        with store.writing(run.folder):
            for name in (FAILURE, DIAGNOSIS):  # of the time before
                (run.folder / name).unlink(missing_ok=True)
    try:
        yield
    except (Stopped, RecipeError):
        raise
    except Exception as error:
        if leads:
            _tell(run, error)
        raise
    if leads:
        _tell(run)


def _tell(run: Run, error: Exception | None = None) -> None:
    """Examine the run, which `error` has ended. Never raises: neither its result nor this error is to be lost."""
    from whet.doctor.case import Case
    from whet.doctor.run import DIAGNOSIS, examine

    try:
        if error is not None:
            if not _has_begun(run):
                return  # it was refused: what lies here is of another recipe
            _keep_failure(run, error)
        found = examine(Case(str(run.folder), run.recipe, run.folder))
        store.write_sealed(run.folder / DIAGNOSIS, {"schema": SCHEMA_VERSION, **found.as_dict()})
        run.reporter.event("diagnosis", **found.as_dict())
        if not found.healthy:
            run.reporter.show_notice("\n".join(["the doctor has found:", *found.told(whole=False)]))
    except Exception as trouble:  # noqa: BLE001
        run.reporter.notice(f"the doctor could not look at this run: {type(trouble).__name__}: {trouble}")


def _has_begun(run: Run) -> bool:
    path = run.folder / RECIPE
    return path.is_file() and path.read_text("utf-8", "surrogateescape") == run.loaded.resolved


def _keep_failure(run: Run, error: Exception) -> None:
    from whet.doctor.case import FAILURE

    out = isinstance(error, OutOfMemory)
    if not isinstance(
        error, WhetError
    ):  # an accident, perhaps of loading a model: nobody has put it into words
        from whet.train.probe import out_of_memory

        out = out_of_memory(error)
    about = {name: getattr(error, name, "") for name in ("where", "fix")}
    what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
    kind = type(error).__name__
    store.write_json(
        run.folder / FAILURE,
        {"schema": SCHEMA_VERSION, "kind": kind, "out_of_memory": out, "what": what, **about},
    )


def _command(run: Run) -> str:
    overrides = "".join(f" --set {shlex.quote(item)}" for item in run.overrides)
    return f"whet run {shlex.quote(run.loaded.origin.removeprefix('recipe '))}{overrides}"


def _commands(run: Run) -> list[str]:
    folder = shlex.quote(str(run.folder))
    return [_command(run), f'whet generate {folder} --prompt "def "']


def list_runs(output: Path) -> list[dict[str, Any]]:
    """Every run below `output`: name, which stages are finished, whether evaluated and reported."""
    found = []
    for state in sorted(output.glob(f"*/{STATE}")):
        folder = state.parent
        stages = [
            folder / "stages" / name for name in stage_names(folder) if (folder / "stages" / name).exists()
        ]
        found.append(
            {
                "run": str(folder),
                "stages": {
                    stage.name: "finished" if (stage / "model").exists() else _unfinished(stage)
                    for stage in stages
                },
                "evaluated": (folder / "evaluation").exists(),
                "report": str(folder / "report.html") if (folder / "report.html").exists() else None,
            }
        )
    return found


def _unfinished(stage: Path) -> str:
    checkpoints = sorted((stage / "checkpoints").glob("step-*"))
    return f"stopped at step {int(checkpoints[-1].name[5:])}" if checkpoints else "begun"
