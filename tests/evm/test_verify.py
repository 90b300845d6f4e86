"""Verdicts: what is the same, what differs and how it is shown, what nobody can say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.evm.fixtures import fixtures
from whet.evm.keccak import selector as selector_of
from whet.evm.opcodes import BY_NAME
from whet.evm.replay.assemble import assemble
from whet.evm.replay.mocks import OWNER
from whet.evm.solc.srcmap import instructions
from whet.evm.verify import (
    DIFFERENT,
    INCONCLUSIVE,
    SAME,
    Budget,
    Verdict,
    Verification,
    to_json,
    verify,
)

ABI: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "put",
        "inputs": [{"type": "uint256", "name": "value"}],
        "outputs": [],
        "stateMutability": "nonpayable",
    }
]
PUT = selector_of("put(uint256)")
SMALL = Budget(calls=160, least=60)


def dispatched(body: str, selector: int = PUT, more: str = "") -> bytes:
    """A contract with one function, which checks that it has an argument; `more` stands in the dispatcher."""
    head = f"PUSH 0 CALLDATALOAD PUSH 224 SHR DUP1 PUSH {selector} EQ @f JUMPI {more} PUSH 0 PUSH 0 REVERT "
    check = ":f PUSH 36 CALLDATASIZE LT @short JUMPI "
    return assemble(f"{head}{check}{body} :short PUSH 0 PUSH 0 REVERT")


def only(original: bytes, candidate: bytes, budget: Budget = SMALL) -> Verdict:
    return found_of(verify(original, candidate, ABI, budget=budget), PUT)


def found_of(verification: Verification, selector: int) -> Verdict:
    verdict = verification.of(selector)
    assert verdict
    return verdict


# A store, an event of it, and the value given back; limited to 1,000.
LIMITED = """
PUSH 1000 PUSH 4 CALLDATALOAD GT @short JUMPI PUSH 4 CALLDATALOAD PUSH 3 SSTORE
PUSH 4 CALLDATALOAD PUSH 0 MSTORE PUSH 7 PUSH 32 PUSH 0 LOG1 PUSH 32 PUSH 0 RETURN
"""


def test_the_same_by_other_means() -> None:
    """Other instructions, other order of what does not matter."""
    other = """
    PUSH 4 CALLDATALOAD PUSH 1001 SWAP1 LT ISZERO @short JUMPI PUSH 4 CALLDATALOAD DUP1 PUSH 64 MSTORE PUSH 3 SSTORE
    PUSH 7 PUSH 32 PUSH 64 LOG1 PUSH 32 PUSH 64 RETURN
    """
    found = only(dispatched(LIMITED), dispatched(other))
    assert found.verdict == SAME, found.reasons
    evidence = found.evidence
    assert evidence.coverage == 1
    assert evidence.branches == 4
    assert evidence.counted >= 10
    assert evidence.killed >= 0.9 * (evidence.mutants - evidence.equivalent)
    assert evidence.mutants > 5


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("PUSH 3 SSTORE", "PUSH 4 SSTORE", "storage"),
        ("PUSH 1000 PUSH 4", "PUSH 1001 PUSH 4", "status"),
        ("PUSH 7 PUSH 32", "PUSH 8 PUSH 32", "logs"),
        ("PUSH 32 PUSH 0 RETURN", "PUSH 31 PUSH 0 RETURN", "data"),
        ("PUSH 3 SSTORE", "PUSH 3 TSTORE", "storage"),
        ("GT @short JUMPI", "GT POP", "status"),
    ],
)
def test_one_change_is_different(before: str, after: str, what: str) -> None:
    assert before in LIMITED
    found = only(dispatched(LIMITED), dispatched(LIMITED.replace(before, after)))
    assert found.verdict == DIFFERENT
    assert found.counterexample
    assert found.counterexample.what == what


WRITING = ("transfer", "approve", "mint", "burn", "pause", "give", "rename")


def test_who_calls_is_not_who_began() -> None:
    """`msg.sender` and `tx.origin` are the same until a contract is in between, called by one who may."""
    (token,) = (each for each in fixtures() if each.name == "Token-0.8.30-runs200")
    places = [one.pc for one in instructions(token.runtime) if one.name == "CALLER"]
    assert len(places) > 5
    writing = [int(four, 16) for four, name in token.truth["methods"].items() if name.startswith(WRITING)]
    for place in places[::2]:
        other = bytearray(token.runtime)
        other[place] = BY_NAME["ORIGIN"].value
        verification = verify(
            token.runtime, bytes(other), token.truth["abi"], functions=writing, budget=SMALL
        )
        found = [one.counterexample for one in verification.verdicts if one.verdict == DIFFERENT]
        assert found, f"{place:#x}"
        assert found[0]
        assert "(a contract, called by " in found[0].text


def test_a_difference_is_told_with_its_smallest_call() -> None:
    """Off by one at the limit: the argument is the limit, nothing else is needed."""
    wrong = dispatched(LIMITED.replace("PUSH 1000", "PUSH 999"))
    found = only(dispatched(LIMITED), wrong)
    assert found.counterexample
    (call,) = found.counterexample.calls
    assert call.text == "put(1000)"
    assert call.value == 0
    assert found.counterexample.state == {}
    assert found.counterexample.original.startswith("success")
    assert found.counterexample.candidate == "revert"
    assert (
        "owner calls put(1000)" in found.counterexample.text or "calls put(1000)" in found.counterexample.text
    )


def test_outgoing_calls_are_compared() -> None:
    """A call to the stored address: its wei, its data, and whether it is one at all."""
    body = "PUSH {word} PUSH 0 MSTORE PUSH 0 PUSH 0 PUSH 32 PUSH 0 PUSH {wei} PUSH 0 SLOAD GAS CALL POP STOP"
    right = dispatched(body.format(word=5, wei=0))
    assert only(right, dispatched(body.format(word=6, wei=0))).verdict == DIFFERENT
    assert only(right, dispatched(body.format(word=5, wei=1))).verdict == DIFFERENT
    static = "PUSH 5 PUSH 0 MSTORE PUSH 0 PUSH 0 PUSH 32 PUSH 0 PUSH 0 SLOAD GAS STATICCALL POP STOP"
    assert only(right, dispatched(static)).verdict == DIFFERENT


def test_a_mock_answers_where_the_code_names_who_it_calls() -> None:
    """And in another state nothing is there: both ways of the check that there is code are taken."""
    named = 0x433709009B8330FDA32311DF1C2AFA402ED8D009
    body = (
        "PUSH {at} EXTCODESIZE ISZERO @short JUMPI PUSH 5 PUSH 0 MSTORE PUSH 32 PUSH 0 PUSH 32 PUSH 0 PUSH 0 PUSH {at} GAS "
        "CALL ISZERO @short JUMPI PUSH 0 MLOAD PUSH {slot} SSTORE STOP"
    )
    right = dispatched(body.format(at=named, slot=1))
    found = verify(right, right, ABI, budget=SMALL)
    verdict = found_of(found, PUT)
    assert verdict.verdict == SAME, verdict
    assert verdict.evidence.executed == verdict.evidence.branches
    assert "a mock answers at 0x433709009b8330fda32311df1c2afa402ed8d009" in found.notes
    assert only(right, dispatched(body.format(at=named, slot=2))).verdict == DIFFERENT
    assert only(right, dispatched(body.format(at=named + 1, slot=1))).verdict == DIFFERENT


def test_what_only_the_candidate_asks_for_is_found() -> None:
    """A way in for one address, and one for a password: their constants are in the candidate alone."""
    back = "CALLER PUSH {who} EQ @back JUMPI "
    tail = " :back PUSH 1 PUSH 99 SSTORE STOP"
    assert only(dispatched(LIMITED), dispatched(back.format(who=OWNER) + LIMITED + tail)).verdict == DIFFERENT
    secret = f"PUSH 4 CALLDATALOAD PUSH {(1 << 199) + 0xABCDEF} EQ @back JUMPI "
    assert only(dispatched(LIMITED), dispatched(secret + LIMITED + tail)).verdict == DIFFERENT


def test_a_function_more_or_less_is_different() -> None:
    more = dispatched(
        LIMITED, more="DUP1 PUSH 0x12345678 EQ @g JUMPI @end JUMP :g PUSH 1 PUSH 0 SSTORE STOP :end"
    )
    found = verify(dispatched(LIMITED), more, ABI, budget=SMALL)
    extra = found_of(found, 0x12345678)
    assert extra.verdict == DIFFERENT
    assert "the original has no such function" in extra.reason
    missing = verify(more, dispatched(LIMITED), ABI, budget=SMALL)
    assert "the candidate has no such function" in found_of(missing, 0x12345678).reason
    assert missing.exit_code == 8


def test_gas_that_is_shown_and_the_codes_own_hash_are_not_differences() -> None:
    gas = "GAS PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
    found = only(dispatched(gas), dispatched("PUSH 1 POP " + gas))
    assert found.verdict == INCONCLUSIVE
    assert "depends on gas" in found.reason
    own = "ADDRESS EXTCODEHASH PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
    found = only(dispatched(own), dispatched("PUSH 1 POP " + own))
    assert found.verdict == INCONCLUSIVE
    assert "reads its own code" in found.reason


def test_a_part_of_the_codes_own_is_no_difference_and_hides_none() -> None:
    """Read as the code of an address; the same beside a word of storage that one side writes otherwise."""
    part = "PUSH {word} PUSH 0 SSTORE PUSH 32 PUSH 30 PUSH 0 ADDRESS EXTCODECOPY PUSH 32 PUSH 0 RETURN"
    found = only(dispatched(part.format(word=1)), dispatched("PUSH 1 POP " + part.format(word=1)))
    assert found.verdict == INCONCLUSIVE
    assert "reads its own code" in found.reason
    found = only(dispatched(part.format(word=1)), dispatched("PUSH 1 POP " + part.format(word=2)))
    assert found.verdict == DIFFERENT


def test_a_side_that_needs_more_gas_does_the_same_with_more() -> None:
    """A loop of as many rounds as the argument says: of many, one side runs out of gas; with four times as much neither
    does. A loop that never ends is no matter of gas."""
    loop = (
        "PUSH 4 CALLDATALOAD PUSH 5000 LT @out JUMPI PUSH 4 CALLDATALOAD :next DUP1 ISZERO @out JUMPI {} "
        "PUSH 1 SWAP1 SUB @next JUMP :out STOP"
    )
    mined = "PUSH 4 CALLDATALOAD PUSH 5000 EQ @out JUMPI " + loop
    found = only(dispatched(mined.format("")), dispatched(mined.format("PUSH 60000 PUSH 0 KECCAK256 POP")))
    assert any("needs more gas" in note for note in found.notes), found
    assert not any("gas" in reason for reason in found.reasons)
    endless = "PUSH 4 CALLDATALOAD PUSH 5 EQ ISZERO @out JUMPI :on {} :out STOP"
    wrong = only(dispatched(endless.format("STOP")), dispatched(endless.format("@on JUMP")))
    assert wrong.verdict != SAME


@pytest.mark.parametrize(
    ("kind", "used", "checked", "counts"),
    [
        ("uint16", "PUSH 16 SHR", "PUSH 65535 LT @short JUMPI", True),  # the other bits count
        ("uint16", "PUSH 65535 AND", "PUSH 65535 LT @short JUMPI", False),  # they do not
        ("address", "PUSH 160 SHR", "PUSH 160 SHR @short JUMPI", True),
        ("int8", "PUSH 0 SIGNEXTEND", "DUP1 PUSH 0 SIGNEXTEND EQ ISZERO @short JUMPI", False),
        ("bytes4", "PUSH 32 SHL", "PUSH 32 SHL @short JUMPI", True),
        ("bytes4", "PUSH 224 SHR", "PUSH 32 SHL @short JUMPI", False),
    ],
)
def test_a_type_that_is_narrower_than_what_is_used_is_not_the_same(
    kind: str, used: str, checked: str, counts: bool
) -> None:
    """The ABI may come from who wrote the candidate: what it calls no calldata may be good calldata of the original."""
    given = f"PUSH 4 CALLDATALOAD {used} PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
    abi = [ABI[0] | {"inputs": [{"type": kind, "name": "value"}]}]
    selector = selector_of(f"put({kind})")
    original = dispatched(given, selector)
    candidate = dispatched(f"PUSH 4 CALLDATALOAD {checked} {given}", selector)
    found = found_of(verify(original, candidate, abi, budget=SMALL), selector)
    assert any("bits that its arguments' types do not have" in r for r in found.reasons) == counts
    assert found.verdict == INCONCLUSIVE if counts else found.verdict != DIFFERENT


def test_branches_that_no_call_takes_are_not_the_same() -> None:
    """Behind the hash of an argument that nobody knows."""
    locked = (
        "PUSH 4 CALLDATALOAD PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 PUSH 0x123456 EQ @open JUMPI STOP :open "
    )
    locked += " ".join(f"PUSH 36 CALLDATALOAD PUSH {i} EQ @w{i} JUMPI" for i in range(4)) + " STOP "
    locked += " ".join(f":w{i} STOP" for i in range(4))
    found = only(dispatched(locked), dispatched(locked))
    assert found.verdict == INCONCLUSIVE
    assert "coverage 25%: 3 of 12 branches executed" in found.reason


def test_a_function_that_never_succeeds_though_it_could_is_inconclusive() -> None:
    locked = (
        "PUSH 4 CALLDATALOAD PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 PUSH 0x123456 EQ ISZERO @short JUMPI STOP"
    )
    found = only(dispatched(locked), dispatched(locked))
    assert found.verdict == INCONCLUSIVE
    assert "no call succeeded" in found.reason


def test_work_is_bounded_whatever_the_candidate_does() -> None:
    """An endless loop in the candidate: out of gas there, not here."""
    found = only(
        dispatched(LIMITED), dispatched(":loop @loop JUMP"), Budget(calls=100, least=20, gas=300_000_000)
    )
    assert found.verdict != SAME
    assert found.evidence.calls <= 20


def test_the_same_twice() -> None:
    (one,) = (f for f in fixtures("Token") if f.name == "Token-0.8.30-runs200")
    (other,) = (f for f in fixtures("Token") if f.name == "Token-0.8.30-off")
    chosen = [selector_of("approve(address,uint256)"), selector_of("pause(uint64)")]
    runs = [
        json.dumps(
            to_json(verify(one.runtime, other.runtime, one.truth["abi"], functions=chosen, budget=SMALL))
        )
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("contract", ["Token", "Vault", "Loops"])
def test_other_settings_of_the_same_source_are_not_different(contract: str) -> None:
    known = {fixture.name: fixture for fixture in fixtures(contract)}
    one, other = known[f"{contract}-0.8.30-runs200"], known[f"{contract}-0.8.30-off"]
    budget = Budget(calls=20, least=20, mutants=0, statements=200_000)
    found = verify(one.runtime, other.runtime, one.truth["abi"], budget=budget)
    assert not [v.counterexample.text for v in found.verdicts if v.counterexample]
    assert len(found.verdicts) >= len(one.truth["methods"]) + 2


def test_a_wrong_contract_of_the_same_interface_is_different() -> None:
    """Another function's body under the selector: every verdict names its function."""
    known = {fixture.name: fixture for fixture in fixtures("Token")}
    one = known["Token-0.8.30-runs200"]
    wrong = one.runtime.replace(
        selector_of("owner()").to_bytes(4, "big"), selector_of("symbol()").to_bytes(4, "big")
    )
    assert wrong != one.runtime
    chosen = [selector_of("owner()"), selector_of("totalSupply()")]
    found = verify(one.runtime, wrong, one.truth["abi"], functions=chosen, budget=SMALL)
    assert found_of(found, chosen[0]).verdict == DIFFERENT
    assert found_of(found, chosen[1]).counterexample is None
    assert found.exit_code == 8


def test_without_an_abi_the_codes_selectors_are_called() -> None:
    found = verify(dispatched(LIMITED), dispatched(LIMITED.replace("PUSH 7", "PUSH 9")), budget=SMALL)
    assert [one.selector for one in found.verdicts] == [PUT, None, None]
    assert found.verdicts[0].verdict == DIFFERENT


def test_json_holds_everything() -> None:
    found = verify(dispatched(LIMITED), dispatched(LIMITED.replace("PUSH 7", "PUSH 9")), ABI, budget=SMALL)
    found.verdicts[0].evidence.set_aside["depends on gas"] = 3
    raw = json.loads(json.dumps(to_json(found)))
    assert raw["functions"][0]["evidence"]["set_aside"] == {"depends on gas": 3}
    assert raw["counts"] == {"same": 2, "different": 1} or raw["counts"]["different"] == 1
    (put,) = (one for one in raw["functions"] if one["selector"] == f"0x{PUT:08x}")
    assert put["verdict"] == DIFFERENT
    assert put["counterexample"]["what"] == "logs"
    assert put["counterexample"]["calls"][-1]["calldata"].startswith(f"{PUT:08x}")
