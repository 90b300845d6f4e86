"""The real command line in processes of its own: a whole run, then everything a user does with it.

One run serves all tests of this module; they are ordered as a user would go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import write_material

WHET = [sys.executable, "-m", "whet"]


def whet(*arguments: str, folder: Path, ok: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`; with `ok` its exit status must be 0."""
    done = subprocess.run(
        [*WHET, *arguments], cwd=folder, capture_output=True, text=True, input=stdin, timeout=300
    )
    assert not ok or done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with the small recipe in it and one finished run."""
    folder = tmp_path_factory.mktemp("project")
    write_material(folder)
    whet("run", "small.yaml", folder=folder)
    return folder


def log_of(folder: Path, stage: str) -> list[dict[str, object]]:
    lines = (folder / "stages" / stage / "log.jsonl").read_text().splitlines()
    timed = ("tokens_per_s", "memory_peak_bytes", "seconds")
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


def test_a_run_leaves_what_it_promises(project: Path) -> None:
    run = project / "runs" / "small"
    assert (run / "report.html").read_text().startswith("<!")
    assert (run / "model_card.md").read_text().startswith("---\nlibrary_name: transformers\n")
    assert (run / "data_card.md").read_text().startswith("# Data of `small`")
    assert (run / "stages/first/model/README.md").exists()
    evaluation = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert evaluation["domains"] == ["first", "second"]
    assert evaluation["models"] == ["untrained", "first", "second"]
    bits = evaluation["matrix"]["bits_per_byte"]
    for domain in ("first", "second"):
        assert bits["second"][domain]["value"] < bits["untrained"][domain]["value"]
        assert [floor["name"] for floor in evaluation["floors"][domain]] == [
            "unigram",
            "bigram",
            "trigram",
            "4-gram",
            "5-gram",
        ]
    assert evaluation["samples"]
    assert not list(project.rglob(".staging-*")), "nothing half-written is left"
    assert not list(project.rglob("spool"))


def test_the_saved_model_is_plain_transformers(project: Path) -> None:
    """Model and tokenizer load without whet, and continue a prompt exactly as `whet generate` does."""
    folder = project / "runs/small/stages/second/model"
    script = (
        "import sys, json, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})\n"
        "ids = tokenizer('def read_', return_tensors='pt')\n"
        "out = model.generate(input_ids=ids.input_ids, max_new_tokens=12, do_sample=False)\n"
        "print(json.dumps(tokenizer.decode(out[0, ids.input_ids.shape[1]:], skip_special_tokens=True)))\n"
        "assert 'whet' not in sys.modules\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    arguments = ("generate", "runs/small", "--prompt", "def read_", "-n", "12", "--device", "cpu")
    ours = json.loads(whet(*arguments, "--json", folder=project).stdout)
    assert ours["text"] == json.loads(plain.stdout)
    assert ours["new_tokens"] <= 12
    shown = whet(*arguments, folder=project).stdout
    assert shown == f"def read_{ours['text']}\n", "the streamed text is the text"


def test_a_middle_is_written_between(project: Path) -> None:
    arguments = (
        "generate",
        "runs/small",
        "-p",
        "def a",
        "-s",
        "\n    return x",
        "-n",
        "6",
        "--device",
        "cpu",
    )
    shown = whet(*arguments, folder=project)
    result = json.loads(whet(*arguments, "--json", folder=project).stdout)
    assert shown.stdout == f"def a{result['text']}\n    return x\n"
    assert "not trained to fill in" in shown.stderr
    assert result["prompt_tokens"] > 4 + len("ax")


def test_running_again_does_nothing(project: Path) -> None:
    model = project / "runs/small/stages/second/model/model.safetensors"
    before = model.stat().st_mtime_ns
    done = whet("run", "small.yaml", folder=project)
    assert done.stderr.count("unchanged") == 2
    assert done.stderr.count("finished before") == 2
    assert model.stat().st_mtime_ns == before


def test_json_is_one_object_a_line(project: Path) -> None:
    lines = [
        json.loads(line) for line in whet("run", "small.yaml", "--json", folder=project).stdout.splitlines()
    ]
    assert lines[-1]["event"] == "report"
    assert any("finished before" in line.get("text", "") for line in lines)


def test_other_settings_are_refused_by_name(project: Path) -> None:
    done = whet("train", "small.yaml", "--set", "stages.first.learning_rate=1e-3", folder=project, ok=False)
    assert done.returncode == 4
    assert "stages.first.learning_rate was 0.005, is 0.001" in done.stderr
    assert "--force" in done.stderr


def test_a_refusal_leaves_the_run_as_it_was(project: Path) -> None:
    """Also `evaluate` and `prepare` with another split are refused, before anything is written."""
    run = project / "runs" / "small"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    for command in ("evaluate", "prepare", "train", "run"):
        done = whet(command, "small.yaml", "--set", "seed=8", folder=project, ok=False)
        assert done.returncode == 4, done.stderr
        assert "seed was 7, is 8" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_the_folder_of_a_run_is_a_target(project: Path) -> None:
    done = whet("report", "runs/small", folder=project)
    assert done.stdout.strip() == "runs/small/report.html"
    listed = json.loads(whet("runs", "--json", folder=project).stdout)
    assert listed[0]["stages"] == {"first": "finished", "second": "finished"}
    assert listed[0]["evaluated"] is True


def test_preview_shows_rows_and_reasons(project: Path) -> None:
    shown = whet("preview", "small.yaml", "--stage", "second", "--rows", "1", folder=project).stdout
    assert "b/m1" in shown, "the origin of a document"
    assert "<bos>" in shown
    plain = json.loads(whet("preview", "small.yaml", "--rows", "2", "--json", folder=project).stdout)
    assert len(plain["rows"]) == 4
    assert whet("preview", "small.yaml", "--stage", "thrid", folder=project, ok=False).returncode == 3


def test_sampling_is_seeded(project: Path) -> None:
    arguments = (
        "generate",
        "runs/small",
        "-p",
        "def ",
        "-n",
        "16",
        "--temperature",
        "1.5",
        "--json",
        "--device",
        "cpu",
    )
    texts = [
        json.loads(whet(*arguments, "--seed", seed, folder=project).stdout)["text"]
        for seed in ("1", "1", "2")
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_bits(
    project: Path, signal_sent: signal.Signals, tmp_path: Path
) -> None:
    """Ctrl-C or SIGTERM in the second stage; the same command finishes; logs and weights are those of the straight run."""
    name = f"stopped-{signal_sent.name}"
    arguments = [
        "train",
        "small.yaml",
        "--set",
        f"name={name}",
        "--set",
        "stages.second.steps=120",
        "--set",
        "stages.second.save_every=120",
    ]
    process = subprocess.Popen([*WHET, *arguments], cwd=project, stderr=subprocess.PIPE, text=True)
    log = project / "runs" / name / "stages/second/log.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (log.exists() and log.stat().st_size > 3000):
        time.sleep(0.05)
    os.kill(process.pid, signal_sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert signal_sent.name in said
    assert "goes on" in said
    stopped_at = max(int(line["step"]) for line in log_of(project / "runs" / name, "second"))
    assert 0 < stopped_at < 120
    whet(*arguments, folder=project)
    straight = tmp_path / "straight"
    whet(*arguments, "--set", f"output={straight}", folder=project)
    for stage in ("first", "second"):
        assert log_of(project / "runs" / name, stage) == log_of(straight / name, stage)
        weights = [
            root / "stages" / stage / "model/model.safetensors"
            for root in (project / "runs" / name, straight / name)
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_force_trains_again(project: Path) -> None:
    arguments = ("--set", "name=forced", "--set", "stages.second.steps=2")
    whet("train", "small.yaml", *arguments, folder=project)
    model = project / "runs/forced/stages/second/model/MANIFEST.json"
    before = model.stat().st_mtime_ns
    done = whet("train", "small.yaml", *arguments, "--force", "--profile", folder=project)
    assert "--force" in done.stderr
    profile = project / "runs/forced/stages/second/profile/profile.html"
    assert str(profile.relative_to(project)) in done.stderr
    assert profile.exists()
    assert "profiler_start" not in done.stderr, "torch's own tracing noise"
    assert model.stat().st_mtime_ns > before


def test_tokens_written_are_tokens_read(project: Path) -> None:
    """`prepare --npy` writes arrays; the `tokens` source trains on them with the same tokenizer."""
    whet("prepare", "small.yaml", "--npy", "arrays", folder=project)
    recipe = """
