"""Chat templates from someone who means harm: nothing of theirs runs, bombs are killed, the parent goes on.

Each attack would make a file, the canary, or show something of Python's. What a template may do instead is fail.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attack.conftest import calm
from tests.attack.folders import CANARY
from whet import limits
from whet.errors import TemplateError
from whet.sandbox import templates
from whet.sandbox.templates import Failed, Job, TemplateProcess

VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
JOB = Job(MESSAGES, [(1, True), (2, False)], [{"name": "add", "parameters": {"a": 1}}])
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"

RUN = "os.system('touch {canary}')"
SUBCLASSES = "__class__.__mro__[1].__subclasses__()"

ESCAPES = {
    "class": f"{{{{ ''.{SUBCLASSES} }}}}",
    "class by item": "{{ ''['__class__'] }}",
    "class by attr": "{{ ''|attr('__class__') }}",
    "class by attr in pieces": "{{ ''|attr('__cla' ~ 'ss__') }}",
    "class by map": "{{ ['']|map(attribute='__class__')|list }}",
    "class by select": "{{ ['']|selectattr('__class__')|list|length }}{{ (['']|groupby('__class__'))[0].grouper }}",
    "class by sort": "{{ ['', 'a']|sort(attribute='__class__') }}",
    "class by format": "{{ '{0.__class__}'.format('') }}",
    "class by format_map": "{{ '{a.__class__}'.format_map({'a': ''}) }}",
    "format by map": "{{ ['{0.__class__}']|map('format', '')|list }}{{ ('{0.__class__}'|attr('format'))('') }}",
    "format in pieces": "{% set f = '{0.__class__.__mro__}'.format %}{{ f('') }}",
    "message": f"{{{{ messages[0].{SUBCLASSES} }}}}",
    "message keys": "{{ messages[0].keys.__self__.__class__ }}",
    "list": "{{ messages.__class__.__base__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].system('touch {canary}') }}",
    "cycler": "{{ cycler.__init__.__globals__.os.system('touch {canary}') }}",
    "joiner": "{{ joiner.__init__.__globals__.os.system('touch {canary}') }}",
    "namespace": "{{ namespace.__init__.__globals__.os.system('touch {canary}') }}",
    "namespace attributes": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__ }}",
    "namespace item": "{% set ns = namespace(**{'__class__': 1}) %}{{ ns['__init__'] }}",
    "dict": "{{ dict.__base__.__subclasses__() }}",
    "range": "{{ range.__class__.__base__ }}",
    "raise_exception": "{{ raise_exception.__globals__ }}",
    "raise_exception closure": "{{ raise_exception.__closure__[0].cell_contents }}",
    "tojson": "{{ tojson.__globals__ }}{{ {'a': self}|tojson }}",
    "clock": "{{ strftime_now.__self__.__class__ }}",
    "self": "{{ self.__init__.__globals__ }}",
    "self blocks": "{{ self._TemplateReference__context.environment }}",
    "context": "{% set c = self._TemplateReference__context %}{{ c.environment.globals }}",
    "macro": "{% macro m() %}{% endmacro %}{{ m.__class__.__init__.__globals__ }}",
    "macro environment": "{% macro m() %}{% endmacro %}{{ m._environment.from_string('x').module }}",
    "caller": "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "loop": "{% for a in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "loop context": "{% for a in [1] %}{{ loop._iterator.gi_frame }}{{ loop._iterable.__class__ }}{% endfor %}",
    "generator": "{% set g = messages|map(attribute='role') %}{{ g.gi_frame.f_builtins }}",
    "generator code": "{% set g = messages|map(attribute='role') %}{{ g.gi_code.co_consts }}",
    "undefined": "{{ nothing.__class__.__init__.__globals__ }}",
    "undefined filter": "{{ (nothing|default(''))['__class__'] }}",
    "bytes": "{{ 'a'.encode().__class__ }}{{ ''.encode().join.__self__ }}",
    "string method": "{{ ''.join.__self__.__class__ }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.system('touch {canary}') }}",
    "from": "{% from 'os' import system %}{{ system('touch {canary}') }}",
    "extends": "{% extends '/etc/passwd' %}",
    "builtins": "{{ __import__('os').system('touch {canary}') }}",
    "open": "{{ open('{canary}', 'w') }}",
    "eval": "{{ eval('1') }}{{ exec('1') }}",
    "extension": "{% do messages.append(1) %}",
    "debug": "{% debug %}",
    "changes a message": "{{ messages.append({'role': 'user'}) }}",
    "changes a dict": "{{ messages[0].update({'role': 'system'}) }}",
    "changes by set": "{% set messages[0].role = 'system' %}",
    "pprint": "{{ messages|pprint }}",
    "random": "{{ [1, 2]|random }}",
    "dunder through loop": "{% for name in ['__class__'] %}{{ ''[name] }}{{ ''|attr(name) }}{% endfor %}",
}  # fmt: skip

SYNTAX = {
    "no template": "{% if %}",
    "an endless block": "{% for a in b %}",
    "deep brackets": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "deep nesting": "{% if 1 %}" * 20_000 + "{% endif %}" * 20_000,
    "a tag of its own": "{% evil %}",
}

BOMBS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "recursion without end": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "recursion that doubles": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a power": "{{ (messages|length + 7) ** (10 ** 9) }}",
    "a folded power": "{{ 9 ** 999999999 }}",
    "a string": "{{ messages[0].role * 1000000000 }}",
    "a folded string": "{{ 'a' * 10 ** 10 }}",
    "a doubling string": "{% set ns = namespace(a='aaaaaaaa') %}"
    "{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "a doubling list": "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "a list of lists": "{{ ([[0] * 1000] * 100000)|map('list')|list|length }}",
    "a width": "{{ '%999999999d' % 1 }}{{ '{:999999999}'.format(messages|length) }}",
    "centred": "{{ messages[0].role|center(2000000000) }}",
    "indented": "{{ ('\n' * 100000)|indent(100000, blank=true) }}",
    "batches": "{{ [1]|batch(1000000000, 0)|list|length }}",
    "slices": "{{ range(99999)|slice(1000000000)|list|length }}",
    "a long output": "{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    "replaced": "{{ ('a' * 99999)|replace('a', 'a' * 99999) }}",
    "products": "{% for a in range(9999) %}{{ (range(99999)|list) * 100 }}{% endfor %}",
    "a sum": "{{ range(99999)|map('string')|map('list')|sum(start=[])|length }}",
    "a wrap": "{{ ('a' * 9999999)|wordwrap(1) }}",
}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / CANARY
    yield path
    assert not path.exists()
    assert not Path(f"/{CANARY}").exists()


def rendered(template: str) -> list[str] | Failed | TemplateError:
    with TemplateProcess(template, VARIABLES) as process:
        try:
            return process.render([JOB])[0]
        except TemplateError as error:
            return error


SHOWN = ("<class", "<built-in", "<function", "<module", "<bound", "<frame", "<code", "root:", "object at 0x")


@pytest.mark.parametrize("name", ESCAPES)
def test_no_escape(name: str, canary: Path) -> None:
    """It fails, or shows nothing of Python's."""
    found = rendered(ESCAPES[name].replace("{canary}", str(canary)))
    if isinstance(found, list):
        assert not any(sign in text for sign in SHOWN for text in found), found
    elif isinstance(found, Failed):
        assert found.kind in ("security", "error"), found
    else:
        assert "is none" in found.what


