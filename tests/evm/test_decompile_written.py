"""A model's text as one function: what is taken, what is refused, and that nothing of it leaves its place."""

from __future__ import annotations

import re
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet import limits
from whet.evm.decompile.placing import reached, replaced, uncalled
from whet.evm.decompile.written import read
from whet.evm.one_function import NotOne
from whet.evm.solidity.nouns import SolidityFunction, Source


def target(
    name: str = "f", kind: str = "public", mutability: str = "nonpayable", in_fallback: bool = False
) -> SolidityFunction:
    return SolidityFunction(
        name, "f_1", kind, None, f"{name}()", (), mutability, 0, 1, 0, in_fallback=in_fallback
    )


def placed(text: str, to: SolidityFunction | None = None, **names: str) -> str:
    functions = {name: other for name, other in names.items() if name.startswith(("p_", "f_"))}
    return "\n".join(read(text).placed(to or target(), names, functions))


def test_the_header_is_the_callers() -> None:
    text = "function g(uint256 a) public virtual override(A, B) payable onlyOwner returns (bytes memory b) { g(a); }"
    assert placed(text) == "function f(uint256 a) public onlyOwner returns (bytes memory b) { f(a); }"
    assert placed(text, target(mutability="payable")).startswith("function f(uint256 a) public payable only")
    assert placed(text, target("p_1", "private", "payable")).startswith(
        "function p_1(uint256 a) private only"
    )
    assert placed(text.replace("public", "internal")).startswith("function f(uint256 a) external only")
    inner = placed("function g(bytes calldata a) external { h(a); }", target("func_1", in_fallback=True))
    assert inner == "function func_1(bytes memory a) private { h(a); }"


@pytest.mark.parametrize(
    ("text", "kind", "begins"),
    [
        ("receive() external payable { a(); }", "receive", "receive() external payable { a(); }"),
        ("function () external payable { a(); }", "fallback", "fallback() external payable { a(); }"),
        ("function() public payable { a(); }", "receive", "receive() external payable { a(); }"),
        (
            "fallback(bytes calldata x) external returns (bytes memory) { }",
            "fallback",
            "fallback(bytes calldata x)",
        ),
    ],
)
def test_what_no_selector_reaches(text: str, kind: str, begins: str) -> None:
    assert placed(text, target(kind, kind, "payable")).startswith(begins)
    with pytest.raises(NotOne, match="a function was asked for"):
        placed(text)
    with pytest.raises(NotOne, match=f"a {kind} was asked for, this is a function"):
        placed("function f() public { }", target(kind, kind))


def test_names_are_those_of_the_contract_where_they_mean_it() -> None:
    names = {"owner": "_owner", "p_1": "helper", "stor_2": "at_x().value", "same": "same"}
    text = """function f(address _owner) external {
        owner = _owner; p_1(x.owner, owner); g({owner: owner, b: stor_2});
        uint256 y = b ? owner : stor_2;
    }"""
    found = placed(text, **names)
    assert "_owner = _owner_; helper(x.owner, _owner); g({owner: _owner, b: at_x().value});" in found
    assert "b ? _owner : at_x().value" in found
    assert found.startswith("function f(address _owner_) external {")


@pytest.mark.parametrize(
    "declaring",
    [
        "function f(address owner) public { owner; }",
        "function f() public returns (address owner) { owner; }",
        "function f() public { uint256[] memory owner = a; owner; }",
        "function f() public { address payable owner; owner; }",
        "function f() public { (bool a, IERC20 owner) = g(); owner; }",
        "function f() public { assembly { let owner := 1 } }",
        "function f() public { for (uint256 owner = 0; owner < 3; owner++) { } }",
    ],
)
def test_variables_of_its_own_keep_their_names(declaring: str) -> None:
    assert "_owner" not in placed(declaring, owner="_owner")


@pytest.mark.parametrize(
    "using",
    [
        "return owner;",
        "delete owner;",
        "emit E(owner);",
        "a = owner;",
        "revert(owner, owner);",
        "g(a, owner);",
    ],
)
def test_other_mentions_are_the_contracts(using: str) -> None:
    assert placed(f"function f() public {{ {using} }}", owner="_owner").count("_owner") == using.count(
        "owner"
    )


def test_a_getter_and_its_variable_are_two_things() -> None:
    found = placed("function owner() public { x = owner; owner(); }", target("owner"), owner="_owner")
    assert found == "function owner() public { x = _owner; owner(); }"


def test_a_function_that_is_called_is_no_variable() -> None:
    names = {"owner": "_owner", "f_12": "pause"}
    assert "x = owner() == _owner; pause();" in placed(
        "function g() public { x = owner() == owner; f_12(); }", **names
    )


