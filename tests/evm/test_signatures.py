"""The table of signatures: hashes that are right, names that are well formed, and the user's ABIs before it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from whet.errors import CodeError
from whet.evm.keccak import keccak256, selector
from whet.evm.signatures import Signatures

LINES = files("whet.evm").joinpath("signatures.txt").read_text("utf-8").splitlines()
NAMED = re.compile(r"[A-Za-z_$][\w$]*\([a-z0-9,\[\]()]*\)")


def test_every_line_is_a_signature_behind_its_hash() -> None:
    sizes, size, before = {"function": 4, "error": 4, "event": 32}, 0, ""
    for line in LINES:
        digits, _, name = line.partition(" ")
        if digits == "#":
            size, before = sizes.pop(name), ""
            continue
        assert digits == keccak256(name.encode())[:size].hex(), line
        assert NAMED.fullmatch(name), line
        assert name.count("(") == name.count(")"), line
        assert before < name, f"{name} is not in order, or stands there twice"
        before = name
    assert not sizes
    assert len(LINES) > 2400


@pytest.mark.parametrize(
    ("known", "name"),
    [
        (0xA9059CBB, "transfer(address,uint256)"),
        (0x23B872DD, "transferFrom(address,address,uint256)"),
        (0x01FFC9A7, "supportsInterface(bytes4)"),
        (0x38ED1739, "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"),
        (
            0x414BF389,
            "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))",
        ),
        (0x1F931C1C, "diamondCut((address,uint8,bytes4[])[],address,bytes)"),
        (0x150B7A02, "onERC721Received(address,address,uint256,bytes)"),
    ],
)
def test_selectors_that_everybody_knows(known: int, name: str) -> None:
    assert Signatures.builtin().functions(known) == (name,)


def test_errors_and_events_that_everybody_knows() -> None:
    table = Signatures.builtin()
    assert table.errors(0x08C379A0) == ("Error(string)",)
    assert table.errors(0x4E487B71) == ("Panic(uint256)",)
    transfer = 0xDDF252AD1BE2C89B69C2B068FC378DAA952BA7F163C4A11628F55A4DF523B3EF
    assert table.events(transfer) == ("Transfer(address,address,uint256)",)
    assert table.functions(0x4E487B71) == table.events(0x4E487B71) == table.errors(0xA9059CBB) == ()


STRUCT = {
    "type": "tuple[]",
    "components": [{"type": "uint8"}, {"type": "tuple", "components": [{"type": "bytes"}]}],
}
ABI = [
    {"type": "function", "name": "f", "inputs": [STRUCT, {"type": "address"}]},
    {"type": "error", "name": "Bad", "inputs": [{"type": "uint256"}]},
    {"type": "event", "name": "E", "inputs": []},
    {"type": "constructor", "inputs": []},
]


@pytest.mark.parametrize(
    "content",
    [
        ABI,
        {"abi": ABI},
        {"contracts": {"a.sol": {"A": {"abi": ABI}}}},
        {"contracts": {"A": {"abi": json.dumps(ABI)}}},
    ],
)
def test_names_of_an_abi(content: object, tmp_path: Path) -> None:
    (tmp_path / "abi.json").write_text(json.dumps(content))
    table = Signatures().with_abi(tmp_path / "abi.json")
    assert table.functions(selector("f((uint8,(bytes))[],address)")) == ("f((uint8,(bytes))[],address)",)
    assert table.errors(selector("Bad(uint256)")) == ("Bad(uint256)",)
    assert table.events(int.from_bytes(keccak256(b"E()"), "big")) == ("E()",)


def test_one_selector_with_several_names_has_the_abis_first() -> None:
    """Real: burn(uint256) and collate_propagate_storage(bytes16) share 0x42966c68."""
    entry = {"type": "function", "name": "collate_propagate_storage", "inputs": [{"type": "bytes16"}]}
    table = Signatures.builtin()
    both = ("collate_propagate_storage(bytes16)", "burn(uint256)")
    assert table.with_abi([entry]).functions(0x42966C68) == both
    assert table.functions(0x42966C68) == both[1:]


def test_files_without_an_abi_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(CodeError, match="holds no ABI"):
        Signatures.builtin().with_abi(tmp_path / "a.json")
    with pytest.raises(CodeError, match="cannot be read"):
        Signatures.builtin().with_abi(tmp_path / "b.json")
    deep: dict[str, object] = {"type": "tuple", "components": []}
    for _ in range(50):
        deep = {"type": "tuple", "components": [deep]}
    with pytest.raises(CodeError, match="nested deeper"):
        Signatures().with_abi([{"type": "function", "name": "f", "inputs": [deep]}])
