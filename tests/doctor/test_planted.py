"""One planted fault gives exactly one finding: the faults that the issue of a tuning gone wrong is made of.

Where a fault can be had by a recipe or by the material it is; else a healthy run's files are altered.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.bases import make_base
from tests.doctor.material import (
    answer,
    change_log,
    change_record,
    found,
    run_of,
    trained,
    write_case,
    write_chats,
)
from whet import pipeline
from whet.doctor.finding import CHECKS
from whet.errors import OutOfMemory
from whet.progress import Reporter
from whet.train import probe


class Heard(Reporter):
    """Keeps what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def show_notice(self, text: str) -> None:
        self.shown.append(text)


def model_of(run: Path) -> Path:
    return run / "stages" / "chat" / "model"


# --- targets, and nothing to train


def test_targets_of_another_architecture(case: Path) -> None:
    assert found(case, "model.adapter.targets=[c_attn, q_proj]") == ["wrong targets"]
    (finding,) = pipeline.diagnose(str(case), ["model.adapter.targets=[q_prj]"]).findings
    assert "'q_prj'" in finding.evidence
    assert "q_proj" in finding.todo


def test_an_adapter_for_another_model(run: Path) -> None:
    path = model_of(run) / "adapter_model.safetensors"
    save_file({name.replace("q_proj", "c_attn"): one for name, one in load_file(path).items()}, path)
    assert found(model_of(run)) == ["wrong targets"]


def test_gradients_that_are_zero(run: Path) -> None:
    still = {"grad_norm": 0.0, "loss": 6.04, "validation_loss": 6.05}
    change_log(run, lambda line: {**line, **{name: value for name, value in still.items() if name in line}})
    diagnosis = pipeline.diagnose(str(run))
    assert [one.name for one in diagnosis.findings] == ["nothing trained"]
    assert "loss flat" in [one.name for one in diagnosis.follows["nothing trained"]]


def test_an_adapter_that_adds_nothing(run: Path) -> None:
    path = model_of(run) / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(
        {name: torch.zeros_like(one) if "lora_B" in name else one for name, one in tensors.items()}, path
    )
    assert found(run) == ["nothing trained"]


# --- the tokenizer


def test_a_tokenizer_with_more_ids_than_the_model(case: Path) -> None:
    settings = case.parent / "base" / "config.json"
    config = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps({**config, "vocab_size": 400}), "utf-8")
    assert found(case) == ["tokenizer mismatch"]


def test_ids_that_mean_something_else(run: Path) -> None:
    path = model_of(run) / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    vocab = content["model"]["vocab"]
    first, second = (token for token in list(vocab)[-2:])
    vocab[first], vocab[second] = vocab[second], vocab[first]
    path.write_text(json.dumps(content), "utf-8")
    assert found(run) == ["tokenizer mismatch"]


def test_a_base_that_reads_other_ids(tmp_path: Path) -> None:
    """A base that has learned something, with the ids of its tokenizer dealt out anew: worse than guessing."""
    case = write_case(tmp_path)
    learned = trained(case, "model.adapter=null", "stages.chat.steps=80", "evaluate.samples=0")
    result = learned / "stages" / "chat" / "model"
    base = Path(
        shutil.copytree(result, tmp_path / "learned", ignore=shutil.ignore_patterns("whet*", "README*"))
    )
    path = base / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    added = {token["content"] for token in content["added_tokens"]}
    tokens = [token for token in content["model"]["vocab"] if token not in added]
    ids = [content["model"]["vocab"][token] for token in tokens]
    random.Random(1).shuffle(ids)
    content["model"]["vocab"].update(zip(tokens, ids, strict=True))
    path.write_text(json.dumps(content), "utf-8")
    assert found(trained(case, "name=other", f"model.base={base}", "evaluate.samples=0")) == [
        "tokenizer mismatch"
    ]


# --- the loss


def test_a_learning_rate_that_is_too_low(case: Path) -> None:
    assert found(trained(case, "stages.chat.learning_rate=1e-8")) == ["loss flat"]


def test_a_learning_rate_that_is_too_high_is_told_at_the_end(case: Path) -> None:
    reporter = Heard()
    overrides = ("stages.chat.learning_rate=3.0", "stages.chat.schedule=constant", "model.adapter=null")
    run = trained(case, *overrides, "evaluate.samples=0", reporter=reporter)
    assert found(run) == ["loss rising"]
    assert any("LOSS RISING in stage chat" in text and "learning_rate" in text for text in reporter.shown)
    kept = json.loads((run / "diagnosis.json").read_text("utf-8"))
    assert [one["name"] for one in kept["findings"]] == ["loss rising"]


def test_steps_that_are_passed_over(case: Path) -> None:
    overrides = ("stages.chat.spike_factor=1.05", "stages.chat.skip_steps=40", "evaluate.samples=0")
    assert found(trained(case, *overrides)) == ["loss spiking"]


