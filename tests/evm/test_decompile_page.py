"""The page of a decompiled contract: what stands where, drawn storage, and that nothing hostile gets through."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.evm.decompiling import example
from tests.evm.fixtures import HERE
from whet.evm.decompile.nouns import Decompiled
from whet.evm.decompile.page import render
from whet.evm.decompile.page.layout import drawn
from whet.evm.decompile.page.original import originals
from whet.evm.keccak import selector
from whet.evm.solidity.nouns import SolidityFunction

SOURCE = (HERE / "sources/Token.sol").read_text("utf-8")
HOSTILE = "</pre><script>alert(1)</script>\"'\u202e\x1b<img src=http://x onerror=y>{{ 7*7 }}"
VOID = {"meta", "link", "br", "img", "input"}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def hostile() -> Decompiled:
    result = example()
    result.name = HOSTILE
    result.facts, result.notes, result.errors = [HOSTILE], [HOSTILE], [HOSTILE]
    result.source.text = result.source.text.replace("level(0);", HOSTILE)
    odd = HOSTILE.replace("\u202e", "").replace("\x1b", "")
    result.source.abi.append({"type": "event", "name": "E", "inputs": [{"name": "x", "type": odd}]})
    for function in result.functions:
        function.text.signature = function.tac = HOSTILE
        function.judged = replace(function.judged, evidence=HOSTILE, reason=HOSTILE, counterexample=HOSTILE)
    for variable in result.storage:
        variable["name"] = variable["type"] = HOSTILE
    return result


def test_everything_is_on_the_page_and_nothing_is_fetched() -> None:
    page = render(example(), SOURCE)
    parsed_page = parsed(page)
    assert "script" not in parsed_page.seen
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page
    for text in (
        "transfer(address,uint256)",
        "0xa9059cbb",
        "11 of 11 mutants noticed",
        "storage differs",
        "Transfer(address,uint256)",
    ):
        assert text in page
    assert "require(msg.sender == owner, &#34;not the owner&#34;)" not in page, "a modifier is no function"
    assert "function transfer(address to, uint256 value) public running returns (bool) {" in page
    assert page == render(example(), SOURCE)


def test_hostile_text_stays_text() -> None:
    page = render(hostile(), HOSTILE)
    seen = parsed(page).seen
    assert "script" not in seen
    assert "img" not in seen
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "{{ 7*7 }}" in page


def test_a_contract_without_anything() -> None:
    result = example()
    result.functions, result.storage, result.source.abi = [], [], []
    page = render(result)
    parsed(page)
    assert "No functions." in page
    assert "No storage is used by name." in page


def variable(
    name: str, type_: str, slot: int, offset: int = 0, size: int = 32, transient: bool = False
) -> dict[str, Any]:
    return {"name": name, "type": type_, "slot": slot, "offset": offset, "size": size, "transient": transient}


def test_fields_of_a_word_are_drawn_from_the_highest_byte() -> None:
    (row,) = drawn([variable("owner", "address", 0, 0, 20), variable("paused", "bool", 0, 20, 1)])
    assert [(box.name, box.first, box.last) for box in row.boxes] == [("paused", 12, 13), ("owner", 13, 33)]
    assert row.legend
    assert [box.where for box in row.boxes] == ["bytes 20-20", "bytes 0-19"]


def test_gaps_arrays_and_hashes() -> None:
    rows = drawn(
        [
            variable("a", "uint256", 0),
            variable("many", "uint256[5]", 2, 0, 160),
            variable("m", "mapping(address => bool)", 7),
            variable("far", "uint256", 8),
            variable("hashed", "address", 1 << 200, 0, 20),
            variable("lock", "bool", 0, 0, 1, True),
        ]
    )
    assert [row.gap for row in rows] == ["", "slot 1 is not named", "", "", "a slot made by a hash", ""]
    assert [row.boxes[0].kind for row in rows] == ["value", "whole", "whole", "value", "value", "value"]
    assert rows[-1].transient


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (31, 1), (0, 32), (20, 12), (30, 8), (0, 400), (40, 4)])
def test_every_box_stays_in_its_row(offset: int, size: int) -> None:
    (row,) = drawn([variable("x", "uint8", 3, offset, size)])
    (box,) = row.boxes
    assert 1 <= box.first < box.last <= 33


def function(signature: str, kind: str = "public") -> SolidityFunction:
    return SolidityFunction(signature.partition("(")[0], "f", kind, None, signature, (), "", 0, 1, 0)


def test_originals_by_name_and_number_of_parameters() -> None:
    source = """
    contract A { // function f(uint a) { comment }
        mapping(address => uint256) public balances;
        uint256 public constant total = 5;
        string s = "function f(uint a) { text }";
        function f(uint a) external returns (uint) {
            if (a > 0) { return 1; }
            return 0;
        }
        function f(uint a, mapping(uint => uint) storage b) internal {}
        function g(uint) external virtual;
        receive() external payable { f(1); }
    }"""
    (found,) = originals(source, function("f(uint256)"))
    assert found.startswith("function f(uint a) external")
    assert found.endswith("    return 0;\n}")
    assert len(originals(source, function("f(uint256,uint256)"))) == 1
    assert originals(source, function("g(uint256)")) == []
    assert originals(source, function("balances(address)")) == [
        "mapping(address => uint256) public balances;"
    ]
    assert originals(source, function("total()")) == ["uint256 public constant total = 5;"]
    assert originals(source, function("receive", "receive")) == ["receive() external payable { f(1); }"]


def test_originals_of_functions_whose_name_is_not_known() -> None:
    wanted = "function pause(uint until, address[] memory x) public { }"
    source = f"contract A {{ {wanted} function pause(uint64 a, bool b) public {{}} }}"
    unknown = function("func_0(uint256,address[])")
    unknown.selector = selector("pause(uint256,address[])")
    assert originals(source, unknown) == [wanted]


@pytest.mark.parametrize(
    "text", ["", "function f(", "function f() {{{", "(" * 5000, "public " * 3000, "/*" * 1000]
)
def test_originals_of_what_is_no_solidity(text: str) -> None:
    assert originals(text, function("f()")) in ([], [text])


MEASURE = """<iframe style="width:{width}px;height:3000px;border:0" srcdoc="{page}"></iframe><pre></pre><script>
document.querySelector('iframe').onload = () => {{
  const page = document.querySelector('iframe').contentDocument;
  for (const one of page.querySelectorAll('details')) one.open = true;
  const wide = page.scrollingElement.scrollWidth;
  document.querySelector('pre').textContent = 'MEASURED ' + wide;
}}</script>"""


def chromium(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium here")
    command = [found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.browser
@pytest.mark.parametrize("kind", [example, hostile])
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_sticks_out(kind: Any, width: int, tmp_path: Path) -> None:
    from markupsafe import escape

    (tmp_path / "m.html").write_text(
        MEASURE.format(width=width, page=escape(render(kind(), SOURCE))), "utf-8"
    )
    found = chromium(
        tmp_path / "profile", "--virtual-time-budget=3000", "--dump-dom", (tmp_path / "m.html").as_uri()
    )
    measured = re.search(r"MEASURED (\d+)</pre>", found.stdout)
    assert measured
    assert json.loads(measured[1]) <= width
