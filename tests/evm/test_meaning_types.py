"""Types of private functions, what they change, and names of the compiler's helpers, against what the compiler says."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import Meaning, Variable
from whet.evm.meaning.bounds import bounds
from whet.evm.meaning.effects import CHANGES, READS, effects
from whet.evm.meaning.helpers import spoken
from whet.evm.meaning.ranges import fits
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.assemble import assemble
from whet.evm.solc.compiler import Settings, compile_sources
from whet.evm.tac import Block, Contract, End, Function, Statement
from whet.evm.terms import Expression, Operation
from whet.evm.text.structured import structured_function
from whet.evm.words import ONE, TWO

WORDS = {"uint256", "int256", "bytes32", ""}


def lifted(fixture: Fixture) -> tuple[Contract, Meaning]:
    contract = untangled(lift_code(fixture.runtime))
    return contract, analyse(contract)


def declared(kind: str) -> str:
    """A value's type as the machine knows it; "place" for what lies elsewhere, "" for what is not compared."""
    kind = re.sub(r"^contract .*|^address payable$", "address", kind)
    kind = re.sub(r"^enum .*", "uint8", kind)
    if kind in ("bytes", "string") or kind.endswith("]"):
        return "place"
    return kind if re.fullmatch(r"u?int\d+|bytes\d+|bool|address", kind) else ""


def compared(fixture: Fixture) -> list[tuple[str, Variable, str]]:
    """(declared type, what is said, where) of each parameter that is one word."""
    contract, meaning = lifted(fixture)
    private = {f.pc: f for f in contract.functions.values() if f.kind == "private"}
    found = []
    for entry in fixture.truth["entries"]:
        function = private.get(entry["pc"])
        if function is not None and len(function.params) == len(entry["parameters"]):
            true = entry["parameters"][:: -1 if fixture.settings.get("via_ir") else 1]
            said = meaning.of(function.name).variables
            for kind, name in zip(true, function.params, strict=True):
                found.append((declared(kind), said.get(name, Variable()), f"{entry['name']} {name}"))
    return found


def test_types_of_parameters_are_those_of_the_source() -> None:
    counts: Counter[str] = Counter()
    for fixture in fixtures():
        for true, said, where in compared(fixture):
            counts["all"] += true != ""
            found = said.type or said.likely
            is_place = " " in found or found in ("memory", "storage", "calldata")
            if true in WORDS and found == "storage":
                continue  # assembly that reads a slot by its number
            if true and found not in WORDS:
                counts["exact"] += true == found or (true == "place" and is_place)
                narrower = true in WORDS and not is_place
                assert is_place == (true == "place"), (fixture.name, where, true, found)
                assert found == true or is_place or narrower or {true, found} == {"bool", "uint8"}, (
                    where,
                    found,
                )
            elif true in WORDS or true == "":
                counts["exact"] += true == found
    assert counts["all"] > 200
    assert counts["exact"] > 0.7 * counts["all"]


@pytest.mark.parametrize("fixture", fixtures("Vault"), ids=str)
def test_what_is_declared_is_proved(fixture: Fixture) -> None:
    contract, meaning = lifted(fixture)
    known = bounds(contract)
    typed = 0
    for name, said in meaning.functions.items():
        for variable, one in said.variables.items():
            if one.type:
                assert fits(known[name].ranges[variable], one.type), (name, variable, one)
                typed += one.type not in WORDS
        if contract.functions[name].kind == "private" and said.returns:
            for kind, left in zip(said.returns, known[name].results, strict=True):
                assert fits(left, kind), (name, said.returns)
    assert typed > 10


def _function(name: str, kind: str, *statements: Statement, end: str = "RETURNPRIVATE") -> Function:
    args = (0, 0) if end == "RETURN" else ()
    return Function(name, kind, 0, (), 0, {"b0": Block("b0", 0, [], list(statements), End(end, args))})


def test_what_is_called_counts() -> None:
    def call(name: str) -> Statement:
        return Statement("CALLPRIVATE", (), (), 0, name)

    functions = [
        Function("entry", "entry", 0, (), None, {"b0": Block("b0", 0, [], [], End("ENTER", function="f"))}),
        _function("f", "public", call("reads"), call("adds"), end="STOP"),
        _function("adds", "private", Statement("ADD", (1, 2), ("v",), 0)),
        _function("reads", "private", call("reads"), Statement("SLOAD", (1,), ("v",), 0)),
        _function("writes", "private", call("reads"), call("stores")),
        _function("stores", "private", Statement("SSTORE", (1, 2), (), 0)),
        _function("dies", "private", end="SELFDESTRUCT"),
        _function("logs", "private", Statement("LOG0", (0, 0), (), 0)),
    ]
    found = effects(Contract({f.name: f for f in functions}, 0, {}))
    assert found == {
        "entry": "view",
        "f": "view",
        "adds": "pure",
        "reads": "view",
        "writes": "nonpayable",
        "stores": "nonpayable",
        "dies": "nonpayable",
        "logs": "nonpayable",
    }
    assert not CHANGES & READS


