"""Solidity made of bytecode: the text compiles (recorded), does what the bytecode does, and says where it is assembly."""

from __future__ import annotations

import gzip
import json
import random
import re
from functools import cache
from typing import Any

import pytest

from tests.evm.both import BLOCK, CALLER, SELF, world_of
from tests.evm.fixtures import Fixture
from tests.evm.fixtures.decompile import RECORD, SHOWN, cases, compiled, digest, source_of
from tests.evm.programs import CALLEE, CALLEE_CODE, program
from whet.evm.interpret import Transaction
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.assemble import assemble
from whet.evm.replay.reference import run_reference
from whet.evm.solidity.emit import emit
from whet.evm.solidity.lines import Declarer, Line, Nest, rendered, wrapped
from whet.evm.solidity.nouns import LITERAL
from whet.evm.solidity.storage import declare
from whet.evm.solidity.types import from_word, literal, number_text, to_word
from whet.evm.verify import Budget, verify

CASES = pytest.mark.parametrize(
    ("fixture", "level"), cases(), ids=[f"{fixture.name} {level}" for fixture, level in cases()]
)


@cache
def recorded() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(gzip.decompress(RECORD.read_bytes()))
    return record


@CASES
def test_the_text_is_the_one_that_was_compiled(fixture: Fixture, level: int) -> None:
    source, _ = source_of(fixture, level)
    assert digest(source.text) == recorded()[f"{fixture.name} {level}"]["text"], (
        "the text has changed: python -m tests.evm.fixtures.decompile"
    )


def test_the_text_that_is_shown_is_the_one_that_is_made() -> None:
    source, _ = source_of(cases()[0][0])
    assert source.text == SHOWN.read_text("utf-8")


@CASES
def test_the_compiled_text_does_what_the_bytecode_does(fixture: Fixture, level: int) -> None:
    """None differs; where calls suffice, most are the same."""
    candidate = bytes.fromhex(recorded()[f"{fixture.name} {level}"]["code"])
    abi = source_of(fixture, level)[0].abi
    found = verify(fixture.runtime, candidate, abi, budget=Budget(calls=24, least=12, mutants=0), seed=5)
    different = [(one.function, one.reason) for one in found.verdicts if one.verdict == "different"]
    assert not different
    assert sum(one.evidence.succeeded > 0 for one in found.verdicts) >= 0.5 * len(found.verdicts)


@CASES
def test_variables_lie_where_the_bytecode_has_them(fixture: Fixture, level: int) -> None:
    source, meaning = source_of(fixture, level)
    placed = {
        label: (slot, offset) for label, slot, offset in recorded()[f"{fixture.name} {level}"]["storage"]
    }
    named = re.findall(r"^    \S.* private (\w+); // slot", source.text, re.MULTILINE)
    assert named
    for variable in meaning.storage:
        label = next((n for n in (variable.name, f"_{variable.name}") if n in named), None)
        if label is not None and not variable.transient:
            assert placed[label] == (variable.slot, variable.offset)


@CASES
def test_every_function_is_there_with_its_selector_and_its_share(fixture: Fixture, level: int) -> None:
    source, _ = source_of(fixture, level)
    assert {int(one["selector"], 16) for one in source.abi if one["type"] == "function"} == {
        int(selector, 16) for selector in fixture.truth["methods"]
    }
    lines = source.text.splitlines()
    for function in source.functions:
        text = "\n".join(lines[function.first_line - 1 : function.last_line])
        assert ("assembly" in text) >= (function.assembly > 0)
        assert 0 <= function.assembly <= function.statements
        assert not any(note.startswith("not said") for note in function.notes)


def test_literal_text_has_more_assembly_and_no_meaning() -> None:
    fixture = cases()[0][0]
    shares = []
    for level in (0, 1, 2):
        functions = source_of(fixture, level)[0].functions
        shares.append(sum(f.assembly for f in functions) / sum(f.statements for f in functions))
    assert shares[0] < 0.25 < shares[1] <= shares[2]


@pytest.mark.parametrize("length", [0x100, 1 << 40, (1 << 256) - 1])
def test_a_copy_of_more_code_than_there_is_ends_well(length: int) -> None:
    """CODECOPY(0, 0, length), then the first word is given back."""
    code = bytes.fromhex(f"7f{length:064x}600060003960206000f3")
    contract = untangled(lift_code(code))
    source = emit(contract, analyse(contract))
    assert len(source.text) < 10_000
    said = [note for function in source.functions for note in function.notes]
    assert any("bytes of code copied" in note for note in said) == (length > 1 << 16)


# Words and types.


