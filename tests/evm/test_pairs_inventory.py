"""Functions by tokens and brackets: what counts as one, and what a file that no compiler takes would have had."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from tests.evm.fixtures import HERE
from whet.evm.pairs.inventory import licence, normalised, scanned, tokens
from whet.evm.pairs.projects import remapped

TEXT = """
// SPDX-License-Identifier: GPL-2.0-or-later OR MIT
pragma solidity ^0.8.0;
interface I { function nothing(uint a) external returns (uint); }
function free(uint a) pure returns (uint) { return a; }
contract Old {
    string constant S = "function no() { }"; // function neither() { }
    function Old() public { }
    constructor() { }
    modifier m() { _; }
    function (uint) internal returns (uint) pointer;
    function named(function(uint) external returns (uint) f) public view { if (true) { f; } }
    function () external payable { }
    receive() external payable { x = "}"; }
    fallback(bytes calldata a) external returns (bytes memory) { return a; }
    function abstracted() public virtual;
}
"""


def test_scanned() -> None:
    found = list(scanned("a.sol", TEXT))
    assert [(one.contract, one.name, one.kind) for one in found] == [
        ("I", "free", "function"),
        ("Old", "named", "function"),
        ("Old", "fallback", "fallback"),
        ("Old", "receive", "fallback"),
        ("Old", "fallback", "fallback"),
    ]
    by_name = {one.name: one for one in found}
    assert by_name["free"].source == "function free(uint a) pure returns (uint) { return a; }"
    assert (by_name["named"].visibility, by_name["named"].mutability) == ("public", "view")
    assert all(TEXT.encode()[one.start :].decode().startswith(one.source) for one in found)
    assert all(TEXT.splitlines()[one.line - 1].strip().startswith(one.source[:9]) for one in found)


def test_a_broken_file_ends() -> None:
    for broken in (
        "function a() {",
        "function a(",
        "function",
        "contract C { function a() { }",
        "}",
        "function a() } {",
    ):
        assert len(list(scanned("a.sol", broken))) <= 1


def test_hostile_files_take_no_longer_than_their_length() -> None:
    started = time.monotonic()
    for part in (
        "function a() { ",
        "/* ",
        "function a(",
        "contract A { ",
        '"',
        '\\"',
        "\\'",
        "import ",
        "{",
        "function (",
    ):
        text = part * 40_000
        assert len(list(scanned("a.sol", text))) <= 1
        remapped({"a.sol": text}, ["a=b"])
    assert time.monotonic() - started < 40


@given(st.text(alphabet="function a(){};/*'\"\n\\contract=", max_size=200))
def test_any_text_is_scanned(text: str) -> None:
    for one in scanned("a.sol", text):
        assert one.source.endswith("}")
        assert one.source in text


def test_every_file_here_has_functions() -> None:
    for path in sorted((HERE / "sources").glob("*.sol")):
        assert list(scanned(path.name, path.read_text())), path.name


def test_licences() -> None:
    assert licence(TEXT) == "GPL-2.0-or-later OR MIT"
    assert licence("/* SPDX-License-Identifier: MIT */ contract A {}") == "MIT"
    assert licence("contract A {}") == ""


@given(
    st.lists(st.sampled_from(["a", "+", "0x1F", '"// no"', "==", "{", ";", "'x'", ">>>=", "$b"]), max_size=12)
)
def test_comments_and_space_do_not_count(words: list[str]) -> None:
    spaced = " ".join(words)
    commented = "/* a */\n" + "\t// b\n".join(f"{word} " for word in words)
    assert tokens(spaced) == words
    assert normalised(commented) == normalised(spaced) == spaced
