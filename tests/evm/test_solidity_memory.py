"""Objects in memory as Solidity: what code makes is said by one expression, only where it is that, and does the same."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from tests.evm.both import BLOCK, CALLER, SELF, world_of
from tests.evm.fixtures.decompile import compiled
from whet.evm.interpret import Transaction
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.slices import FREE, Run
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.assemble import assemble
from whet.evm.replay.reference import run_reference
from whet.evm.solidity.claims import content, made_of
from whet.evm.solidity.emit import COMPILER, SETTINGS, emit
from whet.evm.solidity.helpers import texts
from whet.evm.solidity.nouns import Source
from whet.evm.solidity.references import words_structs
from whet.evm.solidity.sums import added, sum_of, times
from whet.evm.tac import WORD, Contract, Statement
from whet.evm.terms import InMemory, Invoke, Name, Text, Typed

SELECTOR = 0x12345678
HEAD = f"""
PUSH 0x80 PUSH 0x40 MSTORE
PUSH 0 CALLDATALOAD PUSH 224 SHR PUSH {SELECTOR} EQ @f JUMPI PUSH 0 PUSH 0 REVERT
:f PUSH 4 CALLDATALOAD PUSH 36 CALLDATALOAD PUSH 0x40 MLOAD
"""
A, B = "DUP3", "DUP2"
"""The two arguments, below the free pointer on the stack."""
HASHED = "DUP1 MLOAD DUP2 PUSH 0x20 ADD KECCAK256"
GIVEN = "PUSH 0 MSTORE PUSH 0x20 PUSH 0 RETURN"

HELLO = int.from_bytes(b"hello".ljust(32, b"\0"), "big")
ROUNDED = "CALLDATASIZE PUSH 31 ADD PUSH 31 NOT AND PUSH 0x20 ADD DUP2 ADD PUSH 0x40 MSTORE"


def at(offset: int) -> str:
    """MSTORE of the word on the stack, so many bytes behind the pointer below it."""
    return f"DUP2 PUSH {offset} ADD MSTORE"


def moved(size: int) -> str:
    return f"DUP1 PUSH {size} ADD PUSH 0x40 MSTORE"


MADE = {
    "encode": (
        f"{A} {at(0x20)} {B} {at(0x40)} PUSH 0x40 {at(0)} {moved(0x60)} {HASHED} {GIVEN}",
        "keccak256(abi.encode(",
    ),
    "packed": (
        f"PUSH {0x1901 << 240} {at(0)} {A} {at(2)} {B} {at(0x22)} PUSH 0x42 DUP2 KECCAK256 {GIVEN}",
        'keccak256(abi.encodePacked(hex"1901", ',
    ),
    "address": (
        f"{A} PUSH 96 SHL {at(0x20)} {B} {at(0x34)} PUSH 0x34 {at(0)} {moved(0x60)} {HASHED} {GIVEN}",
        "abi.encodePacked(address(",
    ),
    "words": (
        f"{A} {at(0)} {B} {at(0x20)} {moved(0x40)} DUP1 MLOAD DUP2 PUSH 0x20 ADD MLOAD XOR {GIVEN}",
        "= Words2(",
    ),
    "text": (
        f"PUSH 5 {at(0)} PUSH {HELLO} {at(0x20)} {moved(0x40)} {HASHED} {GIVEN}",
        'keccak256(bytes("hello"))',
    ),
    "calldata": (
        f"CALLDATASIZE {at(0)} CALLDATASIZE PUSH 0 DUP3 PUSH 0x20 ADD CALLDATACOPY {ROUNDED} {HASHED} {GIVEN}",
        "keccak256(msg.data)",
    ),
}
"""{name: (code with the free pointer on the stack, what must stand in the text)}"""

NOT_MADE = {
    "a pointer into itself": (
        f"DUP1 PUSH 0x20 ADD {at(0)} {A} {at(0x20)} {moved(0x40)} DUP1 MLOAD MLOAD {GIVEN}",
        "Words2(",
    ),
    "a length that only samples have as 0": (
        f"{A} PUSH 255 SHR {at(0)} DUP1 MLOAD DUP2 ADD PUSH 0x20 ADD PUSH 0x40 MSTORE DUP1 MLOAD {GIVEN}",
        '""',
    ),
    "words of which one is written later": (
        f"{A} {at(0)} {moved(0x40)} {B} PUSH 0 SSTORE DUP1 PUSH 0x20 ADD MLOAD {GIVEN}",
        "Words2(",
    ),
    "truths that a helper writes, which samples have as 1": (
        (
            "@one DUP4 DUP3 PUSH 0x20 ADD @store JUMP :one @two DUP3 DUP3 PUSH 0x40 ADD @store JUMP "
            f":two PUSH 0x40 {at(0)} {moved(0x60)} {HASHED} {GIVEN} :store SWAP1 PUSH 5 LT SWAP1 MSTORE JUMP"
        ),
        "keccak256(abi.encode(",
    ),
}
"""{why not: (code, what must not stand in the text)}"""


@cache
def emitted(body: str) -> tuple[bytes, Source]:
    code = assemble(HEAD + body)
    contract = untangled(lift_code(code))
    return code, emit(contract, analyse(contract))


@pytest.mark.parametrize("name", MADE)
def test_an_object_is_said_by_what_makes_it(name: str) -> None:
    body, said = MADE[name]
    _, source = emitted(body)
    assert said in source.text, source.text
    assert "mload(0x40)" not in source.text
    if name != "words":
        assert sum(function.assembly for function in source.functions) == 0


@pytest.mark.parametrize("name", NOT_MADE)
def test_code_stays_assembly_where_its_object_is_not_sure(name: str) -> None:
    body, not_said = NOT_MADE[name]
    _, source = emitted(body)
    assert f"= {not_said}" not in source.text, source.text
    assert "mload(0x40)" in source.text


def test_members_of_words_have_names() -> None:
    _, source = emitted(MADE["words"][0])
    assert words_structs(source.text.splitlines()) == ["struct Words2 { uint256 f0; uint256 f1; }"]
    assert ".f0" in source.text
    assert ".f1" in source.text
    assert "mload" not in source.text.partition("fallback()")[0]


@pytest.mark.slow
@pytest.mark.parametrize("body", [body for body, _ in (*MADE.values(), *NOT_MADE.values())])
def test_the_compiled_text_does_what_the_code_does(body: str) -> None:
    code, source = emitted(body)
    other = bytes.fromhex(compiled(source)["code"])
    rng = random.Random(3)
    for _ in range(20):
        words = [rng.choice([0, 1, WORD, rng.getrandbits(256), rng.getrandbits(160)]) for _ in range(2)]
        data = SELECTOR.to_bytes(4, "big") + b"".join(word.to_bytes(32, "big") for word in words)
        assert observed(code, data) == observed(other, data)


@pytest.mark.slow
def test_words_are_taken_as_an_object_without_taking_memory() -> None:
    """`asWords2()(place)`: its second member is read, and the free pointer is where it was."""
    helpers = "\n".join(texts({"asWords2"}))
    text = f"""
        pragma solidity {COMPILER};
        contract Decompiled {{
            struct Words2 {{ uint256 f0; uint256 f1; }}
            function second(Words2 memory words) private pure returns (uint256) {{ return words.f1; }}
            {helpers}
            fallback() external {{
                uint256 free;
                assembly {{ mstore(0x200, 7) mstore(0x220, 9) free := mload(0x40) }}
                uint256 found = second(asWords2()(0x200));
                assembly {{ mstore(0, found) mstore(0x20, sub(mload(0x40), free)) return(0, 0x40) }}
            }}
        }}"""
    code = bytes.fromhex(compiled(Source(text, "Decompiled", COMPILER, SETTINGS, [], []))["code"])
    assert observed(code, b"") == ("success", (9).to_bytes(32, "big") + bytes(32), [])
    assert lift_code(code).notes == []


@pytest.mark.slow
def test_code_is_copied_from_any_place() -> None:
    """CODECOPY of as many bytes as the second argument says, from where the first says: also across the end and behind it."""
    body = "DUP2 DUP4 PUSH 0x200 CODECOPY PUSH 0x80 PUSH 0x200 RETURN"
    code, source = emitted(body)
    assert "invalid()" not in source.text
    other = bytes.fromhex(compiled(source)["code"])
    for offset in (0, 7, len(code) - 3, len(code), 1 << 200, WORD):
        for length in (0, 1, 32, 70, 300):
            data = b"".join(
                [SELECTOR.to_bytes(4, "big"), offset.to_bytes(32, "big"), length.to_bytes(32, "big")]
            )
            assert observed(code, data) == observed(other, data), (offset, length)


def observed(code: bytes, data: bytes) -> tuple[Any, ...]:
    outcome = run_reference(world_of(code, {}), {SELF: code}, Transaction(CALLER, SELF, data), BLOCK)
    return outcome.status, outcome.data, outcome.logs


# What expressions make.


def run_with(objects: dict[str, bytes], words: dict[str, int]) -> Run:
    made = Run(Contract({}, 0, {}), 0, values=dict(words))
    pointer = FREE + 0x1000
    for name, data in objects.items():
        made.memory[pointer : pointer + 32] = len(data).to_bytes(32, "big")
        made.memory[pointer + 32 : pointer + 32 + len(data)] = data
        made.values[name] = pointer
        pointer += 0x400
    return made


def test_encodings_are_those_of_another_implementation() -> None:
    eth_abi = pytest.importorskip("eth_abi")
    rng = random.Random(5)
    for _ in range(60):
        data, text = rng.randbytes(rng.randrange(70)), rng.randbytes(rng.randrange(70))
        word, who = rng.getrandbits(256), rng.getrandbits(256)
        made = run_with({"d": data, "t": text}, {"w": word, "a": who})
        args = (InMemory("d", "bytes"), "w", InMemory("t", "bytes"))
        expected = eth_abi.encode(["bytes", "uint256", "bytes"], [data, word, text])
        assert made_of(made, Invoke(Name("abi.encode"), args)) == len(expected).to_bytes(32, "big") + expected
        pieces = (
            Typed("a", "address"),
            Text("xy"),
            InMemory("d", "bytes"),
            Typed("w", "bytes4"),
            Typed("w", "uint16"),
        )
        packed = (who & (1 << 160) - 1).to_bytes(20, "big") + b"xy" + data
        packed += word.to_bytes(32, "big")[:4] + word.to_bytes(32, "big")[-2:]
        found = made_of(made, Invoke(Name("abi.encodePacked"), pieces))
        assert found == len(packed).to_bytes(32, "big") + packed
        assert content(made, made.values["d"], "bytes")[32:].rstrip(b"\0") == data.rstrip(b"\0")


def test_sums_are_the_words_that_they_stand_for() -> None:
    rng = random.Random(7)
    for _ in range(300):
        made: dict[str, Statement] = {}
        values = {name: rng.randrange(1 << 20) for name in "xyz"}
        for number in range(6):
            op = rng.choice(["ADD", "MUL", "SHL"])
            name, one = f"v{number}", rng.choice([*values])
            other: int | str = rng.choice([*values, rng.randrange(40)]) if op == "ADD" else rng.randrange(8)
            args = (other, one) if op == "SHL" or rng.random() < 0.5 else (one, other)
            made[name] = Statement(op, args, (name,), 0)
            right = values[other] if isinstance(other, str) else other
            left = values[one]
            values[name] = left + right if op == "ADD" else left * right if op == "MUL" else left << right
        constant, terms = sum_of("v5", made)
        assert constant + sum(values[name] * factor for name, factor in terms) == values["v5"]
    assert added((1, (("x", 2),)), times((3, (("x", -1),)), 2)) == (7, ())
