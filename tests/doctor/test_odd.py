"""Records that are missing, damaged or odd: the doctor never raises, and never hides how a run ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.doctor.material import change_log, found, run_of, write_case
from tests.doctor.test_planted import Heard
from whet import pipeline, store
from whet.doctor.case import Case
from whet.doctor.checks.data import Data
from whet.doctor.finding import Finding
from whet.errors import ArtefactError, LossNotFinite, OutOfMemory
from whet.train import machine
from whet.train.loop import Loop

RECORDS = (
    "plan.json",
    "failure.json",
    "prepared/MANIFEST.json",
    "prepared/tokenizer/tokenizer.json",
    "prepared/chat/train/offsets.npy",
    "stages/chat/log.jsonl",
    "stages/chat/model/MANIFEST.json",
    "stages/chat/model/adapter_config.json",
    "stages/chat/model/adapter_model.safetensors",
    "stages/chat/model/tokenizer.json",
    "stages/chat/model/tokenizer_config.json",
    "stages/chat/model/generation_config.json",
    "stages/chat/model/chat_fixtures.json",
    "evaluation/MANIFEST.json",
)
DAMAGES = (None, b"", b"null", b"[1, 2]", b'{"step": 1, "record": {}}', b"\xff\xfe\x00torn")


@pytest.mark.parametrize("name", RECORDS)
def test_damaged_records(run: Path, name: str) -> None:
    for damage in DAMAGES:
        path = run / name
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)
        diagnosis = pipeline.diagnose(str(run))
        failed = [why for why in diagnosis.not_looked.values() if "the check failed" in why]
        assert not failed, (damage, "a check should say what it lacks")


ODD_LINES: dict[str, Any] = {
    "not finite": {"loss": float("nan"), "grad_norm": float("inf"), "validation_loss": float("nan")},
    "null": {"loss": None, "grad_norm": None, "learning_rate": None, "validation_loss": None},
    "texts": {"loss": "2.5", "learning_rate": "much"},
}


@pytest.mark.parametrize("kind", ODD_LINES)
def test_odd_lines_in_the_log(run: Path, kind: str) -> None:
    change_log(run, lambda line: {**line, **ODD_LINES[kind]} if line["step"] % 3 == 0 else line)
    diagnosis = pipeline.diagnose(str(run))
    assert "loss" in diagnosis.looked
    assert [one.name for one in diagnosis.findings] == []


def test_a_loss_of_nothing(run: Path) -> None:
    change_log(run, lambda line: {**line, **{name: 0.0 for name in line if name.endswith("loss")}})
    assert found(run) == []


def test_a_log_that_is_torn_and_has_gaps(run: Path) -> None:
    path = run / "stages" / "chat" / "log.jsonl"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:12], lines[12][:20], *lines[25:], '{"st']), "utf-8")
    assert found(run) == []


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails at what nobody thought of."""

    def fail(case: Case) -> Iterator[Finding]:
        yield from ()
        raise KeyError("tally")

    monkeypatch.setattr(Data, "findings", staticmethod(fail))


def test_a_check_that_fails_is_told_as_such(run: Path, broken: None) -> None:
    diagnosis = pipeline.diagnose(str(run))
    assert diagnosis.not_looked["data"] == "the check failed: KeyError: 'tally'"
    assert "loss" in diagnosis.looked


def test_what_ended_a_run_is_not_hidden_by_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise OSError("no room for the diagnosis")

    def stop(run: pipeline.Run, **named: Any) -> None:
        pipeline.begin(run)
        raise ZeroDivisionError("of the training")

    case, reporter = write_case(tmp_path), Heard()
    monkeypatch.setattr(store, "write_sealed", fail)
    monkeypatch.setattr(pipeline, "_train_all", stop)
    with pytest.raises(ZeroDivisionError, match="of the training"):
        pipeline.run_all(run_of(case, reporter=reporter))
    assert any("could not look" in text and "no room" in text for text in reporter.shown)


def test_memory_that_runs_out_while_the_base_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    run = run_of(write_case(tmp_path))
    monkeypatch.setattr(machine.Machine, "model", refuse)
    with pytest.raises(OutOfMemory, match="too little memory for the model"):
        pipeline.run_all(run)
    assert found(run.folder) == ["out of memory"]


def test_a_loss_that_is_not_finite_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_gradients", lambda *given: (float("nan"), 1.0))
    run = run_of(write_case(tmp_path))
    with pytest.raises(LossNotFinite):
        pipeline.run_all(run)
    (finding,) = pipeline.diagnose(str(run.folder)).findings
    assert finding.name == "loss spiking"
    assert "loss nan at step 4" in finding.evidence


def test_a_refused_command_tells_nothing_of_the_run_before(healthy: Path, tmp_path: Path) -> None:
    recipe = healthy.parent.parent / "tuned.yaml"
    shutil.copytree(healthy, tmp_path / "runs" / "tuned")
    reporter = Heard()
    run = pipeline.open_run(
        str(recipe), [f"output={tmp_path / 'runs'}", "stages.chat.learning_rate=1e-8"], reporter
    )
    before = (run.folder / "diagnosis.json").read_bytes()
    with pytest.raises(ArtefactError):
        pipeline.run_all(run)
    assert not (run.folder / "failure.json").exists()
    assert (run.folder / "diagnosis.json").read_bytes() == before
