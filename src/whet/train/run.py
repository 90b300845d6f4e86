"""The train room: for each stage a model folder that plain transformers loads, and a log of how it came to be.

    new weights (or the stage before) -> self-check -> resume if begun -> the loop -> best or last weights -> model/

A stage that is finished and unchanged is skipped; one that was begun is resumed; one that was begun with
other settings is refused, naming them, unless forced.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from whet import __version__, hardware, store
from whet.errors import ArtefactError, Stopped
from whet.models.build import load_model, new_model, save_model
from whet.models.decoder import Decoder
from whet.models.selfcheck import check
from whet.models.shape import Shape
from whet.objectives.base import OBJECTIVES
from whet.progress import Reporter, amount, duration
from whet.recipe.schema import Recipe, Stage
from whet.text import tokenizer as tokenizers
from whet.train import state
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.log import StageLog
from whet.train.loop import Loop
from whet.train.optim import Optimizer

KIND = "model"
COMPILE_FROM_FLOPS = 2e13
"""Training shorter than this does not pay for compiling (about a minute on two CPU cores)."""


def run(recipe: Recipe, folder: Path, prepared: store.Artefact, plan: dict[str, Any], reporter: Reporter, *, force: bool = False) -> list[store.Artefact]:
    """Train every stage in order; returns their model artefacts. Raises Stopped after saving, when asked to stop."""
    machine = _Machine(recipe, plan, reporter)
    models: list[store.Artefact] = []
    for stage, planned in zip(recipe.stages, plan["stages"], strict=True):
        before = models[-1] if models else None
        models.append(_stage(recipe, stage, planned, folder / "stages" / stage.name, prepared, before, machine, force))
    return models


class _Machine:
    """Where this training runs: decided once, said once."""

    def __init__(self, recipe: Recipe, plan: dict[str, Any], reporter: Reporter) -> None:
        self.reporter, self.known_notices = reporter, len(reporter.notices)
        self.device = hardware.choose_device(recipe.device)
        self.precision, why = hardware.choose_precision(recipe.precision, self.device)
        self.compile, self.compile_why = _choose_compile(recipe, plan, self.device)
        self.said = f"train: on {self.device.type} in {self.precision} ({why}); compile {'on' if self.compile else 'off'} ({self.compile_why})"
        self._peak: float | None = None
        self._shape = Shape(**plan["model"])

    @property
    def peak_flops(self) -> float:
        """Measured matmul peak, once per process."""
        if self._peak is None:
            self._peak = hardware.matmul_peak(self.device, self.precision)
        return self._peak

    def model(self, recipe: Recipe, before: store.Artefact | None, special_ids: dict[str, int]) -> Decoder:
        """New weights, or those of the stage before."""
        if before is not None:
            return load_model(before.folder, device=self.device, precision=self.precision)
        return new_model(self._shape, special_ids, seed=recipe.seed, device=self.device, precision=self.precision)

    def environment(self) -> dict[str, Any]:
        """What the bits depend on besides the settings."""
        return {
            "whet": __version__,
            "code": store.code_hash("train", "models", "objectives", "packing")[:16],
            **store.versions("torch", "transformers"),
            "device": self.device.type,
            "precision": self.precision,
            "compile": self.compile,
            "threads": torch.get_num_threads(),
        }


def _choose_compile(recipe: Recipe, plan: dict[str, Any], device: torch.device) -> tuple[bool, str]:
    able, why = hardware.has_compiler(device)
    if recipe.compile == "off":
        return False, "as the recipe says"
    if recipe.compile == "on":
        if not able:
            raise ArtefactError(f"compile is on, but {why}", where="compile", fix="install g++ (Debian: apt-get install g++), or set compile: auto")
        return True, "as the recipe says"
    flops = sum(stage["flops"] for stage in plan["stages"])
    if not able:
        return False, why
    return (True, why) if flops >= COMPILE_FROM_FLOPS else (False, "too short to pay for it")


def settings_of(recipe: Recipe, stage: Stage, prepared: store.Artefact, before: store.Artefact | None) -> dict[str, Any]:
    """Everything that decides a stage's result, by name: the key, and the text of a refusal, come from it."""
    data = {name: entry["sha256"] for name, entry in prepared.files.items() if name.startswith((f"{stage.name}/", "tokenizer/"))}
    return {
        "model": recipe.model.model_dump(),
        "stage": stage.model_dump(exclude={"data", "name", "keep"}),
        "seed": recipe.seed,
        "precision": recipe.precision,
        "data": store.content_hash(data),
        "starts_from": store.content_hash(before.files) if before else "nothing",
    }


