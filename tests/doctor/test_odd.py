"""Records that are missing, damaged or odd: the doctor never raises, and never hides how a run ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.doctor.material import change_log, change_record, found, run_of, trained, write_case
from tests.doctor.test_planted import Heard, evaluated, model_of
from whet import pipeline, store
from whet.doctor.case import Case
from whet.doctor.checks.data import Data
from whet.doctor.checks.output import _loops, _texts
from whet.doctor.finding import Finding
from whet.errors import ArtefactError, LossNotFinite
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


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in which nothing is wrong. Read only."""
    return trained(write_case(tmp_path_factory.mktemp("healthy")))


@pytest.fixture
def run(healthy: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(healthy, tmp_path / "tuned"))


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
    with pytest.raises(torch.OutOfMemoryError):
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
    with pytest.raises(ArtefactError):
        pipeline.run_all(run)
    assert not (run.folder / "failure.json").exists()
    assert not (run.folder / "diagnosis.json").exists()


def test_an_evaluation_of_other_results_is_not_looked_at(run: Path) -> None:
    evaluated(run, "The value is " + "read the file, " * 12)
    assert found(run) == ["looping output"]
    change_record(run / "evaluation", lambda record: record["results"].update(chat="of another training"))
    diagnosis = pipeline.diagnose(str(run))
    assert diagnosis.healthy
    assert "another result of stage chat" in diagnosis.not_looked["output"]


def test_output_that_is_empty(run: Path) -> None:
    evaluated(run, " ")
    assert found(run) == ["incoherent output"]


def test_an_adapter_without_settings_of_generation_stops_where_its_base_does(run: Path) -> None:
    """As other programs save one: the template beside it, no fixtures, no generation_config.json."""
    for name in ("chat_fixtures.json", "generation_config.json", store.MANIFEST):
        (model_of(run) / name).unlink()
    assert "stop tokens" not in found(model_of(run))


def test_an_adapter_whose_base_is_nowhere(run: Path) -> None:
    path = model_of(run) / "adapter_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**settings, "base_model_name_or_path": str(run / "nowhere")}), "utf-8")
    (model_of(run) / store.MANIFEST).unlink()
    diagnosis = pipeline.diagnose(str(model_of(run)))
    assert diagnosis.healthy
    assert "base cannot be had" in diagnosis.not_looked["targets"]


def test_a_base_of_an_architecture_that_nobody_knows(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    settings = tmp_path / "base" / "config.json"
    config = json.loads(settings.read_text("utf-8"))
    odd: dict[str, Any] = {
        "model_type": "novel",
        "bos_token_id": None,
        "eos_token_id": [0, 0.5, "2", -1, 2**70],
        "pad_token_id": {},
    }
    settings.write_text(json.dumps({**config, **odd, "vocab_size": None}), "utf-8")
    diagnosis = pipeline.diagnose(str(case))
    assert diagnosis.healthy
    assert "novel" in diagnosis.not_looked["targets"]
    assert not any("the check failed" in why for why in diagnosis.not_looked.values())


def test_text_that_repeats_as_its_reference_does() -> None:
    line = "0x{0:02x}, mapping({1} => uint256) public {1}Of; "
    table = "".join(line.format(number, f"name{number}") for number in range(40))
    other = "".join(line.format(number, f"word{number}") for number in range(40, 80))
    assert not _loops(other, table)
    assert _loops("the same thing again, " * 20, table)


def test_scripts_without_spaces_loop_too() -> None:
    assert _loops("这是一个测试。" * 20, "")
    assert _loops("a" * 600, "")
    assert not _loops("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳", "")


def test_output_that_was_decoded_greedily_alone() -> None:
    """A small model loops then, however healthy it is."""
    record = {"samples": [{"reference": "", "outputs": [{"decoding": "greedy", "text": "again " * 50}]}] * 4}
    assert list(_texts(record, greedy=False)) == []
    assert len(list(_texts(record, greedy=True))) == 4
