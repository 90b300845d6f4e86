"""Work in a few processes, results in order; each keeps its compilers. With one job, all in this process.

A process that the system ends (too little memory) takes its own task along and no other: what was under way is done again,
each task alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self, TypeVar

from whet.evm import processes
from whet.evm.solc.compiler import close_compilers
from whet.hardware import cores
from whet.progress import working

Result = TypeVar("Result")


class Pool:
    """A context manager. `jobs`: processes; 0: as many as there are cores for this process. `of`: whose work it is, shown
    with its progress (`progress.working`)."""

    def __init__(self, jobs: int = 0) -> None:
        self.jobs = jobs or cores()
        self.of = ""
        self._pool: ProcessPoolExecutor | None = None

    def several(
        self,
        work: Callable[..., Result],
        tasks: Sequence[Sequence[Any]],
        ended: Callable[..., Result],
        step: str,
    ) -> Iterator[Result]:
        """`work(*task)` of each, in the order of the tasks, or `ended(*task)` where the system ended its process; what
        `work` raises is raised here. step: what this is called in the progress, such as "compiling"."""
        self._at(step, 0, len(tasks))
        for done, result in enumerate(self._results(work, tasks, ended), 1):
            self._at(step, done, len(tasks))
            yield result

    def _at(self, step: str, done: int, of: int) -> None:
        working(**{step: f"{self.of} {done:,}/{of:,}".lstrip()})

    def _results(
        self,
        work: Callable[..., Result],
        tasks: Sequence[Sequence[Any]],
        ended: Callable[..., Result],
    ) -> Iterator[Result]:
        if self.jobs == 1:
            yield from (work(*task) for task in tasks)
            return
        pool = self._running()
        futures = [_submitted(pool, work, task) for task in tasks]
        try:
            for task, future in zip(tasks, futures, strict=True):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield self._alone(work, task, ended)
        finally:
            for future in futures:
                future.cancel()

    def _alone(
        self, work: Callable[..., Result], task: Sequence[Any], ended: Callable[..., Result]
    ) -> Result:
        self._end()
        try:
            return self._running().submit(work, *task).result()
        except BrokenProcessPool:
            self._end()
            return ended(*task)

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
        self._end()

    def _end(self) -> None:
        if self._pool is not None:
            processes.end(self._pool)
            self._pool = None

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is not None and not processes.whole(self._pool):
            self._end()
        if self._pool is None:
            self._pool = processes.started(self.jobs)
        return self._pool


def _submitted(pool: ProcessPoolExecutor, work: Callable[..., Result], task: Sequence[Any]) -> Future[Result]:
    """Also where the pool broke since the task before."""
    try:
        return pool.submit(work, *task)
    except BrokenProcessPool as error:
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken
