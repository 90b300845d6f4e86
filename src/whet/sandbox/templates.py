"""Renders a chat template from elsewhere in a child process that is killed when it takes too long or too much.

jinja's sandbox keeps a template from reaching Python, but not from looping for ever or filling the memory. So each
template has one long-lived child (`worker.py`), without the environment's variables, files or further memory. A
request may take so much of the processor's time, more for a longer conversation; then the system ends the child,
which is an error of that request, and the next one starts another. Time in which the child only waited for its turn
is not counted: if it does not answer for very long all the same, that is nobody's fault here and an error of its own.

Cost: some 0.2 s to start a child, then about 0.1 ms a rendering. Requests are batched. Left out: what the child's
memory limit needs (`/proc`) is Linux; elsewhere the clock alone stops a bomb. Where a system has no clock of
processor time (`worker.clock`), the wall clock here takes its place.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from whet import limits
from whet.errors import TemplateError

WORKER = Path(__file__).with_name("worker.py")
START_SECONDS = 120.0
"""For Python to start and import jinja2; a busy machine may need some."""

BATCH_JOBS, BATCH_CHARACTERS = 64, 2_000_000
"""Conversations in one request, and the characters of their renderings; small against what a request may take."""

MESSAGE_CHARACTERS = 100
"""What a message costs besides its text, in characters; templates go through it branch by branch."""

MOST_KILLS = 3
"""Conversations one after another for which the child had to be killed; then the template is to blame."""

KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What a Python of one's own may need to start; nothing else of the environment reaches the child."""

STALLED = "stalled"

_SAID = {
    "time": "takes more than {seconds:.2g} s of processor time",
    "memory": "takes more than {megabytes} MB of memory",
    "died": "ended the process it ran in",
    "output": "writes too much",
}


