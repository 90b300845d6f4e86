"""Runs contenders in turns: each in a process of its own that stays alive and trains only when told to.

The parent writes one line (`{"seconds": ..., "least": ...}`), the child trains whole optimiser steps for
that long, answers with one line of figures, and blocks inside its own loop until the next. The wait is
not timed. What a child prints goes to its log, never into the answers.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from job import Job
from quiet import Bystanders


class Gate:
    """The child's side: `open` once before training, `step` after every optimiser step."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._ends: list[float] = []
        self._losses: dict[int, float] = {}
        self._labels = 0

    def open(self, **facts: Any) -> None:
        """Say that the contender is ready, and wait."""
        self._answer(facts)
        self._wait()

    def loss(self, step: int, value: float) -> None:
        """The mean loss of a step (counted from 1), before its update."""
        self._losses[step] = value

    def step(self, labels: int) -> None:
        """Count one optimiser step of `labels` learned tokens; wait if the turn is over."""
        self._labels += labels
        self._ends.append(time.perf_counter())
        if len(self._ends) < self._least or self._ends[-1] - self._began < self._seconds:
            return
        self._answer(self._figures())
        self._wait()

    def _figures(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        times = [end - start for start, end in zip([self._began, *self._ends], self._ends, strict=False)]
        return {
            "seconds": self._ends[-1] - self._began,
            "labels": self._labels,
            "step_seconds": times,
            "losses": self._losses,
            "cpu_seconds": usage.ru_utime + usage.ru_stime - self._cpu,
            "page_faults": usage.ru_minflt - self._faults,
            "peak_bytes": usage.ru_maxrss * 1024,
        }

    def _answer(self, values: dict[str, Any]) -> None:
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()

    def _wait(self) -> None:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        order = json.loads(line)
        self._seconds, self._least = order["seconds"], order["least"]
        self._labels, self._losses, self._ends = 0, {}, []
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu, self._faults = usage.ru_utime + usage.ru_stime, usage.ru_minflt
        self._began = time.perf_counter()


class Contender:
    """The parent's side of one child process."""

    def __init__(self, job: Job, folder: Path, threads: int) -> None:
        self.job = job
        name = job.name.replace(" ", "-")
        self.log = folder / f"{name}.log"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("contender.py")), job.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env={**os.environ, **environment(job, folder / "compiled" / name, threads)},
        )
        self.facts = self._read()
        self.turns: list[dict[str, Any]] = []

    def turn(self, seconds: float, least: int = 1) -> dict[str, Any]:
        """Train for `seconds` and at least `least` optimiser steps; also says how busy others kept the machine."""
        assert self._process.stdin is not None
        bystanders = Bystanders()
        self._process.stdin.write(json.dumps({"seconds": seconds, "least": least}) + "\n")
        self._process.stdin.flush()
        figures = self._read()
        figures["others_share"] = bystanders.share(figures["cpu_seconds"])
        return figures

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.job.name} ended:\n{self.log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment(job: Job, compiled: Path, threads: int) -> dict[str, str]:
    """Quiet libraries, the same threads for everybody, and a compile cache that starts empty."""
    keep = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**40),
        "MALLOC_TOP_PAD_": str(2**28),
    }
    return {
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": str(threads),
        "TORCHINDUCTOR_CACHE_DIR": str(compiled),
        **(keep if job.keep_memory else {}),
    }
