"""Trainings in which nothing is wrong, of many kinds: nothing is found in any of them, nor in what they began with."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.doctor.material import found, run_of, trained, write_case
from whet import pipeline

TUNED = {
    "llama, every linear layer": ("llama", []),
    "qwen2, attention": ("qwen2", ["model.adapter.targets=attention", "model.adapter.rank=16"]),
    "qwen3, rsLoRA": ("qwen3", ["model.adapter.kind=rslora"]),
    "mistral, mlp": ("mistral", ["model.adapter.targets=mlp"]),
    "gpt2, every weight": ("gpt2", ["model.adapter=null", "stages.chat.learning_rate=3e-3"]),
    "starcoder2, explicit names": ("starcoder2", ["model.adapter.targets=[q_proj, v_proj]"]),
    "gpt_neox, dropout": ("gpt_neox", ["model.adapter.dropout=0.1"]),
    "phi3, accumulation": ("phi3", ["stages.chat.batch_size=2", "stages.chat.accumulation=4"]),
    "llama, last answers, few steps logged": (
        "llama",
        ["stages.chat.loss_on=last", "stages.chat.log_every=4"],
    ),
}


@pytest.mark.parametrize("kind", TUNED)
def test_a_healthy_tuning(tmp_path: Path, kind: str) -> None:
    model_type, overrides = TUNED[kind]
    case = write_case(tmp_path, model_type)
    assert found(case, *overrides) == [], "before"
    folder = trained(case, *overrides)
    diagnosis = pipeline.diagnose(str(folder))
    assert [one.name for one in diagnosis.findings] == []
    assert {"data", "leakage", "loss", "memory", "stops", "template", "tokenizer"} <= {*diagnosis.looked}
    assert json.loads((folder / "diagnosis.json").read_text("utf-8"))["findings"] == []


SCRATCH = """
name: scratch
seed: 3
device: cpu
compile: "off"
prepare: {near_duplicate_similarity: null}
tokenizer: {vocab_size: 512}
model: {d_model: 64, layers: 2, heads: 2, d_ff: 128, context: 128}
stages:
  - {name: text, data: [{source: text, path: words}], sequence_length: 128, batch_size: 16, steps: 40, log_every: 2,
     learning_rate: 1e-2}
  - {name: code, data: [{source: text, path: code}], sequence_length: 128, batch_size: 16, steps: 80, log_every: 4,
     learning_rate: 1e-2}
evaluate: {samples: 4, resamples: 100, decoding: [{kind: greedy}, {kind: sample}]}
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from nothing: made-up words, then calls of made-up functions."""
    folder = tmp_path_factory.mktemp("scratch")
    draw = random.Random(5)
    names = ["".join(draw.choices("abcdefghijklmnoprstuvwy", k=draw.randint(2, 8))) for _ in range(3000)]
    for kind in ("words", "code"):
        (folder / kind).mkdir()
    for number in range(160):
        (folder / "words" / f"{number}.txt").write_text(" ".join(draw.choices(names, k=300)) + ".\n", "utf-8")
        lines = ["{} = {}({}, {})\n".format(*draw.choices(names, k=4)) for _ in range(60)]
        (folder / "code" / f"{number}.py").write_text("".join(lines), "utf-8")
    recipe = folder / "scratch.yaml"
    recipe.write_text(SCRATCH, "utf-8")
    return trained(recipe)


def test_a_healthy_run_from_nothing(scratch: Path) -> None:
    diagnosis = pipeline.diagnose(str(scratch))
    assert [one.name for one in diagnosis.findings] == []


def test_a_healthy_model_by_itself(scratch: Path, tmp_path: Path) -> None:
    """Without the run it came from: it is loaded and asked."""
    model = shutil.copytree(scratch / "stages" / "code" / "model", tmp_path / "model")
    diagnosis = pipeline.diagnose(str(model))
    assert [one.name for one in diagnosis.findings] == []
    assert "output" in diagnosis.looked
    assert "alone says nothing of its training" in diagnosis.not_looked["loss"]


def test_what_is_only_begun_is_no_finding(tmp_path: Path) -> None:
    run = run_of(write_case(tmp_path))
    pipeline.prepare(run)
    diagnosis = pipeline.diagnose(str(run.folder))
    assert diagnosis.healthy
    assert "whet train" in diagnosis.not_looked["loss"]
