"""One piece of code through the interpreter (naively translated) and through pyrevm; they must agree on everything."""

from __future__ import annotations

from collections.abc import Callable

from tests.evm import naive
from whet.evm.interpret import Block, Result, Transaction, run
from whet.evm.replay.compare import compare
from whet.evm.replay.reference import precompile, run_reference
from whet.evm.tac import Contract, from_json, to_json
from whet.evm.world import Account, World

SELF, CALLER, OTHER = 0xC0DE, 0xCA11E5, 0x0111
BLOCK = Block(number=1234, timestamp=99, coinbase=0xBEEF, prevrandao=7, base_fee=0, chain_id=5)


def world_of(code: bytes, others: dict[int, bytes], lift: Callable[[bytes], Contract] = naive.lift) -> World:
    accounts = {address: Account(balance=5000, nonce=1, code=text) for address, text in others.items()}
    accounts |= {
        SELF: Account(balance=1000, nonce=1, storage={1: 11, 2: 1 << 200}),
        CALLER: Account(balance=1 << 90),
    }
    return World(accounts, lift, precompile)


def assert_same(
    code: bytes,
    calldata: bytes = b"",
    value: int = 0,
    others: dict[int, bytes] | None = None,
    steps: int = 1_000_000,
) -> Result:
    """Runs both from the same state, asserts that all observables agree, gives the interpreter's result.

    The TAC goes through JSON first, and the interpreter's world has no bytes of the code.
    """
    world = world_of(code, others or {})
    tx = Transaction(CALLER, SELF, calldata, value)
    outcome = run_reference(world, {SELF: code}, tx, BLOCK)
    contract = from_json(to_json(naive.lift(code)))
    result = run(contract, world, tx, BLOCK, steps)
    differences = compare(result, world, outcome)
    assert not differences, (code.hex(), calldata.hex(), differences)
    return result
