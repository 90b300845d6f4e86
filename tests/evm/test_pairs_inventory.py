"""Functions by tokens and brackets: what counts as one, and what a file that no compiler takes would have had."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evm.fixtures import HERE
from whet.evm.pairs.inventory import _blanked, defined, licence, normalised, scanned, tokens
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


def slowly(text: str) -> Iterator[tuple[str, str, int, int]]:
    """(contract, source, byte, line) of every function, each looked for from the text's beginning."""
    blank = _blanked(text)
    contract, until = "", 0
    for match in re.finditer(
        r"\b(contract|library|interface)\s+([\w$]+)|\b(function|fallback|receive)\b", blank
    ):
        depth, opened, end = 0, -1, -1
        for at in range(match.end(), len(blank)):
            if opened < 0 and blank[at] in ";}":
                end = -2
                break
            opened = at if opened < 0 and blank[at] == "{" else opened
            depth += (blank[at] == "{") - (blank[at] == "}")
            if opened >= 0 and depth == 0:
                end = at + 1
                break
        if match.start() < until:
            continue
        if match[1]:
            contract = match[2]
            continue
        if end < 0:
            continue
        until = end
        words = blank[match.end() : opened].split("(")[0].split()
        if not (match[3] != "function" and words) and not (words and words[0] == contract):
            before = text[: match.start()]
            yield contract, text[match.start() : end], len(before.encode()), before.count("\n") + 1


PARTS = [
    "function ",
    "function f(){}",
    "contract A ",
    "receive()",
    "A",
    "é",
    "\n",
    "{",
    "}",
    ";",
    "(",
    ")",
    "//",
    "/*",
    "*/",
    '"',
]


@given(st.lists(st.sampled_from(PARTS), max_size=60).map("".join))
def test_the_quick_way_finds_what_the_slow_one_does(text: str) -> None:
    found = [(one.contract, one.source, one.start, one.line) for one in scanned("a.sol", text)]
    assert found == list(slowly(text))


@pytest.mark.parametrize(
    "part", ["function ", "function a(){}", "function é(){}\n", "receive() {} contract A {"]
)
def test_files_of_many_functions_take_no_longer_than_their_length(part: str) -> None:
    def seconds(times: int) -> float:
        started = time.process_time()
        list(scanned("a.sol", part * times + "}"))
        return time.process_time() - started

    seconds(1000)
    assert seconds(40_000) < 24 * max(seconds(5_000), 0.02)


def test_lines_of_compiled_functions() -> None:
    text = "// é\ncontract A {\n" + "    function a() {}\n" * 3 + "}"
    places = [match.start() for match in re.finditer(b"function", text.encode())]
    node = {
        "nodeType": "FunctionDefinition",
        "name": "a",
        "body": {"nodeType": "Block"},
        "kind": "function",
        "parameters": {"parameters": []},
    }
    nodes = [{**node, "src": f"{at}:15:0"} for at in places]
    ast = {"nodes": [{"nodeType": "ContractDefinition", "name": "A", "nodes": nodes}]}
    found = list(defined({"a.sol": {"ast": ast}}, {"a.sol": text}))
    assert [(one.line, one.start, one.source) for one in found] == [
        (line, at, "function a() {}") for line, at in zip((3, 4, 5), places, strict=True)
    ]


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
