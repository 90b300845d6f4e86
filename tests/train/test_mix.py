"""Weights from the recipe to the report: what is planned is what is learned, also when stopped in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import RECIPE, write_material
from whet import pipeline, store
from whet.begin import require_same_training
from whet.errors import ArtefactError, Stopped
from whet.evaluate.report.wording import share
from whet.pipeline import Run
from whet.prepare.preview import preview
from whet.prepare.run import prepared_key
from whet.progress import Reporter
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.run import realised_mix

ONE_STAGE = RECIPE[: RECIPE.index("  - name: second")] + RECIPE[RECIPE.index("evaluate:") :]
MIXED = ONE_STAGE.replace(
    "data: [{source: text, path: material/a}]",
    "data: [{source: text, path: material/a, weight: 3}, {source: text, path: material/b, weight: 1}]\n"
    "    curriculum: {by: difficulty, bands: 4}",
)
MIXED = MIXED.replace("batch_size: 4\n    steps: 6", "batch_size: 8\n    steps: 60")
MIXED = MIXED.replace("evaluate_every: 3\n    save_every: 2", "evaluate_every: 20\n    save_every: 25")
"""60 steps of 8 rows: an epoch of 395 from easy to hard, and some of a plain one."""

A, B = "text (data.0)", "text (data.1)"


class Listening(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def open_mixed(folder: Path, *overrides: str) -> Run:
    return pipeline.open_run(str(folder / "mixed.yaml"), overrides, Listening())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small material and a recipe that mixes it."""
    made = tmp_path_factory.mktemp("mix")
    write_material(made)
    (made / "mixed.yaml").write_text(MIXED.replace("name: small", f"name: small\noutput: {made}/runs"))
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """A finished run, its plan and its model's record."""
    run = open_mixed(folder)
    _, planned, (model,) = pipeline.train(run)
    return run, planned["stages"][0], model.record


def test_each_document_knows_its_source(trained: tuple[Run, Any, Any]) -> None:
    prepared = trained[0].folder / "prepared/first"
    for side in ("train", "validation", "test"):
        sources = np.load(prepared / side / "sources.npy")
        lines = (prepared / side / "documents.jsonl").read_text().splitlines()
        origins = [json.loads(line)["origin"] for line in lines]
        assert sources.dtype == np.int16
        assert sources.tolist() == [int(Path(origin).stem[1:]) >= 100 for origin in origins]
        assert len(set(sources.tolist())) == 2


def test_what_was_planned_was_learned(trained: tuple[Run, Any, Any]) -> None:
    run, planned, record = trained
    assert [(part["source"], part["tokens"]) for part in planned["mix"]] == [
        (part["source"], part["tokens"]) for part in record["mix"]
    ]
    assert planned["tokens"] == record["tokens"] == sum(part["tokens"] for part in record["mix"])
    assert sum(part["rows"] for part in planned["mix"]) == 60 * 8
    assert [part["weight_share"] for part in record["mix"]] == [0.75, 0.25]
    assert [part["share"] for part in record["mix"]] == pytest.approx([0.75, 0.25], abs=0.05)
    said = "\n".join(run.reporter.said)  # type: ignore[attr-defined]
    assert f"from {A} (wanted 75.0%)" in said
    assert f"{planned['mix'][1]['passes']:.2f} passes" in said
    assert store.read_json(run.folder / "plan.json")["stages"][0]["mix"] == planned["mix"]


def test_the_preview_shows_the_rows_that_training_reads_first(trained: tuple[Run, Any, Any]) -> None:
    run = trained[0]
    prepared = store.open_artefact(run.folder / "prepared", "prepared")
    data = TrainingData(
        prepared.folder / "first/train", run.recipe.stages[0], vocab_size=420, pad_id=0, seed=run.recipe.seed
    )
    shown = [row.row for row in preview(prepared, run.recipe, rows=8).rows]
    assert shown == data.rows_of_step(0).tolist()
    held_out = preview(prepared, run.recipe, split="validation", rows=3)
    assert len(held_out.rows) == 3, "a side that is not trained on is packed as it comes"


def test_the_report_shows_the_mix(trained: tuple[Run, Any, Any]) -> None:
    page = pipeline.report(trained[0]).read_text("utf-8")
    assert "Tokens by source" in page
    for name, wanted, part in ((A, 0.75, trained[2]["mix"][0]), (B, 0.25, trained[2]["mix"][1])):
        assert f"{share(part['share'])} {name} (wanted {share(wanted)})" in page
    assert "by difficulty, 4 bands" in page


def test_stopped_and_resumed_it_is_the_same_training_with_the_same_mix(
    folder: Path, trained: tuple[Run, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle, away from every regular checkpoint, by what asks the loop after each step."""
    asked = 0

    def after_30(self: StopRequest) -> str | None:
        nonlocal asked
        asked += 1
        return "test" if asked > 30 else None

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "asked", property(after_30, lambda self, value: None), raising=False)
        with pytest.raises(Stopped):
            pipeline.train(open_mixed(folder, "name=stopped"))
    _, _, (model,) = pipeline.train(open_mixed(folder, "name=stopped"))
    assert model.record["mix"] == trained[2]["mix"]
    straight = trained[0].folder / "stages/first/model/model.safetensors"
    assert (model.folder / "model.safetensors").read_bytes() == straight.read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("stages.first.data.1.weight=2", "weights"),
        ("stages.first.curriculum.bands=5", "curriculum"),
        ("stages.first.curriculum=null", "curriculum"),
    ],
)
def test_another_mix_or_order_is_another_training_but_the_same_tokens(
    folder: Path, trained: tuple[Run, Any, Any], change: str, named: str
) -> None:
    run = trained[0]
    other = open_mixed(folder, change)
    assert prepared_key(other.recipe) == prepared_key(run.recipe)
    with pytest.raises(ArtefactError, match="had other settings"):
        require_same_training(other)
    from whet.train.machine import Machine
    from whet.train.run import StageTraining

    plan = store.read_json(run.folder / "plan.json")
    training = StageTraining(
        other.recipe,
        other.recipe.stages[0],
        plan["stages"][0],
        run.folder / "stages/first",
        store.open_artefact(run.folder / "prepared", "prepared"),
        None,
        Machine(other.recipe, plan),
        other.reporter,
    )
    with pytest.raises(ArtefactError, match=named):
        training.finished_before()


def test_the_plan_warns_of_many_passes_and_of_an_easy_end(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["name=warned", "stages.first.data.1.weight=30", "stages.first.curriculum.epochs=9"]
    run = open_mixed(folder, *overrides, "stages.first.steps=200")
    planned = pipeline.plan(run, pipeline.prepare(run))
    stage = planned["stages"][0]
    assert stage["mix"][1]["passes"] > 4
    notices = "\n".join(planned["notices"])
    assert f"source {B} is repeated {stage['mix'][1]['passes']:.1f} times" in notices
    assert f"source {A} is repeated" not in notices
    unseen = stage["rows"] - 200 * 8 % stage["rows"]
    assert f"the hardest {unseen:,} of {stage['rows']:,} rows are not reached" in notices
    assert "note: stage first: source" in capsys.readouterr().err


def test_the_shares_of_nothing_are_nothing() -> None:
    assert realised_mix({}, []) == []
