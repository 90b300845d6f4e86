"""Proof: a whole `whet train` of two stages, stopped anywhere, ends with the files of the run that was not.

In stage one, in its last step, between the stages, in stage two; by a real signal, or left without a word. Every
file of both models is compared byte by byte, but the manifest, which holds times.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import write_material
from whet import pipeline
from whet.errors import Stopped
from whet.progress import Reporter

STAGES = ("first", "second")
TIMED = ("tokens_per_s", "memory_peak_bytes", "seconds")


class Abandoned(BaseException):
    """Nothing in whet catches it, as nothing catches SIGKILL."""


class Interrupting(Reporter):
    """Does something bad once, right after a certain event."""

    def __init__(self, kind: str, stage: str, step: int | None, how: str) -> None:
        super().__init__()
        self.at, self.how, self.done = (kind, stage, step), how, False

    def event(self, kind: str, **fields: Any) -> None:
        super().event(kind, **fields)
        stage = fields.get("stage", fields.get("name", ""))
        step = fields["step"] if kind == "train" and "loss" in fields else None
        if (kind, stage, step) == self.at and not self.done:
            self.done = True
            if self.how == "abandon":
                raise Abandoned
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe, its material, and the straight run."""
    folder = tmp_path_factory.mktemp("stages")
    write_material(folder)
    train(folder, "straight")
    return folder


def train(folder: Path, name: str, reporter: Reporter | None = None) -> None:
    pipeline.train(
        pipeline.open_run(str(folder / "small.yaml"), [f"name={name}", f"output={folder / 'runs'}"], reporter)
    )


def log_of(run: Path, stage: str) -> list[dict[str, Any]]:
    lines = (run / "stages" / stage / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMED} for line in lines]


INTERRUPTIONS = {
    "stage one": ("train", "first", 3),
    "last step of stage one": ("train", "first", 6),
    "between the stages": ("trained", "first", None),
    "first step of stage two": ("train", "second", 1),
    "stage two": ("train", "second", 5),
}
FAST = {
    ("last step of stage one", "signal"),
    ("between the stages", "abandon"),
    ("stage two", "abandon"),
}
CASES = [
    pytest.param(where, how, marks=() if (where, how) in FAST else pytest.mark.slow)
    for where in INTERRUPTIONS
    for how in ("signal", "abandon")
    # Between stages nothing waits for signals: one ends the process there, which is to abandon it.
    if (where, how) != ("between the stages", "signal")
]


@pytest.mark.parametrize(("where", "how"), CASES)
def test_stopped_and_resumed_gives_the_same_files(project: Path, where: str, how: str) -> None:
    name = f"{where}-{how}".replace(" ", "-")
    run, straight = project / "runs" / name, project / "runs" / "straight"
    shutil.copytree(straight / "prepared", run / "prepared")
    reporter = Interrupting(*INTERRUPTIONS[where], how)
    with pytest.raises(Stopped if how == "signal" else Abandoned):
        train(project, name, reporter)
    begun = [stage for stage in STAGES if (run / "stages" / stage).exists()]
    assert begun == (["first", "second"] if "two" in where else ["first"])
    train(project, name)
    for stage in STAGES:
        assert log_of(run, stage) == log_of(straight, stage)
        expected = {path.name: path for path in (straight / "stages" / stage / "model").iterdir()}
        found = {path.name: path for path in (run / "stages" / stage / "model").iterdir()}
        assert expected.keys() == found.keys() >= {"model.safetensors", "config.json", "tokenizer.json"}
        for file in expected.keys() - {
            "MANIFEST.json",
            "README.md",
        }:  # they name the run, its times and its memory
            assert found[file].read_bytes() == expected[file].read_bytes(), f"{stage}/{file}"
