"""`whet decompile`: what is printed, written, kept; several inputs at once."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import whet
from tests.evm.decompiling import TOKEN, code_of, emit, example
from whet.cli import app
from whet.evm.decompile import kept, many, run
from whet.evm.decompile.annotate import annotated, excerpt, plain
from whet.evm.decompile.given import Task
from whet.evm.decompile.kept import keep, key, remembered
from whet.evm.decompile.many import Done, attempt, several
from whet.evm.decompile.nouns import LABELS
from whet.evm.decompile.parts import PARTS, find, part
from whet.evm.decompile.run import Options
from whet.evm.decompile.serial import from_json, to_json
from whet.evm.solc.cache import VARIABLE

HEX = TOKEN.runtime.hex()
QUICK = ["--no-compile"]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the emitter, and a cache of this test's own."""
    monkeypatch.setattr(run, "_emitter", lambda: emit)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


def command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    app(["decompile", *arguments], standalone_mode=False)
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_comments_change_no_line_of_the_text() -> None:
    result = example()
    text, functions = annotated(result)
    bare = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    assert bare == result.source.text.splitlines()
    for moved, one in zip(functions, result.functions, strict=True):
        lines = text.splitlines()[moved.first_line - 1 : moved.last_line]
        said = [line.strip() for line in lines if line.lstrip().startswith("//")]
        assert said[0].lower().startswith(f"// {one.judged.label}")
        assert f"function {one.text.name}(" in lines[len(said)]
        assert lines[-1].strip() == "}"
    assert "2 of 3 statements are assembly; plain" in excerpt(result, result.functions[2].text)
    assert "differs: storage[0x3] is 0x6 in the original" in excerpt(result, result.functions[1].text)


@pytest.mark.parametrize(
    "odd", ["a\nb", "a\rb", "a\u2028b", "a\u202eb", "a\x0bb", "*/ x", "\x1b[31m", "ä" * 2000]
)
def test_nothing_that_is_said_leaves_its_comment(odd: str) -> None:
    result = example()
    for function in result.functions:
        function.judged = replace(function.judged, reason=odd, evidence=odd, counterexample=f"{odd}\n{odd}")
        function.text.notes = [odd]
    result.facts, result.notes, result.errors = [odd], [odd], [odd]
    text, _ = annotated(result)
    bare = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    assert bare == result.source.text.splitlines()
    assert text.isascii()
    assert all(" " <= char <= "~" for char in plain(odd))


def test_json_gives_the_same_result_back() -> None:
    result = example()
    raw = json.loads(json.dumps(to_json(result)))
    assert from_json(raw) == result
    assert raw["labels"] == dict(sorted(result.labels.items()))
    with pytest.raises(ValueError, match="schema"):
        from_json(raw | {"schema": "whet.decompiled/0"})


def test_what_is_kept_is_found_again_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    result, code = example(), code_of()
    name = key(code, Options())
    assert remembered(name) is None
    keep(name, result)
    assert remembered(name) == result
    others = [
        key(code, Options(verifying=False)),
        key(code, Options(abi="[]")),
        key(code_of(TOKEN.runtime + b"\0"), Options()),
    ]
    assert len({name, *others}) == 4
    kept._place(name).write_bytes(b"damaged")
    assert remembered(name) is None
    monkeypatch.setattr(kept, "fingerprint", lambda: "another whet")
    assert key(code, Options()) != name


def test_the_text_on_standard_output_and_the_rest_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = command([HEX, *QUICK], capsys)
    assert "contract Decompiled {" in out
    assert "// compile with solc 0.8.30" in out
    assert "NOT VERIFIED" in out
    assert "# compiler: solc 0.8.30" in err
    assert "not verified" in err
    assert "from the cache" not in err
    again, said = command([HEX, *QUICK], capsys)
    assert again == out
    assert "from the cache" in said
    assert "from the cache" not in command([HEX, *QUICK, "--no-cache"], capsys)[1]


def test_one_function_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = command([HEX, *QUICK, "-f", "0xa9059cbb"], capsys)
    assert out.count("function ") == 1
    raw = json.loads(command([HEX, *QUICK, "--json"], capsys)[0])
    assert raw["schema"] == "whet.decompiled/1"
    assert {one["judged"]["label"] for one in raw["functions"]} == {"not verified"}
    with pytest.raises(whet.CodeError, match="no functions are meant by 'nothing'"):
        command([HEX, *QUICK, "-f", "nothing"], capsys)


