"""What a user may ask that cannot be: each said in a few lines with the step to take, and nothing is left behind.

The commands as they are typed, in processes of their own; a hub on this machine stands in for the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bases import make_base, write_tuning
from tests.models.hub_server import Hub, Repository, serving
from whet import pipeline
from whet.progress import Reporter


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its base, conversations, and bases that something is wrong with. Read only."""
    folder = tmp_path_factory.mktemp("made")
    write_tuning(folder)
    for name in ("weightless", "pickled"):
        shutil.copytree(folder / "base", folder / name)
        (folder / name / "model.safetensors").unlink()
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return folder


@pytest.fixture(scope="module")
def adapter(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for the base, without the record of which base that was: as one from elsewhere."""
    output = tmp_path_factory.mktemp("trained")
    run = pipeline.open_run(str(made / "tuned.yaml"), [f"output={output}", "stages.chat.steps=2"], Reporter())
    pipeline.train(run)
    kept = ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json")
    folder = tmp_path_factory.mktemp("adapter")
    for name in kept:
        shutil.copy(run.folder / "stages" / "chat" / "model" / name, folder)
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serving({"someone/gated": Repository(refusal=(403, "GatedRepo"))}) as running:
        yield running


def whet(where: Path, hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, in this folder, with an empty cache."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    about = {"HF_HOME": str(where / "cache"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "whet", *arguments], capture_output=True, text=True, cwd=where, timeout=120,
        env={**clean, **about, "no_proxy": "127.0.0.1"}, check=False,
    )  # fmt: skip


def files(folder: Path) -> set[str]:
    """Everything in a folder but the hub's cache."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] != "cache"
    }


CASES = {
    "a model that does not exist": ("model.base=someone/missing", "is neither a folder here", "spelling"),
    "a gated model": ("model.base=someone/gated", "is gated", "hf auth login"),
    "a folder that does not exist": ("model.base=./nowhere", "there is no folder", "a name on the hub is `owner/name`"),
    "a folder without weights": ("model.base={made}/weightless", "no config.json with safetensors weights", "safetensors"),
    "weights in a pickle": ("model.base={made}/pickled", "only pickles (pytorch_model.bin)", "safetensors"),
    "longer than the model's positions": ("stages.chat.sequence_length=4096", "longer than the 256 positions", "256 or less"),
    "a GPU that is not there": ("device=cuda", "is not there", "device"),
    "targets that the model does not have": ("model.adapter.targets=[c_attn]", "no linear layer", "q_proj"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_cannot_be(case: str, made: Path, hub: Hub, tmp_path: Path) -> None:
    override, what, step = CASES[case]
    shutil.copytree(made / "base", tmp_path / "base")
    for name in ("chats.jsonl", "tuned.yaml"):
        shutil.copy(made / name, tmp_path)
    before = files(tmp_path)
    done = whet(tmp_path, hub, "run", "tuned.yaml", "--set", override.format(made=made))
    assert done.returncode in (1, 2, 3, 4), done.stderr
    assert what in done.stderr
    said = done.stderr.partition("->")[2]
    assert step in (said or done.stderr), "it says what to do"
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 8
    assert files(tmp_path) == before, "nothing is half-written"


@pytest.mark.parametrize("command", ["generate", "merge"])
def test_an_adapter_of_another_model(
    command: str, adapter: Path, hub: Hub, tmp_path: Path, made: Path
) -> None:
    other = make_base(tmp_path / "other", hidden_size=64)
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": str(other)}), "utf-8"
    )
    before = files(tmp_path)
    more = ["--prompt", "def "] if command == "generate" else ["--to", "merged"]
    done = whet(tmp_path, hub, command, str(folder), *more)
    assert done.returncode == 4, done.stderr
    assert "does not fit this model" in done.stderr
    assert "the model it was made for" in done.stderr.partition("->")[2]
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == before
