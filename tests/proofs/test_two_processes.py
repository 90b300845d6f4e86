"""Two processes of torchrun over gloo: DDP and FSDP2 give what one process gives, and checkpoints travel between them.

One launch of torchrun runs every scenario (two_processes.py); what it found is compared here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.conftest import write_material
from tests.proofs.two_processes import HALF, STEPS, Training
from whet import store
from whet.train.world import ALONE

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
TORCHRUN += ["--rdzv-endpoint", "127.0.0.1:0"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def alone(prepared: store.Artefact, places: Path) -> dict[str, Lines]:
    """One process with all micro-batches; its checkpoint in the middle is left for two to go on from."""
    found = {}
    for optimizer in ("adamw", "muon"):
        found[optimizer] = Training(
            prepared.folder, places / optimizer, ALONE, "ddp", optimizer=optimizer
        ).run()
    for kind in ("ddp", "fsdp2"):
        Training(prepared.folder, places / f"one-for-{kind}", ALONE, "ddp", optimizer="adamw").run(until=HALF)
    return found


@pytest.fixture(scope="module")
def two(prepared: store.Artefact, places: Path, alone: dict[str, Lines]) -> dict[str, Any]:
    """What two processes found."""
    command = [*TORCHRUN, "-m", "tests.proofs.two_processes", str(prepared.folder), str(places)]
    done = subprocess.run(
        command, cwd=places, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((places / "found.json").read_text("utf-8"))
    return found


def difference(found: Lines, expected: Lines) -> float:
    """Largest relative difference of any figure; the steps, their order and their tokens must be equal."""
    assert [(line["step"], line["tokens"], line.keys()) for line in found] == [
        (line["step"], line["tokens"], line.keys()) for line in expected
    ]
    names = ("loss", "grad_norm", "validation_loss")
    return max(
        abs(ours[name] - theirs[name]) / abs(theirs[name])
        for ours, theirs in zip(found, expected, strict=True)
        for name in names
        if name in theirs
    )


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
@pytest.mark.parametrize(("optimizer", "tolerance"), [("adamw", 1e-5), ("muon", 3e-3)])
def test_two_processes_learn_what_one_does(
    two: dict[str, Any], alone: dict[str, Lines], kind: str, optimizer: str, tolerance: float
) -> None:
    """Also across a stop and resume in the middle. Muon's orthogonalisation rounds to bf16, hence its tolerance."""
    found = two[f"{kind}-{optimizer}"]
    assert found["lines"][-1]["step"] == STEPS
    assert difference(found["lines"], alone[optimizer]) < tolerance


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_it_is_really_two_and_really_sharded(two: dict[str, Any], kind: str) -> None:
    found = two[f"{kind}-adamw"]
    assert (found["world"], found["backend"]) == (2, "gloo")
    assert found["dtensors"] == (found["parameters"] if kind == "fsdp2" else 0)
    share = found["held"] / found["whole"]
    assert share == pytest.approx(0.5, abs=0.01) if kind == "fsdp2" else share == 1


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_what_one_saved_two_go_on_from(two: dict[str, Any], alone: dict[str, Lines], kind: str) -> None:
    second_half = [line for line in alone["adamw"] if line["step"] > HALF]
    assert difference(two[f"{kind}-from-one"]["lines"], second_half) < 1e-5


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_what_two_saved_one_goes_on_from(
    prepared: store.Artefact, places: Path, two: dict[str, Any], alone: dict[str, Lines], kind: str
) -> None:
    folder = places / f"{kind}-adamw"
    for later in range(HALF + 1, STEPS + 1):
        shutil.rmtree(folder / f"step-{later:08d}")
    lines = Training(prepared.folder, folder, ALONE, "ddp", optimizer="adamw").resume().run()
    assert difference(lines, [line for line in alone["adamw"] if line["step"] > HALF]) < 1e-5


def test_every_process_resumes_its_own_dropout(two: dict[str, Any], places: Path) -> None:
    """Bitwise; and the two really draw differently."""
    assert two["dropout"]["resumed"] == two["dropout"]["straight"]
    states = load_file(places / "dropout-stopped" / f"step-{HALF:08d}" / "optimizer.safetensors")
    assert (states["rng/cpu"] != states["rng/cpu/1"]).any()


def cli(folder: Path, *settings: str, processes: int, **more: Any) -> subprocess.Popen[str]:
    launcher = TORCHRUN if processes > 1 else [sys.executable]
    options = [part for item in (f"processes={processes}", *settings) for part in ("--set", item)]
    return subprocess.Popen(
        [*launcher, "-m", "whet", "train", "small.yaml", *options],
        cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more,
    )  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2])
def test_a_recipe_for_another_number_is_refused(tmp_path: Path, processes: int) -> None:
    write_material(tmp_path)
    child = cli(tmp_path, f"processes={3 - processes}", processes=processes)
    output, _ = child.communicate(timeout=120)
    assert child.returncode != 0
    assert "the recipe asks for" in output
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_the_command_line_with_two_processes(tmp_path: Path, kind: str) -> None:
    """Stopped by SIGTERM, gone on with, finished by one process; the weights are those of one process."""
    write_material(tmp_path)
    both = ["stages.first.optimizer=adamw", "stages.second.optimizer=adamw", "stages.second.steps=60"]
    child = cli(
        tmp_path,
        *both,
        "name=one",
        "stages.first.accumulation=2",
        "stages.second.accumulation=4",
        processes=1,
    )
    assert child.wait(timeout=240) == 0
    shared = [*both, "name=two"]
    child = cli(tmp_path, f"sharding={kind}", *shared, processes=2, start_new_session=True)
    checkpoints = tmp_path / "runs/two/stages/second/checkpoints"
    wait_for(lambda: len(list(checkpoints.glob("step-*"))) > 0)
    os.kill(child.pid, signal.SIGTERM)
    child.wait(timeout=120)
    assert not (tmp_path / "runs/two/stages/second/model").exists(), "stopped before its end"
    child = cli(tmp_path, *shared, "stages.first.accumulation=2", "stages.second.accumulation=4", processes=1)
    output, _ = child.communicate(timeout=240)
    assert child.returncode == 0, output
    assert "2 x 4 x 1 rows a step instead of 2 x 2 x 2" in output
    one, two = (
        load_file(tmp_path / "runs" / name / "stages/second/model/model.safetensors")
        for name in ("one", "two")
    )
    assert one.keys() == two.keys()
    assert max(abs(one[name] - two[name]).max() for name in one) < 1e-4


def wait_for(true: Any, timeout_s: float = 240) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
