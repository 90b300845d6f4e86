"""Runs from Python: the command line goes on with them, and they with its; results are typed views of the records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import whet
from tests.conftest import write_material
from whet.train.guards import StopRequest


def recipe(folder: Path, name: str) -> whet.Recipe:
    """One stage of 12 steps."""
    return whet.Recipe(
        name=name,
        tokenizer=whet.Tokenizer(vocab_size=420),
        prepare=whet.Prepare(validation_share=0.1, test_share=0.15),
        model=whet.Model(d_model=32, layers=2, heads=2, d_ff=64, context=64),
        stages=[
            whet.Stage(
                name="only",
                data=[whet.TextSource(path=str(folder / "material/a"))],
                batch_size=4,
                steps=12,
                save_every=100,
                log_every=1,
            )
        ],
        evaluate=whet.Evaluate(samples=0, floors=2, resamples=100),
        seed=7,
        precision="fp32",
        compile="off",
        device="cpu",
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_material(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "whet", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def weights(name: str) -> bytes:
    return (Path("runs") / name / "stages/only/model/model.safetensors").read_bytes()


def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch, run: whet.Run) -> None:
    """Train until the loop has asked so often whether it is to stop."""
    asked = 0

    def ask(self: StopRequest) -> str | None:
        nonlocal asked
        asked += 1
        return "test" if asked > steps else None

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "asked", property(ask, lambda self, value: None), raising=False)
        with pytest.raises(whet.Stopped):
            run.train()


def test_begun_in_python_finished_by_the_command_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = whet.open_run(recipe(project, "straight")).train()
    run = whet.open_run(recipe(project, "stopped"))
    stopped_after(5, monkeypatch, run)
    (state,) = (state for state in whet.list_runs() if state.folder.name == "stopped")
    assert state.stages["only"].startswith("stopped at step")
    done = command("train", "runs/stopped")
    assert "prepare: unchanged" in done.stderr
    assert weights("stopped") == weights("straight") == (straight.folder / "model.safetensors").read_bytes()
    key = json.loads((run.folder / "stages/only/model/MANIFEST.json").read_text())["key"]
    assert key == json.loads((straight.folder / "MANIFEST.json").read_text())["key"]
    after = run.train()
    assert after.stages[0].record == whet.open_run("runs/stopped").train().stages[0].record


def test_begun_by_the_command_line_finished_in_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recipe(project, "written")
    Path("written.yaml").write_text(whet.load_recipe(made).resolved)
    command("prepare", "written.yaml")
    said: list[str] = []

    class Listening(whet.Reporter):
        def say(self, text: str) -> None:
            said.append(text)

    run = whet.open_run(made, reporter=Listening())
    trained = run.train()
    assert any("prepare: unchanged" in line for line in said)
    done = command("run", "written.yaml")
    assert "finished before" in done.stderr
    before = (trained.folder / "MANIFEST.json").stat().st_mtime_ns
    said.clear()
    whet.run_all(run)
    assert sum("unchanged" in line or "finished before" in line for line in said) == 3
    assert (trained.folder / "MANIFEST.json").stat().st_mtime_ns == before


def test_the_command_of_a_run_from_python_makes_it_again(project: Path) -> None:
    run = whet.open_run(recipe(project, "made"), ["stages.only.steps=2"])
    run.prepare()
    told = json.loads((run.folder / "run.json").read_text())["command"]
    assert told == "whet run runs/made"
    assert whet.open_run("runs/made").recipe == run.recipe


def test_results_are_those_of_the_records(project: Path) -> None:
    run = whet.open_run(recipe(project, "made"), ["stages.only.steps=3"])
    prepared = run.prepare(npy=project / "arrays")
    assert sorted(path.name for path in (project / "arrays").iterdir())[0].startswith("only-")
    (stage,) = prepared.stages
    assert set(stage.splits) == {"train", "validation", "test"}
    manifest = json.loads((prepared.folder / "MANIFEST.json").read_text())["record"]
    assert prepared.record == manifest
    assert stage.splits["train"].tokens == manifest["stages"][0]["splits"]["train"]["tokens"]
    assert sum(split.documents for split in stage.splits.values()) + sum(stage.dropped.values()) == 24
    plan = run.plan()
    assert (plan.stages[0].steps, plan.stages[0].name) == (3, "only")
    assert plan.parameters == plan.trainable == run.plan().record["parameters"]["total"]
    trained = run.train()
    assert trained.folder == run.folder / "stages/only/model"
    assert (trained.stages[0].steps, trained.stages[0].result_step) == (3, 3)
    evaluation = run.evaluate()
    assert (evaluation.models, evaluation.domains) == (("untrained", "only"), ("only",))
    last = evaluation.score()
    assert evaluation.score("only", model="only") == last
    assert evaluation.score(model="untrained").value > last.value
    assert [floor.name for floor in evaluation.floors()] == ["unigram", "bigram"]
    wrong: dict[str, Callable[[], object]] = {
        "no domain 'ony'; did you mean 'only'": lambda: evaluation.score("ony"),
        "no domain 'nowhere'": lambda: evaluation.floors("nowhere"),
        "no model 'b'": lambda: evaluation.score(model="b"),
        "no metric 'accuracy'": lambda: evaluation.score(metric="accuracy"),
    }
    for words, ask in wrong.items():
        with pytest.raises(whet.WhetError, match=words):
            ask()
    assert json.loads(command("report", "runs/made", "--json").stdout) == {"report": "runs/made/report.html"}
    assert run.report() == run.folder / "report.html"
    assert max(len(repr(made)) for made in (prepared, plan, trained, evaluation)) < 1000
    shown = run.preview(rows=1)
    assert len(shown.rows) == 1
    whet.show_preview(shown)
    (state,) = whet.list_runs()
    assert state.as_dict() == {
        "run": "runs/made", "stages": {"only": "finished"}, "evaluated": True, "report": "runs/made/report.html"
    }  # fmt: skip


def test_what_comes_first_is_said_as_it_can_be_done(project: Path) -> None:
    run = whet.open_run(recipe(project, "made"))
    with pytest.raises(whet.ArtefactError, match="not trained yet\n  -> train it first"):
        run.evaluate()
    with pytest.raises(whet.ArtefactError, match="no such run yet\n  -> run it first"):
        run.report()
    run.prepare()
    with pytest.raises(whet.ArtefactError, match="-> whet train runs/made"):
        run.evaluate()
    Path("elsewhere.yaml").write_text(run.loaded.resolved)
    with pytest.raises(whet.ArtefactError, match=r"-> whet train elsewhere\.yaml --set name=other"):
        whet.open_run("elsewhere.yaml", ["name=other"]).evaluate()


def test_training_leaves_the_random_state_of_its_caller(project: Path) -> None:
    """Else a random search over recipes would draw the same recipe again and again."""
    run = whet.open_run(recipe(project, "made"), ["stages.only.steps=2"])
    before = torch.get_rng_state()
    run.train()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reporter_of_ones_own_needs_no_more_than_its_methods(project: Path) -> None:
    class Mine(whet.Reporter):
        def __init__(self) -> None:
            self.events: list[str] = []

        def event(self, kind: str, **fields: object) -> None:
            self.events.append(kind)

    mine = Mine()
    whet.open_run(recipe(project, "made"), ["stages.only.steps=2"], reporter=mine).train()
    assert "trained" in mine.events
    mine.notice("one")
    assert (mine.notices, Mine().notices) == (["one"], [])


def test_arrays_go_into_a_folder(project: Path) -> None:
    (project / "file").touch()
    run = whet.open_run(recipe(project, "made"))
    with pytest.raises(whet.CannotWrite, match="a file stands where"):
        run.prepare(npy="file")
    assert not run.folder.exists(), "said before the work"


def test_a_table_has_no_picture_and_says_so(project: Path) -> None:
    arguments = ["plan", "--models", "all", "--cards", "48GB", "--picture", "memory.svg"]
    done = subprocess.run(
        [sys.executable, "-m", "whet", *arguments], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "leave out TARGET, --set and --picture" in done.stderr


def test_a_room_that_is_called_again_keeps_its_notices(project: Path) -> None:
    """As a notebook does with one run: what was said before is as true of the second result."""
    made = recipe(project, "made")
    made.stages[0].steps, made.prepare.test_share = 2, 0.0
    run = whet.open_run(made)
    trained, evaluated = run.train().stages[0].record, run.evaluate().record
    assert any("no test split" in notice for notice in evaluated["notices"])
    again = run.train(force=True).stages[0].record
    assert again["notices"] == trained["notices"]
    assert run.evaluate(force=True).record["notices"] == evaluated["notices"]


def test_nothing_measured_is_said(project: Path) -> None:
    made = recipe(project, "made")
    made.stages[0].steps, made.prepare = 2, whet.Prepare(test_share=0.0, validation_share=0.0)
    run = whet.open_run(made)
    run.train()
    evaluation = run.evaluate()
    assert evaluation.domains == ()
    assert evaluation.floors() == []
    with pytest.raises(whet.WhetError, match="nothing was measured"):
        evaluation.score()