FAMILIES = (
    "abi_encode|abi_decode|cleanup|validator_revert|panic_error|allocate_memory|finalize_allocation|checked_[a-z]+|"
    "increment|decrement|extract_byte_array_length|array_allocation_size|copy_[a-z]+_to_memory|round_up_to_mul_of_32|"
    "revert|identity|convert|array_storeLengthForEncoding|array_dataslot|allocate_unbounded|store_literal_in_memory"
)
SAME = [
    {"cleanup", "identity", "convert", "array_dataslot"},
    {"abi_encode", "array_storeLengthForEncoding", "store_literal_in_memory"},
    {"checked_add", "increment"},
    {"checked_sub", "decrement"},
]


def test_helpers_are_named_as_the_compiler_names_them() -> None:
    counts: Counter[str] = Counter()
    for fixture in fixtures():
        contract, meaning = lifted(fixture)
        private = {f.pc: f.name for f in contract.functions.values() if f.kind == "private"}
        for helper in fixture.truth["helpers"]:
            name = meaning.of(private.get(helper["pc"], "")).name
            true = re.match(FAMILIES, helper["name"])
            counts["all"] += helper["pc"] in private
            if name and true:
                found = re.match(FAMILIES, name)
                families = {true[0], found[0] if found else name}
                counts["right"] += len(families) == 1 or any(families <= same for same in SAME)
                counts["named"] += 1
    assert counts["named"] > 100
    assert counts["right"] > 0.98 * counts["named"]
    assert counts["named"] > 0.6 * counts["all"]


def test_copies_in_memory_are_named_and_sorting_is_not() -> None:
    """With and without the 0 behind the last word; what an author wrote has no helper's name that it does not deserve."""
    copies, authors = Counter[bool](), set[tuple[str, str]]()
    for fixture in fixtures():
        contract, meaning = lifted(fixture)
        private = {f.pc: f.name for f in contract.functions.values() if f.kind == "private"}
        for helper in fixture.truth["helpers"]:
            true = re.match("copy_(memory|calldata)_to_memory", helper["name"])
            if true and helper["pc"] in private:
                copies[meaning.of(private[helper["pc"]]).name.startswith(true[0])] += 1
        for entry in fixture.truth["entries"]:
            named = re.match(FAMILIES, meaning.of(private.get(entry["pc"], "")).name)
            authors |= {(entry["name"], named[0])} if named else set()
    assert copies[True] > 5
    assert not copies[False]
    same = {("add", "checked_add"), ("slice", "abi_decode"), ("decode", "abi_decode"), ("low", "identity")}
    assert authors == same | {("sender", "abi_decode")}


LOOP = "for { let i := 0 } lt(i, n) { i := add(i, 32) } { %s }"
COPIES = [
    (LOOP.replace("%s", "mstore(add(b, i), mload(add(a, i)))"), True),
    (LOOP % "mstore(add(b, i), mload(add(a, i)))" + " mstore(add(b, n), 0)", True),
    (LOOP.replace("%s", "mstore(add(b, i), mload(sub(add(a, n), i)))"), False),
    (LOOP.replace("%s", "mstore(add(b, mul(i, 2)), mload(add(a, i)))"), False),
    (LOOP.replace("%s", "mstore(add(b, i), mload(a))"), False),
    (LOOP.replace("%s", "mstore(add(b, i), mload(add(a, i)))").replace("lt(i, n)", "lt(i, 96)"), False),
    (LOOP % "mstore(add(b, i), mload(add(a, i)))" + " mstore(add(a, n), 0)", False),
    (LOOP % "mstore(add(b, i), mload(add(a, i)))" + " mstore(b, 42)", False),
    (LOOP.replace("%s", "mstore(add(a, i), mload(add(b, i)))"), False),
]


