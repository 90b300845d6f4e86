"""Differences that decide nothing: gas that is given on, sizes that both sides refuse."""

from __future__ import annotations

import pytest

from tests.evm.test_verify import ABI, PUT, SMALL, dispatched, found_of, only
from whet.evm.replay.assemble import assemble
from whet.evm.verify import DIFFERENT, INCONCLUSIVE, SAME, verify
from whet.evm.verify.pair import DEARER, REFUSED, TOO_LARGE, with_more_to_give

RETURNS = "PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"

SMALL_ONES = f"PUSH 100 PUSH 4 CALLDATALOAD LT ISZERO @large JUMPI PUSH 4 CALLDATALOAD {RETURNS} :large"


def sends_to_itself(rounds: int) -> bytes:
    """`put` of 100 and more calls its own fallback with 2,300 gas and gives whether it succeeded; the fallback does something
    for a while."""
    body = f"{SMALL_ONES} PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 ADDRESS PUSH 2300 CALL {RETURNS}"
    loop = f"PUSH {rounds} :again PUSH 1 SWAP1 SUB DUP1 @again JUMPI STOP"
    return dispatched(body, more=f"CALLDATASIZE ISZERO @sent JUMPI @on JUMP :sent {loop} :on")


def test_a_stipend_that_is_enough_for_one_side_only_is_a_matter_of_gas() -> None:
    few, many, none = sends_to_itself(20), sends_to_itself(200), dispatched(f"{SMALL_ONES} PUSH 0 {RETURNS}")
    verdict = found_of(verify(few, many, ABI, functions=[PUT], budget=SMALL), PUT)
    assert verdict.verdict == SAME, verdict
    assert verdict.evidence.set_aside[DEARER] > 0
    assert found_of(verify(few, none, ABI, functions=[PUT], budget=SMALL), PUT).verdict == DIFFERENT


def test_only_what_is_given_on_is_more() -> None:
    """The same bytes within a longer constant stay as they are."""
    code = assemble("PUSH 0x6108fc00 PUSH 2300 PUSH 1 JUMP")
    assert with_more_to_give(code) == code[:6] + b"\xff\xff" + code[8:]
    assert with_more_to_give(b"\x61\x08") == b"\x61\x08"


@pytest.mark.parametrize(
    ("refused", "verdict"),
    [("PUSH 0 PUSH 0 REVERT", SAME), (f"PUSH 1 {RETURNS}", INCONCLUSIVE)],
    ids=["both fail", "one takes it"],
)
def test_sizes_that_are_refused_in_another_way(refused: str, verdict: str) -> None:
    panic = int.from_bytes(TOO_LARGE, "big")
    panics = f"PUSH {panic >> 32} PUSH 0 MSTORE PUSH {(panic & 0xFFFFFFFF) << 224} PUSH 32 MSTORE PUSH 36 PUSH 0 REVERT"
    body = "PUSH 0xffffffffffffffff PUSH 4 CALLDATALOAD GT @large JUMPI PUSH 4 CALLDATALOAD {returns} :large {refused}"
    ours, theirs = (dispatched(body.format(returns=RETURNS, refused=one)) for one in (panics, refused))
    found = only(ours, theirs)
    assert found.verdict == verdict, found
    assert (found.evidence.set_aside[REFUSED] > 0) == (verdict == SAME)