@dataclass(frozen=True)
class Job:
    """One conversation as the template sees it, and how it is wanted: [(first so many messages, with the prompt
    for an answer)], renderings that mostly continue one another."""

    messages: Sequence[Mapping[str, Any]]
    wanted: Sequence[tuple[int, bool]]
    tools: Sequence[Mapping[str, Any]] = ()

    @property
    def size(self) -> int:
        """Characters of messages and tools."""
        return _size(self.messages) + _size(self.tools)

    @cached_property
    def work(self) -> int:
        """About how many characters the template goes through: in every rendering the messages so far, and the tools."""
        ends = list(accumulate((_size(one) + MESSAGE_CHARACTERS for one in self.messages), initial=0))
        tools = _size(self.tools)
        return sum(ends[count] + tools for count, _ in self.wanted)

    def plain(self) -> dict[str, Any]:
        """For the child; a template is given no tools rather than an empty list."""
        return {
            "messages": list(self.messages),
            "wanted": list(self.wanted),
            "tools": list(self.tools) or None,
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a conversation was not rendered. `kind`: refused (by the template's own words, `detail`), error, security,
    output, time, memory or died."""

    kind: str
    detail: str


class _Killed(Exception):
    """The child is gone; says why: one of _SAID, or stalled, which is no fault of the request's."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class TemplateProcess:
    """Renders with one template. `variables` are texts the template may name, such as `bos_token`.

    `seconds`: processor time of a request, on top of what its size allows; `patience_seconds`: real time after which
    the child is taken to be stuck.
    """

    def __init__(
        self,
        template: str,
        variables: Mapping[str, str],
        *,
        seconds: float = limits.TEMPLATE_SECONDS,
        patience_seconds: float = limits.TEMPLATE_PATIENCE_SECONDS,
        memory_bytes: int = limits.TEMPLATE_MEMORY_BYTES,
    ) -> None:
        self.template, self.variables = template, dict(variables)
        self.seconds, self.patience_seconds, self.memory_bytes = seconds, patience_seconds, memory_bytes
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def render(self, jobs: Sequence[Job]) -> list[list[str] | Failed]:
        """The texts of every job in the order wanted, or why there are none.

        Raises TemplateError if the template does not compile, if job after job had to be killed, or if the child
        gives no answer although it has not used up its time.
        """
        done: list[list[str] | Failed] = []
        kills = 0
        with self._lock:
            for batch in _batches(jobs):
                try:
                    done += self._asked(batch)
                    kills = 0
                except _Killed as why:
                    for job in batch:
                        again = len(batch) > 1 or why.kind == STALLED
                        alone = self._alone(job) if again else self._failed(job, why)
                        done.append(alone)
                        kills = kills + 1 if isinstance(alone, Failed) and alone.kind in _SAID else 0
                        if kills >= MOST_KILLS and isinstance(alone, Failed):
                            raise self._error(alone.kind) from None
        return done

    def render_one(self, job: Job) -> list[str]:
        """The texts of one job. Raises TemplateError if there are none."""
        (done,) = self.render([job])
        if isinstance(done, Failed):
            raise TemplateError(f"the chat template fails: {done.detail}", where="chat template")
        return done

    def close(self) -> None:
        """End the child; a later request would start another."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __enter__(self) -> TemplateProcess:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def _alone(self, job: Job) -> list[str] | Failed:
        try:
            return self._asked([job])[0]
        except _Killed as why:
            if why.kind == STALLED:
                raise self._stalled() from None
            return self._failed(job, why)

    def _failed(self, job: Job, why: _Killed) -> Failed:
        return Failed(why.kind, self._said(why.kind, self._allowed([job])))

    def _allowed(self, jobs: Sequence[Job]) -> float:
        """Seconds of processor time for a request."""
        work = sum(min(job.work, limits.CONVERSATION_RENDERED_CHARACTERS) for job in jobs)
        return self.seconds + work / limits.TEMPLATE_CHARACTERS_PER_SECOND

    def _asked(self, jobs: Sequence[Job]) -> list[list[str] | Failed]:
        """One request. Raises _Killed if the child did not survive it."""
        child = self._running()
        seconds = self._allowed(jobs)
        try:
            request = {"jobs": [job.plain() for job in jobs], "seconds": seconds}
            answer = child.ask(request, seconds, self.patience_seconds)
            if isinstance(answer, dict):
                raise _Killed(_kind_of(answer))
            if not isinstance(answer, list) or len(answer) != len(jobs):
                raise _Killed("died")
            return [_texts(given, len(job.wanted)) for given, job in zip(answer, jobs, strict=True)]
        except _Killed:
            self.close()
            raise

    def _running(self) -> _Child:
        """The child, with the template compiled. Raises TemplateError if that fails."""
        if self._child is not None and self._child.owner == os.getpid() and self._child.lives:
            return self._child
        self.close()
        child = _Child()
        try:
            child.start(self._order())
        except _Killed as why:
            child.kill()
            raise TemplateError(
                f"the process for chat templates does not start ({why.kind})", where=str(WORKER)
            ) from None
        try:
            answer = child.ask(
                {"compile": True, "seconds": self.seconds}, self.seconds, self.patience_seconds
            )
        except _Killed as why:
            child.kill()
            raise (self._stalled() if why.kind == STALLED else self._error(why.kind)) from None
        if answer != {"compiled": True}:
            child.kill()
            kind, detail = _failure(answer)
            raise self._error(kind) if kind in _SAID else _syntax(detail)
        self._child = child
        return child

    def _order(self) -> dict[str, Any]:
        return {
            "template": self.template,
            "variables": self.variables,
            "memory_bytes": self.memory_bytes,
            "most_new_characters": limits.TEMPLATE_OUTPUT_CHARACTERS,
            "most_characters": limits.CONVERSATION_RENDERED_CHARACTERS,
        }

    def _said(self, kind: str, seconds: float) -> str:
        return _SAID[kind].format(seconds=seconds, megabytes=self.memory_bytes // 2**20)

    def _error(self, kind: str) -> TemplateError:
        return TemplateError(
            f"the chat template {self._said(kind, self.seconds)}",
            where="chat template",
            fix="use another template; one that is meant well does its work in a moment",
        )

    def _stalled(self) -> TemplateError:
        return TemplateError(
            f"the process that renders the chat template gave no answer for {self.patience_seconds:g} s, though it has "
            "not used up its processor time",
            where="chat template",
            fix="the machine has no time for it, or somebody stopped it; run this again when it has",
        )


class _Child:
    """The process and its pipes. `owner` is the process that started it: a fork must not speak to it too."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(WORKER), *_jinja_folders()]
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        for pipe in (self._to, self._from):
            os.set_blocking(pipe, False)
        self._end = weakref.finalize(self, _end, self.process, self.owner)

    def start(self, order: dict[str, Any]) -> None:
        """Give it its orders before it is asked. Raises _Killed."""
        self.clock = True  # until it says otherwise; nothing of the template's runs yet
        ready = self.ask(order, START_SECONDS, START_SECONDS)
        if not isinstance(ready, dict) or ready.get("ready") is not True:
            raise _Killed("died")
        self.clock = bool(ready.get("clock"))

    def ask(self, value: Any, seconds: float, patience_seconds: float) -> Any:
        """Send a message and wait for the answer. Raises _Killed.

        `seconds` is real time where the child has no clock for its processor's.
        """
        deadline = time.monotonic() + (patience_seconds if self.clock else seconds)
        try:
            raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            self._write(struct.pack(">I", len(raw)) + raw, deadline)
            (size,) = struct.unpack(">I", self._read(4, deadline))
            if size > _MOST_ANSWER_BYTES:
                raise _Killed("output")
            return json.loads(self._read(size, deadline))
        except OSError:
            raise _Killed(self._end_of()) from None
        except (ValueError, RecursionError, struct.error):
            raise _Killed("died") from None

    @property
    def lives(self) -> bool:
        """Whether nobody ended it meanwhile."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it at once."""
        self._end()

    def _write(self, raw: bytes, deadline: float) -> None:
        rest = memoryview(raw)
        while rest:
            self._wait(self._to, select.POLLOUT, deadline)
            rest = rest[os.write(self._to, rest[: 2**16]) :]

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            self._wait(self._from, select.POLLIN, deadline)
            part = os.read(self._from, min(size, 2**20))
            if not part:
                raise _Killed(self._end_of())
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _Killed(STALLED if self.clock else "time")

    def _end_of(self) -> str:
        """How the child ended that speaks no more."""
        try:
            return "time" if -self.process.wait(_GONE_SECONDS) in _OVERRUN else "died"
        except subprocess.TimeoutExpired:
            return "died"


_OVERRUN = (signal.SIGPROF, signal.SIGXCPU)
"""What ends a child whose processor time is over."""
_GONE_SECONDS = 5.0
_MOST_ANSWER_BYTES = 8 * limits.TEMPLATE_OUTPUT_CHARACTERS


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner == os.getpid():
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _jinja_folders() -> list[str]:
    """Where jinja2 and what it needs lie, without importing them."""
    found = (find_spec(name) for name in ("jinja2", "markupsafe"))
    return list(dict.fromkeys(str(Path(spec.origin).parent.parent) for spec in found if spec and spec.origin))


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    batch: list[Job] = []
    size = 0
    for job in jobs:
        batch.append(job)
        size += job.work
        if len(batch) >= BATCH_JOBS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(value: Any) -> int:
    """Characters of plain values."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _size(inner) for key, inner in value.items())
    return sum(map(_size, value)) if isinstance(value, list | tuple) else len(str(value))


def _texts(given: Any, count: int) -> list[str] | Failed:
    """A job's answer, looked at before it is believed."""
    if isinstance(given, dict):
        return Failed(*_failure(given))
    texts: list[str] = []
    characters = 0
    try:
        for shared, rest in given:
            texts.append((texts[-1][:shared] if shared else "") + rest)
            characters += len(texts[-1])
            if characters > limits.CONVERSATION_RENDERED_CHARACTERS:
                raise _Killed("output")
    except (TypeError, ValueError, IndexError):
        raise _Killed("died") from None
    if len(texts) != count:
        raise _Killed("died")
    return texts


def _failure(answer: Any) -> tuple[str, str]:
    try:
        kind, detail = answer["failed"]
        return str(kind), str(detail)
    except (TypeError, ValueError, KeyError):
        return "died", ""


def _kind_of(answer: dict[str, Any]) -> str:
    kind, _ = _failure(answer)
    return kind if kind in _SAID else "died"


def _syntax(detail: str) -> TemplateError:
    return TemplateError(f"the chat template is none: {detail}", where="chat template")