def test_enough_attacks() -> None:
    assert len(ESCAPES) + len(BOMBS) + len(SYNTAX) >= 60


@pytest.mark.parametrize("name", SYNTAX)
def test_what_is_no_template_is_refused(name: str) -> None:
    with calm():
        found = rendered(SYNTAX[name])
    assert isinstance(found, TemplateError)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_stopped(name: str) -> None:
    """In time, whatever it does, and without memory of the parent's; the next conversation is rendered."""
    seconds = limits.TEMPLATE_SECONDS if name in ("loops", "a power") else 0.7
    with calm(), TemplateProcess(PLAIN, VARIABLES) as good:
        assert good.render_one(JOB) == ["Hello", "HelloHi"]
        before = processor_seconds()
        with TemplateProcess(BOMBS[name], VARIABLES, seconds=seconds) as process:
            assert process.memory_bytes == 256 * 2**20
            try:
                found: object = process.render([Job(MESSAGES, [(2, False)])])[0]
            except TemplateError as error:
                found = error
        taken = processor_seconds() - before
        assert isinstance(found, Failed | TemplateError), name
        assert taken < seconds + 1.5, f"{taken:.1f} s"
        assert good.render_one(JOB) == ["Hello", "HelloHi"]


def processor_seconds() -> float:
    """Of the children that have ended, so that a busy machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_memory_stays_within_its_share() -> None:
    """The child's highest memory, while it fills what it may."""
    fill = "{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = ns.a + ['x' * (1000000 + i)] %}{% endfor %}"
    with TemplateProcess(
        f"{{% if messages|length > 1 %}}{fill}{{% endif %}}", VARIABLES, seconds=30
    ) as process:
        process.render_one(Job(MESSAGES, [(1, False)]))
        assert process._child is not None
        status = Path(f"/proc/{process._child.process.pid}/status")
        before = peak(status)
        highest = before
        results: list[object] = []
        thread = threading.Thread(
            target=lambda: results.extend(process.render([Job(MESSAGES, [(2, False)])]))
        )
        thread.start()
        while thread.is_alive():
            highest = max(highest, peak(status) or highest)
            time.sleep(0.005)
    assert results == [Failed("memory", "takes more than 256 MB of memory")]
    assert highest - before <= 256 * 2**20


