"""Forms that Solidity would do otherwise than the bytecode: where they are left alone, and where not."""

from __future__ import annotations

import random
import re

import pytest

from tests.evm.both import BLOCK, CALLER, SELF, world_of
from tests.evm.fixtures import Fixture, fixtures
from tests.evm.fixtures.decompile import compiled
from whet.evm.interpret import Transaction
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import FunctionMeaning
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.reference import run_reference
from whet.evm.signatures import Signatures
from whet.evm.solidity.emit import emit
from whet.evm.solidity.nouns import LITERAL, PLAIN, READABLE, Source
from whet.evm.solidity.within import Within, indexes
from whet.evm.tac import Block, Contract, End, Function, Statement
from whet.evm.terms import Index, Member, Name, Value


def source_of(fixture: Fixture) -> Source:
    contract = untangled(lift_code(fixture.runtime))
    return emit(contract, analyse(contract, Signatures.builtin().with_abi(fixture.truth["abi"])))


def texts_of(source: Source) -> list[str]:
    lines = source.text.splitlines()
    return ["\n".join(lines[one.first_line - 1 : one.last_line]) for one in source.functions]


# Elements of arrays.


def statement(op: str, *args: int | str, result: str = "", function: str = "") -> Statement:
    return Statement(op, args, (result,) if result else (), 0, function)


def branching() -> Contract:
    """b0 compares x and goes to b1 or b2; b1 compares y and calls `get` with z; both meet in b3."""
    asked = statement("LT", "x", 9, result="c")
    called = [statement("LT", "y", 9, result="d"), statement("CALLPRIVATE", "z", result="e", function="get")]
    own = {
        "b0": Block("b0", 0, [], [asked], End("BRANCH", ("c",), ("b1", "b2"))),
        "b1": Block("b1", 0, [], called, End("JUMP", (), ("b3",))),
        "b2": Block("b2", 0, [], [], End("JUMP", (), ("b3",))),
        "b3": Block("b3", 0, [], [statement("SLOAD", "s", result="v")], End("STOP")),
    }
    get = Block("b0", 0, [], [statement("GT", 9, "i", result="f")], End("RETURNPRIVATE", ("f",)))
    functions = {
        "f": Function("f", "public", 0, ("x", "y", "z", "s"), None, own),
        "get": Function("get", "private", 0, ("i",), 1, {"b0": get}),
    }
    return Contract(functions, 0, {})


@pytest.mark.parametrize(
    ("key", "place", "checked"),
    [
        ("x", ("b3", 0), True),
        ("x", ("b0", 0), False),
        ("y", ("b1", 2), True),
        ("y", ("b3", 0), False),
        ("z", ("b1", 2), True),
        ("z", ("b1", 1), False),
        ("s", ("b3", 0), False),
        (7, ("b0", 0), True),
        (Name("arg0"), ("b3", 0), True),
        (Name("arg1"), ("b3", 0), False),
    ],
)
def test_an_index_counts_as_checked_where_every_way_compares_it(
    key: int | str | Name, place: tuple[str, int], checked: bool
) -> None:
    contract = branching()
    function = contract.functions["f"]
    function.blocks["b0"].statements.insert(0, statement("CALLDATALOAD", 4, result="w"))
    function.blocks["b0"].statements[1].args = ("w" if key == Name("arg0") else "x", 9)
    known = FunctionMeaning(forms={("b0", 0): Value(Name("arg0"), pure=True)})
    place = (place[0], place[1] + (place[0] == "b0"))
    assert Within(contract, function, known).checks(place, key) is checked


def test_indexes_are_those_of_arrays_alone() -> None:
    kinds = {"owners": "mapping(uint256 => address[])", "all": "Struct_1"}
    members = {"Struct_1": {"f2": "uint256[4]"}}
    term = Index(Index(Name("owners"), "k"), Index(Member(Name("all"), "f2"), "i"))
    assert list(indexes(Value(term), kinds, members)) == [term.key, "i"]


