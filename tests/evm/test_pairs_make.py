"""A small project from sources to pairs, by a real compiler (slow: it is fetched the first time)."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.evm.pairs import distinct, nouns
from whet.evm.pairs.kept import Kept, made, place
from whet.evm.pairs.make import Made, make
from whet.evm.pairs.nouns import Pair, Project, from_plain
from whet.evm.pairs.pool import Pool
from whet.evm.solc import npm

BANK = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;
import {Sums} from "./Sums.sol";
abstract contract Bank {
    using Sums for uint256;
    uint256 public immutable fee;
    mapping(address => uint256) public balances;
    constructor(uint256 fee_) { fee = _once(_halved(fee_)); }
    function _once(uint256 a) private pure returns (uint256) { return a + 3; }
    function _halved(uint256 a) internal pure returns (uint256) { return a / 2; }
    function price() public view virtual returns (uint256);
    function deposit() external payable { _credit(msg.sender, msg.value * price()); }
    function charge() external view returns (bool) { return fee == 0; }
    function _credit(address who, uint256 amount) internal virtual {
        require(who != address(0), "nobody");
        balances[who] = balances[who].plus(amount);
    }
    function _never(uint256 a) private pure returns (uint256) { return a * 3 + 1; }
    receive() external payable { _credit(msg.sender, msg.value); }
}
"""
SUMS = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;
library Sums {
    struct Heap { mapping(uint256 => uint256) values; uint256 size; }
    function plus(uint256 a, uint256 b) internal pure returns (uint256) {
        require(a <= type(uint128).max && b <= type(uint128).max, "too much");
        return a + b;
    }
    function twin(uint256 a, uint256 b) internal pure returns (uint256) {
        require(a <= type(uint128).max && b <= type(uint128).max, "too much"); // again
        return a + b;
    }
    function push(Heap storage heap, uint256 value) internal { heap.values[heap.size] = value; heap.size += 1; }
    function map(mapping(uint256 => uint256) storage m, uint256 a) internal view returns (uint256) { return m[a] + 7; }
    function all(uint256[] memory values, function(uint256) pure returns (uint256) f) internal pure {
        for (uint256 i = 0; i < values.length; i++) values[i] = f(values[i]);
    }
}
"""
DEEP = """pragma solidity ^0.8.0;
contract Deep {
    function deep(uint a, uint b, uint c, uint d, uint e, uint f, uint g, uint h) public pure returns (uint) {
        uint i = a * b; uint j = c * d; uint k = e * f; uint l = g * h; uint m = i + j; uint n = k + l;
        uint o = m * n; uint p = o + a; uint q = p * b; uint r = q + c;
        return a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r;
    }
}
"""
TEXTS = {
    "Bank.sol": BANK,
    "Sums.sol": SUMS,
    "Deep.sol": DEEP,
    "Odd.sol": "pragma solidity wrong;\ncontract Odd { function a() public { } }",
    "Lonely.sol": 'import "nowhere.sol";\ncontract Lonely { function b() public { } }',
    "Broken.sol": "contract Broken { function c() public { this is no code; } }",
    "Ancient.sol": "pragma solidity ^0.3.0;\ncontract Ancient { function d() { } }",
}
PROJECT = Project("small@1", "small", TEXTS, tuple(TEXTS))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result() -> Made:
    with Pool(1) as pool:
        return make(PROJECT, "default", pool)


def by_name(result: Made) -> dict[str, Pair]:
    return {pair.name: pair for pair in result.pairs}


def test_pairs_know_their_function(result: Made) -> None:
    pairs = by_name(result)
    deposit = pairs["deposit"]
    assert (
        deposit.source == "function deposit() external payable { _credit(msg.sender, msg.value * price()); }"
    )
    assert (deposit.selector, deposit.label, deposit.visibility) == ("0xd0e30db0", "selector", "external")
    assert (deposit.mutability, deposit.contract, deposit.line) == ("payable", "Bank", 12)
    assert (deposit.solc, deposit.build, deposit.licence, deposit.era) == ("0.8.30", "runs200", "MIT", "0.8")
    credit = pairs["_credit"]
    assert (credit.label, credit.selector, credit.visibility) == ("source map", "", "internal")
    assert credit.signature == "_credit(address,uint256)"
    assert '"nobody"' in credit.tac
    assert "balances" in credit.tac + "".join(credit.storage)
    assert pairs["push"].signature == "push(Sums.Heap,uint256)"


def test_what_a_pair_calls_is_with_it(result: Made) -> None:
    for pair in result.pairs:
        for name in pair.called:
            assert name in pair.tac + "".join(pair.called.values())
        assert pair.body in ("", *pair.called)
    assert any('"nobody"' in text for text in by_name(result)["deposit"].called.values())


def test_immutables_and_functions_without_a_body_are_no_zeros(result: Made) -> None:
    """With zeros, `fee == 0` were true and the price nothing."""
    assert "return true" not in by_name(result)["charge"].tac
    deposit = by_name(result)["deposit"]
    assert any("msg.value" in text for text in (deposit.tac, *deposit.called.values()))


def test_every_function_is_a_pair_or_lost_by_a_named_reason(result: Made) -> None:
    lost = {one.origin.rpartition(".")[2]: one.reason for one in result.lost}
    assert len(result.pairs) + len(result.lost) == result.figures["functions"]
    assert {one.reason for one in result.lost} <= set(nouns.REASONS)
    expected = {
        "_once": nouns.CONSTRUCTION,
        "_never": nouns.NOT_REACHED,
        "all": nouns.NO_ABI,
        "deep": nouns.STACK,
        "a": nouns.PRAGMA,
        "b": nouns.IMPORT,
        "c": nouns.NOT_COMPILED,
        "d": nouns.NO_COMPILER,
    }
    named = {name: reason for name, reason in lost.items() if name in expected}
    assert named == expected


def test_pairs_are_plain_and_have_names_of_their_own(result: Made) -> None:
    assert [from_plain(pair.plain()) for pair in result.pairs] == result.pairs
    assert len({pair.origin for pair in result.pairs}) == len(result.pairs)


def test_labels_agree_with_the_compiler(result: Made) -> None:
    assert result.figures["labels_checked"] >= 10
    assert result.figures["labels_denied"] == 0


def test_several_processes_make_the_same(result: Made) -> None:
    with Pool(2) as pool:
        again = make(PROJECT, "default", pool)
    assert again.pairs == result.pairs
    assert again.lost == result.lost


def test_a_compiler_that_cannot_be_had_loses_its_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str, version: str) -> None:
        raise npm.WhetError(f"{name}@{version} is not in the cache and cannot be installed")

    monkeypatch.setattr("whet.evm.solc.compiler.package", nothing)
    monkeypatch.setattr("whet.evm.solc.compiler._remembered", lambda kept: None)
    monkeypatch.setattr("whet.evm.solc.compiler._workers", {})
    with Pool(1) as pool:
        found = make(PROJECT, "default", pool)
    assert not found.pairs
    reasons = {one.origin.rpartition(".")[2]: one.reason for one in found.lost}
    assert reasons["deposit"] == nouns.COMPILER_MISSING
    assert reasons["a"] == nouns.PRAGMA
    monkeypatch.setattr("whet.evm.pairs.kept.cache_folder", lambda: tmp_path)
    with Pool(1) as pool:
        assert made(PROJECT, "default", pool).lost == found.lost
        monkeypatch.setattr("whet.evm.pairs.kept.make", lambda *given: Made())
        assert not made(PROJECT, "default", pool).from_cache, "it is tried again"


def test_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Made) -> None:
    with Pool(1) as pool:
        monkeypatch.setattr("whet.evm.pairs.kept.cache_folder", lambda: tmp_path)
        first = made(PROJECT, "default", pool)
        monkeypatch.setattr("whet.evm.pairs.kept.make", None)
        second = made(PROJECT, "default", pool)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert list(first.pairs()) == list(second.pairs()) == result.pairs
    assert first.lost == second.lost == result.lost
    path = place(PROJECT, "default")
    path.write_bytes(path.read_bytes()[:-40])
    monkeypatch.undo()
    monkeypatch.setattr("whet.evm.pairs.kept.cache_folder", lambda: tmp_path)
    with Pool(1) as pool:
        assert not made(PROJECT, "default", pool).from_cache, "a damaged file is made again"
    assert place(PROJECT, "off") != path
    assert place(Project("small@1", "small", {**TEXTS, "Deep.sol": ""}, tuple(TEXTS)), "default") != path


def test_copies_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.evm.pairs.kept.cache_folder", lambda: tmp_path)
    other = Project("copy@1", "copy", {"s/Sums.sol": SUMS, "s/More.sol": DEEP}, ("s/Sums.sol", "s/More.sol"))
    with Pool(1) as pool:
        kept: list[Kept] = [
            made(one, build, pool) for one in (PROJECT, other) for build in ("default", "off")
        ]
    merged = distinct.grouped(kept)
    assert set(merged.of.values()) == {"small"}, "all of the copy is in the other"
    chosen = list(distinct.distinct(kept, merged))
    stays = [one for one in chosen if not one.why]
    assert {one.why for one in chosen} <= {"", *nouns.LEAVING}
    assert len({one.pair.tac_hash for one in stays}) == len(stays)
    assert any(one.why == nouns.SAME_SOURCE for one in chosen)
    few = [one for one in distinct.distinct(kept, merged, most_per_era=3) if not one.why]
    assert len(few) == 3
    apart = distinct.grouped(kept, "file")
    assert len(set(apart.of.values())) > 1
