"""The child that renders one chat template. Run by its path, never imported by whet; needs jinja2 alone.

    python -I -S worker.py FOLDER...      where jinja2 and markupsafe lie

Speaks in JSON, each message behind its length in 4 bytes: once `{"template", "variables", "memory_bytes", ...}`,
then requests `{"jobs": [...], "seconds"}`. Before it sees the template it gives up files, processes and memory beyond
its share; jinja's sandbox keeps the template from Python. Against endless loops each request has a timer of processor
time, at whose end the system ends this process; waiting for a turn on a busy machine is not counted.
A template is told no time and no chance: the same conversation always reads the same.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

SHOWN_CHARACTERS = 300
DAY = datetime.date(2025, 1, 1)
"""What `strftime_now` says to a template that cannot do without it."""

_TESTS_FOR_CLOCK = re.compile(r"strftime_now\s+is\s+(not\s+)?defined")


class TooLong(Exception):
    """More text than is allowed."""


def receive(stream: BinaryIO) -> Any:
    """The next message; None at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    raw = stream.read(struct.unpack(">I", head)[0])
    return json.loads(raw)


def send(stream: BinaryIO, value: Any) -> None:
    """One message to the parent."""
    raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    stream.write(struct.pack(">I", len(raw)) + raw)
    stream.flush()


def give_up_rights(memory_bytes: int) -> None:
    """No more files, processes or written bytes; memory up to so much above what is in use."""
    most = [("RLIMIT_NOFILE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NPROC", 0)]
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        most.append(("RLIMIT_AS", pages * resource.getpagesize() + memory_bytes))
    except OSError:
        pass  # no /proc: the clock is what is left
    for name, value in most:
        limit = getattr(resource, name, None)
        if limit is not None:
            value = within(limit, value)
            resource.setrlimit(limit, (value, value))


def within(limit: int, value: int) -> int:
    """The value, or less where somebody has set a limit that cannot be raised (`ulimit`)."""
    hard = resource.getrlimit(limit)[1]
    if resource.RLIM_INFINITY in (hard, value):
        return value if hard == resource.RLIM_INFINITY else hard
    return min(value, hard)


def clock() -> str:
    """What ends this process when its processor time is over: ITIMER_PROF, to some milliseconds; else RLIMIT_CPU, to
    a second; "" where there is neither."""
    names = ((signal, "ITIMER_PROF"), (resource, "RLIMIT_CPU"))
    return next((name for module, name in names if hasattr(module, name)), "")


def allow_processor(seconds: float) -> None:
    """So much processor time from now on; none to be watched if 0."""
    if hasattr(signal, "ITIMER_PROF"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
    if hasattr(resource, "RLIMIT_CPU"):
        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime + seconds) + 2 if seconds else resource.RLIM_INFINITY
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (within(resource.RLIMIT_CPU, most), hard))


def die_of_overruns() -> None:
    """Whatever the parent ignores or holds back of these signals, here they end the process."""
    ending = [getattr(signal, name) for name in ("SIGPROF", "SIGXCPU") if hasattr(signal, name)]
    for number in ending:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)


def refusing() -> tuple[type[Exception], Callable[[object], None]]:
    """What a template says no with, and how it is told from other failures."""
    import jinja2

    class Refusal(jinja2.TemplateError):
        pass

    def raise_exception(message: object) -> None:
        raise Refusal(str(message))

    return Refusal, raise_exception


def environment(source: str, raise_exception: Callable[[object], None]) -> Any:
    """jinja as transformers sets it up for chat templates, without what differs from one time to the next."""
    import jinja2
    from jinja2 import ext, nodes, sandbox, utils

    class Generation(ext.Extension):
        """`{% generation %}`, with which some templates mark answers: its content, plainly."""

        tags = {"generation"}  # noqa: RUF012  jinja's own way to say it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class Namespace(utils.Namespace):
        """jinja's, but no name in it begins with an underscore."""

        def __init__(*args: Any, **values: Any) -> None:
            for name in dict(*args[1:], **values):
                _plain_name(name)
            utils.Namespace.__init__(*args, **values)

        def __setitem__(self, name: str, value: Any) -> None:
            _plain_name(name)
            utils.Namespace.__setitem__(self, name, value)

    def _plain_name(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"the name {name!r} begins with an underscore")

    made = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    for name in ("random", "pprint"):
        made.filters.pop(name)
    made.globals.pop("lipsum")
    made.globals |= {"raise_exception": raise_exception, "namespace": Namespace, "dict": _dictionary}
    if "strftime_now" in source and not _TESTS_FOR_CLOCK.search(source):
        made.globals["strftime_now"] = DAY.strftime
    return made


