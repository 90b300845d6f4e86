"""The train room: for each stage a model folder that plain transformers loads, and a log of how it came to be.

    new weights (or the stage before) -> self-check -> resume if begun -> the loop -> best or last weights -> model/

A stage that is finished and unchanged is skipped; one that was begun is resumed; one that was begun with
other settings is refused, naming them, unless forced.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from whet import hardware, store
from whet.errors import ArtefactError, Stopped
from whet.models.build import save_model
from whet.models.decoder import Decoder
from whet.models.selfcheck import check
from whet.objectives.base import OBJECTIVES
from whet.progress import Reporter, amount, duration
from whet.recipe.schema import Recipe, Stage
from whet.records import SCHEMA_VERSION, differences
from whet.text import tokenizer as tokenizers
from whet.text.tokenizer import Tokenizer
from whet.train import state
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.log import StageLog
from whet.train.loop import Loop
from whet.train.machine import Machine
from whet.train.optim import Optimizer

KIND, SETTINGS = "model", "settings.json"
DIFFERENCES = {
    "data": "its prepared tokens changed (material, cleaning, split or tokenizer)",
    "starts_from": "the stage before it changed",
}
"""What a changed hash in a stage's settings means."""


def run(
    recipe: Recipe,
    folder: Path,
    prepared: store.Artefact,
    plan: dict[str, Any],
    reporter: Reporter,
    *,
    force: bool = False,
) -> list[store.Artefact]:
    """Train every stage in order and return their model artefacts.

    Raises Stopped, with everything saved, when asked to stop.
    """
    machine = Machine(recipe, plan)
    models: list[store.Artefact] = []
    for stage, planned in zip(recipe.stages, plan["stages"], strict=True):
        before = models[-1] if models else None
        training = StageTraining(
            recipe, stage, planned, folder / "stages" / stage.name, prepared, before, machine, reporter
        )
        if force:
            training.forget()
        models.append(training.finished_before() or training.train())
    return models


