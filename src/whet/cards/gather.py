"""Reads a run's folder into `Facts`, and writes its cards. What is not there yet is left out, never invented.

Cost: one pass over the lists of documents (not over their tokens), for licences and languages.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whet import store
from whet.errors import ArtefactError
from whet.recipe.schema import Recipe, Stage

MODEL_CARD, DATA_CARD = "model_card.md", "data_card.md"
README = "README.md"
"""The model card's name inside a model folder, where the Hugging Face hub looks for it."""
SPLITS = ("train", "validation", "test")
Record = dict[str, Any]


@dataclass(slots=True)
class Contents:
    """How many documents of a stage, in all splits, carry each licence and each language; "" is none recorded."""

    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Facts:
    """A run's records. `models` are those of the finished stages in order, the last one is what a card is about."""

    recipe: Recipe
    prepared: Record | None = None
    data_hash: str = ""
    contents: dict[str, Contents] = field(default_factory=dict)
    plan: Record | None = None
    models: list[Record] = field(default_factory=list)
    evaluation: Record | None = None
    command: str = ""

    @property
    def trained(self) -> list[tuple[Stage, Record, Record]]:
        """Every finished stage: its settings, its plan, its record."""
        settings = {stage.name: stage for stage in self.recipe.stages}
        planned = {stage["name"]: stage for stage in (self.plan or {}).get("stages", ())}
        return [
            (settings[model["name"]], planned.get(model["name"], {}), model)
            for model in self.models
            if model["name"] in settings
        ]

    @property
    def stages(self) -> list[Record]:
        """The prepared record of every stage that the card is about."""
        names = [model["name"] for model in self.models]
        found: list[Record] = (self.prepared or {}).get("stages", [])
        return [stage for stage in found if not names or stage["name"] in names]

    @property
    def notices(self) -> list[str]:
        """All notices of all records, each once."""
        records = [self.prepared, self.plan, *self.models, self.evaluation]
        return list(
            dict.fromkeys(notice for record in records if record for notice in record.get("notices", ()))
        )


def without_card(files: dict[str, Record]) -> dict[str, Record]:
    """A model's files that decide what it does: its card tells of speed and time, which are never twice the same."""
    return {name: entry for name, entry in files.items() if name != README}


def gather(recipe: Recipe, folder: Path, *, until: Record | None = None) -> Facts:
    """The facts of a run's folder; with `until`, as of the end of that stage, whose record this is."""
    prepared, facts = _open(folder / "prepared", "prepared"), Facts(recipe)
    if prepared is not None:
        facts.prepared, facts.data_hash = prepared.record, store.content_hash(prepared.files)
        facts.contents = {
            stage["name"]: _contents(prepared.folder / stage["name"]) for stage in prepared.record["stages"]
        }
    facts.plan = store.read_json(folder / "plan.json") if (folder / "plan.json").exists() else None
    state = folder / "run.json"
    facts.command = str(store.read_json(state).get("command", "")) if state.exists() else ""
    for stage in recipe.stages:
        if until is not None and stage.name == until["name"]:
            facts.models.append(until)
            return facts
        model = _open(folder / "stages" / stage.name / "model", "model")
        facts.models += [model.record] if model else []
    evaluation = _open(folder / "evaluation", "evaluation")
    facts.evaluation = evaluation.record if evaluation else None
    return facts


def _open(folder: Path, kind: str) -> store.Artefact | None:
    try:
        return store.open_artefact(folder, kind, verify=False)
    except ArtefactError:
        return None


def _contents(folder: Path) -> Contents:
    found = Contents()
    for split in SPLITS:
        with (folder / split / "documents.jsonl").open(encoding="utf-8") as file:
            for document in map(json.loads, file):
                found.licences[str(document.get("licence", ""))] += 1
                found.languages[str(document.get("language", ""))] += 1
    return found


def write(recipe: Recipe, folder: Path) -> list[Path]:
    """Write the cards of a run's folder, those that there is something to say in; which ones."""
    from whet.cards.data import data_card
    from whet.cards.model import model_card

    facts = gather(recipe, folder)
    last = f"stages/{facts.models[-1]['name']}/model" if facts.models else ""
    texts = {
        MODEL_CARD: model_card(facts, folder=last) if last else None,
        DATA_CARD: data_card(facts) if facts.prepared else None,
    }
    for name, text in texts.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)  # it would tell of what is no longer there
        else:
            store.write_text(folder / name, text)
    return [folder / name for name, text in texts.items() if text is not None]
