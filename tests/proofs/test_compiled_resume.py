"""With torch.compile on: stopped and resumed in another process gives the bits of the straight run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_material

SCRIPT = """
import sys
from whet import pipeline
from whet.train.guards import StopRequest
from whet.errors import Stopped

stop_at = int(sys.argv[1])
run = pipeline.open_run("small.yaml", sys.argv[2:])
seen = []

class Reporter(type(run.reporter)):
    def event(self, kind, **fields):
        if kind == "train" and fields.get("stage") == "second":
            seen.append(fields["step"])

run.reporter.__class__ = Reporter
StopRequest.asked = property(lambda self: "test" if stop_at and seen and seen[-1] >= stop_at else None, lambda self, value: None)
try:
    pipeline.train(run)
except Stopped:
    print("stopped", seen[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_stop_and_resume_is_bitwise(tmp_path: Path, precision: str) -> None:
    write_material(tmp_path)

    def train(stop_at: int, name: str) -> str:
        settings = ["compile=on", f"precision={precision}", f"name={name}"]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(stop_at), *settings],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    train(0, "straight")
    assert train(5, "stopped") == "stopped 5\n"
    assert train(0, "stopped") == ""
    weights = [
        tmp_path / "runs" / name / "stages/second/model/model.safetensors" for name in ("straight", "stopped")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