def _stage(
    recipe: Recipe, stage: Stage, planned: dict[str, Any], folder: Path, prepared: store.Artefact, before: store.Artefact | None, machine: _Machine, force: bool
) -> store.Artefact:
    reporter, target = machine.reporter, folder / KIND
    settings = settings_of(recipe, stage, prepared, before)
    key = store.content_hash(settings)
    if force and folder.exists():
        reporter.say(f"train {stage.name}: --force, the earlier training in {folder} is removed")
        shutil.rmtree(folder)
    _refuse_other_settings(folder, settings)
    done = store.fresh(target, KIND, key)
    if done:
        reporter.say(f"train {stage.name}: finished before, {target} is used as it is")
        return done
    store.write_json(folder / "settings.json", settings)
    reporter.say(machine.said)
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    torch.manual_seed(recipe.seed)
    decoder = machine.model(recipe, before, tokenizer.special_ids)
    check(decoder)
    if stage.gradient_checkpointing:
        decoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = Optimizer(decoder, stage)
    checkpoints = folder / "checkpoints"
    store.sweep(checkpoints)
    progress = state.restore(checkpoints, decoder, optimizer, key, reporter) or state.Progress()
    if progress.step:
        reporter.say(f"train {stage.name}: resumed at step {progress.step:,} of {planned['steps']:,}")
    if machine.compile:
        decoder.compile()
    data = {
        side: TrainingData(prepared.folder / stage.name / side, stage, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.special_ids["pad"], seed=recipe.seed)
        for side in ("train", "validation")
        if prepared.files[f"{stage.name}/{side}/tokens.bin"]["bytes"]
    }
    if "validation" not in data:
        reporter.notice(f"stage {stage.name}: no validation documents; the last weights are the result")

    def save() -> None:
        state.save(checkpoints, decoder, optimizer, progress, key)
        state.prune(checkpoints, stage.keep)

    with StageLog(folder, progress.step) as log, StopRequest() as stop, reporter.task(f"train {stage.name}", planned["steps"], initial=progress.step) as task:
        loop = Loop(
            stage=stage,
            steps=planned["steps"],
            decoder=decoder,
            objective=OBJECTIVES.get(stage.objective)(),
            optimizer=optimizer,
            training=data["train"],
            validation=data.get("validation"),
            progress=progress,
            log=lambda record: (log.write(record), reporter.event("train", stage=stage.name, **record))[0],
            save=save,
            save_best=lambda: state.save_best(folder, decoder, progress, key),
        )
        finished = loop.run(task, stop)
    if not finished:
        raise Stopped(f"{stop.asked}: saved at step {progress.step:,} of {planned['steps']:,} in stage {stage.name}", where=str(checkpoints), fix=f"go on with: whet run {recipe.name} (the same command as before)")
    return _finish(stage, planned, folder, decoder, progress, key, prepared, machine)


def _finish(
    stage: Stage, planned: dict[str, Any], folder: Path, decoder: Decoder, progress: state.Progress, key: str, prepared: store.Artefact, machine: _Machine
) -> store.Artefact:
    """Write the stage's result as a model folder."""
    best = state.load_best(folder, decoder, key) if stage.result == "best" else None
    speed = progress.tokens / max(1e-9, progress.seconds)
    record = {
        "name": stage.name,
        "steps": progress.step,
        "tokens": progress.tokens,
        "seconds": round(progress.seconds, 2),
        "tokens_per_s": speed,
        "best_step": progress.best_step,
        "best_validation_loss": progress.best_loss,
        "result_step": best.step if best else progress.step,
        "peak_flops_per_s": machine.peak_flops,
        "peak_share": speed * planned["flops"] / planned["tokens"] / machine.peak_flops,
        "memory_peak_bytes": hardware.memory_peak_bytes(machine.device),
        "environment": machine.environment(),
        "compile": machine.compile_why,
        "notices": machine.reporter.notices[machine.known_notices :],
    }
    target = folder / KIND
    with store.staged(target, kind=KIND, key=key, record=record) as work:
        save_model(decoder, work)
        for file in (prepared.folder / "tokenizer").iterdir():
            shutil.copy2(file, work / file.name)
    machine.reporter.say(
        f"train {stage.name}: {amount(progress.tokens)} tokens in {duration(progress.seconds)}, {amount(speed, 'tok/s')}, "
        f"{record['peak_share']:.0%} of the measured matmul peak; model in {target}"
    )
    machine.reporter.event("trained", **record)
    return store.open_artefact(target, KIND, verify=False)


def _refuse_other_settings(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / "settings.json"
    if not path.exists():
        return
    old = store.read_json(path)
    changed = sorted(_differences(old, settings))
    if changed:
        raise ArtefactError(
            f"this stage was trained with other settings: {'; '.join(changed[:6])}",
            where=str(folder),
            fix="--force trains it again and removes the earlier training; or give the run another name (--set name=...)",
        )


def _differences(old: Any, new: Any, at: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [line for key in keys for line in _differences(old.get(key), new.get(key), f"{at}.{key}".lstrip("."))]
    return [] if old == new else [f"{at} was {old!r}, is {new!r}"]