def test_comments_and_fences_are_gone() -> None:
    text = """Here it is:
```solidity
/// @dev } closes
function f() /* { */ public {
    x = "// no comment }"; // }

    y = 'it\\'s /* none'; /* two
    lines } */ z();
    /// @solidity memory-safe-assembly
    assembly {
        mstore(0, 1) // }
    }
}
```
function g() { """
    assert placed(text).split("\n") == [
        "function f() public {",
        '    x = "// no comment }";',
        "    y = 'it\\'s /* none';   z();",
        '    assembly ("memory-safe") {',
        "        mstore(0, 1)",
        "    }",
        "}",
    ]
    assert (read(text).statements, read(text).assembly) == (4, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin"),
        ("// nothing", "does not begin"),
        ("It moves.", "does not begin"),
        ("contract C { function f() public { } }", "does not begin"),
        ("constructor() { }", "does not begin"),
        ("modifier m() { _; }", "does not begin"),
        ("function f() public { } function g() public { }", "stands behind the function: function"),
        ("function f() public { } }", "stands behind the function: }"),
        ("function f() public { } } contract D {", "stands behind"),
        ("function f() public { ( } )", "stands behind"),
        ("function f() public {", "a { without its }"),
        ("function f() public;", "without a body"),
        ("function f public { }", r"no \( where"),
        ("function 1f() public { }", r"no \( where"),
        ('function f() public { x = "a; }', "a string without an end"),
        ('function f() public { x = "a\nb"; }', "a string without an end"),
        ("function f() public { /* }", "a comment without an end"),
        ('function f() public { x = "\u202e"; }', r"U\+202E"),
        ("function f() public { // \r } contract C {\n }", "stands behind"),
        ("function f() public { x;\x01}", r"U\+0001"),
        ("function f() public { " + "x;" * limits.WRITTEN_CHARACTERS + " }", "longer than"),
    ],
)
def test_what_is_not_one_function(text: str, why: str) -> None:
    with pytest.raises(NotOne, match=why):
        read(text)


@pytest.mark.parametrize(
    ("begins", "again", "ends"),
    [
        ('function f() public { x = "', '\\"', ""),
        ("function f() public { x = '", "\\'", ""),
        ("function f() public { ", "assembly ", "}"),
        ("function f() public { ", "assembly { } ", "}"),
        ("function f() public { ", "/* */ // \n", "}"),
        ("function f() public ", "m() ", "{ }"),
        ("", "```\n", ""),
    ],
)
def test_a_longer_text_costs_so_much_more_and_no_more(begins: str, again: str, ends: str) -> None:
    """Twelve times as long, at most some twelve times as slow: a hundred and more where any place is looked at twice."""

    def seconds(length: int) -> float:
        text = begins + again * (length // len(again)) + ends

        def once() -> float:
            began = process_time()
            with suppress(NotOne):
                read(text)
            return process_time() - began

        return min(once() for _ in range(3))

    assert seconds(60_000) < 40 * max(seconds(5_000), 0.001)


PIECES = [
    "function f() public {",
    "}",
    "{",
    "(",
    ")",
    "//",
    "/*",
    "*/",
    '"',
    "'",
    "\\",
    "\n",
    "a;",
    "```\n",
    "contract C {",
    "\u2028",
    ";",
    " ",
]


@given(st.lists(st.sampled_from(PIECES), max_size=24))
def test_whatever_is_taken_is_balanced_and_without_comments(pieces: list[str]) -> None:
    try:
        text = placed("".join(pieces))
    except NotOne:
        return
    bare = re.sub(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", "", text)
    assert not re.search(r"//|/\*|\"|'", bare)
    depth = 0
    for at, char in enumerate(bare):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
        assert depth or char != "}" or at == len(bare) - 1
    assert depth == 0
    assert bare.startswith("function f(")


def contract(*bodies: str) -> Source:
    lines, functions = ["contract C {"], []
    for number, body in enumerate(bodies):
        kind = "private" if number else "public"
        one = SolidityFunction(f"g{number}", f"f{number}", kind, None, "", (), "", 0, 1, 0)
        one.first_line = len(lines) + 1
        lines += [f"    function g{number}() {{", f"        {body}", "    }"]
        one.last_line = len(lines)
        lines.append("")
        functions.append(one)
    return Source("\n".join([*lines[:-1], "}"]) + "\n", "C", "0.8.30", {}, [], functions)


def test_lines_are_counted_anew() -> None:
    source = contract("a();", "b();", "c();")
    assert replaced(source, {}) == source
    found = replaced(source, {"f1": ["function g1() { new(); }"], "f0": []})
    assert [one.of for one in found.functions] == ["f1", "f2"]
    lines = found.text.split("\n")
    assert [lines[one.first_line - 1].strip() for one in found.functions] == [
        "function g1() { new(); }",
        "function g2() {",
    ]
    assert lines[found.functions[1].last_line - 1] == "    }"
    assert "a();" not in found.text
    assert "\n\n\n" not in found.text
    last = replaced(source, {"f2": []})
    assert last.text.endswith("    }\n\n}\n")


def test_what_texts_call_can_be_called() -> None:
    source = contract("a();", "b();")
    source.text = source.text.replace("function g0()", "function g0() external")
    calling = replaced(source, {"f1": ["function g1() { g0 (); }"]})
    assert "function g0() public {" in calling.text
    for text in ("x.g0();", "emit g0;", "xg0();", "function g0() external { }"):
        assert "g0() public" not in replaced(source, {"f1": [f"function g1() {{ {text} }}"]}).text
    assert reached(calling) == {"f0": set(), "f1": {"f0"}}
    assert reached(contract("g1();", "g2();", "g1();")) == {
        "f0": {"f1", "f2"},
        "f1": {"f1", "f2"},
        "f2": {"f1", "f2"},
    }


def test_private_functions_that_nothing_leads_to() -> None:
    source = contract("g1();", "g2();", "g2();", "g4();", "g3();")
    assert uncalled(source) == {"f3", "f4"}
    assert uncalled(replaced(source, {"f0": ["function g0() { g2(); }"]})) == {"f1", "f3", "f4"}