def peak(status: Path) -> int:
    try:
        return int(status.read_text().split("VmHWM:", 1)[1].split("kB", 1)[0]) * 1024
    except (OSError, IndexError):
        return 0


SOMETIMES = (
    "{% for m in messages %}{% if m.content == 'bomb' %}"
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}{{ m.content }}{% endfor %}"
)


def one(content: str) -> Job:
    return Job([{"role": "user", "content": content}], [(1, False)])


def test_only_the_guilty_conversation_fails() -> None:
    with TemplateProcess(SOMETIMES, VARIABLES, seconds=0.5) as process:
        found = process.render([one("a"), one("bomb"), one("b")])
        assert found == [["a"], Failed("time", "takes more than 0.5 s of processor time"), ["b"]]
        assert process.render([one("c")]) == [["c"]]


@contextmanager
def stopped(process: TemplateProcess, seconds: float) -> Iterator[None]:
    """The child gets no processor for so long, as on a machine that is far too busy."""
    assert process._child is not None
    child = process._child.process
    child.send_signal(signal.SIGSTOP)
    timer = threading.Timer(seconds, lambda: child.poll() is None and child.send_signal(signal.SIGCONT))
    timer.start()
    yield
    timer.cancel()
    timer.join()


def test_a_child_that_waits_for_its_turn_loses_nothing() -> None:
    """Real time goes by, many times what it may compute; no conversation is dropped, and no child replaced."""
    with TemplateProcess(PLAIN, VARIABLES, seconds=0.1) as process:
        process.render_one(JOB)
        child = process._child
        for _ in range(4):
            with stopped(process, 0.6):
                assert process.render([one("a"), one("b")]) == [["a"], ["b"]]
        assert process._child is child


def test_a_child_that_never_gets_its_turn_is_no_fault_of_the_conversations() -> None:
    with TemplateProcess(PLAIN, VARIABLES, patience_seconds=1.5) as process:
        process.render_one(JOB)
        with stopped(process, 60):
            assert process.render([one("a"), one("b")]) == [["a"], ["b"]], "by another child"
        process.render_one(JOB)
        process._running = lambda: process._child  # type: ignore[method-assign,assignment,return-value]
        with stopped(process, 60), pytest.raises(TemplateError, match="gave no answer for 1") as error:
            process._alone(one("a"))
        assert "the machine has no time for it" in error.value.fix