@pytest.mark.parametrize(
    "address",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_addresses_have_the_checksum_of_eip_55(address: str) -> None:
    assert literal(int(address, 16), "address") == f"address({address})"


def test_numbers_cannot_be_read_as_addresses() -> None:
    rng = random.Random(2)
    for bits in range(1, 257):
        value = rng.getrandbits(bits) | 1 << bits - 1
        text = number_text(value)
        if text.startswith("0x"):
            assert int(text, 16) == value
            assert not 39 <= len(text) - 2 <= 41


@pytest.mark.parametrize(
    ("value", "kind"),
    [(2, "bool"), (1 << 160, "address"), (256, "uint8"), (1, "bytes4"), (200, "int8"), (1 << 255, "int128")],
)
def test_a_word_that_is_no_value_of_a_type_has_no_literal(value: int, kind: str) -> None:
    assert literal(value, kind) is None


def test_conversions_name_every_step() -> None:
    assert to_word("a", 100, "address")[0] == "uint256(uint160(a))"
    assert to_word("a", 100, "int8")[0] == "uint256(int256(a))"
    assert to_word("a && b", 20, "bool")[0] == "uint256(a && b ? 1 : 0)"
    assert from_word("x + 1", 70, "bytes4")[0] == "bytes4(bytes32(x + 1))"
    assert from_word("x | 1", 40, "bool")[0] == "x | 1 != 0"


# Variables in storage.


def test_gaps_are_declared_where_variables_leave_some() -> None:
    storage = [
        StateVariable("a", "uint8", 0, 3, 1),
        StateVariable("b", "address", 1, 0, 20),
        StateVariable("c", "mapping(address => uint256)", 7),
        StateVariable("d", "uint256", 1 << 255),
    ]
    made = declare(storage, [], {"b"})
    assert [line.partition(" //")[0] for line in made.lines] == [
        "uint24 private gap0;",
        "uint8 private a;",
        "uint224 private gap1;",
        "address private _b;",
        "uint256[5] private gap2;",
        "mapping(address => uint256) private c;",
    ]
    assert made.texts["d"] == ("at_d().value", "uint256")
    assert "place.slot := 0x8" in made.functions[0]


def test_a_variable_inside_another_is_left_to_assembly() -> None:
    storage = [StateVariable("a", "uint256[4]", 2), StateVariable("b", "uint256", 4)]
    made = declare(storage, [], set())
    assert made.lost == ["b"]


# Lines.


def text_of(nodes: list[Any], types: dict[str, str]) -> str:
    nodes = wrapped(nodes)
    Declarer(types).declare(nodes)
    return "\n".join(rendered(nodes, 0))


def test_a_variable_is_declared_where_all_that_mention_it_can_see_it() -> None:
    inner = [Line("v = 1;", ("v",)), Line("w = v;", ("w",), frozenset({"v"}))]
    nodes = [Nest([("if (c)", inner)]), Line("f(w);", (), frozenset({"w"}))]
    assert text_of(nodes, {"v": "uint256", "w": "bool"}) == (
        "bool w;\nif (c) {\n    uint256 v = 1;\n    w = v;\n}\nf(w);"
    )


def test_a_variable_that_only_assembly_mentions_is_declared_in_it() -> None:
    nodes = [
        Line("v := 1", ("v",), assembly=True),
        Line("sstore(0, v)", (), frozenset({"v"}), assembly=True),
    ]
    assert text_of(nodes, {"v": "uint256"}) == (
        'assembly ("memory-safe") {\n    let v := 1\n    sstore(0, v)\n}'
    )


def test_arithmetic_that_wraps_stands_apart_from_what_checks() -> None:
    nodes = [Line("a = b + 1;", ("a",), raw=True), Line("c = a + 1;", ("c",), frozenset({"a"}), checked=True)]
    assert text_of(nodes, {"a": "uint256", "c": "uint256"}) == (
        "uint256 a;\nunchecked {\n    a = b + 1;\n}\nuint256 c = a + 1;"
    )


# With the compiler.


@pytest.mark.slow
@CASES
def test_the_record_is_what_the_compiler_makes(fixture: Fixture, level: int) -> None:
    source, _ = source_of(fixture, level)
    assert compiled(source)["code"] == recorded()[f"{fixture.name} {level}"]["code"]


@pytest.mark.slow
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_a_random_program_as_literal_solidity_does_what_its_code_does(seed: int, odd: bool) -> None:
    """Control flow, calls, recursion: no tree, jump or declaration may go wrong. The programs keep their memory away from
    Solidity's."""
    text, selectors = program(seed, odd=odd)
    head, end, tail = text.partition("PUSH 0xbad PUSH 0 MSTORE PUSH 0x20 PUSH 0 REVERT")
    tail = re.sub(r"PUSH (\d+) (MSTORE|MLOAD|LOG1)\b", lambda m: f"PUSH {int(m[1]) + 0x4000} {m[2]}", tail)
    code = assemble(head + end + tail)
    contract = untangled(lift_code(code))
    source = emit(contract, analyse(contract), dict.fromkeys(contract.functions, LITERAL))
    other = bytes.fromhex(compiled(source)["code"])
    rng = random.Random(seed)
    for selector in selectors:
        for _ in range(4):
            words = b"".join(rng.choice([0, 1, 2, 3, 99]).to_bytes(32, "big") for _ in range(3))
            data = selector.to_bytes(4, "big") + words
            assert observed(code, data) == observed(other, data)


def observed(code: bytes, data: bytes) -> tuple[Any, ...]:
    others = {CALLEE: assemble(CALLEE_CODE)}
    world = world_of(code, others)
    outcome = run_reference(world, {SELF: code} | others, Transaction(CALLER, SELF, data), BLOCK)
    before = {(SELF, 1): 11, (SELF, 2): 1 << 200}
    changed = {key: word for key, word in outcome.storage.items() if before.get(key, 0) != word}
    return outcome.status, outcome.data, outcome.logs, changed
