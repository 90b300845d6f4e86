"""Differences that decide nothing: gas that is given on, sizes that both sides refuse."""

from __future__ import annotations

import pytest

from tests.evm.test_verify import ABI, PUT, SMALL, dispatched, found_of, only
from whet.evm.replay.cases import Case
from whet.evm.replay.mocks import FORWARDER, OWNER
from whet.evm.verify import DIFFERENT, INCONCLUSIVE, SAME, verify
from whet.evm.verify.pair import DEEPER, REFUSED, TOO_LARGE, Pair

RETURNS = "PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"

SMALL_ONES = f"PUSH 100 PUSH 4 CALLDATALOAD LT ISZERO @large JUMPI PUSH 4 CALLDATALOAD {RETURNS} :large"


def sends_to_itself(rounds: int) -> bytes:
    """`put` of 100 and more calls its own fallback with 2,300 gas and gives whether it succeeded; the fallback does something
    for a while."""
    body = f"{SMALL_ONES} PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 ADDRESS PUSH 2300 CALL {RETURNS}"
    loop = f"PUSH {rounds} :again PUSH 1 SWAP1 SUB DUP1 @again JUMPI STOP"
    return dispatched(body, more=f"CALLDATASIZE ISZERO @sent JUMPI @on JUMP :sent {loop} :on")


def test_a_stipend_that_is_enough_for_one_side_only_may_be_a_matter_of_gas() -> None:
    """Nothing is called different for it, and nothing the same."""
    few, many, none = sends_to_itself(20), sends_to_itself(200), dispatched(f"{SMALL_ONES} PUSH 0 {RETURNS}")
    verdict = found_of(verify(few, many, ABI, functions=[PUT], budget=SMALL), PUT)
    assert verdict.verdict == INCONCLUSIVE, verdict
    assert verdict.evidence.set_aside["depends on gas"] > 0
    assert found_of(verify(few, none, ABI, functions=[PUT], budget=SMALL), PUT).verdict == INCONCLUSIVE
    assert found_of(verify(none, limit(100), ABI, functions=[PUT], budget=SMALL), PUT).verdict == SAME
    assert found_of(verify(none, limit(101), ABI, functions=[PUT], budget=SMALL), PUT).verdict == DIFFERENT


def limit(first: int) -> bytes:
    """Of that and more `put` gives 0."""
    return dispatched(f"{SMALL_ONES.replace('PUSH 100', f'PUSH {first}')} PUSH 0 {RETURNS}")


@pytest.mark.parametrize("limit", [2300, 2400])
def test_a_constant_that_is_a_stipend_too_is_a_constant(limit: int) -> None:
    body = "PUSH {} PUSH 4 CALLDATALOAD GT @large JUMPI PUSH 1 " + RETURNS + " :large PUSH 0 PUSH 0 REVERT"
    assert only(dispatched(body.format(limit)), dispatched(body.format(limit + 1))).verdict == DIFFERENT


@pytest.mark.parametrize(
    ("size", "refused", "verdict"),
    [
        ("PUSH 3 SLOAD", "PUSH 0 PUSH 0 REVERT", SAME),
        ("PUSH 3 SLOAD", f"PUSH 1 {RETURNS}", INCONCLUSIVE),
        ("PUSH 4 CALLDATALOAD", "PUSH 0 PUSH 0 REVERT", INCONCLUSIVE),
    ],
    ids=["of storage, both fail", "of storage, one takes it", "an argument"],
)
def test_sizes_that_are_refused_in_another_way(size: str, refused: str, verdict: str) -> None:
    """Only of a word that was put there, and that no contract comes to, it does not matter how it is refused."""
    panic = int.from_bytes(TOO_LARGE, "big")
    panics = f"PUSH {panic >> 32} PUSH 0 MSTORE PUSH {(panic & 0xFFFFFFFF) << 224} PUSH 32 MSTORE PUSH 36 PUSH 0 REVERT"
    body = "PUSH 0xffffffffffffffff {size} GT @large JUMPI PUSH 4 CALLDATALOAD {returns} :large {refused}"
    ours, theirs = (
        dispatched(body.format(size=size, returns=RETURNS, refused=one)) for one in (panics, refused)
    )
    found = only(ours, theirs)
    assert found.verdict == verdict, found
    assert (found.evidence.set_aside[REFUSED] > 0) == (verdict == SAME)


@pytest.mark.parametrize("caller", [OWNER, FORWARDER], ids=["a person", "a contract"])
def test_a_stack_that_overflows_decides_nothing_whoever_calls(caller: int) -> None:
    """A contract that calls hands on that the call failed, and not why."""
    words = " ".join(["PUSH 1"] * 1025)
    overflows = dispatched(f"{SMALL_ONES} {words} STOP")
    large = Case(PUT.to_bytes(4, "big") + (1000).to_bytes(32, "big"), caller)
    for candidate, expected in ((limit(100), DEEPER), (overflows, "")):
        _, differences, reason = Pair(overflows, candidate, 0, {}).attempt(large)
        assert (differences, reason) == ([], expected)
    _, differences, reason = Pair(
        limit(100), dispatched(f"{SMALL_ONES} PUSH 0 PUSH 0 REVERT"), 0, {}
    ).attempt(large)
    assert differences
    assert not reason
