"""Work in a few processes, results in order; each keeps its compilers. With one job, all in this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from whet.evm.solc.compiler import close_compilers

Result = TypeVar("Result")


class Pool:
    """A context manager. `jobs`: processes; 0: as many as there are cores for this process."""

    def __init__(self, jobs: int = 0) -> None:
        self.jobs = jobs or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def one(self, work: Callable[..., Result], arguments: Sequence[Any]) -> Result:
        """`work(*arguments)`."""
        return next(self.several(work, [arguments]))

    def several(self, work: Callable[..., Result], tasks: Sequence[Sequence[Any]]) -> Iterator[Result]:
        """`work(*task)` of each, in the order of the tasks; what it raises is raised here."""
        if self.jobs == 1:
            yield from (work(*task) for task in tasks)
            return
        futures = [self._running().submit(work, *task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.jobs == 1:
            close_compilers()
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.jobs, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)
            )
        return self._pool
