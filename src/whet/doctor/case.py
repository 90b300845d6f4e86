"""What is examined: a recipe, a run's folder, or a model's folder; each record is read when a check asks for it.

Nothing is written, and nothing is downloaded but a base's settings and tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whet import store, untrusted
from whet.cards.gather import without_card
from whet.doctor.finding import CannotLook
from whet.errors import ArtefactError
from whet.models import hub
from whet.models.families.base import Family, Unknown, for_model_type
from whet.models.outline import Outline
from whet.plan.size import size_of
from whet.plan.subject import read_config
from whet.recipe.schema import Model, Recipe, Stage, Tuned
from whet.records import FAILURE
from whet.text.chat import FIXTURES_FILE
from whet.text.chat.template import Template, own

ADAPTER, CONFIG = "adapter_config.json", "config.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """One stage of a run: what was wanted, logged, and recorded with its result (None while unfinished)."""

    stage: Stage
    folder: Path
    lines: list[dict[str, Any]]
    record: dict[str, Any] | None

    @property
    def name(self) -> str:
        """As findings name it."""
        return f"stage {self.stage.name}"


@dataclass
class Case:
    """What there is to look at. `thorough`: the model may be loaded and asked, which takes a while."""

    name: str
    recipe: Recipe | None = None
    folder: Path | None = None
    model: Path | None = None
    thorough: bool = False

    @cached_property
    def prepared(self) -> store.Artefact:
        """The prepared data of the run. Raises CannotLook if there is none."""
        return self._artefact(self._run / "prepared", "prepared", "nothing is prepared yet (whet prepare)")

    @cached_property
    def trained(self) -> list[Trained]:
        """The stages that were begun. Raises CannotLook if none was."""
        recipe, folder = self._recipe, self._run
        begun = [stage for stage in recipe.stages if (folder / "stages" / stage.name / "log.jsonl").exists()]
        if not begun:
            raise CannotLook("nothing is trained yet (whet train)")
        return [_trained(stage, folder / "stages" / stage.name) for stage in begun]

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """The record of the evaluation. Raises CannotLook if there is none, or if it is of other models than there are."""
        missing = "nothing is evaluated yet (whet evaluate)"
        record = self._artefact(self._run / "evaluation", "evaluation", missing).record
        for name, result in record.get("results", {}).items():
            if result != self._result_hash(name):
                raise CannotLook(f"the evaluation is of another result of stage {name} (whet evaluate)")
        return record

    def _result_hash(self, stage: str) -> str | None:
        folder = self._run / "stages" / stage / "model"
        if not folder.exists():
            return None
        return store.content_hash(without_card(store.open_artefact(folder, "model", verify=False).files))

    @cached_property
    def failure(self) -> dict[str, Any] | None:
        """How the run's last training ended, if by an error."""
        path = self.folder / FAILURE if self.folder else None
        found = store.read_json(path) if path and path.exists() else None
        return found if isinstance(found, dict) else None

    @cached_property
    def result(self) -> Path:
        """The folder of the model: the one that was named, or of the run's last finished stage. Raises CannotLook."""
        if self.model is not None:
            return self.model
        finished = [one.folder / "model" for one in self.trained if one.record is not None]
        if not finished:
            raise CannotLook("no stage is finished yet (whet train)")
        return finished[-1]

    @property
    def is_adapter(self) -> bool:
        """Whether the result is an adapter."""
        return (self.result / ADAPTER).exists()

    @property
    def teaches_chats(self) -> bool:
        """Whether a stage of the recipe learns from conversations; False without a recipe."""
        return self.recipe is not None and any(stage.chats for stage in self.recipe.stages)

    @property
    def converses(self) -> bool:
        """Whether the result was tuned on conversations by whet."""
        return (self.result / FIXTURES_FILE).exists()

    @property
    def base(self) -> Path:
        """Settings and tokenizer of the base: the recipe's, or the one that an adapter names. Raises CannotLook."""
        if isinstance(self._base, str):
            raise CannotLook(self._base)
        return self._base

    @cached_property
    def _base(self) -> Path | str:
        """The base, or why it cannot be had: asked once, since a hub that does not answer takes its time."""
        about: hub.Base | None = self.recipe.tuned if self.recipe else None
        if self.model is not None and self.is_adapter:
            from whet.models.tuned import base_of

            about = base_of(self.model)
        if about is None:
            return "there is no base"
        try:
            return hub.of(about, weights=False)
        except ArtefactError as error:
            return f"the base cannot be had: {error.what}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config.json of the model that computes: of the result, or of its base. Raises CannotLook."""
        if self._has_whole_result():
            return untrusted.settings_inside(self.result, CONFIG)
        if self.folder is None and self.recipe and self.recipe.tuned:  # sizes that come with whet are enough
            about = self.recipe.tuned
            return read_config(about.base, revision=about.revision, cache_dir=about.cache_dir)[0]
        return untrusted.settings_inside(self.base, CONFIG)

    def _has_whole_result(self) -> bool:
        try:
            return not self.is_adapter
        except CannotLook:
            return False

    @property
    def family(self) -> Family:
        """Of `config`."""
        return for_model_type(str(self.config.get("model_type")))

    @cached_property
    def outline(self) -> Outline:
        """Of the model that computes. Raises CannotLook for an architecture that whet does not know."""
        if self.recipe is not None and isinstance(self.recipe.model, Model):
            return self._new_model(self.recipe)
        if isinstance(self.family, Unknown):
            raise CannotLook(f"whet does not know the architecture {self.config.get('model_type')!r}")
        return self.family.outline(self.config)

    def _new_model(self, recipe: Recipe) -> Outline:
        """With the vocabulary that its tokenizer has, or is to have."""
        if self.folder is not None and (self.folder / "prepared").exists():
            vocabulary = int(self.prepared.record["tokenizer"]["vocab_size"])
        else:
            vocabulary = recipe.tokenizer.vocab_size if recipe.tokenizer else 0
        found = size_of(recipe, vocabulary).outline
        assert found is not None, "a recipe's own models are of known families"
        return found

    @property
    def tuned(self) -> Tuned:
        """The recipe's base and adapter. Raises CannotLook if there is none."""
        if self.recipe is None or self.recipe.tuned is None:
            raise CannotLook("nothing is tuned")
        return self.recipe.tuned

    def prepared_stages(self) -> Iterator[tuple[Stage, dict[str, Any]]]:
        """Each stage with what was prepared for it. Raises CannotLook."""
        records = {record["name"]: record for record in self.prepared.record["stages"]}
        for stage in self._recipe.stages:
            if stage.name in records:
                yield stage, records[stage.name]

    @property
    def _recipe(self) -> Recipe:
        if self.recipe is None:
            raise CannotLook("a model's folder alone says nothing of its training")
        return self.recipe

    @property
    def _run(self) -> Path:
        if self.folder is None:
            raise CannotLook(
                "a model's folder alone says nothing of its training"
                if self.recipe is None
                else "not run yet (whet run)"
            )
        return self.folder

    @staticmethod
    def _artefact(folder: Path, kind: str, missing: str) -> store.Artefact:
        if not folder.exists():
            raise CannotLook(missing)
        return store.open_artefact(folder, kind, verify=False)


def template_of(folder: Path) -> Template:
    """The chat template of a folder. Raises CannotLook if it has none."""
    found = own(folder)
    if found is None:
        raise CannotLook("there is no chat template")
    return found


def _trained(stage: Stage, folder: Path) -> Trained:
    lines = store.read_json_lines(folder / "log.jsonl", lambda _: None)
    model = folder / "model"
    record = store.record_of(model, "model") if model.exists() else None
    return Trained(stage, folder, lines, record)
