"""How a call is found that takes a branch nobody has taken, where words go through memory in parts, hashes and answers."""

from __future__ import annotations

import pytest

from tests.evm import naive
from tests.evm.test_explore import explored, traced
from tests.evm.test_verify import PUT, dispatched
from whet.evm.interpret import Transaction, run
from whet.evm.keccak import keccak256
from whet.evm.replay.assemble import assemble
from whet.evm.replay.cases import Case
from whet.evm.replay.inverse import options
from whet.evm.replay.mocks import MOCKS, OWNER, people_and_mocks, script, when
from whet.evm.replay.symbols import Work, evaluate, keccak, leaf, made
from whet.evm.verify.telling import place
from whet.evm.world import Account, World

COPIED = "CALLDATASIZE PUSH 0 PUSH 64 CALLDATACOPY"
"""Calldata at 64 in memory, the first argument at 68."""
BALANCE = (
    f"PUSH 0x70a08231 PUSH 224 SHL PUSH 0 MSTORE PUSH 32 PUSH 0 PUSH 36 PUSH 0 PUSH {MOCKS[0]} GAS STATICCALL "
    "ISZERO @short JUMPI PUSH 0 MLOAD"
)
TRANSFER = (
    f"PUSH 0xa9059cbb PUSH 224 SHL PUSH 0 MSTORE PUSH 32 PUSH 0 PUSH 68 PUSH 0 PUSH 0 PUSH {MOCKS[0]} GAS CALL "
    "ISZERO @short JUMPI"
)
FAILED = f"PUSH 0 PUSH 0 PUSH 4 PUSH 0 PUSH 0 PUSH {MOCKS[0]} GAS CALL @short JUMPI PUSH 3 RETURNDATASIZE GT ISZERO @short JUMPI"


@pytest.mark.parametrize(
    "body",
    [
        # A byte and eight bytes of what was copied, read as the end and as the middle of a word.
        f"{COPIED} PUSH 37 MLOAD PUSH 255 AND PUSH 7 EQ @yes JUMPI STOP :yes STOP",
        f"{COPIED} PUSH 70 MLOAD PUSH 192 SHR PUSH 0x123456789a EQ @yes JUMPI STOP :yes STOP",
        # The end of one word and the beginning of the next.
        (
            f"{COPIED} PUSH 84 MLOAD PUSH 0x1234567890abcdef1234567890abcdef11111111111111111111111111111111 EQ @yes JUMPI STOP "
            ":yes STOP"
        ),
        # A word of storage behind four bytes, read from the first of these.
        "PUSH 3 SLOAD PUSH 4 MSTORE PUSH 0 MLOAD PUSH 0xabcdef EQ @yes JUMPI STOP :yes STOP",
        # Two texts whose hashes have to be alike.
        (
            "PUSH 3 SLOAD PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 PUSH 4 CALLDATALOAD PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 "
            "EQ @yes JUMPI STOP :yes STOP"
        ),
        # More of a token behind a transfer than before.
        f"{BALANCE} {TRANSFER} {BALANCE} SUB PUSH 1000 EQ @yes JUMPI STOP :yes STOP",
        # What a call that failed gave back: the selector, and a word behind it.
        (
            f"{FAILED} PUSH 4 PUSH 0 PUSH 0 RETURNDATACOPY PUSH 0 MLOAD PUSH 224 SHR PUSH 0x08c379a0 EQ @yes JUMPI STOP :yes "
            "PUSH 36 RETURNDATASIZE LT @short JUMPI PUSH 32 PUSH 4 PUSH 0 RETURNDATACOPY PUSH 0 MLOAD PUSH 32 EQ @text JUMPI "
            "STOP :text STOP"
        ),
    ],
)
def test_both_ways_are_found_from_one_call(body: str) -> None:
    wanted, taken, _ = explored(body, Case(PUT.to_bytes(4, "big") + bytes(64)))
    assert taken == wanted