name: from-arrays
device: cpu
tokenizer: {path: runs/small/prepared/tokenizer}
model: {d_model: 32, layers: 1, heads: 2, d_ff: 64, context: 64}
stages:
  - {name: only, data: [{source: tokens, path: arrays/second-train.npy}], steps: 3, batch_size: 2}
evaluate: {samples: 0, floors: 2}
"""
    (project / "arrays.yaml").write_text(recipe)
    done = whet("run", "arrays.yaml", folder=project)
    assert "no validation documents" in done.stderr, "what cannot be done is said"
    assert "nothing to evaluate" in done.stderr


MISTAKES = {
    "no such recipe": (("run", "smal.yaml"), 2, "did you mean 'small.yaml'"),
    "no such option": (("train", "small.yaml", "--forse"), 2, "--forse"),
    "no such command": (("trian", "small.yaml"), 2, "trian"),
    "unknown key": (("check", "small.yaml", "--set", "modle.layers=2"), 2, "did you mean 'model'"),
    "not trained": (("evaluate", "small.yaml", "--set", "name=never"), 4, "whet train"),
    "no such run": (("report", "small.yaml", "--set", "name=never"), 4, "whet run"),
    "no model": (("generate", "material", "-p", "x"), 4, "no stage is finished"),
    "no such stage": (("generate", "runs/small", "-p", "x", "--stage", "third"), 4, "first, second"),
    "too long": (("generate", "runs/small", "-p", "x", "-n", "999", "--device", "cpu"), 1, "context of 64"),
    "two decodings": (("generate", "runs/small", "-p", "x", "--beams", "2", "--top-p", "0.5"), 1, "two ways"),
    "out of range": (("generate", "runs/small", "-p", "x", "--top-p", "1.5"), 1, "--top-p"),
    "no cuda": (
        ("train", "small.yaml", "--set", "name=gpu", "--set", "device=cuda"),
        1,
        "set device to auto",
    ),
    "vocabulary too large": (
        ("prepare", "small.yaml", "--set", "name=v", "--set", "tokenizer.vocab_size=99999"),
        3,
        "or less",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_said_in_a_few_lines(project: Path, mistake: str) -> None:
    import torch

    arguments, code, hint = MISTAKES[mistake]
    if mistake == "no cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = whet(*arguments, folder=project, ok=False)
    assert done.returncode == code, done.stderr
    assert hint in done.stderr
    assert not list(project.rglob(".staging-*"))


def test_init_check_and_schema(project: Path) -> None:
    whet("init", "scratch-quickstart", folder=project)
    again = whet("init", "scratch-quickstart", folder=project, ok=False)
    assert again.returncode == 2
    resolved = whet("check", "scratch-quickstart.yaml", folder=project).stdout
    (project / "resolved.yaml").write_text(resolved)
    assert whet("check", "resolved.yaml", folder=project).stdout == resolved
    assert json.loads(whet("schema", folder=project).stdout)["additionalProperties"] is False
    assert "scratch-quickstart" in whet("recipes", folder=project).stdout


def test_help_is_light() -> None:
    """Neither `import whet` nor `whet --help` loads torch, transformers, numpy or pydantic."""
    script = "import sys, whet, whet.cli; print([m for m in ('torch', 'transformers', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    began = os.times().children_user
    shown = subprocess.run([*WHET, "--help"], capture_output=True, text=True, check=True).stdout
    assert os.times().children_user - began < 1.0
    assert "From raw material" in shown