@dataclass
class StageTraining:
    """One stage: what it starts from, what it is trained on, and where its results lie."""

    recipe: Recipe
    stage: Stage
    planned: dict[str, Any]
    folder: Path
    prepared: store.Artefact
    before: store.Artefact | None
    machine: Machine
    reporter: Reporter

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, by name: the key, and the text of a refusal, come from it."""
        own = (f"{self.stage.name}/", "tokenizer/")
        data = {name: entry["sha256"] for name, entry in self.prepared.files.items() if name.startswith(own)}
        return {
            "schema": SCHEMA_VERSION,
            "model": self.recipe.model.model_dump(exclude={"size"}),
            "stage": self.stage.model_dump(exclude={"data", "name", "keep", "log_every", "save_every"}),
            "seed": self.recipe.seed,
            "precision": self.recipe.precision,
            "data": store.content_hash(data),
            "starts_from": store.content_hash(self.before.files) if self.before else "nothing",
        }

    @cached_property
    def key(self) -> str:
        """Hash of the settings; what else the bits depend on is recorded, and does not force a retraining."""
        return store.content_hash(self.settings)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the prepared data."""
        return tokenizers.load(self.prepared.folder / "tokenizer")

    def forget(self) -> None:
        """Remove an earlier training of this stage."""
        if self.folder.exists():
            self.reporter.say(
                f"train {self.stage.name}: --force, the earlier training in {self.folder} is removed"
            )
            store.remove(self.folder)

    def finished_before(self) -> store.Artefact | None:
        """The model, if this training was finished before. Raises ArtefactError if other settings lie here."""
        for place in (self.folder.parent, self.folder, self.folder / "checkpoints"):
            store.sweep(place)
        self._require_same_settings()
        done = store.fresh(self.folder / KIND, KIND, self.key, self.reporter.notice)
        if done:
            self.reporter.say(f"train {self.stage.name}: finished before, {done.folder} is used as it is")
        elif self._key_of_model() not in (None, self.key):
            raise ArtefactError(
                "this model was trained with other settings", where=str(self.folder), fix=_FORCE
            )
        return done

    def _key_of_model(self) -> str | None:
        """Of a whole model that lies here; for when `settings.json` is lost or damaged."""
        try:
            return store.open_artefact(self.folder / KIND, KIND, verify=False).key
        except ArtefactError:
            return None

    def _require_same_settings(self) -> None:
        settings_file = self.folder / SETTINGS
        if not settings_file.exists():
            return
        try:
            old = store.read_sealed(settings_file)
        except ArtefactError as error:  # no reason to lose a training: all that is saved here has its key
            self.reporter.notice(f"{error.where}: {error.what}; it is written again")
        else:
            _require_equal(old, self.settings, self.folder)

    def train(self) -> store.Artefact:
        """Train to the end, resuming what was begun. Raises Stopped after saving, when asked to stop."""
        known_notices = len(self.reporter.notices)
        store.write_sealed(self.folder / SETTINGS, self.settings)
        self.reporter.say(f"train {self.stage.name}: {self.machine.summary}")
        torch.manual_seed(self.recipe.seed)
        decoder = self.machine.model(self.recipe.seed, self.before, self.tokenizer.special_ids)
        check(decoder)
        if self.stage.gradient_checkpointing:
            decoder.use_gradient_checkpointing()
        optimizer = Optimizer(decoder, self.stage)
        progress = self._resume(decoder, optimizer)
        if self.machine.compile:
            decoder.compile()
        stopped_by = self._loop(decoder, optimizer, progress)
        if stopped_by:
            raise Stopped(
                f"{stopped_by}: saved at step {progress.step:,} of {self.planned['steps']:,} in stage {self.stage.name}",
                where=str(self.folder / "checkpoints"),
                fix="the same command goes on from here",
            )
        return self._finish(decoder, progress, known_notices)

    def _resume(self, decoder: Decoder, optimizer: Optimizer) -> state.Progress:
        checkpoints = self.folder / "checkpoints"
        progress = state.restore(checkpoints, decoder, optimizer, self.key, self.reporter)
        if progress is None:
            return state.Progress()
        self.reporter.say(
            f"train {self.stage.name}: resumed at step {progress.step:,} of {self.planned['steps']:,}"
        )
        return progress

    def _data(self) -> dict[str, TrainingData]:
        """The training side, and the validation side if it has documents."""
        return {
            side: TrainingData(
                self.prepared.folder / self.stage.name / side,
                self.stage,
                vocab_size=self.tokenizer.vocab_size,
                pad_id=self.tokenizer.special_ids["pad"],
                seed=self.recipe.seed,
            )
            for side in ("train", "validation")
            if self.prepared.files[f"{self.stage.name}/{side}/tokens.bin"]["bytes"]
        }

    def _loop(self, decoder: Decoder, optimizer: Optimizer, progress: state.Progress) -> str | None:
        """Run the loop; what asked it to stop early, if anything did."""
        data, checkpoints = self._data(), self.folder / "checkpoints"
        if "validation" not in data:
            self.reporter.notice(
                f"stage {self.stage.name}: no validation documents; the last weights are the result"
            )

        def save() -> None:
            state.save(checkpoints, decoder, optimizer, progress, self.key)
            state.prune(checkpoints, self.stage.keep)

        task = self.reporter.task(f"train {self.stage.name}", self.planned["steps"], initial=progress.step)
        with (
            StageLog(self.folder, progress.step, self.reporter.notice) as log,
            StopRequest() as stop,
            task as shown,
        ):

            def record(line: dict[str, Any]) -> None:
                log.write(line)
                self.reporter.event("train", stage=self.stage.name, **line)

            loop = Loop(
                stage=self.stage,
                steps=self.planned["steps"],
                decoder=decoder,
                objective=OBJECTIVES.get(self.stage.objective)(),
                optimizer=optimizer,
                training=data["train"],
                validation=data.get("validation"),
                progress=progress,
                log=record,
                save=save,
                save_best=lambda: state.save_best(self.folder, decoder, progress, self.key),
            )
            return None if loop.run(shown, stop) else stop.asked

    def _finish(self, decoder: Decoder, progress: state.Progress, known_notices: int) -> store.Artefact:
        """Write the stage's result as a model folder."""
        best = state.load_best(self.folder, decoder, self.key) if self.stage.result == "best" else None
        if self.stage.result == "best" and progress.best_step is not None and best is None:
            self.reporter.notice(
                f"stage {self.stage.name}: the best weights (step {progress.best_step:,}) are gone; "
                "the last ones are the result"
            )
        speed = progress.tokens / max(1e-9, progress.seconds)
        flops_per_token = self.planned["flops"] / self.planned["tokens"]
        record = {
            "name": self.stage.name,
            "steps": progress.step,
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 2),
            "tokens_per_s": speed,
            "best_step": progress.best_step,
            "best_validation_loss": progress.best_loss,
            "result_step": best.step if best else progress.step,
            "peak_flops_per_s": self.machine.peak_flops,
            "peak_share": speed * flops_per_token / self.machine.peak_flops,
            "memory_peak_bytes": hardware.memory_peak_bytes(self.machine.device),
            "environment": self.machine.environment(),
            "compile": self.machine.compile_reason,
            "notices": self.reporter.notices[known_notices:],
        }
        with store.staged(self.folder / KIND, kind=KIND, key=self.key, record=record) as work:
            save_model(decoder, work)
            for file in (self.prepared.folder / "tokenizer").iterdir():
                shutil.copy2(file, work / file.name)
        self.reporter.say(
            f"train {self.stage.name}: {amount(progress.tokens)} tokens in {duration(progress.seconds)}, "
            f"{amount(speed, 'tok/s')}, {record['peak_share']:.0%} of the measured matmul peak; "
            f"model in {self.folder / KIND}"
        )
        self.reporter.event("trained", **record)
        return store.open_artefact(self.folder / KIND, KIND, verify=False)


def _require_equal(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    changed = [DIFFERENCES.get(line.partition(" ")[0], line) for line in differences(old, new)]
    if changed:
        raise ArtefactError(
            f"this stage was trained with other settings: {'; '.join(changed[:6])}",
            where=str(folder),
            fix=_FORCE,
        )


_FORCE = "--force trains it again and removes the earlier training; --set name=... starts another run"