@pytest.mark.parametrize("fixture", fixtures("Vault"), ids=lambda fixture: fixture.name)
def test_what_a_push_writes_is_no_checked_element(fixture: Fixture) -> None:
    """The length that was there is the new element's index; nothing compares it, so that the largest wraps."""
    for text in texts_of(source_of(fixture)):
        for length in re.findall(r"sstore\(\w+\.slot, add\((?:1, )?(v\d+)", text):
            assert f"[{length}] = " not in text or f"{length} >" in text or f"{length} <" in text


# Hashes.


@pytest.mark.parametrize("fixture", fixtures("Modern"), ids=lambda fixture: fixture.name)
def test_nothing_is_encoded_for_a_hash_between_writes_to_free_memory(fixture: Fixture) -> None:
    for text in texts_of(source_of(fixture)):
        assert "mload(0x40)" not in text or "keccak256(abi.encode(" not in text


# The empty object.


@pytest.mark.parametrize("fixture", fixtures("Calls"), ids=lambda fixture: fixture.name)
def test_the_empty_object_is_made_by_nothing_where_memory_is_written_by_hand(fixture: Fixture) -> None:
    """`""` and `new bytes(0)` move the free pointer; a variable that nothing sets is the object at 0x60."""
    contract = untangled(lift_code(fixture.runtime))
    levels = dict.fromkeys(contract.functions, LITERAL)
    text = emit(contract, analyse(contract, Signatures.builtin()), levels).text
    assert '= "";' not in text


# Instructions that the compiler does not know.

TWO_CLZ = "5f351e6020351e015f5260205ff3"
"""The zeros before the first two words of calldata, added."""


@pytest.mark.parametrize("level", [READABLE, PLAIN, LITERAL])
def test_leading_zeros_are_said_at_every_level(level: int) -> None:
    contract = untangled(lift_code(bytes.fromhex(TWO_CLZ)))
    source = emit(contract, analyse(contract), dict.fromkeys(contract.functions, level))
    assert source.text.count("= clz(") == 2
    assert not [note for function in source.functions for note in function.notes]


@pytest.mark.slow
@pytest.mark.parametrize("level", [READABLE, LITERAL])
def test_leading_zeros_are_counted_as_the_instruction_does(level: int) -> None:
    contract = untangled(lift_code(bytes.fromhex(TWO_CLZ)))
    source = emit(contract, analyse(contract), dict.fromkeys(contract.functions, level))
    code = bytes.fromhex(compiled(source)["code"])
    rng = random.Random(7)
    for _ in range(200):
        words = [rng.getrandbits(256) >> rng.randrange(257) for _ in range(2)]
        data = b"".join(word.to_bytes(32, "big") for word in words)
        outcome = run_reference(world_of(code, {}), {SELF: code}, Transaction(CALLER, SELF, data, 0), BLOCK)
        assert int.from_bytes(outcome.data, "big") == sum(256 - word.bit_length() for word in words)


# Words of storage.


@pytest.mark.parametrize("fixture", fixtures("Checks"), ids=str)
def test_a_whole_word_is_no_assignment_of_the_address_in_it(fixture: Fixture) -> None:
    """`sstore(slot, 0)` clears what lies beside an address too, and `sload(slot)` sees it."""
    text = source_of(fixture).text
    assert re.search(r"mapping\(uint256 => address\) private _holder;", text)
    assert "= address(0);" not in text
    assert re.search(r"sstore\(\w+, 0\)", text)
    assert re.search(r"return _holder\[\w+\];", text), "a reading of the address alone stays one"


@pytest.mark.parametrize("name", ["Calls", "Modern", "Sets"])
def test_a_pointer_that_is_only_counted_with_is_a_number(name: str) -> None:
    """solc's `finalize_allocation` moves the free pointer behind an object and never looks at it."""
    fixture = next(one for one in fixtures() if str(one) == f"{name}-0.8.30-runs200-ir")
    contract = untangled(lift_code(fixture.runtime))
    functions = re.findall(
        r"function finalize_allocation\w*\((.*?)\)", emit(contract, analyse(contract)).text
    )
    assert functions
    assert all("memory" not in parameters for parameters in functions), functions
