"""Text says what the code says: read back by a parser with Solidity's precedences, complete in its flat form."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evm.fixtures import Fixture, fixtures
from tests.evm.test_draft import functions
from tests.evm.test_structure import graphs, programs
from whet.evm import tac
from whet.evm.draft import readable
from whet.evm.lifting import lift_code
from whet.evm.meaning.base import END, FunctionMeaning, Meaning, StateVariable, Variable
from whet.evm.tac import WORD, Block, Contract, End, Function, Phi, Statement
from whet.evm.terms import (
    Assign,
    Emit,
    Expression,
    Group,
    Index,
    Invoke,
    Member,
    Name,
    Operation,
    Return,
    Revert,
    Slice,
    Text,
    Typed,
    Value,
)
from whet.evm.text import count_tokens, flat, flat_function, structured, structured_function
from whet.evm.text.expressions import Writer, simple_condition
from whet.evm.text.numbers import number, quoted

# A reader of expressions: precedences of the Solidity documentation, all operators from left to right.

LEVELS = [
    ["||"],
    ["&&"],
    ["==", "!="],
    ["<", ">", "<=", ">="],
    ["|"],
    ["^"],
    ["&"],
    ["<<", ">>"],
    ["+", "-"],
    ["*"],
]
LEVEL = {sign: level for level, signs in enumerate(LEVELS) for sign in signs}
TOKEN = re.compile(r"0x[0-9a-f]+|\d+e\d+|\d+|[a-z]+\d*|\|\||&&|[=!<>]=|<<|>>|\S")


def evaluate(text: str, values: dict[str, int]) -> int:
    tokens = TOKEN.findall(text)[::-1]
    value = infix(tokens, 0, values)
    assert not tokens
    return value


def infix(tokens: list[str], level: int, values: dict[str, int]) -> int:
    left = unary(tokens, values)
    while tokens and LEVEL.get(tokens[-1], -1) >= level:
        sign = tokens.pop()
        right = infix(tokens, LEVEL[sign] + 1, values)
        left = apply(sign, left, right)
    return left


def unary(tokens: list[str], values: dict[str, int]) -> int:
    token = tokens.pop()
    if token == "(":
        value = infix(tokens, 0, values)
        assert tokens.pop() == ")"
        return value
    if token in "!~-":
        value = unary(tokens, values)
        return {"!": int(value == 0), "~": WORD - value, "-": -value & WORD}[token]
    if token.startswith(("uint", "address", "bytes")):
        value, bits = unary(tokens, values), int("160" if token == "address" else re.sub("[a-z]", "", token))
        if token.startswith("bytes"):
            return value >> (256 - 8 * bits) << (256 - 8 * bits)
        return value & ((1 << bits) - 1)
    if token[0].isdigit():
        mantissa, _, exponent = token.partition("e") if not token.startswith("0x") else (token, "", "")
        return int(mantissa, 0) * 10 ** int(exponent or 0)
    return values[token]


def apply(sign: str, left: int, right: int) -> int:
    if sign == "&&":
        return left and right
    if sign == "||":
        return left or right
    compared = {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}
    compared |= {"==": left == right, "!=": left != right}
    if sign in compared:
        return int(compared[sign])
    shifted = {"<<": left << right if right < 256 else 0, ">>": left >> right if right < 256 else 0}
    computed = {"|": left | right, "^": left ^ right, "&": left & right} | shifted
    computed |= {"+": left + right, "-": left - right, "*": left * right}
    return computed[sign] & WORD


SIGNS = {
    "ADD": "+",
    "SUB": "-",
    "MUL": "*",
    "AND": "&",
    "OR": "|",
    "XOR": "^",
    "LT": "<",
    "GT": ">",
    "EQ": "==",
}


def meant(term: Expression, values: dict[str, int]) -> int:
    if isinstance(term, int):
        return term
    if isinstance(term, str):
        return values[term]
    assert isinstance(term, Operation)
    args = [meant(argument, values) for argument in term.args]
    if term.op in ("ISZERO", "NOT"):
        return int(args[0] == 0) if term.op == "ISZERO" else WORD - args[0]
    if term.op in ("SHL", "SHR"):
        return apply("<<" if term.op == "SHL" else ">>", args[1], args[0])
    return apply(SIGNS.get(term.op, term.op), *args)


WORDS = st.one_of(
    st.integers(0, 300),
    st.integers(0, WORD),
    st.integers(0, 256).map(lambda bits: (1 << bits) - 1),
    st.integers(0, 300).map(lambda less: WORD - less),
    st.builds(lambda low, shift: (low << shift) & WORD, st.integers(0, 1 << 32), st.integers(0, 256)),
    st.integers(0, 256).map(lambda bits: WORD - ((1 << bits) - 1)),
    st.builds(lambda low, zeros: low * 10**zeros & WORD, st.integers(0, 99), st.integers(0, 70)),
)
OPS = ["ADD", "SUB", "MUL", "AND", "OR", "XOR", "LT", "GT", "EQ", "SHL", "SHR", "&&", "||"]
TERMS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(st.sampled_from(["a", "b"]), WORDS),
    lambda terms: st.one_of(
        st.builds(lambda op, one, other: Operation(op, (one, other)), st.sampled_from(OPS), terms, terms),
        st.builds(lambda op, one: Operation(op, (one,)), st.sampled_from(["ISZERO", "NOT"]), terms),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(TERMS, WORDS, WORDS)
def test_expressions_read_back_give_the_same_value(term: Expression, a: int, b: int) -> None:
    values = {"a": a, "b": b}
    text = Writer({}).text(term)
    if '"' not in text:  # text in a word
        assert evaluate(text, values) == meant(term, values)
        condition = Writer({}).condition(term)
        assert bool(evaluate(condition, values)) == bool(meant(term, values))
        assert bool(evaluate(Writer({}).condition(term, holds=False), values)) != bool(meant(term, values))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0, "0"),
        (65535, "65535"),
        (65536, "0x10000"),
        (10**18, "1e18"),
        (3 * 10**17, "3e17"),
        (WORD, "~0"),
        (WORD - 31, "-32"),
        (WORD - 255, "~0xff"),
        ((1 << 160) - 1, "0x" + 40 * "f"),
        (0x08C379A0 << 224, "0x08c379a0 << 224"),
        (1 << 160, "1 << 160"),
        (0xA9059CBB, "0xa9059cbb"),
        (int.from_bytes(b"Ownable: caller".ljust(32, b"\0"), "big"), '"Ownable: caller"'),
    ],
)
def test_words(word: int, text: str) -> None:
    if text == "~0xff":
        text = number(word)[0]
        assert text in ("~0xff", "~255")
    assert number(word)[0] == text


def test_strings_are_escaped() -> None:
    assert quoted('a"b\\c\nü\x00') == '"a\\"b\\\\c\\n\\u00fc\\u0000"'


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (Operation("SLT", ("a", "b")), "a <s b"),
        (Operation("ISZERO", (Operation("EQ", (0, "a")),)), "a != 0"),
        (Operation("AND", ((1 << 160) - 1, Operation("SLOAD", (0,)))), "address(stor[0])"),
        (Operation("AND", ("a", 0xFFFFFFFF << 224)), "bytes4(a)"),
        (Operation("SIGNEXTEND", (15, "a")), "int128(a)"),
        (Operation("SHR", (224, Operation("CALLDATALOAD", (0,)))), "msg.sig"),
        (Operation("ADD", ("a", WORD)), "a - 1"),
        (Operation("SUB", ("a", Operation("SUB", ("b", 1)))), "a - (b - 1)"),
        (Operation("&&", (Operation("||", ("a", "b")), "a")), "(a || b) && a"),
        (Operation("?:", ("a", 1, 2)), "a ? 1 : 2"),
        (Operation("BALANCE", (Operation("CALLER"),)), "msg.sender.balance"),
        (Operation("KECCAK256", (0, 64)), "keccak256(0, 64)"),
        (Index(Index(Name("allowed"), "a"), Operation("CALLER")), "allowed[a][msg.sender]"),
        (
            Invoke(Member(Invoke(Name("IERC20"), ("a",)), "send"), (1,), (("value", "b"),)),
            "IERC20(a).send{value: b}(1)",
        ),
        (Slice(Name("data"), 4, "b"), "data[4:b]"),
        (Group(("a", Text("x"))), '(a, "x")'),
        (Typed(1, "bool"), "true"),
        (Typed(WORD, "int256"), "-1"),
        (Typed(5, "address"), "0x" + 39 * "0" + "5"),
        (Typed(0xA9059CBB << 224, "bytes4"), "0xa9059cbb"),
    ],
)
def test_expressions(term: Expression, text: str) -> None:
    assert Writer({}).text(term) == text


def test_differences_as_conditions() -> None:
    assert Writer({}).text(simple_condition(Operation("SUB", ("a", "b")))) == "a != b"
    assert Writer({}).text(simple_condition(Operation("&&", ("a", "b")), holds=False)) == "!a || !b"


def contract_of(function: Function) -> Contract:
    return Contract({function.name: function}, 100, {40: b"xyz"}, ["cut off"], figures={"steps": 7})


@settings(max_examples=40, deadline=None)
@given(functions(graphs(most=6)))
def test_flat_text_leaves_nothing_out(function: Function) -> None:
    blocks = re.split(r"^(\w+):", flat_function(function), flags=re.M)
    head, by_name = blocks[0], dict(zip(blocks[1::2], blocks[2::2], strict=True))
    assert all(param in head for param in function.params)
    assert list(by_name) == list(function.blocks)
    for block in function.blocks.values():
        said = by_name[block.id].splitlines()[1:]
        assert len(said) == len(block.phis) + len(block.statements) + 1
        for phi, line in zip(block.phis, said, strict=False):
            assert line.split(" = ")[0].strip() == phi.result
            assert re.findall(r"(\w+): (\w+)", line) == [
                (b, v if isinstance(v, str) else hex(v)) for b, v in phi.incoming.items()
            ]
        for statement, line in zip(block.statements, said[len(block.phis) :], strict=False):
            words = re.findall(r"\w+", line.split("  # ")[0])
            args = [a if isinstance(a, str) else hex(a) for a in statement.args]
            called = [statement.function] if statement.function else []
            assert words == [*statement.results, statement.op, *called, *args]
        words = re.findall(r"\w+", said[-1].split("  # ")[0])
        assert [w for w in words if w != "else"] == [
            block.end.op,
            *map(str, block.end.args),
            *block.end.targets,
        ]


def test_flat_text_of_a_contract() -> None:
    function = Function(
        "f", "public", 3, (), None, {"b0": Block("b0", 3, [], [], End("STOP"))}, 0xA9059CBB, ["guessed"]
    )
    text = flat(contract_of(function))
    for said in [
        "100 bytes",
        "3 bytes at 0x28",
        "cut off",
        "steps: 7",
        "0xa9059cbb",
        "guessed",
        "never returns",
    ]:
        assert said in text
    switch = End("SWITCH", ("v",), ("b1", "b2"), cases=(5, 9))
    unresolved = End("UNRESOLVED", ("v",), why="budget")
    blocks = {"b0": Block("b0", 0, [], [], switch), "b1": Block("b1", 0, [], [], unresolved)}
    blocks["b2"] = Block("b2", 0, [], [], End("ENTER", function="f_1"))
    text = flat_function(Function("g", "private", 0, ("v",), 1, blocks))
    for said in ["SWITCH(v) 0x5: b1, 0x9: b2", "UNRESOLVED(v) # budget", "ENTER f_1", "from b0"]:
        assert said in text


LOOP = Function(
    "p_10",
    "private",
    16,
    ("n",),
    1,
    {
        "b0": Block("b0", 16, [], [], End("JUMP", (), ("b1",))),
        "b1": Block(
            "b1",
            20,
            [Phi("i", {"b0": 0, "b4": "j"}), Phi("s", {"b0": 0, "b4": "t"})],
            [Statement("LT", ("i", "n"), ("c",), 20)],
            End("BRANCH", ("c",), ("b2", "b5")),
        ),
        "b2": Block(
            "b2", 30, [], [Statement("SLOAD", ("i",), ("v",), 30)], End("BRANCH", ("v",), ("b3", "b4"))
        ),
        "b3": Block(
            "b3", 40, [], [Statement("CALLPRIVATE", ("v",), (), 40, "p_99")], End("JUMP", (), ("b4",))
        ),
        "b4": Block(
            "b4",
            50,
            [],
            [Statement("ADD", ("i", 1), ("j",), 50), Statement("ADD", ("s", "v"), ("t",), 51)],
            End("JUMP", (), ("b1",)),
        ),
        "b5": Block("b5", 60, [], [], End("RETURNPRIVATE", ("s",))),
    },
)

LOOP_TEXT = """\
function p_10(x0) private returns 1 {
  v0 = 0
  v1 = 0
  while (v0 < x0) {
    v2 = stor[v0]
    if (v2) p_99(v2)
    v0 = v0 + 1
    v1 = v1 + v2
  }
  return v1
}"""


def test_a_loop_as_text() -> None:
    assert structured_function(contract_of(LOOP), LOOP) == LOOP_TEXT
    assert structured(contract_of(LOOP)) == f"// cut off\n\n{LOOP_TEXT}\n"


def test_returns_at_the_end_of_a_function_go_without_saying() -> None:
    call = Statement("CALLPRIVATE", ("c",), (), 0, "p_99")
    back = End("RETURNPRIVATE")
    blocks = {
        "b0": Block(
            "b0", 0, [], [Statement("CALLPRIVATE", (1,), (), 0, "p_99")], End("BRANCH", ("c",), ("b1", "b2"))
        ),
        "b1": Block("b1", 0, [], [call, call], back),
        "b2": Block("b2", 0, [], [], back),
    }
    function = Function("p_1", "private", 0, ("c",), 0, blocks)
    text = structured_function(contract_of(function), function)
    assert text.splitlines() == [
        "function p_1(x0) private {",
        "  p_99(1)",
        "  if (x0) {",
        "    p_99(x0)",
        "    p_99(x0)",
        "  }",
        "}",
    ]


def test_meaning_as_text() -> None:
    statements = [
        Statement("CALLDATALOAD", (4,), ("to",), 0),
        Statement("SLOAD", (1,), ("old",), 0),
        Statement("SSTORE", (1, "to"), (), 0),
        Statement("LOG1", (0, 0, 77), (), 0),
    ]
    blocks = {
        "b0": Block("b0", 0, [], statements, End("BRANCH", ("old",), ("b1", "b2"))),
        "b1": Block("b1", 0, [], [], End("REVERT", (0, 0))),
        "b2": Block("b2", 0, [], [], End("RETURN", (0, 32))),
    }
    function = Function("f_1", "public", 0, (), None, blocks, 1)
    known = FunctionMeaning(
        name="setOwner",
        parameters=(Variable("to", "address"),),
        returns=("bool",),
        visibility="external",
        mutability="nonpayable",
        variables={"old": Variable("before", "address")},
        forms={
            ("b0", 0): Value(Name("to")),
            ("b0", 1): Value(Name("owner")),
            ("b0", 2): Assign(Name("owner"), "to"),
            ("b0", 3): Emit("Changed", ("to",)),
            ("b1", END): Revert("", (Text("taken"),)),
            ("b2", END): Return((Typed(1, "bool"),)),
        },
        notes=["guessed"],
    )
    meaning = Meaning({"f_1": known}, [StateVariable("owner", "address", 1)], ["event Changed(address to);"])
    assert structured(contract_of(function), meaning).splitlines() == [
        "// cut off",
        "event Changed(address to);",
        "address owner; // slot 1",
        "",
        "// guessed",
        "function setOwner(address to) external nonpayable returns (bool) {",
        "  address before = owner",
        "  owner = to",
        "  emit Changed(to)",
        '  if (before) revert("taken")',
        "  return true",
        "}",
    ]


@settings(max_examples=60, deadline=None)
@given(functions(st.one_of(programs(), graphs())))
def test_every_effect_stands_in_the_text(function: Function) -> None:
    text = structured_function(contract_of(function), function)
    assert text == structured_function(contract_of(function), function)
    body = readable(function)
    written = [
        line for block in body.draft.blocks.values() for line in block.lines if "SSTORE" in repr(line.form)
    ]
    assert text.count("stor[") >= len(written)


@pytest.mark.parametrize("fixture", fixtures()[::6], ids=str)
def test_compiled_contracts_are_structured_without_goto(fixture: Fixture) -> None:
    contract = lift_code(fixture.runtime)
    again = tac.from_json(tac.to_json(contract))
    assert structured(contract) == structured(again)
    for function in contract.functions.values():
        tree = readable(function).tree
        assert (tree.gotos_irreducible, tree.gotos_nesting) == (0, 0)
    assert count_tokens(structured(contract)) < count_tokens(flat(contract)) / 2


def test_tokens_are_counted_by_rule() -> None:
    assert count_tokens("balanceOf[a] = 12345\n  return x") == 11
