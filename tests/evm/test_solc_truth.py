"""Entries by the source map on code written here, and the committed truth of the fixtures. No compiler."""

from __future__ import annotations

from typing import Any

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.keccak import selector
from whet.evm.opcodes import BY_NAME
from whet.evm.solc.srcmap import calls, instructions, places
from whet.evm.solc.truth import Definition, linked, stack_words, truth


def assembled(text: str) -> tuple[bytes, str, dict[str, int]]:
    """Code, source map and places of lines like `PUSH @name`, `JUMP i`, `:name 10:5:0` (a JUMPDEST with its range)."""
    code, marks, fields = bytearray(), {}, []
    fixups = []
    for line in text.strip().splitlines():
        words = line.split()
        if words[0].startswith(":"):
            marks[words[0][1:]] = len(code)
            code.append(BY_NAME["JUMPDEST"].value)
            fields.append(f"{words[1]}:-")
        elif words[0] == "PUSH" and words[1].startswith("@"):
            fixups.append((len(code) + 1, words[1][1:]))
            code += bytes([BY_NAME["PUSH1"].value, 0])
            fields.append("0:0:0:-")
        else:
            name, tag = words[0], (words[1:] or ["-"])[0]
            code.append(BY_NAME[name].value)
            fields.append(f"0:0:0:{tag}")
    for at, name in fixups:
        code[at] = marks[name]
    return bytes(code), ";".join(fields), marks


DIRECT = """
PUSH @back
PUSH @callee
JUMP i
:back 1:1:0
STOP
:callee 10:5:0
JUMP o
"""

THROUGH_THE_STACK = """
PUSH @back
PUSH @callee
SWAP1
CALLDATASIZE
PUSH @middle
JUMP i
:middle 30:3:0
POP
SWAP1
JUMP i
:back 1:1:0
STOP
:callee 10:5:0
JUMP o
"""

RECURSIVE = """
PUSH @back
PUSH @callee
JUMP i
:back 1:1:0
STOP
:callee 10:5:0
CALLVALUE
PUSH @deeper
JUMPI
JUMP o
:deeper 11:1:0
PUSH @again
PUSH @callee
PUSH @last
DUP1
POP
POP
JUMP i
:again 12:1:0
PUSH @last
CALLVALUE
POP
JUMP i
:last 20:5:0
JUMP o
"""


def test_the_target_pushed_before_the_jump() -> None:
    code, source_map, at = assembled(DIRECT)
    found = calls(code, source_map)
    assert found.entered == {at["callee"]: "10:5:0"}
    assert found.sites == {at["callee"]: 1}
    assert found.unresolved == ()


def test_a_target_that_came_over_the_stack() -> None:
    code, source_map, at = assembled(THROUGH_THE_STACK)
    assert calls(code, source_map).entered == {at["middle"]: "30:3:0", at["callee"]: "10:5:0"}


def test_recursion_does_not_hide_what_comes_after() -> None:
    code, source_map, at = assembled(RECURSIVE)
    found = calls(code, source_map)
    assert found.entered == {at["callee"]: "10:5:0", at["last"]: "20:5:0"}
    assert found.unresolved == ()


def test_what_cannot_be_resolved_is_counted() -> None:
    code, source_map, _ = assembled("CALLVALUE\nJUMP i\n:nobody 1:1:0\nSTOP")
    assert calls(code, source_map).unresolved == (1,)
    assert calls(b"", "").entered == {}


def test_a_map_leaves_out_what_repeats() -> None:
    first, second, third, fourth = places("1:2:0:-;;3::1:i;:4:-1")
    assert first == second
    assert (first.src, first.jump) == ("1:2:0", "-")
    assert (third.src, third.jump) == ("3:2:1", "i")
    assert (fourth.src, fourth.jump) == ("3:4:-1", "i")


def test_instructions_of_code_that_is_cut_off() -> None:
    assert [(one.pc, one.name, one.value) for one in instructions(bytes.fromhex("60"))] == [(0, "PUSH1", 0)]
    found = instructions(bytes.fromhex("5f0c61ff"))
    assert [(one.pc, one.name, one.value) for one in found] == [
        (0, "PUSH0", 0),
        (1, "INVALID", None),
        (2, "PUSH2", 255),
    ]


