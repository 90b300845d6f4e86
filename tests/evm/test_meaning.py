"""What is said about contracts, against what their compiler knows of them."""

from __future__ import annotations

import json
import random

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm import tac
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import END, Meaning
from whet.evm.meaning.serial import to_json
from whet.evm.signatures import Signatures
from whet.evm.terms import Assign, Emit, Revert, Text, variables

_ALL = fixtures()
_TOKENS = fixtures("Token")
_UNTOLD = {"string": "bytes", "bytes32": "uint256", "int256": "uint256", "uuint256": "uint256"}
"""Types that bytecode tells apart only by use."""


def _read(fixture: Fixture) -> tuple[tac.Contract, Meaning]:
    contract = lift_code(fixture.runtime)
    return contract, analyse(contract, Signatures())


def _methods(fixture: Fixture) -> dict[int, str]:
    return {int(key, 16): signature for key, signature in fixture.truth["methods"].items()}


def _encoding(types: str) -> str:
    for one, other in _UNTOLD.items():
        types = types.replace(one, other)
    return types


def _is_known_miss(fixture: Fixture, signature: str) -> bool:
    """Library types are in no ABI; `bits` computes with the low byte alone, as an int8 would."""
    return " storage" in signature or signature == "bits(int256,uint8)"


@pytest.mark.parametrize("fixture", _ALL, ids=str)
def test_arguments_are_those_of_the_signature(fixture: Fixture) -> None:
    _, meaning = _read(fixture)
    for selector, signature in _methods(fixture).items():
        if _is_known_miss(fixture, signature):
            continue
        parameters = meaning.functions[f"f_{selector:08x}"].parameters
        assert parameters is not None
        found = ",".join(parameter.type for parameter in parameters)
        assert _encoding(found) == _encoding(signature[signature.index("(") + 1 : -1]), signature


@pytest.mark.parametrize("fixture", _ALL, ids=str)
def test_analysing_changes_no_code_and_is_the_same_twice(fixture: Fixture) -> None:
    contract = lift_code(fixture.runtime)
    before = tac.to_json(contract)
    first = analyse(contract)
    assert tac.to_json(contract) == before
    assert repr(first) == repr(analyse(contract))


@pytest.mark.parametrize("fixture", _ALL, ids=str)
def test_forms_stand_at_statements_and_name_assigned_variables(fixture: Fixture) -> None:
    contract, meaning = _read(fixture)
    for name, said in meaning.functions.items():
        function = contract.functions[name]
        made = {r for s in function.statements() for r in s.results} | set(function.params)
        made |= {phi.result for block in function.blocks.values() for phi in block.phis}
        for (block, index), form in said.forms.items():
            assert index == END or 0 <= index < len(function.blocks[block].statements)
            assert set(variables(form)) <= made
        for block, way in said.skipped.items():
            assert way in function.blocks[block].end.targets


@pytest.mark.parametrize("fixture", _TOKENS, ids=str)
def test_storage_of_the_token(fixture: Fixture) -> None:
    _, meaning = _read(fixture)
    found = {(v.slot, v.offset): (v.type, v.size) for v in meaning.storage}
    assert found == {
        (0, 0): ("address", 20),
        (1, 0): ("string", 32),
        (2, 0): ("string", 32),
        (3, 0): ("uint8", 1),
        (4, 0): ("uint256", 32),
        (5, 0): ("uint64", 8),
        (6, 0): ("mapping(address => uint256)", 32),
        (7, 0): ("mapping(address => mapping(address => uint256))", 32),
    }


@pytest.mark.parametrize("fixture", _TOKENS, ids=str)
def test_events_and_errors_of_the_token(fixture: Fixture) -> None:
    contract = lift_code(fixture.runtime)
    forms = [form for said in analyse(contract).functions.values() for form in said.forms.values()]
    emitted = sorted(form.event for form in forms if isinstance(form, Emit))
    assert emitted == ["Approval", "OwnerChanged", "Transfer", "Transfer", "Transfer"]
    assert all(len(form.args) == 3 for form in forms if isinstance(form, Emit) and form.event == "Transfer")
    texts = {form.args[0] for form in forms if isinstance(form, Revert) and form.args and not form.error}
    assert {Text("not the owner"), Text("paused"), Text("balance too small")} <= texts


@pytest.mark.parametrize("fixture", _TOKENS, ids=str)
def test_mutability_and_returns_of_the_token(fixture: Fixture) -> None:
    _, meaning = _read(fixture)
    truth = {entry["name"]: entry for entry in fixture.truth["abi"] if entry["type"] == "function"}
    for selector, signature in _methods(fixture).items():
        said, entry = meaning.functions[f"f_{selector:08x}"], truth[signature.partition("(")[0]]
        assert said.mutability == entry["stateMutability"], signature
        assert said.returns == tuple(output["type"] for output in entry["outputs"]), signature


def test_checked_arithmetic_is_named_by_what_it_does() -> None:
    fixture = next(f for f in fixtures("Token") if f.name == "Token-0.8.30-runs200")
    contract, meaning = _read(fixture)
    named = {said.name: name for name, said in meaning.functions.items()}
    assert {
        "checked_add_uint256",
        "checked_sub_uint256_reversed",
        "checked_add_uint64",
        "panic_error_0x32",
    } <= set(named)
    shown = [
        form
        for said in meaning.functions.values()
        for form in said.forms.values()
        if isinstance(form, Assign)
    ]
    assert shown
    adds = contract.functions[named["checked_add_uint256"]]
    for s in adds.statements():
        s.op = {"ADD": "XOR"}.get(s.op, s.op)
    assert analyse(contract).functions[named["checked_add_uint256"]].name != "checked_add_uint256"


def test_what_lies_behind_the_budget_is_said() -> None:
    contract = lift_code(_TOKENS[0].runtime)
    notes = [note for said in analyse(contract, steps=50).functions.values() for note in said.notes]
    assert notes
    assert all("budget" in note for note in notes)


def test_json_is_plain_and_complete() -> None:
    _, meaning = _read(_TOKENS[-1])
    raw = json.loads(json.dumps(to_json(meaning)))
    assert set(raw["functions"]) == set(meaning.functions)
    for name, said in meaning.functions.items():
        assert len(raw["functions"][name]["forms"]) == len(said.forms)
    assert raw["storage"][0] == {
        "name": "stor_0",
        "type": "address",
        "slot": "0x0",
        "offset": "0x0",
        "size": "0x14",
        "transient": False,
    }


def test_standards_by_their_functions() -> None:
    _, meaning = _read(_TOKENS[0])
    assert "// ERC-20" in meaning.declarations


def test_transient_variables_are_apart() -> None:
    for fixture in fixtures("Transient"):
        _, meaning = _read(fixture)
        assert {(v.slot, v.offset) for v in meaning.storage if v.transient} == {(0, 0)}
        assert {v.slot for v in meaning.storage if not v.transient} == {0}


@pytest.mark.parametrize("seed", range(12))
def test_damaged_code_is_analysed_without_a_crash(seed: int) -> None:
    chance = random.Random(seed)
    code = bytearray(chance.choice(_ALL).runtime)
    for _ in range(30):
        code[chance.randrange(len(code))] = chance.choice(
            (0x20, 0x35, 0x52, 0x54, 0x55, 0x5B, chance.randrange(256))
        )
    contract = lift_code(bytes(code), 20_000)
    meaning = analyse(contract)
    assert set(meaning.functions) == {f.name for f in contract.functions.values() if f.kind != "entry"}
