"""The parts of a verification: mutants, versions, ABIs, the stages of a text."""

from __future__ import annotations

from random import Random

import pytest

from tests.evm.test_verify import LIMITED, PUT, dispatched
from tests.evm.test_verify_branches import called, hand_made
from whet.evm.replay.mutants import Change, mutant
from whet.evm.replay.probes import broken
from whet.evm.replay.vectors import Method
from whet.evm.tac import End, Statement
from whet.evm.verify.branches import root
from whet.evm.verify.mutation import Mutants
from whet.evm.verify.needless import given_sizes, means_the_same
from whet.evm.verify.nouns import Evidence
from whet.evm.verify.pair import Pair, _same_text
from whet.evm.verify.sides import allows, compiled
from whet.evm.verify.stages import abi_differences, score

# Mutants.


def test_mutants_are_sorted() -> None:
    """Killed where something is observed; equivalent where a changed value is masked away; alive where no value changes."""
    masked = "PUSH 1 PUSH 64 MSTORE " + LIMITED  # what is stored at 64 nobody reads
    pair = Pair(dispatched(LIMITED), dispatched(masked), 1, {})
    pair.give(10**8, 10**12)
    method = Method("put(uint256)", PUT, ("uint256",))
    called(pair, method, 60)
    mutants = Mutants(pair, root(pair.other, PUT, "put"), pair.agreed, 30)
    evidence = Evidence()
    mutants.tell(evidence)
    assert evidence.killed > 0
    assert evidence.equivalent > 0
    assert evidence.killed + evidence.equivalent + len(evidence.survivors) == evidence.mutants
    assert evidence.kill_rate >= 0.9


def test_changes_that_mean_the_same_are_not_made() -> None:
    steps = [
        Statement("CALLDATASIZE", (), ("v0",), 0),
        Statement("SLT", ("v0", 36), ("v1",), 0),
        Statement("SUB", ("v1", "v0"), ("v2",), 0),
    ]
    for end, same in (
        (End("BRANCH", ("v2",), ("b1", "b2")), True),
        (End("RETURN", ("v2", 32)), False),
    ):
        contract = hand_made(steps, end)
        sizes = given_sizes(contract)
        swapped = Change("SUB: arguments swapped", 2)
        assert means_the_same(contract, sizes, ("f", "b0"), swapped) == same
        assert not means_the_same(contract, sizes, ("f", "b0"), Change("SUB became ADD", 2))
        assert means_the_same(contract, sizes, ("f", "b0"), Change("SLT: 0x24 became 0x25", 1))


def test_masks_that_cut_nothing_off_are_not_changed() -> None:
    steps = [
        Statement("CALLVALUE", (), ("v0",), 0),
        Statement("ISZERO", ("v0",), ("v1",), 0),
        Statement("AND", ("v1", 255), ("v2",), 0),
        Statement("AND", ("v0", 255), ("v3",), 0),
        Statement("AND", ("v0", 255), ("v4",), 0),
        Statement("SSTORE", ("v2", "v3"), (), 0),
    ]
    contract = hand_made(steps, End("BRANCH", ("v4",), ("b1", "b2")))
    halved = "AND: 0xff became 0xf"
    same = [means_the_same(contract, set(), ("f", "b0"), Change(halved, at)) for at in (2, 3, 4)]
    assert same == [True, False, True]  # 0 or 1; stored; only asked if it is 0
    assert not means_the_same(contract, set(), ("f", "b0"), Change("AND became OR", 2))


def test_masks_of_what_lies_in_calldata_are_not_halved() -> None:
    steps = [
        Statement("CALLDATALOAD", (4,), ("v0",), 0),
        Statement("CALLDATASIZE", (), ("v1",), 0),
        Statement("ADD", ("v0", 36), ("v2",), 0),
        Statement("GT", ("v2", "v1"), ("v3",), 0),
        Statement("AND", ("v0", (1 << 64) - 1), ("v4",), 0),
        Statement("CALLDATALOAD", (36,), ("v5",), 0),
        Statement("AND", ("v5", (1 << 64) - 1), ("v6",), 0),
        Statement("SSTORE", ("v4", "v6"), (), 0),
    ]
    contract = hand_made(steps, End("BRANCH", ("v3",), ("b1", "b2")))
    sizes, halved = given_sizes(contract), "AND: 0xffffffffffffffff became 0xffffffff"
    assert means_the_same(contract, sizes, ("f", "b0"), Change(halved, 4))  # of an offset
    assert not means_the_same(contract, sizes, ("f", "b0"), Change(halved, 6))  # of any word
    narrow = "AND: 0xffffffffffffffff became 0xffff"
    assert not means_the_same(contract, sizes, ("f", "b0"), Change(narrow, 4))


