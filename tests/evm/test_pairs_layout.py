"""Where variables lie by the language's rules, against what compilers say that tell it."""

from __future__ import annotations

import pytest

from whet.evm.pairs.layout import laid_out, stored
from whet.evm.pairs.make import make
from whet.evm.pairs.nouns import Project
from whet.evm.pairs.pool import Pool
from whet.evm.solc.compiler import Settings, compile_sources
from whet.evm.solc.srcmap import walk

ODD = """pragma solidity >=0.4.0;
contract Other { function f() public {} }
contract Above { uint8 private first; bytes3 second; }
contract Odd is Above {
    enum Color { Red, Green }
    struct Small { uint8 a; uint16 b; }
    struct Large { uint128 a; uint128 b; bool c; mapping(uint => uint) d; Small e; uint8[40] f; }
    uint256 constant NINE = 9;
    bool public flag;
    Color color;
    Small small;
    uint8 after_small;
    uint24[5] few;
    uint24[11] more;
    uint136[3] wide;
    Small[2] smalls;
    bytes20[2][3] grid;
    Large large;
    int64 number;
    Other other;
    address who;
    function (uint256) external returns (bool) outside;
    function (uint256) internal returns (bool) inside;
    string text;
    bytes raw;
    bytes5 five;
    uint256[] many;
    uint8[NINE] nine;
    mapping(address => Large) larges;
    uint64 last;
    function set() public { flag = true; last = 7; many.push(number == 0 ? 1 : 2); }
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.5.17", "0.6.12", "0.8.30"])
def test_the_languages_rules_give_what_the_compiler_says(version: str) -> None:
    selection = {"*": {"*": ["storageLayout"], "": ["ast"]}}
    output = compile_sources(Settings(version), {"Odd.sol": ODD}, selection)
    ast = output["sources"]["Odd.sol"]["ast"]
    index = {node["id"]: node for node in walk(ast) if "id" in node}
    for name in ("Above", "Odd"):
        (node,) = (top for top in ast["nodes"] if top.get("name") == name)
        said = stored(output["contracts"]["Odd.sol"][name], node, index)
        assert laid_out(node, index) == said
    assert len(said) == 24


@pytest.mark.slow
def test_names_of_an_old_compilers_variables() -> None:
    project = Project("odd@1", "odd", {"Odd.sol": ODD}, ("Odd.sol",))
    with Pool(1) as pool:
        pairs = make(project, "default", pool, "0.4.26").pairs
    (found,) = (pair for pair in pairs if pair.name == "set")
    assert {"flag", "many", "number", "last"} >= set(found.hidden.names.values()) >= {"flag", "many", "last"}