def test_a_hash_evaluated_with_other_inputs_is_the_hash_of_these() -> None:
    word = leaf(5, ("data", 4))
    data = (5).to_bytes(32, "big") + (9).to_bytes(32, "big")
    known = int.from_bytes(keccak256(data[:40]), "big")
    found = made(known, "KECCAK256", (40, word, 9))
    assert keccak(40, 5, 9) == known
    other = (6).to_bytes(32, "big") + (9).to_bytes(32, "big")
    assert evaluate(found, {("data", 4): 6}, Work(10)) == int.from_bytes(keccak256(other[:40]), "big")


def test_hashes_of_several_words_are_made_alike() -> None:
    def hashed(*words: int) -> int:
        return made(keccak(64, *words), "KECCAK256", (64, *words))

    one, other = (hashed(*(leaf(at + i, ("data", 4 + 64 * at + 32 * i)) for i in (0, 1))) for at in (1, 9))
    equal = made(0, "EQ", (one, other))
    found = next(options(equal, True, {}, Work(1000)))
    assert evaluate(equal, found, Work(100)) == 1
    assert len(found) == 2


def test_written_answers_behind_recorded_calls() -> None:
    """A call that is recorded is a call like others; one in a static call is not."""
    accounts = people_and_mocks()
    early, late = script(MOCKS[1], 7, True, b"early"), script(MOCKS[1], when(7, 1), True, b"late")
    accounts[MOCKS[1]].storage = {slot: value for (_, slot), value in (early | late).items()}
    world = World(accounts, naive.lift)
    call = Transaction(OWNER, MOCKS[1], (7).to_bytes(4, "big"))
    assert run(None, world, call).data == b"early"
    again = assemble(
        f"PUSH 7 PUSH 224 SHL PUSH 0 MSTORE PUSH 0 PUSH 0 PUSH 4 PUSH 0 PUSH {MOCKS[1]} GAS STATICCALL POP "
        f"PUSH 0 PUSH 0 PUSH 4 PUSH 0 PUSH 0 PUSH {MOCKS[1]} GAS CALL POP "
        f"PUSH 0 PUSH 0 PUSH 4 PUSH 0 PUSH {MOCKS[1]} GAS STATICCALL POP RETURNDATASIZE PUSH 0 PUSH 0 RETURNDATACOPY "
        "RETURNDATASIZE PUSH 0 RETURN"
    )
    world.accounts[1 << 100] = Account(code=again)
    assert run(None, world, Transaction(OWNER, 1 << 100)).data == b"late"


def test_places_behind_calls_have_names() -> None:
    first = next(iter(script(MOCKS[0], when(0x150B7A02, 2), True, bytes(32))))
    assert (
        place(*first) == "mock0's answer to 0x150b7a02 behind 2 calls, bytes + 1, and 0x10000 if it reverts"
    )


def test_parts_of_parts_are_asked_for_once() -> None:
    """Each call of itself writes over a word byte by byte, and copies single bytes of what it was called with."""
    head = " ".join(f"PUSH {byte} PUSH {at} MSTORE8" for at, byte in enumerate(PUT.to_bytes(4, "big")))
    copies = " ".join(f"PUSH 1 PUSH 0 PUSH {at} CALLDATACOPY" for at in range(4, 28))
    body = (
        f"TIMESTAMP PUSH 0 MSTORE {head} {copies} PUSH 36 CALLDATALOAD ISZERO @end JUMPI PUSH 1 PUSH 36 CALLDATALOAD SUB "
        "PUSH 36 MSTORE PUSH 0 PUSH 0 PUSH 68 PUSH 0 PUSH 0 ADDRESS GAS CALL POP "
        ":end PUSH 0 MLOAD PUSH 5 EQ @short JUMPI STOP"
    )
    data = PUT.to_bytes(4, "big") + (1).to_bytes(32, "big") + (9).to_bytes(32, "big")
    assert len(traced(dispatched(body), Case(data)).decisions) > 9