def test_a_selector_that_is_stored_changes_where_it_is_read() -> None:
    store = Statement("MSTORE", (0, 0xA9059CBB << 224), (), 0)
    contract = hand_made([store], End("REVERT", (0, 4)))
    texts = {str(mutant(contract, ("f", "b0"), Random(seed))[1]) for seed in range(60)}
    changed = {text for text in texts if text.startswith("MSTORE: 0xa9059cbb")}
    assert {text.split()[-1][:10] for text in changed} == {"0xa9059cba", "0xa9059cbc"}


def test_without_calls_no_mutant_is_judged() -> None:
    pair = Pair(dispatched(LIMITED), dispatched(LIMITED), 1, {})
    evidence = Evidence()
    Mutants(pair, root(pair.other, PUT, "put"), [], 10).tell(evidence)
    assert (evidence.mutants, evidence.kill_rate) == (0, 1.0)


def test_only_padding_behind_the_same_text_is_padding() -> None:
    head = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big")
    text = head + (5).to_bytes(32, "big") + b"wrong"
    clean, dirty = text.ljust(100, b"\0"), text.ljust(100, b"x")
    assert _same_text(clean, dirty)
    assert not _same_text(clean, dirty + bytes(32))
    assert not _same_text(clean, clean.replace(b"wrong", b"right"))
    assert not _same_text(clean, clean[:67] + b"\4" + clean[68:])
    assert not _same_text(bytes(4) + clean[4:], bytes(4) + dirty[4:])
    assert not _same_text(head + b"\xff" * 64, head + b"\xff" * 63 + b"\xfe")


def test_broken_calldata() -> None:
    data = b"abcd" + bytes(64)
    found = broken(data)
    assert data[:-1] in found
    assert len(found) == 3
    assert all(len(one) == len(data) for one in found if one != data[:-1])


# Versions and ABIs.


@pytest.mark.parametrize(
    ("pragma", "yes", "no"),
    [
        ("^0.8.0", (0, 8, 30), (0, 7, 6)),
        (">=0.4.22", (0, 8, 30), (0, 4, 21)),
        (">=0.5.0 <0.7.0", (0, 6, 12), (0, 7, 0)),
        ("0.8.19", (0, 8, 19), (0, 8, 20)),
        ("=0.7.6", (0, 7, 6), (0, 7, 5)),
        ("0.4.26 || ^0.6.2", (0, 6, 12), (0, 5, 17)),
        ("~0.8.1", (0, 8, 4), (0, 8, 0)),
        ("0.8", (0, 8, 4), (0, 7, 6)),
    ],
)
def test_pragmas(pragma: str, yes: tuple[int, int, int], no: tuple[int, int, int]) -> None:
    assert allows(pragma, yes)
    assert not allows(pragma, no)


def entry(name: str, inputs: list[str], outputs: list[str]) -> dict[str, object]:
    return {
        "type": "function",
        "name": name,
        "inputs": [{"type": kind} for kind in inputs],
        "outputs": [{"type": kind} for kind in outputs],
    }


def test_abis_that_are_encoded_the_same_are_the_same() -> None:
    ours = [entry("f", ["address"], ["address"]), entry("g", [], ["string"]), {"type": "constructor"}]
    theirs = [entry("g", [], ["bytes"]), entry("f", ["address"], ["uint160"])]
    assert abi_differences(ours, theirs) == {}
    wrong = abi_differences(ours, [entry("f", ["address"], ["uint8"]), entry("h", [], [])])
    assert sorted(wrong.values()) == [
        "f(address) gives (uint160), not (uint8)",
        "g() is missing",
        "h() is not of the original",
    ]


SOURCE = """pragma solidity 0.8.30;
contract Small {
    uint256 total;
    function put(uint256 value) external returns (uint256) { %s total = value; return total; }
}
"""
SETTINGS = {"optimizer": {"enabled": True, "runs": 200}}


@pytest.mark.slow
def test_the_four_stages_of_a_text() -> None:
    """Each text stops where it should (needs the compiler)."""
    text = SOURCE % "require(value < 100);"
    truth = compiled({"a.sol": text}, "0.8.30", SETTINGS)

    def stages(candidate: str) -> tuple[str, ...]:
        return score(truth.runtime, truth.abi, candidate, "0.8.30", {"optimizer": {"enabled": False}}).stages

    assert stages("no text") == ()
    assert stages("contract Small { function }") == ("format",)
    assert stages(SOURCE.replace("put", "set") % "") == ("format", "compile")
    assert stages(SOURCE % "require(value < 101);") == ("format", "compile", "abi")
    assert stages(SOURCE % "require(100 > value);") == ("format", "compile", "abi", "replay")


def test_a_text_without_a_contract_reaches_no_stage() -> None:
    found = score(b"", [entry("f", [], [])], "I am sorry", "0.8.30", {})
    assert (found.stages, found.functions, found.same) == ((), 1, 0)
    assert found.verification.counts == {"not compiled": 1}
