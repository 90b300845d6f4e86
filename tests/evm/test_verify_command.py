"""`whet verify`: what it prints, its exit codes, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import typer

import whet
from tests.evm.test_verify import ABI, LIMITED, PUT, dispatched
from whet.cli import app
from whet.evm.verify.show import table

RIGHT, WRONG = (dispatched(text).hex() for text in (LIMITED, LIMITED.replace("PUSH 1000", "PUSH 999")))


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = int(app(["verify", *arguments], standalone_mode=False) or 0)
    except (typer.Exit, click.exceptions.Exit) as ended:
        code = ended.exit_code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def abi(tmp_path: Path) -> str:
    path = tmp_path / "abi.json"
    path.write_text(json.dumps(ABI))
    return str(path)


def test_the_same_prints_a_table_and_ends_with_0(abi: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run([RIGHT, RIGHT, "--abi", abi, "--calls", "100"], capsys)
    assert code == 0
    assert "put(uint256)  same" in out
    assert out.rstrip().endswith("3 functions: 3 same")
    assert "put(uint256): same" in err


def test_a_difference_is_shown_and_ends_with_8(abi: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([RIGHT, WRONG, "--abi", abi, "--calls", "100", "-f", "put"], capsys)
    assert code == 8
    assert "calls put(1000)" in out
    assert "candidate: revert" in out
    assert out.rstrip().endswith("1 functions: 1 different")


def test_json_is_all_that_stands_on_standard_output(abi: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([RIGHT, WRONG, "--abi", abi, "--calls", "100", "--json", "-f", f"0x{PUT:08x}"], capsys)
    assert code == 8
    (function,) = json.loads(out)["functions"]
    assert function["verdict"] == "different"


def test_too_few_calls_are_inconclusive_and_end_with_9(abi: str, capsys: pytest.CaptureFixture[str]) -> None:
    locked = (
        "PUSH 4 CALLDATALOAD PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 PUSH 0x123456 EQ ISZERO @short JUMPI STOP"
    )
    code = dispatched(locked).hex()
    ended, out, _ = run([code, code, "--abi", abi, "--calls", "40", "-f", "put"], capsys)
    assert ended == 9
    assert "no call succeeded" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([RIGHT, "0x6"], "odd"),
        ([RIGHT, "nowhere.sol"], "nowhere.sol"),
        ([RIGHT, "nowhere.hex"], "nowhere.hex"),
        ([RIGHT, RIGHT, "-f", "put"], "no function is named 'put'"),
        ([RIGHT, RIGHT, "--contract", "Token"], "no artifact"),
    ],
)
def test_bad_input(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(whet.WhetError, match=told):
        run(arguments, capsys)


def test_a_missing_import_and_an_impossible_pragma_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.sol"
    path.write_text('pragma solidity ^0.8.0;\nimport "./b.sol";\ncontract A {}\n')
    with pytest.raises(whet.CodeError, match=r"b\.sol is imported and nowhere to be found"):
        whet.show_verified(RIGHT, str(path))
    path.write_text("pragma solidity >=0.9.0 <0.9.0;\ncontract A {}\n")
    with pytest.raises(whet.WhetError, match=r"no known compiler is allowed by >=0\.9\.0 <0\.9\.0"):
        whet.show_verified(RIGHT, str(path))


def test_long_names_and_reasons_stay_on_their_line() -> None:
    found = whet.verify(bytes.fromhex(RIGHT), bytes.fromhex(WRONG), [{**ABI[0], "name": "x" * 90}])
    assert max(map(len, table(found).splitlines()[:4])) < 200