@pytest.mark.slow
@pytest.mark.parametrize(("assembly", "copies"), COPIES)
def test_only_a_copy_is_named_one(assembly: str, copies: bool) -> None:
    """An author's loop that does anything else keeps its own text, and its place among what is called."""
    one = "function one(uint256 a, uint256 b, uint256 n) private pure { assembly { " + assembly + " } }"
    two = "function two(uint256 a, uint256 b, uint256 n) external pure { one(a, b, n); one(b, a, 2 * n); }"
    source = {"A.sol": f"pragma solidity 0.8.30; contract A {{ {one} {two} }}"}
    output = compile_sources(Settings("0.8.30"), source, {"*": {"*": ["evm.deployedBytecode.object"]}})
    code = output["contracts"]["A.sol"]["A"]["evm"]["deployedBytecode"]["object"]
    contract = untangled(lift_code(bytes.fromhex(code)))
    meaning = analyse(contract)
    names = {meaning.of(name).name for name in contract.functions}
    assert ("copy_memory_to_memory" in names) is copies, names


def test_functions_of_one_name_are_the_same() -> None:
    """A text shows one function for each name, so another one of that name must do the same."""
    for fixture in fixtures("Modern"):
        contract, meaning = lifted(fixture)
        shown: dict[str, str] = {}
        for function in contract.functions.values():
            name = meaning.of(function.name).name
            if function.kind == "private" and name.startswith(("abi_", "copy_", "allocate_")):
                _, _, text = structured_function(contract, function, meaning).partition("{\n")
                assert shown.setdefault(name, text) == text


def test_indexes_and_successes_are_named() -> None:
    indexes, successes = 0, 0
    for fixture in [*fixtures("Loops"), *fixtures("Calls")]:
        contract, meaning = lifted(fixture)
        for function in contract.functions.values():
            makers = {r: s for s in function.statements() for r in s.results}
            phis = {phi.result: phi for block in function.blocks.values() for phi in block.phis}
            said = meaning.of(function.name).variables
            names = [one.name for one in said.values() if one.name]
            assert len(names) == len(set(names))
            for variable, one in said.items():
                if one.name.startswith("success"):
                    assert makers[variable].op.endswith("CALL")
                    successes += 1
                elif one.name:
                    assert one.name[0] in "ijklmn"
                    assert 0 in phis[variable].incoming.values()
                    indexes += 1
    assert indexes > 2
    assert successes > 2


def _value(term: Expression, x: int) -> int:
    if not isinstance(term, Operation):
        return term if isinstance(term, int) else x
    args = [_value(arg, x) for arg in term.args]
    return ONE[term.op](*args) if len(args) == 1 else TWO[term.op](*args)


@pytest.mark.parametrize(
    ("helper", "word", "cleaned"),
    [
        ("cleanup_uint8", 0x1FF, 0xFF),
        ("cleanup_int8", 0x80, (1 << 256) - 0x80),
        ("cleanup_bytes4", (1 << 256) - 1, 0xFFFFFFFF << 224),
        ("cleanup_bool", 7, 1),
        ("cleanup_address", 1 << 160 | 5, 5),
        ("identity", 9, 9),
    ],
)
def test_cleanups_are_said_as_what_they_do(helper: str, word: int, cleaned: int) -> None:
    assert _value(spoken(helper, ("x",)), word) == cleaned


@pytest.mark.parametrize(
    ("used", "kind"),
    [
        ("PUSH 65535 AND", "uint16"),
        ("DUP1 PUSH 255 AND PUSH 1 SSTORE PUSH 65535 AND", "uint16"),
        ("DUP1 PUSH 65535 AND PUSH 1 SSTORE PUSH 16 SHR", "bytes32"),
        ("DUP1 PUSH 65535 AND PUSH 1 SSTORE PUSH 144 SHR PUSH 255 AND", "bytes32"),
        (f"DUP1 PUSH {(1 << 160) - 1} AND PUSH 1 SSTORE PUSH {7 << 160} AND", "bytes32"),
        (f"DUP1 PUSH {0xFFFFFFFF << 224} AND PUSH 1 SSTORE PUSH 224 SHR", "bytes4"),
    ],
)
@pytest.mark.parametrize(
    "asked", ["", "PUSH 36 CALLDATASIZE LT @short JUMPI", "PUSH 32 PUSH 4 CALLDATASIZE SUB LT @short JUMPI"]
)
def test_an_argument_is_as_wide_as_the_bits_that_are_taken_out_of_it(
    used: str, kind: str, asked: str
) -> None:
    """Without the decoder's check, masks tell its type, unless something takes bits that the type does not have."""
    code = assemble(
        "PUSH 0 CALLDATALOAD PUSH 224 SHR PUSH 0x12345678 EQ @f JUMPI PUSH 0 PUSH 0 REVERT :f "
        f"{asked} PUSH 4 CALLDATALOAD {used} PUSH 0 SSTORE STOP :short PUSH 0 PUSH 0 REVERT"
    )
    contract = lift_code(code)
    said = analyse(contract).of(contract.public[0x12345678].name).parameters
    assert said is not None
    assert [one.type for one in said] == [kind]
