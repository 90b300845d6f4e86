"""The five rooms in order, for the command line and for Python: each skips what is already done and unchanged.

    prepare -> plan -> train -> evaluate -> report

A `Run` is one recipe and its folder. What passes between rooms lies in the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet import __version__, store
from whet.errors import ArtefactError, WhetError
from whet.progress import Reporter
from whet.recipe.load import Loaded, load_recipe
from whet.recipe.schema import Recipe

RECIPE, STATE = "recipe.yaml", "run.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe, where its results go, and who is told."""

    loaded: Loaded
    folder: Path
    reporter: Reporter

    @property
    def recipe(self) -> Recipe:
        """The validated recipe."""
        return self.loaded.recipe


def open_run(target: str, overrides: Sequence[str] = (), reporter: Reporter | None = None) -> Run:
    """From a recipe's name or file, or from the folder of an earlier run. Raises RecipeError; writes nothing."""
    path = Path(target)
    earlier = path / RECIPE
    if path.is_dir() and not earlier.exists():
        raise WhetError(
            "this folder holds no run (no recipe.yaml)",
            where=target,
            fix="give a recipe, or a folder that `whet runs` lists",
        )
    loaded = load_recipe(str(earlier) if path.is_dir() else target, overrides)
    folder = path if path.is_dir() else Path(loaded.recipe.output) / loaded.recipe.name
    return Run(loaded, folder, reporter or Reporter())


def begin(run: Run) -> None:
    """Write the resolved recipe and who runs it into the folder."""
    store.write_text(run.folder / RECIPE, run.loaded.resolved)
    store.write_json(
        run.folder / STATE,
        {"schema": 1, "whet": __version__, "recipe": run.loaded.origin, "python": sys.version.split()[0]},
    )


def prepare(run: Run, *, force: bool = False) -> store.Artefact:
    """The prepare room."""
    from whet.prepare.run import run as room

    begin(run)
    return room(run.recipe, run.folder, run.reporter, force=force)


def plan(run: Run, prepared: store.Artefact) -> dict[str, Any]:
    """The plan room."""
    from whet.plan.run import run as room

    return room(run.recipe, run.folder, prepared, run.reporter)


def train(run: Run, *, force: bool = False) -> tuple[store.Artefact, dict[str, Any], list[store.Artefact]]:
    """Prepare, plan and train; returns all three results."""
    prepared = prepare(run)
    planned = plan(run, prepared)
    from whet.train.run import run as room

    return prepared, planned, room(run.recipe, run.folder, prepared, planned, run.reporter, force=force)


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
    """Make the report from whatever the folder holds."""
    from whet.evaluate.report.gather import write

    if not run.folder.exists():
        raise ArtefactError(
            "there is no such run yet", where=str(run.folder), fix=f"whet run {run.recipe.name}"
        )
    return write(run.recipe, run.loaded.resolved, run.folder, _commands(run))


def run_all(run: Run, *, force: bool = False) -> Path:
    """Every room; returns the report's path."""
    prepared, planned, models = train(run, force=force)
    _evaluate(run, prepared, planned, models, force=force)
    path = report(run)
    run.reporter.event("report", path=str(path))
    return path


def _commands(run: Run) -> list[str]:
    origin = run.loaded.origin.removeprefix("recipe ")
    return [
        f"pip install whet=={__version__}",
        f"whet run {origin}",
        f'whet generate {run.folder} --prompt "def "',
    ]


def list_runs(output: Path) -> list[dict[str, Any]]:
    """Every run below `output`: name, which stages are finished, whether evaluated and reported."""
    found = []
    for state in sorted(output.glob(f"*/{STATE}")):
        folder = state.parent
        stages = sorted(folder.glob("stages/*"), key=lambda item: item.stat().st_mtime)
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
