"""Two processes train an adapter over a frozen, perhaps quantized base as one would, with DDP and with FSDP2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models.random_models import LLAMA, saved
from tests.train.sharded_adapters import BASES, RESULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = saved(tmp_path_factory.mktemp("sharded"), LLAMA)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = ["-m", "tests.train.sharded_adapters", str(folder)]
    done = subprocess.run(
        [*launcher, *script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads((folder / "answers.json").read_text())
    return found


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
@pytest.mark.parametrize("base", BASES)
def test_gradients_are_those_of_one_process(base: str, kind: str, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[f"{base}/{kind}"]
    assert answer["difference"] < 1e-5
    assert answer["sharded"] == (kind == "fsdp2"), "the quantized weights too"


@pytest.mark.parametrize("base", BASES)
def test_bitsandbytes_does_not_step_over_shards(base: str, answers: dict[str, dict[str, Any]]) -> None:
    assert "fsdp2" in answers[f"{base}/fsdp2"]["refused"]
    assert answers[f"{base}/ddp"]["refused"] == ""


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
@pytest.mark.parametrize("how", RESULTS)
def test_the_result_is_saved_from_the_parts(how: str, kind: str, answers: dict[str, dict[str, Any]]) -> None:
    """The very files of a whole model, without a second one being built."""
    assert answers["saved"][f"{how}/{kind}"]
