"""The compiler's process, played by small scripts that misbehave."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from whet.evm.solc.worker import CompilerFailure, Worker

READY = 'import sys, time, os\nprint(\'{"ready": "1"}\', flush=True)\n'


def answers(statements: str) -> str:
    """The script that runs these for every line."""
    return f"{READY}for line in sys.stdin:\n    {statements}\n"


def worker(tmp_path: Path, text: str, seconds: float = 20.0, memory_bytes: int = 2**30) -> Worker:
    script = tmp_path / "fake.py"
    script.write_text(text)
    return Worker([sys.executable, "-S", str(script)], "solc 0.0.0", seconds, memory_bytes)


def test_answers_in_turn_and_long_ones(tmp_path: Path) -> None:
    echo = worker(tmp_path, answers("print('{\"got\": \"' + line.strip() * 2 + '\"}', flush=True)"))
    text = "x" * 3_000_000
    assert echo.ask("a") == {"got": "aa"}
    assert echo.ask(text) == {"got": text * 2}
    process = echo._process
    assert process is not None
    echo.close()
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (answers("os._exit(7)"), "ended with code 7"),
        (answers("print('soup', flush=True)"), "no JSON object: b'soup"),
        (answers("print('[1]', flush=True)"), "no JSON object"),
        (answers("print('[' * 100000, flush=True)"), "no JSON object"),
        (answers('print(\'{"crashed": "Aborted(OOM)"}\', flush=True)'), "crashed: Aborted(OOM)"),
        ("raise SystemExit(3)", "ended with code 3"),
        ("print('{}', flush=True)", "does not start"),
    ],
)
def test_misbehaviour_is_an_error_with_the_compilers_name(tmp_path: Path, text: str, said: str) -> None:
    bad = worker(tmp_path, text)
    with pytest.raises(CompilerFailure) as raised:
        bad.ask("a")
    assert said in raised.value.what
    assert raised.value.where == "solc 0.0.0"
    assert bad._process is None


def test_too_slow(tmp_path: Path) -> None:
    with pytest.raises(CompilerFailure, match=r"more than 0\.3 s"):
        worker(tmp_path, answers("time.sleep(600)"), seconds=0.3).ask("a")


def test_too_large(tmp_path: Path) -> None:
    hungry = answers(
        "kept = bytearray(200_000_000); kept[::4096] = b'x' * len(kept[::4096]); time.sleep(600)"
    )
    with pytest.raises(CompilerFailure, match="MiB of memory"):
        worker(tmp_path, hungry, memory_bytes=100 * 2**20).ask("a")


def test_a_new_process_after_a_failure(tmp_path: Path) -> None:
    once = "if line == 'die\\n': os._exit(1)\n    print('{\"ok\": 1}', flush=True)"
    again = worker(tmp_path, answers(once))
    with pytest.raises(CompilerFailure):
        again.ask("die")
    assert again.ask("go on") == {"ok": 1}
    again.close()