def test_parts(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {name: command([HEX, *QUICK, "--show", name], capsys)[0] for name in PARTS}
    assert "mapping(address => uint256)" in shown["storage"]
    assert shown["events"] == "Transfer(address,uint256)\n"
    assert shown["errors"] == "Denied(address)\n"
    assert "function f_a9059cbb" in shown["tac"]
    result = example()
    assert part(result, "tac", find(result, "0xa9059cbb")).count("function ") == 1
    with pytest.raises(whet.WhetError, match="nothing is named 'all'"):
        whet.show_decompiled([HEX], show="all")


def test_files_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "a.sol", tmp_path / "a.html"
    (tmp_path / "original.sol").write_text(
        "contract C { function transfer(address a, uint b) public { x(); } }"
    )
    shown, _ = command(
        [HEX, *QUICK, "--out", str(out), "--html", str(page), "--source", str(tmp_path / "original.sol")],
        capsys,
    )
    assert shown == ""
    assert "contract Decompiled" in out.read_text()
    assert "whet decompile" in page.read_text()


def several_files(folder: Path) -> Path:
    folder.mkdir()
    (folder / "token.hex").write_text(HEX)
    (folder / "tiny.hex").write_text("6001600255")
    (folder / "broken.hex").write_text("600")
    (folder / "eof.hex").write_text("ef0001")
    return folder


def in_process(tasks: object, jobs: int) -> object:
    return map(attempt, tasks)  # type: ignore[call-overload]


def test_one_failure_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.evm.decompile.show.several", in_process)
    folder = several_files(tmp_path / "in")
    with pytest.raises(whet.WhetError, match="2 of 4 inputs failed") as caught:
        command([str(folder), *QUICK, "--out", str(tmp_path / "out")], capsys)
    assert caught.value.exit_code == 3
    err = capsys.readouterr().err
    assert "broken: " in err
    assert "an odd number of hex digits" in err
    assert "eof: " in err
    assert "2 contracts; functions: " in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tiny.sol", "token.sol"]


def test_several_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.evm.decompile.show.several", in_process)
    out, _ = command(["6001600255", "6001600355", *QUICK, "--json"], capsys)
    assert [json.loads(line)["input"] for line in out.splitlines()] == ["code", "code-2"]
    out, _ = command(["6001600255", "6001600355", *QUICK], capsys)
    assert "// ==== code-2\n" in out
    with pytest.raises(whet.CodeError, match="takes one input"):
        command(["6001600255", "6001600355", *QUICK, "--html", "x.html"], capsys)


def numbered(count: int) -> list[Task]:
    return [Task(f"t{at}", "00", Options()) for at in range(count)]


def succeeds(task: Task) -> Done:
    return Done(task, told=[task.name])


def dies(task: Task) -> Done:
    if task.name == "t3":
        os.kill(os.getpid(), signal.SIGKILL)
    return succeeds(task)


def test_a_process_that_is_killed_takes_nothing_else_along() -> None:
    done = {one.task.name: one for one in several(numbered(9), 2, dies)}
    assert sorted(done) == [f"t{at}" for at in range(9)]
    assert {name for name, one in done.items() if one.error} == {"t3"}
    assert "ended by the system" in done["t3"].error


def test_leaving_early_ends_the_processes() -> None:
    import multiprocessing

    results = several(numbered(50), 2, succeeds)
    assert next(results).told
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_our_own_mistakes_are_said_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(task: Task, *more: object) -> Done:
        raise RuntimeError("oh")

    monkeypatch.setattr(many, "one", broken)
    done = attempt(numbered(1)[0])
    assert (done.result, done.exit_code) == (None, 1)
    assert "a mistake of whet: RuntimeError: oh" in done.error


def test_labels_are_all_counted() -> None:
    assert set(example().labels) <= set(LABELS)
    assert sum(example().labels.values()) == len(example().functions)


def test_a_node_that_is_wrong_is_said_before_anything_is_done() -> None:
    with pytest.raises(whet.WhetError, match="no URL of a node"):
        whet.show_decompiled([HEX], rpc="localhost:8545")
    with pytest.raises(whet.WhetError, match="less than 0"):
        whet.show_decompiled([HEX], jobs=-1)
