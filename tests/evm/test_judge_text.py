"""What is one function, and what it becomes in the author's contract; by tokens alone."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet import limits
from whet.evm.judge.text import in_contract
from whet.evm.one_function import NotOne, read
from whet.evm.pairs.inventory import normalised

AUTHOR = read(
    "function move(address to, uint256 n) public virtual override(A, B) returns (bool) { return go(to, n); }"
)


def placed(text: str, names: dict[str, str], *, renamed: bool = False) -> str:
    return normalised(in_contract(read(text), AUTHOR, names, renamed=renamed))


@pytest.mark.parametrize(
    "text",
    [
        "function f() {}",
        "\n// that\nfunction f(uint256 a) external pure returns (uint256) { return a; } // it was",
        "function () external payable { }",
        "fallback() external payable { x = 1; }",
        "receive() external payable { }",
        'function f() public m(A({x: 1})) { if (a) { b = "}"; } assembly { x := 1 } }',
        "function f(function (uint256) external returns (bool) g) internal { g(1); /* } */ }",
    ],
)
def test_one_function(text: str) -> None:
    assert read(text).text in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begin"),
        ("Sure, here it is: function f() {}", "begin"),
        ("pragma solidity ^0.8.0; function f() {}", "begin"),
        ("contract C { function f() {} }", "begin"),
        ("constructor() { }", "begin"),
        ("function", r"no \("),
        ("function f", r"no \("),
        ("function f()", "no {"),
        ("function f();", "without a body"),
        ("function f() external; function g() { }", "without a body"),
        ("function f() {", "without its }"),
        ("function f() { { }", "without its }"),
        ("function f() { } }", "stands behind"),
        ("function f() { } function g() { }", "stands behind"),
        ("function f() { } uint256 x;", "stands behind"),
        ("function f() { } // so\n.", "stands behind"),
        ("function f() { // \r } function g() {\n }", "stands behind"),
        ("function f() { // \u2028 } contract C {\n }", "stands behind"),
        ('function f() { x = "a; }', "string"),
        ("function f() { } /* and", "comment"),
        ("function f() { } \0", "no text"),
        ("function f() { } \udc80", "no text"),
        ("function f() { " + "x;" * limits.WRITTEN_CHARACTERS + "}", "longer"),
    ],
)
def test_not_one_function(text: str, why: str) -> None:
    with pytest.raises(NotOne, match=why):
        read(text)


def test_names_of_the_prompt_become_the_authors() -> None:
    text = "function move(address to, uint256 n) public returns (bool) { stor_3[to] += p_a(n); return x.stor_3; }"
    names = {"stor_3": "_balances", "p_a": "Lib.half"}
    expected = "{ _balances[to] += Lib.half(n); return x.stor_3; }"
    assert placed(text, names).endswith(normalised(expected))


def test_virtual_and_override_are_the_authors() -> None:
    expected = "function move(address to, uint256 n) virtual override(A, B) public m(to) returns (bool) { }"
    for words in ("", "virtual", "override", "override(C, D) virtual"):
        text = f"function move(address to, uint256 n) public {words} m(to) returns (bool) {{ }}"
        assert placed(text, {"C": "E"}) == normalised(expected)


def test_a_hidden_name_is_the_authors_where_it_calls_itself_too() -> None:
    text = "function f_12345678(address a) public { f_12345678(a); b.f_12345678(); f_12345678 = 1; move; }"
    assert "function move(address a)" in in_contract(read(text), AUTHOR, {}, renamed=True)
    assert placed(text, {}, renamed=True).endswith(
        normalised("{ move(a); b.f_12345678(); f_12345678 = 1; move; }")
    )
    assert placed(text, {}).startswith(normalised("function f_12345678(address a)"))


def test_what_a_text_declares_itself_is_no_name_of_the_prompt() -> None:
    text = "function move(address owner) public returns (bool) { stor_1 = owner; emit E({owner: owner}); }"
    assert placed(text, {"owner": "_owner", "stor_1": "_to"}).endswith(
        normalised("{ _to = owner; emit E({owner: owner}); }")
    )


def test_what_would_shadow_an_authors_name_gets_another() -> None:
    text = (
        "function move(address owner) public { stor_1 = owner; uint256[] memory go = p_2(owner); x.go(go); }"
    )
    moved = placed(text, {"stor_1": "owner", "p_2": "go"})
    expected = "(address owner_) virtual override(A, B) public { owner = owner_; uint256[] memory go_ = go(owner_); x.go(go_); }"
    assert moved == normalised(f"function move{expected}")


def test_a_getters_name_that_is_called_is_the_getter() -> None:
    text = "function move() public { balanceOf[a] = balanceOf(a) + 1; }"
    assert placed(text, {"balanceOf": "_of"}).endswith(normalised("{ _of[a] = balanceOf(a) + 1; }"))


def test_long_texts_take_no_longer_than_their_length() -> None:
    most = limits.WRITTEN_CHARACTERS - 100
    parts = ("(", "{", '\\"', "'", "/*", "//\n", "p_1(", "a.", "((){})", "virtual ", "override(", "x,")
    for part in parts:
        for text in (
            f"function f() public {part * (most // len(part))}",
            f"function f() {{ {part * (most // len(part))} }}",
        ):
            began = time.process_time()
            with contextlib.suppress(NotOne):
                in_contract(read(text), AUTHOR, {"p_1": "x", "a": "b"}, renamed=True)
            assert time.process_time() - began < 5, part


WORDS = (
    "function f ( ) { } ; public virtual override returns p_1 . , : // /* */ \" ' \\ a = uint256 [ ] é 0x $"
)
PIECES = st.sampled_from([*WORDS.split(" "), " ", "\n", "\r", "\u2028"])


@given(st.lists(PIECES, max_size=40).map("".join), st.booleans())
def test_any_text_is_read_or_refused(text: str, renamed: bool) -> None:
    with contextlib.suppress(NotOne):
        read(text)
    try:
        written = read(f"function f(uint256 a) public {{ {text} }}")
    except NotOne:
        return
    moved = in_contract(written, AUTHOR, {"p_1": "_x", "f": "g"}, renamed=renamed)
    assert len(read(moved).tokens) >= len(written.tokens)
    assert re.match(r"function \w+\(uint256 a_*\) virtual override\(A, B\) public", moved)
