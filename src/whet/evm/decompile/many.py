"""Several contracts at once: each in one of a few processes, results as they are done, no failure stops the others.

Ctrl-C ends the processes; what was finished is in the cache. A process that the system kills takes its contract's result
with it, which is said; the rest goes on in new ones.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice

from whet.errors import WhetError
from whet.evm import processes
from whet.evm.decompile.asking import Writer
from whet.evm.decompile.given import Task, load
from whet.evm.decompile.kept import keep, key, remembered
from whet.evm.decompile.nouns import Decompiled
from whet.evm.decompile.rewrite import rewrite
from whet.evm.decompile.run import decompile
from whet.progress import Reporter

_WAITING = 4
"""Tasks handed out beforehand, for each process."""


@dataclass(slots=True)
class Done:
    """result: None where `error` says why there is none. told: where the code comes from."""

    task: Task
    result: Decompiled | None = None
    told: list[str] = field(default_factory=list)
    error: str = ""
    exit_code: int = 0
    from_cache: bool = False


def one(task: Task, writer: Writer | None = None, reporter: Reporter | None = None, only: str = "") -> Done:
    """writer: a model that is asked for the functions, or for `only` one. Raises what a user can mend: `WhetError`."""
    code, told = load(task)
    result, cached = _once(task, key(code, task.options), lambda: decompile(code, task.options))
    if writer is not None:
        result, cached = _once(
            task,
            key(code, task.options, f"{writer.identity} {only}"),
            lambda: rewrite(code, task.options, result, writer, only=only, reporter=reporter),
        )
    return Done(task, replace(result, name=result.name or task.name), told, from_cache=cached)


def _once(task: Task, name: str, make: Callable[[], Decompiled]) -> tuple[Decompiled, bool]:
    """What was kept under a name, or else is made and kept; and whether it was kept."""
    known = remembered(name) if task.cached else None
    if known is not None:
        return known, True
    made = make()
    if not made.no_compiler and not (made.model and made.model.interrupted):
        keep(name, made)
    return made, False


def attempt(task: Task, writer: Writer | None = None, reporter: Reporter | None = None) -> Done:
    """`one`, with what is raised as text: our own mistakes too, since the others go on."""
    try:
        return one(task, writer, reporter)
    except WhetError as error:
        return Done(task, error=str(error), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - said in full, counted, and the rest goes on
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"a mistake of whet: {type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return Done(task, error=told[:500], exit_code=1)


def several(tasks: Iterable[Task], jobs: int, work: Callable[[Task], Done] = attempt) -> Iterator[Done]:
    """Each task's outcome as it is done, in no fixed order."""
    todo = iter(tasks)
    while True:
        lost: list[Task] = []
        yield from _until_broken(todo, jobs, work, lost)
        if not lost:
            return
        for task in lost:  # one of these ended its process: each alone now, so that it takes no other along
            yield from _alone(task, work)


def _until_broken(
    todo: Iterator[Task], jobs: int, work: Callable[[Task], Done], lost: list[Task]
) -> Iterator[Done]:
    pool = processes.started(jobs)
    running: dict[Future[Done], Task] = {}
    try:
        while True:
            for task in islice(todo, jobs * _WAITING - len(running)):
                running[pool.submit(work, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                yield future.result()
    except BrokenProcessPool:
        lost += [task, *running.values()]
    finally:
        processes.end(pool)


def _alone(task: Task, work: Callable[[Task], Done]) -> Iterator[Done]:
    pool = processes.started(1)
    try:
        yield pool.submit(work, task).result()
    except BrokenProcessPool:
        told = "its process was ended by the system; too little memory?"
        yield Done(task, error=told, exit_code=1)
    finally:
        processes.end(pool)