def test_a_loss_that_jumps(run: Path) -> None:
    change_log(
        run,
        lambda line: {**line, "loss": 2 * line["loss"]} if line["step"] == 25 and "loss" in line else line,
    )
    (finding,) = pipeline.diagnose(str(run)).findings
    assert finding.name == "loss spiking"
    assert "step 25" in finding.evidence


def test_validation_that_rises(run: Path) -> None:
    change_log(
        run,
        lambda line: (
            {**line, "validation_loss": 5.0 + line["step"] / 40} if "validation_loss" in line else line
        ),
    )
    assert found(run) == ["overfitting"]


# --- what it writes


def evaluated(run: Path, text: str) -> None:
    change_record(run / "evaluation", lambda record: _say(record, text))


def _say(record: dict[str, Any], text: str) -> None:
    for sample in record["samples"]:
        for output in sample["outputs"]:
            output["text"] = text


def test_output_that_loops(run: Path) -> None:
    evaluated(run, "The value is " + "read the file, " * 12)
    (finding,) = pipeline.diagnose(str(run)).findings
    assert finding.name == "looping output"
    assert "read the file ," in finding.evidence
    assert " 12 times" in finding.evidence


def test_output_that_is_worse_than_the_base(run: Path) -> None:
    def swap(record: dict[str, Any]) -> None:
        for models in record["matrix"].values():
            models["base"], models["chat"] = models["chat"], models["base"]

    change_record(run / "evaluation", swap)
    assert found(run) == ["incoherent output"]


def test_a_model_that_knows_nothing(tmp_path: Path) -> None:
    assert found(make_base(tmp_path / "random", template=None)) == ["incoherent output"]


# --- memory


def test_memory_that_runs_out(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(probe, "_pass", refuse)
    reporter = Heard()
    run = run_of(case, "stages.chat.batch_size=512", reporter=reporter)
    with pytest.raises(OutOfMemory):
        pipeline.run_all(run)
    (finding,) = pipeline.diagnose(str(run.folder)).findings
    assert finding.name == "out of memory"
    assert finding.todo.count("saves") == 3
    assert any("OUT OF MEMORY in stages.chat" in text for text in reporter.shown)
    monkeypatch.undo()
    pipeline.run_all(run_of(case), force=True)
    assert found(run.folder) == [], "a training that went well afterwards leaves no finding"


def test_memory_that_will_not_do(case: Path) -> None:
    (finding,) = pipeline.diagnose(
        str(case), ["stages.chat.batch_size=1000000", "stages.chat.optimizer=adamw"]
    ).findings
    assert finding.name == "out of memory"
    assert "batch_size" in finding.todo


# --- the data


def test_too_few_conversations(case: Path) -> None:
    write_chats(case.parent / "chats.jsonl", 300)
    assert found(trained(case)) == ["too little data"]


def test_mostly_one_answer(case: Path) -> None:
    write_chats(
        case.parent / "chats.jsonl",
        make=lambda draw, number: answer(draw) if number % 2 else "I do not know.",
    )
    assert found(trained(case)) == ["one-sided data"]


def test_answers_that_are_held_out_and_trained_on(case: Path) -> None:
    common = answer(random.Random(9)) + answer(random.Random(8))
    write_chats(
        case.parent / "chats.jsonl",
        800,  # some are too long
        make=lambda draw, number: f"{answer(draw)} {common if number % 3 == 0 else ''}",
    )
    assert found(trained(case)) == ["leakage"]


# --- templates and stops


def test_a_template_that_was_changed(run: Path) -> None:
    path = model_of(run) / "chat_template.jinja"
    path.write_text(path.read_text("utf-8").replace("<|im_start|>' +", "<|im_start|> ' +"), "utf-8")
    assert found(run) == ["template mismatch"]
    assert found(model_of(run)) == ["template mismatch"]


def test_a_recipe_that_names_another_template(case: Path) -> None:
    assert found(case, "chat_template=alpaca") == ["template mismatch"]


def test_generation_that_stops_elsewhere(run: Path) -> None:
    path = model_of(run) / "generation_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**settings, "eos_token_id": settings["eos_token_id"][-1:]}), "utf-8")
    assert found(run) == ["stop tokens"]


def test_answers_that_never_end(tmp_path: Path) -> None:
    template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    case = write_case(tmp_path, template=template)
    assert found(trained(case, "evaluate.samples=0")) == ["stop tokens"]


# --- the page


def test_the_page_tells_of_every_check_and_finding() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:3]]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    assert {check.strip("`") for check, _ in rows} == {check.NAME for check in CHECKS}
    here = Path(__file__).read_text("utf-8")
    assert all(f'"{name}"' in here for _, name in rows), "each has a planted fault above"
