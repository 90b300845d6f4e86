"""The train room: for each stage a model folder that plain transformers loads, and a log of how it came to be.

    new weights (or the stage before) -> self-check -> resume if begun -> the loop -> best or last weights -> model/

A stage that is finished and unchanged is skipped; one that was begun is resumed; one that was begun with
other settings is refused, naming them, unless forced.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from whet import hardware, store
from whet.cards import gather as cards
from whet.cards.model import model_card
from whet.errors import ArtefactError, DataError, Stopped
from whet.fill_in_the_middle import arranger_for, outcomes_told
from whet.models import tuned
from whet.models.adapters import is_attached, save_adapter
from whet.models.build import save_generation, save_model
from whet.models.decoder import Decoder
from whet.models.selfcheck import check
from whet.objectives.base import OBJECTIVES
from whet.progress import Reporter, amount, duration
from whet.recipe.schema import Recipe, Stage
from whet.records import SCHEMA_VERSION, differences
from whet.text import tokenizer as tokenizers
from whet.text.chat import FIXTURES_FILE, stop_ids
from whet.text.tokenizer import Tokenizer
from whet.train import probe, state
from whet.train.data import TrainingData
from whet.train.guards import FIRST_SCALE, StopRequest
from whet.train.log import StageLog
from whet.train.loop import Loop
from whet.train.machine import Machine
from whet.train.optim import Optimizer
from whet.train.probe import Probed
from whet.train.profiling import recorder as profiling
from whet.train.profiling.recorder import Profiler, Watch
from whet.train.sharding import Sharding, put_whole, trained
from whet.train.world import ALONE, World

KIND, SETTINGS = "model", "settings.json"
WITHOUT_EFFECT = {
    "data", "name", "keep", "log_every", "save_every", "batch_size", "accumulation"
}  # fmt: skip
"""Keys of a stage that do not decide what it learns: the data and the rows of a step stand in by themselves."""
DIFFERENCES = {
    "data": "its prepared tokens changed (material, cleaning, split or tokenizer)",
    "starts_from": "what it starts from changed (the stage before it, or the base)",
}
"""What a changed hash in a stage's settings means."""