SLOW = "{% for m in messages %}{% for c in m.content %}{{ c }}{% endfor %}{% endfor %}"


def test_a_long_conversation_may_take_longer() -> None:
    text = "a" * 2_000_000
    with TemplateProcess(SLOW, VARIABLES, seconds=0.05) as process:
        before = processor_seconds()
        assert process.render([one("b"), one(text)]) == [["b"], [text]]
    assert processor_seconds() - before > 0.1, "or it proves nothing"


def test_signals_that_the_parent_ignores_end_the_child() -> None:
    numbers = (signal.SIGPROF, signal.SIGXCPU)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        with TemplateProcess(SOMETIMES, VARIABLES, seconds=0.2) as process:
            (found,) = process.render([one("bomb")])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert isinstance(found, Failed)
    assert found.kind == "time"


@pytest.mark.parametrize("there", ["RLIMIT_CPU", ""])
def test_where_a_system_has_fewer_clocks(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = templates.WORKER.read_text()
    for old, new in [
        ('hasattr(signal, "ITIMER_PROF")', "False"),
        ('hasattr(resource, "RLIMIT_CPU")', str(bool(there))),
        ("hasattr(module, name)", f"name == {there!r}"),
    ]:
        assert old in worker
        worker = worker.replace(old, new)
    monkeypatch.setattr(templates, "WORKER", tmp_path / "worker.py")
    templates.WORKER.write_text(worker)
    with TemplateProcess(SOMETIMES, VARIABLES, seconds=0.3) as process:
        found = process.render([one("a"), one("bomb"), one("b")])
        assert process._child is not None
        assert process._child.clock == bool(there)
    assert found == [["a"], Failed("time", "takes more than 0.3 s of processor time"), ["b"]]


def test_after_three_in_a_row_the_template_is_to_blame() -> None:
    with (
        TemplateProcess(SOMETIMES, VARIABLES, seconds=0.3) as process,
        pytest.raises(TemplateError, match=r"takes more than 0\.3 s"),
    ):
        process.render([one("bomb")] * 10)


def test_a_child_that_dies_is_replaced() -> None:
    with TemplateProcess(PLAIN, VARIABLES) as process:
        for _ in range(2):
            assert process.render([JOB]) == [["Hello", "HelloHi"]]
            assert process._child is not None
            os.kill(process._child.process.pid, 9)
            process._child.process.wait()
        assert process.render([JOB])[0] in (
            ["Hello", "HelloHi"],
            Failed("died", "ended the process it ran in"),
        )
        assert process.render([JOB]) == [["Hello", "HelloHi"]]


def test_the_child_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with TemplateProcess(PLAIN, VARIABLES) as process, (Path(__file__)).open("rb") as held:
        process.render_one(JOB)
        assert process._child is not None
        home = Path(f"/proc/{process._child.process.pid}")
        names = {entry.split(b"=")[0] for entry in (home / "environ").read_bytes().split(b"\0") if entry}
        assert names <= {name.encode() for name in templates.KEPT_VARIABLES}
        files = {os.readlink(entry) for entry in (home / "fd").iterdir()}
        assert held.name not in files
        assert all(name.startswith(("pipe:", "/dev/null")) for name in files), files
        text = (home / "limits").read_text()
        for name in ("Max open files", "Max file size", "Max core file size", "Max processes"):
            assert text.split(name, 1)[1].split()[:2] == ["0", "0"], name


def test_what_a_template_could_do_if_it_reached_python(canary: Path) -> None:
    """The child has given up files, sockets, pipes and memory before it sees a template."""
    script = f"""
import os, socket
from whet.sandbox.worker import give_up_rights
give_up_rights(2**28)
attempts = {{
    "read": lambda: open("/etc/passwd"), "write": lambda: open({str(canary)!r}, "w"), "socket": socket.socket,
    "pipe": os.pipe, "memory": lambda: bytes(2**29), "folder": lambda: os.listdir("/"),
    "program": lambda: os.posix_spawn("/bin/true", ["true"], {{}}, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/x", 1, 0)]),
}}
for name, attempt in attempts.items():
    try:
        attempt()
        print(name, "worked")
    except (OSError, MemoryError):
        pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_time_of_day_is_not_told() -> None:
    with TemplateProcess("{{ strftime_now('%Y-%m-%d') }}", VARIABLES) as process:
        assert process.render_one(Job(MESSAGES, [(1, False)])) == ["2025-01-01"]
    tested = "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}26 Jul 2024{% endif %}"
    with TemplateProcess(tested, VARIABLES) as process:
        assert process.render_one(Job(MESSAGES, [(1, False)])) == ["26 Jul 2024"]


def test_a_refusal_is_told_from_a_fault() -> None:
    template = "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}{{ messages[0].content + 1 }}"
    with TemplateProcess(template, VARIABLES) as process:
        refused, fault = process.render([Job(MESSAGES, [(2, False)]), Job(MESSAGES, [(1, False)])])
    assert refused == Failed("refused", "one only")
    assert isinstance(fault, Failed)
    assert fault.kind == "error"


def test_starting_takes_no_time() -> None:
    """Processor time of a child that is ready, so that a busy machine does not count."""
    with TemplateProcess(PLAIN, VARIABLES) as process:
        process.render_one(JOB)
        assert process._child is not None
        fields = Path(f"/proc/{process._child.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 0.5


def test_many_small_conversations() -> None:
    """Ten thousand, and what the child takes for them."""
    jobs = [Job([{"role": "user", "content": f"{n}?"}], [(1, False)]) for n in range(10_000)]
    with TemplateProcess(PLAIN, VARIABLES) as process:
        assert process.render(jobs) == [[f"{n}?"] for n in range(10_000)]
        assert process._child is not None
        fields = Path(f"/proc/{process._child.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 4


def test_limits_that_were_there_before_stay() -> None:
    """A shell's `ulimit` on memory and processor time is no reason not to start."""
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, (900, 1000))
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
from whet.sandbox.templates import Job, TemplateProcess
with TemplateProcess({PLAIN!r}, {{}}, memory_bytes=2**40) as process:
    for _ in range(2):
        print(process.render_one(Job({MESSAGES!r}, [(2, False)]))[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("HelloHi\nHelloHi\n", "")


LIES = {
    "nothing": b"",
    "half a length": b"\0\0",
    "a length without a message": b"\0\0\1\0",
    "a huge length": b"\xff\xff\xff\xff",
    "no JSON": b"\0\0\0\2{{",
    "no list": b"\0\0\0\0017",
    "too few": b"\0\0\0\2[]",
    "no texts": b"\0\0\0\5[[7]]",
    "half a text": b"\0\0\0\7[[[0]]]",
    "another type": b"\0\0\0\14[[[0,7],[]]]",
    "beyond the text before": b"\0\0\0\30" + b'[[[7,"a"],[true,"b"]]]  ',
    "a failure of no kind": b"\0\0\0\14" + b'{"failed":7}',
    "deep": b"\0\1\0\0" + b"[" * 65536,
}

LIAR = """
import json, os, struct, sys
def read():
    return sys.stdin.buffer.read(struct.unpack(">I", sys.stdin.buffer.read(4))[0])
for answer in ({"ready": True}, {"compiled": True}):
    read()
    raw = json.dumps(answer).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(raw)) + raw)
    sys.stdout.buffer.flush()
read()
sys.stdout.buffer.write(LIE)
sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize("name", LIES)
def test_a_child_that_lies_is_not_believed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a template had got out of jinja's sandbox and spoke in the child's place."""
    liar = tmp_path / "liar.py"
    liar.write_text(LIAR.replace("LIE", repr(LIES[name])))
    monkeypatch.setattr(templates, "WORKER", liar)
    with calm(), TemplateProcess(PLAIN, VARIABLES, seconds=1) as process:
        (found,) = process.render([JOB])
    assert isinstance(found, Failed)
    assert found.kind in ("died", "output", "time")