def _dictionary(*args: Any, **values: Any) -> dict[Any, Any]:
    return dict(*args, **values)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: JSON without HTML escapes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class Renderer:
    """One template. `rendered` does a job or says why not."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.most_new: int = asked["most_new_characters"]
        self.most_in_full: int = asked["most_characters"]
        self.variables: dict[str, str] = asked["variables"]
        self.refusal, raise_exception = refusing()
        self.template = environment(asked["template"], raise_exception).from_string(asked["template"])

    def rendered(self, job: dict[str, Any]) -> Any:
        """For each wanted `[messages, add_generation_prompt]`: `[characters it shares with the one before, the rest]`."""
        texts: list[Any] = []
        before, new, in_full = "", 0, 0
        for count, prompt in job["wanted"]:
            text = self._text(job["messages"][:count], job.get("tools"), prompt)
            shared = shared_characters(before, text)
            new += len(text) - shared
            in_full += len(text)
            if new > self.most_new:
                raise TooLong(f"writes more than {self.most_new:,} characters")
            if in_full > self.most_in_full:
                raise TooLong(
                    f"its {len(job['wanted']):,} renderings have more than {self.most_in_full:,} characters"
                )
            texts.append([shared, text[shared:]])
            before = text
        return texts

    def _text(self, messages: list[Any], tools: list[Any] | None, prompt: bool) -> str:
        return str(
            self.template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=prompt,
                **self.variables,
            )
        )

    def answer(self, job: dict[str, Any]) -> Any:
        """The texts of a job, or `{"failed": [kind, detail]}`."""
        import jinja2

        try:
            return self.rendered(job)
        except MemoryError:
            raise
        except self.refusal as error:
            return failed("refused", error)
        except TooLong as error:
            return failed("output", error)
        except jinja2.exceptions.SecurityError as error:
            return failed("security", error)
        except Exception as error:  # noqa: BLE001  a template can fail in any way
            return failed("error", error)


def shared_characters(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    if other.startswith(one):
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def failed(kind: str, error: BaseException) -> dict[str, list[str]]:
    """What went wrong, for the parent."""
    said = str(error)[:SHOWN_CHARACTERS]
    return {"failed": [kind, said if kind in ("refused", "output") else f"{type(error).__name__}: {said}"]}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the parent is gone, or memory is short."""
    asked = receive(requests)
    if asked is None:
        return
    give_up_rights(asked["memory_bytes"])
    die_of_overruns()
    send(answers, {"ready": True, "clock": clock()})
    renderer: Renderer | None = None
    while (request := receive(requests)) is not None:
        allow_processor(request["seconds"])
        try:
            if renderer is None:
                answer: Any = _compiled(asked)
                if isinstance(answer, Renderer):
                    renderer, answer = answer, {"compiled": True}
            else:
                answer = [renderer.answer(job) for job in request["jobs"]]
        except MemoryError:
            send(answers, {"failed": ["memory", ""]})
            return
        send(answers, answer)
        allow_processor(0)


def _compiled(asked: dict[str, Any]) -> Any:
    try:
        return Renderer(asked)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  jinja's parser can fail in any way
        return failed("syntax", error)


def load_jinja(folders: list[str]) -> None:
    """Import all that a rendering may come to need, since no file can be opened later."""
    sys.path.extend(folders)
    _, raise_exception = refusing()
    import jinja2.debug

    made = environment("", raise_exception)
    for source in (
        "{{ 'a' | upper ~ [1] | tojson }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception('') }}",
        "{% if %}",
    ):
        try:
            made.from_string(source).render()
        except (jinja2.TemplateError, ZeroDivisionError):
            continue
    DAY.strftime("%d %B %Y")


if __name__ == "__main__":
    own_input, own_output = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.close(nothing)
    load_jinja(sys.argv[1:])
    try:
        serve(own_input, own_output)
    finally:
        os._exit(0)