@pytest.mark.parametrize(
    ("type_string", "location", "words"),
    [
        ("uint256", "default", 1),
        ("struct A.B", "memory", 1),
        ("mapping(uint256 => bytes)", "storage", 1),
        ("bytes", "calldata", 2),
        ("string calldata", "calldata", 2),
        ("uint256[3][]", "calldata", 2),
        ("uint256[][3]", "calldata", 1),
        ("uint256[] memory", "memory", 1),
        ("struct A.B calldata", "calldata", 1),
        ("function (uint256) external returns (bool)", "default", 2),
        ("function (uint256) pure returns (bool)", "default", 1),
        ("tuple(uint256,uint256)", "default", None),
    ],
)
def test_words_on_the_stack(type_string: str, location: str, words: int | None) -> None:
    assert stack_words(type_string, location) == words


def test_places_of_libraries_get_addresses() -> None:
    places_of = {"a.sol": {"L": [{"start": 1, "length": 20}, {"start": 22, "length": 20}]}}
    code, libraries = linked(
        {"object": "73" + "_" * 40 + "73" + "_" * 40 + "00", "linkReferences": places_of}
    )
    (address,) = libraries.values()
    assert code == f"73{address[2:]}73{address[2:]}00"
    assert linked({"object": "00"}) == ("00", {})


def test_debug_data_knows_better_than_the_types() -> None:
    code, source_map, at = assembled(DIRECT)
    debug = {
        "f_1": {"entryPoint": at["callee"], "id": 1, "parameterSlots": 2, "returnSlots": 3},
        "checked_add": {"entryPoint": at["back"], "id": None, "parameterSlots": 2, "returnSlots": 1},
        "inlined": {"entryPoint": None, "id": 2},
    }
    deployed = {"object": code.hex(), "sourceMap": source_map, "functionDebugData": debug}
    contract: dict[str, Any] = {
        "abi": [],
        "evm": {
            "deployedBytecode": deployed,
            "bytecode": {"object": ""},
            "methodIdentifiers": {"f()": "26121ff0"},
        },
    }
    function = Definition("f", "C", "function", "internal", ("uint256",), (), 1, 0)
    known = truth(contract, {"10:5:0": function}, frozenset())
    (entry,) = known["entries"]
    assert (entry["pc"], entry["name"], entry["words"], entry["return_words"]) == (at["callee"], "f", 2, 3)
    assert known["helpers"] == [{"pc": at["back"], "name": "checked_add", "words": 2, "return_words": 1}]
    assert known["methods"] == {"0x26121ff0": "f()"}
    assert known["entered"] == []


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_fixtures_hold_together(fixture: Fixture) -> None:
    names = {one.pc: one.name for one in instructions(fixture.runtime)}
    for entry in [*fixture.truth["entries"], *fixture.truth["helpers"]]:
        assert names[entry["pc"]] == "JUMPDEST"
        assert entry["words"] is not None
    assert fixture.truth["unresolved_calls"] == 0
    for four, signature in fixture.truth["methods"].items():
        if "Sets" not in signature:  # a library's storage parameters have their own notation
            assert int(four, 16) == selector(signature)
    assert fixture.runtime in fixture.creation
    layout = fixture.truth["storage_layout"] or {"storage": []}
    assert {one["astId"] for one in layout["storage"]} == set(fixture.truth["storage_used"])
    assert fixture.truth["methods"]


def test_fixtures_cover_every_era_and_setting() -> None:
    assert {one.solc for one in fixtures()} == {"0.4.26", "0.5.17", "0.6.12", "0.7.6", "0.8.19", "0.8.30"}
    assert any(one.settings["via_ir"] for one in fixtures())
    assert {one.settings["runs"] for one in fixtures()} == {None, 1, 200}
    entries = [entry for one in fixtures() for entry in one.truth["entries"]]
    assert len(entries) > 300
    assert {entry["return_words"] for entry in entries} >= {0, 1, 2, 3}
