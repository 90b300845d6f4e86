"""Types of what functions give back, and of arguments that only their decoding tells, without any known signature."""

from __future__ import annotations

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.lifting import lift_code
from whet.evm.meaning.abi_types import inlined
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.passed_structs import UNREAD, struct_of
from whet.evm.signatures import Signatures
from whet.evm.tac import from_json, to_json

_OPERATION = "(address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes)"

_FOUND = {
    "one": "() uint256",
    "five": "() uint48",
    "widened": "() uint256",
    "narrow": "() uint128",
    "truth": "(uint256) uint256",
    "side": "(uint256) uint8",
    "order": "(uint8) uint256",
    "ofHolders": "() address[]",
    "ofTexts": "() bytes[]",
    "ofItems": "() (string,address)[]",
    "ofPairs": "() (uint48,uint208)[]",
    "item": "(uint256) (string,address)",
    "numbered": "() uint256,string",
    "both": "(uint256) uint256[],string,bool",
    "packed": "(bytes8,bytes4) bytes12",
    "low": "(uint256) uint16",
    "sender": f"({_OPERATION}) address",
    "unread": f"({_OPERATION},uint256) uint256",
    "forward": "(address) ",
}

_FOLDED = {"five": "() uint256"}
"""The compiler has seen that a constant needs no cleanup."""

_WHOLE = {"one": "() bool", "widened": "() uint128", "truth": "(uint256) bool"}
"""Via Yul the encoder is not told from what stands before it: a word is what it was made of."""


@pytest.mark.parametrize("fixture", fixtures("Results"), ids=str)
def test_types_by_code_alone(fixture: Fixture) -> None:
    meaning = analyse(lift_code(fixture.runtime), Signatures())
    expected = _FOUND | ({} if fixture.settings["runs"] is None else _FOLDED)
    expected |= _WHOLE if fixture.settings["via_ir"] else {}
    found = {}
    for selector, signature in fixture.truth["methods"].items():
        said = meaning.functions[f"f_{selector[2:]}"]
        assert said.parameters is not None
        assert said.returns is not None
        arguments = ",".join(parameter.type for parameter in said.parameters)
        found[signature.partition("(")[0]] = f"({arguments}) {','.join(said.returns)}"
    assert found == expected


def _encoder(cleanup: str) -> bytes:
    """Code that goes on with 7 on the stack in a block that gives back what the cleanup leaves of it."""
    return bytes.fromhex(f"60076005565b60405190{cleanup}8152602090f3")


@pytest.mark.parametrize(
    ("cleanup", "noted"),
    [
        ("60ff16", ("AND", 0xFF)),
        ("6001600160a01b0316", ("AND", (1 << 160) - 1)),
        ("1515", ("ISZERO", 0)),
        ("60000b", ("SIGNEXTEND", 0)),
        ("600101", ("", 0)),
        ("506009", ("", 0)),
        ("", None),
    ],
)
def test_a_cleanup_that_folding_drops_is_noted(cleanup: str, noted: tuple[str, int] | None) -> None:
    contract = lift_code(_encoder(cleanup))
    stores = [s for s in contract.entry.statements() if s.op == "MSTORE"]
    assert [isinstance(s.args[1], int) for s in stores] == [True], "folded to a constant"
    assert contract.cleaned.get(stores[0].pc) == noted
    assert from_json(to_json(contract)).cleaned == contract.cleaned


def test_structs_of_which_not_all_members_are_read() -> None:
    packed = struct_of(("address", *[UNREAD] * 7, "bytes"))
    assert packed == _OPERATION
    assert struct_of(("bytes32", *[UNREAD] * 8)) == f"(bytes32{',uint256' * 7},bytes)", "not the standard's"
    assert struct_of(("uint256", "bytes", UNREAD)) == "(uint256,bytes,uint256)"
    assert struct_of(("uint256", "bool")) == "(uint256,bool)"
    assert struct_of((UNREAD,)) == ""


def test_structs_that_are_encoded_like_their_members() -> None:
    assert inlined("((uint256,bool),address)") == "uint256,bool,address"
    assert inlined("(bytes,(uint8,uint8))") == "(bytes,uint8,uint8)"
    assert inlined("(uint8,uint8)[],((bool))") == "(uint8,uint8)[],bool"
