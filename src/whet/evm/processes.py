"""Pools of processes that end with the one that started them, also where that is killed and can end nothing itself.

Each looks at a pipe that only its parent holds open. The compilers that it started look at their parent too (worker.js).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait


def started(jobs: int) -> ProcessPoolExecutor:
    """A pool of `jobs` fresh processes. Ctrl-C ends each of them at once."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_begun)


def whole(pool: ProcessPoolExecutor) -> bool:
    """Whether it takes work: not where the system ended one of its processes, be it one that had nothing to do."""
    try:
        pool.submit(int)
    except BrokenProcessPool:
        return False
    return True


def end(pool: ProcessPoolExecutor) -> None:
    """End the pool and its processes, whatever they are at."""
    for process in list((pool._processes or {}).values()):
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)  # its own thread takes leave of the processes; two must not


def _begun() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
