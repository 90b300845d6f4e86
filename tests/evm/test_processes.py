"""Processes end with the one that started them: of every pool, and the compilers, whatever they are at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from whet.evm.decompile import many
from whet.evm.decompile.given import Task
from whet.evm.decompile.run import Options
from whet.evm.pairs.pool import Pool
from whet.evm.solc.node import node
from whet.evm.solc.worker import SCRIPT, Worker

ROOT = Path(__file__).parents[2]
COMPILER = """
exports.cwrap = (name) => (name === "version" ? () => "0.0.0" : (input) => { while (input === "endless"); return "{}"; });
"""


def compiling(folder: str, request: str) -> None:
    """Start a compiler, note its number and this process's, and ask it."""
    worker = Worker([str(node()), str(SCRIPT), f"{folder}/soljson.js"], "solc 0.0.0")
    ours, theirs = os.getpid(), worker._running().pid
    part = Path(folder, f"{ours}.part")
    part.write_text(f"{ours} {theirs}")
    if request != "endless":
        worker.ask(request)
    part.rename(part.with_suffix(".pids"))
    worker.ask(request)
    time.sleep(600)


def compiling_task(task: Task) -> many.Done:
    compiling(*task.name.split(","))
    return many.Done(task)


def main(kind: str, folder: str, request: str) -> None:
    """The process that is killed: it keeps two compilers at work."""
    if kind == "decompile":
        for _ in many.several([Task(f"{folder},{request}", "00", Options())] * 2, 2, compiling_task):
            pass
    elif kind == "pairs":
        with Pool(2) as pool:
            list(pool.several(compiling, [(folder, request)] * 2, compiling, "compiling"))
    else:
        compiling(folder, request)


def living(pids: list[int]) -> list[int]:
    return [one for one in pids if psutil.pid_exists(one) and psutil.Process(one).status() != "zombie"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    ("kind", "request_"),
    [("pairs", "endless"), ("pairs", "short"), ("decompile", "endless"), ("alone", "endless")],
)
def test_nothing_outlives_who_started_it(tmp_path: Path, kind: str, request_: str, sent: int) -> None:
    (tmp_path / "soljson.js").write_text(COMPILER)
    program = f"from tests.evm.test_processes import main; main({kind!r}, {str(tmp_path)!r}, {request_!r})"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    several = 1 if kind == "alone" else 2
    pids: list[int] = []
    try:
        deadline = time.monotonic() + 60
        while len(pids) < 2 * several and time.monotonic() < deadline:
            time.sleep(0.05)
            pids = [int(one) for path in tmp_path.glob("*.pids") for one in path.read_text().split()]
        assert len(living(pids)) == 2 * several
        process.send_signal(sent)
        assert process.wait(10) == -sent
        deadline = time.monotonic() + 10
        while living(pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not living(pids)
    finally:
        for one in (process.pid, *living(pids)):
            if psutil.pid_exists(one):
                os.kill(one, signal.SIGKILL)
        process.wait(10)
