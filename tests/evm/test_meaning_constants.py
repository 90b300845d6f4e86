"""Constants that the compiler keeps in the code stand where they are used; what only looks so stays as it is."""

from __future__ import annotations

import pytest

from tests.evm.test_solidity_memory import HEAD, SELECTOR
from whet.evm.interpret import Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.assemble import assemble
from whet.evm.solidity.emit import emit
from whet.evm.world import Account, World

CONSTANT = bytes(range(0x51, 0x71))
COPY = "PUSH 0x20 @table PUSH 1 ADD PUSH 0 CODECOPY PUSH 0 MLOAD"
LOADED = f"PUSH 0 MLOAD {COPY} SWAP1 PUSH 0 MSTORE"
"""Leaves the constant, and the first word of memory as it was."""
SUM = "ADD PUSH 0x80 MSTORE PUSH 0x20 PUSH 0x80 RETURN :table"
BEFORE = "PUSH 3 PUSH 0 MSTORE PUSH 7"
KEPT = {
    "not restored": f"{BEFORE} PUSH 0 MLOAD {COPY} SWAP1 POP {SUM}",
    "another word restored": f"{BEFORE} PUSH 0 MLOAD {COPY} SWAP1 PUSH 0x20 MSTORE {SUM}",
    "what it was is used": f"{BEFORE} PUSH 0 MLOAD DUP1 {COPY} SWAP1 PUSH 0 MSTORE ADD {SUM}",
}


def code_of(body: str) -> bytes:
    return assemble(HEAD + body) + CONSTANT


def given(code: bytes, untangle: bool) -> bytes:
    contract = untangled(lift_code(code)) if untangle else lift_code(code)
    data = SELECTOR.to_bytes(4, "big") + bytes(64)
    result = run(contract, World({1: Account(), 2: Account()}), Transaction(2, 1, data))
    assert result.status == "success"
    return result.data


def loads(code: bytes) -> int:
    functions = untangled(lift_code(code)).functions.values()
    return sum(s.op == "CODECOPY" for function in functions for s in function.statements())


@pytest.mark.parametrize("times", [1, 2])
def test_a_constant_of_the_code_is_said_as_one(times: int) -> None:
    code = code_of(f"PUSH 7 {LOADED} {'ADD ' + LOADED if times == 2 else ''} {SUM}")
    source = emit(contract := untangled(lift_code(code)), analyse(contract))
    assert loads(code) == 0
    assert sum(function.assembly for function in source.functions) == 0, source.text
    assert given(code, True) == given(code, False)
    assert int.from_bytes(given(code, True), "big") == 7 + times * int.from_bytes(CONSTANT, "big")


@pytest.mark.parametrize("name", KEPT)
def test_what_leaves_memory_as_it_was_not_stays(name: str) -> None:
    code = code_of(KEPT[name])
    assert loads(code) == 1
    assert given(code, True) == given(code, False)
