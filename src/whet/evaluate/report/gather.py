"""Reads a run's folder into the figures that `render` takes. What is not there yet is left out, never invented."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whet import __version__, hardware, store
from whet.cards.gather import without_card
from whet.evaluate.report import render
from whet.recipe.schema import Recipe, Stage
from whet.records import DIAGNOSIS

REPORT = "report.html"


def write(recipe: Recipe, resolved: str, folder: Path, commands: list[str]) -> Path:
    """Make `folder/report.html` from what is in the folder."""
    store.write_text(folder / REPORT, render(gather(recipe, resolved, folder, commands)))
    return folder / REPORT


def gather(recipe: Recipe, resolved: str, folder: Path, commands: list[str]) -> dict[str, Any]:
    """The figures of one run, as plain Python; see `whet.evaluate.report.render`."""
    prepared = _open(folder / "prepared", "prepared")
    evaluation = _open(folder / "evaluation", "evaluation")
    models = [
        found
        for stage in recipe.stages
        if (found := _open(folder / "stages" / stage.name / "model", "model"))
    ]
    plan = store.read_sealed(folder / "plan.json") if (folder / "plan.json").exists() else None
    artefacts = [item for item in (prepared, *models, evaluation) if item]
    records = [*(item.record for item in artefacts), plan or {}]
    notices = [*_found(folder), *(notice for record in records for notice in record.get("notices", []))]
    train = _train(recipe, plan, models, folder, notices.append) if models and plan else None
    environment = models[-1].record["environment"] if models else {}
    return {
        "name": recipe.name,
        "description": recipe.description,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": __version__,
        "seed": recipe.seed,
        "notices": notices,
        "machine": {
            **hardware.describe(),
            "device": environment.get("device"),
            "precision": environment.get("precision"),
        },
        "prepare": {**prepared.record, "hash": store.content_hash(prepared.files)} if prepared else None,
        "plan": plan,
        "train": train,
        "evaluation": evaluation.record if evaluation else None,
        "recipe": resolved,
        "commands": commands,
        "model_path": str(models[-1].folder) if models else None,
        "artefacts": [_listed(item, folder) for item in artefacts],
    }


def _found(folder: Path) -> list[str]:
    """What the doctor found when the run ended, a sentence for each."""
    path = folder / DIAGNOSIS
    findings = store.read_sealed(path)["findings"] if path.exists() else []
    return [
        f"{one['name']} in {one['where']}: {one['evidence']}. Likely cause: {one['cause']}. What to do: {one['todo']}."
        for one in findings
    ]


def _open(folder: Path, kind: str) -> store.Artefact | None:
    """None if it is not there yet; damage is an error, never a gap in the report."""
    return store.open_artefact(folder, kind, verify=False) if folder.exists() else None


def _listed(item: store.Artefact, folder: Path) -> dict[str, Any]:
    return {
        "path": item.folder.relative_to(folder).as_posix(),
        "sha256": store.content_hash(without_card(item.files)),
        "bytes": item.size_bytes,
    }


def _train(
    recipe: Recipe,
    plan: dict[str, Any],
    models: list[store.Artefact],
    folder: Path,
    notice: Callable[[str], None],
) -> dict[str, Any]:
    planned = {stage["name"]: stage for stage in plan["stages"]}
    stages = {stage.name: stage for stage in recipe.stages}
    return {
        "peak_flops_per_s": models[-1].record["peak_flops_per_s"],
        "stages": [
            _stage(stages[model.record["name"]], planned[model.record["name"]], model, folder, notice)
            for model in models
        ],
    }


def _stage(
    stage: Stage,
    planned: dict[str, Any],
    model: store.Artefact,
    folder: Path,
    notice: Callable[[str], None],
) -> dict[str, Any]:
    lines = store.read_json_lines(folder / "stages" / stage.name / "log.jsonl", notice)
    record = model.record
    return {
        **{
            name: record[name]
            for name in ("name", "seconds", "steps", "tokens", "tokens_per_s", "peak_share", "compile")
        },
        "peak_memory_bytes": record["memory_peak_bytes"],
        "optimizer": stage.optimizer,
        "schedule": stage.schedule,
        "learning_rate": stage.learning_rate,
        "batch_rows": planned["rows_per_step"],
        "sequence_length": stage.sequence_length,
        "best_step": record["best_step"],
        "fill_in_the_middle": record.get("fill_in_the_middle"),
        "epochs": planned["epochs"],
        "mix": record.get("mix", []),
        "curriculum": stage.curriculum.model_dump() if stage.curriculum else None,
        "log": [line for line in lines if "loss" in line],
        "validation": [
            {"step": line["step"], "tokens": line["tokens"], "loss": line["validation_loss"]}
            for line in lines
            if "validation_loss" in line
        ],
    }
