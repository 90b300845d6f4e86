"""No two things of a contract are declared by one name, whatever the bytecode calls them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tests.evm.test_solidity_memory import HEAD
from whet.evm.keccak import keccak256, selector
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.assemble import assemble
from whet.evm.signatures import Signatures
from whet.evm.solidity.emit import emit
from whet.evm.solidity.storage import declare

FAR = (1 << 200, 1 << 201)


def text_of(code: str, abi: list[dict[str, Any]] | None = None) -> str:
    contract = untangled(lift_code(assemble(HEAD + code)))
    return emit(contract, analyse(contract, Signatures.builtin().with_abi(abi or []))).text


def item(kind: str, name: str, *types: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "inputs": [{"type": t, "name": "", "indexed": False} for t in types]}


def fails(signature: str, words: int) -> str:
    """Reverts with the error and so many copies of the first argument."""
    stores = " ".join(f"DUP3 PUSH {4 + 32 * at} MSTORE" for at in range(words))
    four = selector(signature) << 224
    return f"PUSH {four} PUSH 0 MSTORE {stores} PUSH {4 + 32 * words} PUSH 0 REVERT"


def test_two_errors_of_one_name_are_one_declaration_and_bytes() -> None:
    """Solidity overloads events and functions, not errors."""
    abi = [item("error", "Wrong"), item("error", "Wrong", "uint256")]
    text = text_of(f"DUP2 @other JUMPI {fails('Wrong()', 0)} :other {fails('Wrong(uint256)', 1)}", abi)
    assert len(re.findall(r"\berror Wrong\(", text)) == 1
    assert len(re.findall(r"\brevert Wrong\(", text)) == 1
    others = {f"{selector(one):08x}" for one in ("Wrong()", "Wrong(uint256)")}
    assert sum(four in text for four in others) == 1, "the other one is said by its selector"


def test_an_event_and_an_error_of_one_name() -> None:
    abi = [item("error", "Moved"), item("event", "Moved", "uint256")]
    topic = int.from_bytes(keccak256(b"Moved(uint256)"), "big")
    log = f"DUP3 PUSH 0x80 MSTORE PUSH {topic} PUSH 0x20 PUSH 0x80 LOG1 STOP"
    text = text_of(f"DUP2 @other JUMPI {fails('Moved()', 0)} :other {log}", abi)
    assert len(re.findall(r"\b(?:error|event) Moved\(", text)) == 1
    assert f"{topic:064x}" in text or f"{selector('Moved()'):08x}" in text


def test_structs_of_two_far_mappings_have_two_names() -> None:
    def write(slot: int, *members: int) -> str:
        place = f"PUSH {slot} PUSH 0x20 MSTORE DUP3 PUSH 0 MSTORE PUSH 0x40 PUSH 0 KECCAK256"
        return " ".join(f"CALLER {place} PUSH {member} ADD SSTORE" for member in members)

    text = text_of(f"{write(FAR[0], 0, 1)} {write(FAR[1], 0, 2)} STOP")
    structs = re.findall(r"\bstruct (Struct\w*) ", text)
    assert len(structs) == 2
    assert len(set(structs)) == 2
    used = Counter(re.findall(r"=> (Struct\w*)\)", text))
    assert set(used) == set(structs)


def test_gaps_of_storage_and_of_transient_storage() -> None:
    storage = [
        StateVariable(name, slot=3, offset=0, size=32, type="uint256", transient=transient)
        for name, transient in (("a", False), ("b", True))
    ]
    names = re.findall(r"(\w+);", "\n".join(declare(storage, (), set()).lines))
    assert len(names) == len(set(names)) > 2


def test_neighbours_in_a_far_namespace_have_two_names() -> None:
    """The members of a struct at a hash: their slots begin with the same digits."""
    far = int.from_bytes(keccak256(b"a namespace"), "big")
    code = f"CALLER PUSH {far} SSTORE NUMBER PUSH {far + 1} SSTORE STOP"
    contract = untangled(lift_code(assemble(HEAD + code)))
    meaning = analyse(contract, Signatures.builtin())
    assert [v.slot for v in meaning.storage] == [far, far + 1]
    assert [v.name for v in meaning.storage] == [f"stor_{far >> 224:08x}", f"stor_{far >> 224:08x}plus1"]
    text = emit(contract, meaning).text
    for variable in meaning.storage:
        assert text.count(f"function at_{variable.name}(") == 1
        assert text.count(f"struct Place_{variable.name} ") == 1
        assert f"place.slot := {variable.slot:#x}" in text


def test_a_contract_that_asks_for_itself_is_no_library() -> None:
    """A library's code begins with its own address; a `receive` that compares it stands elsewhere in the dispatcher."""
    itself = "CALLDATASIZE @more JUMPI ADDRESS CALLER EQ @mine JUMPI PUSH 0 PUSH 0 REVERT :mine STOP :more"
    for head, mutability in ((itself, "payable"), ("ADDRESS PUSH 7 EQ PUSH 0x60 MSTORE", "nonpayable")):
        contract = untangled(lift_code(assemble(f"{head} {HEAD} SSTORE STOP")))
        (function,) = contract.public.values()
        assert analyse(contract, Signatures()).functions[function.name].mutability == mutability, head
