"""What `bench/evm_decompile.py` counts: contracts chosen, types compared, shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evm.decompiling import EVENT, TOKEN, example
from whet.evm.decompile.nouns import INCONCLUSIVE, SAME, Judged

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmarks are scripts beside one another."""
    monkeypatch.syspath_prepend(str(BENCH))
    import evm_decompile

    return evm_decompile


def corpus(folder: Path, name: str, count: int) -> Path:
    path = folder / f"{name}-0.8.30-runs200.jsonl"
    rows = [
        {"runtime": f"60{at:02x}", "methods": {"0x00000001": "f()"}, "abi": [], "at": at}
        for at in range(count)
    ]
    path.write_text("".join(json.dumps(row | {"name": name}) + "\n" for row in rows))
    return path


def test_the_same_contracts_are_chosen_and_no_code_twice(bench: Any, tmp_path: Path) -> None:
    paths = [corpus(tmp_path, "a", 30), corpus(tmp_path, "b", 4)]
    chosen = list(bench.choose(paths, 12))
    assert chosen == list(bench.choose(paths[::-1], 12))
    assert len({row["runtime"] for row in chosen}) == 12
    assert chosen[:6] == list(bench.choose(paths, 6))
    assert len(list(bench.choose(paths, 99))) == 30, "b has only codes of a"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("uint256,string", "bytes32,bytes", True),
        ("int256[]", "uint256[]", True),
        ("(uint256,address)[3]", "(bytes32,address)[3]", True),
        ("uint128", "int128", False),
        ("bytes4", "bytes", False),
        ("uint256", "uint256,uint256", False),
        ("address", "uint160", True),
        ("address", "bytes20", False),
    ],
)
def test_types_that_code_does_not_tell_apart(bench: Any, one: str, other: str, same: bool) -> None:
    assert bench.alike(one, other) == same


@pytest.mark.parametrize(
    ("found", "true", "label", "alike"),
    [
        ("uint48,uint208", "(uint48,uint208)", INCONCLUSIVE, True),
        ("uint128", "uint256", SAME, True),
        ("uint128", "uint256", INCONCLUSIVE, False),
        ("uint128", "uint256,uint256", SAME, False),
        ("uint256", "bytes", SAME, False),
        ("", "bool", SAME, False),
    ],
)
def test_results_with_the_same_encoding(bench: Any, found: str, true: str, label: str, alike: bool) -> None:
    truth = {"arguments": "address", "returns": true}
    assert bench.encoded_alike("address", found, truth, label) == alike
    assert not bench.encoded_alike("uint8", found, truth, label)


def row() -> dict[str, Any]:
    transfer = {
        "type": "function",
        "name": "transfer",
        "inputs": [{"type": "address"}, {"type": "uint256"}],
        "outputs": [],
    }
    return {
        "corpus": "a-0.8.30-runs200",
        "index": 0,
        "contract": "Token",
        "kind": "own",
        "solc": "0.8.30",
        "settings": {"version": "0.8.30", "runs": 200, "via_ir": False},
        "runtime": TOKEN.runtime.hex(),
        "abi": [transfer, EVENT],
        "methods": {"0xa9059cbb": "transfer(address,uint256)", "0x00000001": "gone()"},
    }


def test_shares_are_of_the_compilers_functions(bench: Any) -> None:
    result = example()
    for function in result.functions:
        function.judged = Judged(SAME)
    counted = bench.figures(row(), result)
    by_name = {one["signature"]: one for one in counted["functions"]}
    assert by_name["transfer(address,uint256)"]["exact"]
    assert by_name["gone()"]["label"] == "missing"
    assert not counted["perfect"]
    lost = row() | {"bytes": 100, "failed": "RuntimeError: oh"}
    sums = bench.summary([row() | counted | {"bytes": 4063}, lost])
    assert sums["all"]["labels"] == {"same": 0.5, "missing": 0.5}
    assert (sums["all"]["contracts"], sums["all"]["failed"], sums["all"]["compiles"]) == (2, 1, 0.5)
    assert sums["all"]["abi_alike"] == 0.5
    assert list(sums["by"]["family"]) == ["a"]
    assert list(sums["by"]["settings"]) == ["0.8.30 runs=200"]


def test_a_contract_is_perfect_only_with_all_of_it(bench: Any) -> None:
    result, only = example(), row()
    del only["methods"]["0x00000001"]
    for function in result.functions:
        function.judged = Judged(SAME)
    counted = bench.figures(only, result)
    assert counted["perfect"]
    assert bench.perfect_encoded(counted)
    (one,) = counted["functions"]
    assert not bench.perfect_encoded(counted | {"functions": [one | {"encoded_alike": False}]})
    outer = result.functions[-1]
    assert outer.text.kind == "private"
    outer.text.kind, outer.judged = "fallback", Judged("inconclusive")
    assert not bench.figures(only, result)["perfect"]