def run(
    recipe: Recipe,
    folder: Path,
    prepared: store.Artefact,
    plan: dict[str, Any],
    reporter: Reporter,
    world: World = ALONE,
    *,
    force: bool = False,
    profile: bool = False,
) -> list[store.Artefact]:
    """Train every stage in order and return their model artefacts. Every process of `world` calls it.

    `profile` records a few steps of each stage.

    Raises Stopped, with everything saved, when asked to stop.
    """
    machine = Machine(recipe, plan, world)
    models: list[store.Artefact] = []
    for stage, planned in zip(recipe.stages, plan["stages"], strict=True):
        before = models[-1] if models else None
        training = StageTraining(
            recipe,
            stage,
            planned,
            folder / "stages" / stage.name,
            prepared,
            before,
            machine,
            reporter,
            profile,
        )
        if force and world.leads:
            training.forget()
        world.wait()
        models.append(training.finished_before() or training.train())
        training.require_not_asked_late()
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
    profile: bool = False
    asked_late: str | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, by name: the key, and the text of a refusal, come from it."""
        own = (f"{self.stage.name}/", "tokenizer/")
        data = {name: entry["sha256"] for name, entry in self.prepared.files.items() if name.startswith(own)}
        return {
            "schema": SCHEMA_VERSION,
            "model": self.recipe.model.model_dump(exclude={"size", "base", "revision", "cache_dir"}),
            "stage": self.stage.model_dump(exclude=WITHOUT_EFFECT),
            "rows_per_step": self.recipe.rows_per_step(self.stage),
            "seed": self.recipe.seed,
            "precision": self.recipe.precision,
            "weights": list(self.stage.weights.values()),
            "data": store.content_hash(data),
            "starts_from": self._starts_from(),
        }

    def _starts_from(self) -> str:
        """A hash of the weights that training begins with."""
        if self.before:
            return store.content_hash(cards.without_card(self.before.files))
        return str(self._base_told["fingerprint"]) if self._base_told else "nothing"

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
        if self.world.leads:
            for place in (self.folder.parent, self.folder, self.folder / "checkpoints"):
                store.sweep(place)
        self.world.wait()
        self._require_same_settings()
        done = store.fresh(self.folder / KIND, KIND, self.key, self.reporter.notice)
        if done:
            self.reporter.say(f"train {self.stage.name}: finished before, {done.folder} is used as it is")
            if self.profile:
                self.reporter.notice(
                    f"stage {self.stage.name}: nothing was trained, so nothing was profiled; --force trains it again"
                )
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
        if self.world.leads:
            store.write_sealed(self.folder / SETTINGS, self.settings)
        self.reporter.say(f"train {self.stage.name}: {self.machine.summary}")
        warned = probe.warning(self.planned, self.machine.device)
        if warned:
            self.reporter.notice(f"stage {self.stage.name}: {warned}")
        torch.manual_seed(self.recipe.seed + self.world.rank)
        with probe.explained(self.planned, f"stages.{self.stage.name}", "the model"):
            decoder = self.machine.model(self.before, self.tokenizer, self.reporter.say)
            check(decoder, self.stage.sequence_length)
        if self.stage.gradient_checkpointing:
            decoder.use_gradient_checkpointing()
        sharding = Sharding(decoder, self.world, self.machine.kind)
        optimizer = Optimizer(decoder, self.stage)
        for remark in optimizer.remarks:
            self.reporter.notice(f"stage {self.stage.name}: {remark}")
        progress = self._resume(decoder, optimizer)
        data = self._data()
        probed = self._probe(decoder, optimizer, sharding, data["train"])
        if self.machine.compile:
            decoder.compile()
        with probe.explained(self.planned, f"stages.{self.stage.name}", "a step"):
            stopped_by = self._loop(decoder, optimizer, progress, sharding, data)
        if stopped_by:
            raise Stopped(
                f"{stopped_by}: saved at step {progress.step:,} of {self.planned['steps']:,} in stage {self.stage.name}",
                where=str(self.folder / "checkpoints"),
                fix="the same command goes on from here",
            )
        weights = state.weights_of(decoder, self.world)
        if self.world.leads:
            if self.world.size > 1:  # they may be in parts; a second model would take the memory again
                put_whole(weights, decoder)
            self._finish(decoder, progress, probed, known_notices)
        self.world.wait()
        return store.open_artefact(self.folder / KIND, KIND, verify=False)

    @property
    def world(self) -> World:
        """The processes that train together."""
        return self.machine.world

    def require_not_asked_late(self) -> None:
        """Raise Stopped if the request came in the last step: the stage is finished, what follows is not begun."""
        if self.asked_late:
            raise Stopped(
                f"{self.asked_late}: stage {self.stage.name} is finished",
                where=str(self.folder / KIND),
                fix="the same command goes on from here",
            )

    def _resume(self, decoder: Decoder, optimizer: Optimizer) -> state.Progress:
        checkpoints = self.folder / "checkpoints"
        progress = state.restore(checkpoints, decoder, optimizer, self.key, self.reporter, self.world)
        split = [self.stage.batch_size, self.stage.accumulation, self.world.size]
        if progress is None:
            scale = FIRST_SCALE if decoder.precision == "fp16" else 1.0
            return state.Progress(split=split, loss_scale=scale)
        self.reporter.say(
            f"train {self.stage.name}: resumed at step {progress.step:,} of {self.planned['steps']:,}"
        )
        if progress.split != split:
            self.reporter.notice(
                f"stage {self.stage.name}: resumed at step {progress.step:,} with {_times(split)} rows a step instead of "
                f"{_times(progress.split)} (batch_size x accumulation x processes): the same rows, sums rounded differently"
            )
            progress.split = split
        return progress

    def _data(self) -> dict[str, TrainingData]:
        """The training side, and the validation side if it has documents; only training is rearranged."""
        arranger = arranger_for(
            self.stage.fill_in_the_middle, self.tokenizer, self.recipe.seed, self.stage.name
        )
        found = {}
        for side in ("train", "validation"):
            if not self.prepared.files[f"{self.stage.name}/{side}/tokens.bin"]["bytes"]:
                continue
            try:
                found[side] = TrainingData(
                    self.prepared.folder / self.stage.name / side,
                    self.stage,
                    vocab_size=self.tokenizer.vocab_size,
                    pad_id=self.tokenizer.special_ids["pad"],
                    seed=self.recipe.seed,
                    arranger=arranger if side == "train" else None,
                    launch=self.world.launch,
                    held_out=side != "train",
                )
            except DataError as error:
                if side == "train":
                    raise
                self.reporter.notice(f"stage {self.stage.name}: no validation: {error.what}")
        return found

    def _probe(
        self, decoder: Decoder, optimizer: Optimizer, sharding: Sharding, training: TrainingData
    ) -> Probed:
        """The largest micro-batch, before anything is learned. Raises OutOfMemory."""
        objective = OBJECTIVES.get(self.stage.objective)()
        where = f"stages.{self.stage.name}"
        found = probe.probe(decoder, objective, optimizer, training, sharding, self.planned, where=where)
        planned = f", {amount(found.planned_bytes, 'B')} planned" if found.planned_bytes else ""
        self.reporter.say(
            f"train {self.stage.name}: the largest micro-batch, {found.rows} x {found.length:,} positions, takes "
            f"{amount(found.measured_bytes, 'B')} of tensors{planned}"
        )
        return found

    def _loop(
        self,
        decoder: Decoder,
        optimizer: Optimizer,
        progress: state.Progress,
        sharding: Sharding,
        data: dict[str, TrainingData],
    ) -> str | None:
        """Run the loop; what asked it to stop early, if anything did."""
        checkpoints = self.folder / "checkpoints"
        if "validation" not in data:
            self.reporter.notice(
                f"stage {self.stage.name}: no validation documents; the last weights are the result"
            )

        def save() -> None:
            state.save(checkpoints, decoder, optimizer, progress, self.key, self.world)
            if self.world.leads:
                state.prune(checkpoints, self.stage.keep)

        task = self.reporter.task(f"train {self.stage.name}", self.planned["steps"], initial=progress.step)
        log = (
            StageLog(self.folder, progress.step, self.reporter.notice) if self.world.leads else nullcontext()
        )
        watching = self._watch(decoder, optimizer, progress)
        with log as written, StopRequest() as stop, task as shown, watching as watch:

            def record(line: dict[str, Any]) -> None:
                if written is not None:
                    written.write(line)
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
                sharding=sharding,
                log=record,
                notice=self.reporter.notice,
                save=save,
                save_best=lambda: state.save_best(self.folder, decoder, progress, self.key, self.world),
                watch=watch,
            )
            ended = loop.run(shown, stop)
            anyone = self.world.any(bool(stop.asked))
            asked = stop.asked or ("another process" if anyone else None)
            self.asked_late = asked if ended else None
            return None if ended else asked

    def _outcomes(self, steps: int) -> dict[str, Any] | None:
        """Said and for the record: what fill-in-the-middle did to the pieces trained on."""
        found = self._data()["train"].outcomes(steps)
        if found is None:
            return None
        self.reporter.say(
            f"train {self.stage.name}: fill-in-the-middle, of {found.pieces:,} pieces trained on {outcomes_told(found.counts)}"
        )
        return found.as_dict()

    def _watch(self, decoder: Decoder, optimizer: Optimizer, progress: state.Progress) -> Watch:
        """What looks on while the loop runs: the profiler, if it was asked for."""
        if not (self.profile and self.world.leads):
            return Watch()
        return Profiler(
            folder=self.folder / profiling.KIND,
            key=self.key,
            steps_left=self.planned["steps"] - progress.step,
            decoder=decoder,
            optimizer=optimizer,
            setting=profiling.Setting(
                stage=self.stage.name,
                summary=self.machine.summary,
                flops_per_token=self.planned["flops"] / self.planned["tokens"],
                head_flops_per_token=6.0 * sum(weight.numel() for weight in decoder.head.parameters()),
                peak_flops=lambda: self.machine.peak_flops,
            ),
            done=self._profiled,
        )

    def _profiled(self, record: dict[str, Any]) -> None:
        folder, first, last = self.folder / profiling.KIND, record["first_step"], record["last_step"]
        steps = f"steps {first} to {last} were" if first < last else f"step {first} was"
        self.reporter.say(f"train {self.stage.name}: {steps} profiled, see {folder}/profile.html")
        self.reporter.notice(
            f"stage {self.stage.name}: {steps} profiled, which slows them; the tokens per second include them"
        )
        self.reporter.event("profiled", folder=str(folder), **record)

    def _finish(self, decoder: Decoder, progress: state.Progress, probed: Probed, known_notices: int) -> None:
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
            "peak_share": speed * flops_per_token / (self.machine.peak_flops * self.world.size),
            "skipped_steps": [step + 1 for step in progress.skipped],
            "loss_scale_overflows": progress.overflows,
            "probe": probed.as_dict(),
            "memory_peak_bytes": hardware.memory_peak_bytes(self.machine.device),
            "environment": self.machine.environment(),
            "machine": hardware.describe(self.machine.device),
            "compile": self.machine.compile_reason,
            "fill_in_the_middle": self._outcomes(progress.step),
            "mix": realised_mix(self.stage.weights, progress.tokens_by_source),
            "base": self._base_told,
            "trained_parameters": sum(weight.numel() for weight in trained(decoder).values()),
            "notices": self.reporter.notices[known_notices:],
        }
        with store.staged(self.folder / KIND, kind=KIND, key=self.key, record=record) as work:
            self._save_weights(decoder, work)
            self._copy_tokenizer(work)
            facts = cards.gather(self.recipe, self.folder.parents[1], until=record)
            store.write_text(work / cards.README, model_card(facts))
        self.reporter.say(
            f"train {self.stage.name}: {amount(progress.tokens)} tokens in {duration(progress.seconds)}, "
            f"{amount(speed, 'tok/s')}, {record['peak_share']:.0%} of the measured matmul peak; "
            f"model in {self.folder / KIND}"
        )
        if record["mix"]:
            self.reporter.say(f"train {self.stage.name}: learned tokens were {_mix_told(record['mix'])}")
        self.reporter.event("trained", **record)

    @cached_property
    def _base_told(self) -> dict[str, Any] | None:
        """Which base it is, for the key and the record of the result; its weights are sampled once."""
        if self.recipe.tuned is None or self.machine.base is None:
            return None
        return tuned.described(self.recipe.tuned, self.machine.base)

    def _copy_tokenizer(self, work: Path) -> None:
        """The tokenizer's files; the fixtures only for a model that has learned from conversations."""
        stages = [stage.name for stage in self.recipe.stages]
        so_far = self.recipe.stages[: stages.index(self.stage.name) + 1]
        for file in (self.prepared.folder / "tokenizer").iterdir():
            if file.name != FIXTURES_FILE or any(stage.chats for stage in so_far):
                shutil.copy2(file, work / file.name)

    def _save_weights(self, decoder: Decoder, work: Path) -> None:
        """The whole model or the adapter alone, and the tokens that end what it writes."""
        if self.stage.chats:
            decoder.stop_ids = tuple(stop_ids(self.prepared.folder / "tokenizer"))
        if is_attached(decoder):
            assert self._base_told is not None
            save_adapter(decoder, work, self._base_told["base"], revision=self._base_told["revision"])
            save_generation(decoder, work)
        else:
            save_model(decoder, work)


def _times(split: list[int]) -> str:
    return " x ".join(map(str, split))


def realised_mix(weights: dict[str, float], tokens: list[int]) -> list[dict[str, Any]]:
    """Of each source, its wanted share and what was learned of it; empty without weights."""
    return [
        {
            "source": name,
            "weight_share": weight / sum(weights.values()),
            "tokens": own,
            "share": own / sum(tokens),
        }
        for (name, weight), own in zip(weights.items(), tokens, strict=True)
    ]


def _mix_told(mix: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{part['share']:.1%} from {part['source']} (wanted {part['weight_share']:.1%})" for part in mix
    )


def _require_equal(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    changed = [DIFFERENCES.get(line.partition(" ")[0], line) for line in differences(old, new)]
    if changed:
        raise ArtefactError(
            f"this stage was trained with other settings: {'; '.join(changed[:6])}",
            where=str(folder),
            fix=_FORCE,
        )


_FORCE = "--force trains it again and removes the earlier training; --set name=... starts another run"
