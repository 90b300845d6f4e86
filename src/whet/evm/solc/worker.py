"""A compiler as a process of its own: started once per version, asked line by line, killed when it takes too long.

Left out: what the compiler does with its input is not judged here. Cost: 0.3 to 1 s and some 100 MB to start, then what
the compilation takes. Time is real time, memory is what the process has resident, looked at while waiting.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from whet import limits
from whet.errors import WhetError

SCRIPT = Path(__file__).with_name("worker.js")
START_SECONDS = 120.0
POLL_SECONDS = 0.2


class CompilerFailure(WhetError):
    """The compiler's process did not answer: too slow, too large, crashed, or wrote what is no JSON."""


class Worker:
    """One compiler's process. `command` starts a program that talks like worker.js; it is started when first asked.

    `seconds` for one answer, `memory_bytes` for the process.
    """

    def __init__(
        self,
        command: list[str],
        name: str,
        seconds: float = limits.SOLC_SECONDS,
        memory_bytes: int = limits.SOLC_MEMORY_BYTES,
    ) -> None:
        self.command, self.name, self.seconds, self.memory_bytes = command, name, seconds, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: str) -> dict[str, Any]:
        """The answer to a line. Raises CompilerFailure, after which the next request starts a new process."""
        with self._lock:
            try:
                process = self._running()
                answer = self._talk(process, request, self.seconds)
                if "crashed" in answer:
                    raise CompilerFailure(f"the compiler crashed: {answer['crashed']}", where=self.name)
                return answer
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, os.getpid())

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={key: os.environ[key] for key in ("LD_LIBRARY_PATH", "SystemRoot") if key in os.environ},
        )
        weakref.finalize(self, _end, process, os.getpid())
        assert process.stdin
        assert process.stdout
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(pipe.fileno(), False)
        self._process = process
        ready = self._talk(process, None, START_SECONDS)
        if "ready" not in ready:
            raise CompilerFailure("the compiler's process does not start", where=self.name)
        return process

    def _talk(self, process: subprocess.Popen[bytes], request: str | None, seconds: float) -> dict[str, Any]:
        assert process.stdin
        assert process.stdout
        rest = memoryview(b"" if request is None else request.encode() + b"\n")
        answer = bytearray()
        deadline = time.monotonic() + seconds
        while not answer.endswith(b"\n"):
            writers = [process.stdin] if rest else []
            readable, writable, _ = select.select([process.stdout], writers, [], POLL_SECONDS)
            try:
                if writable:
                    rest = rest[os.write(process.stdin.fileno(), rest[: 1 << 16]) :]
                part = os.read(process.stdout.fileno(), 1 << 20) if readable else None
            except OSError:
                part = b""
            if part == b"":
                raise CompilerFailure(f"the compiler's process ended{_code(process)}", where=self.name)
            answer += part or b""
            self._check(process, len(answer), deadline, seconds)
        try:
            loaded = json.loads(answer)
        except (ValueError, RecursionError):
            loaded = None
        if not isinstance(loaded, dict):
            raise CompilerFailure(
                f"the compiler's answer is no JSON object: {bytes(answer[:80])!r}", where=self.name
            )
        return loaded

    def _check(
        self, process: subprocess.Popen[bytes], answered: int, deadline: float, seconds: float
    ) -> None:
        if time.monotonic() > deadline:
            raise CompilerFailure(
                f"the compiler takes more than {seconds:g} s", where=self.name, fix="compile less at once"
            )
        if answered > limits.SOLC_ANSWER_BYTES or _resident(process.pid) > self.memory_bytes:
            raise CompilerFailure(
                f"the compiler takes more than {self.memory_bytes >> 20} MiB of memory",
                where=self.name,
                fix="compile less at once",
            )


def _code(process: subprocess.Popen[bytes]) -> str:
    try:
        return f" with code {process.wait(2)}"
    except subprocess.TimeoutExpired:
        return ""


def _resident(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill it; a fork must not end what its parent started."""
    if owner != os.getpid():
        return
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
