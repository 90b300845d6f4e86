"""The YAML 1.2 core schema, the line of every key, and writing values that read back equal."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import RecipeError
from whet.recipe.yaml12 import parse, parse_value, scalar
from whet.recipe.yaml12_writer import dump

PLAIN = {
    "2e-4": 2e-4, "1e3": 1000.0, "1E+3": 1000.0, ".5": 0.5, "5.": 5.0, "-.5e1": -5.0, "+1.5": 1.5, "1e-08": 1e-8,
    "0": 0, "-0": 0, "+7": 7, "007": 7, "010": 10, "0o17": 15, "0x1F": 31, "0xdeadBEEF": 0xDEADBEEF,
    ".inf": math.inf, "+.INF": math.inf, "-.Inf": -math.inf,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
"""From the tables of section 10.3.2 of YAML 1.2.2."""

WORDS = (
    "off", "on", "yes", "no", "y", "n", "Off", "YES", "tRUE", "nULL", "None", "nil", "1:30", "190:20:30", "1_000",
    "0b101", "0o8", "0xG", "-0x1F", "-0o7", "017_7", "1e", "e5", ".", "..", "-", "+", "1.2.3", "inf", "nan", "+.nan",
    "infinity", "2001-01-01", "2001-12-14t21:59:43.10-05:00", "12:30:45", "0x", "0o", "=", "<<", "1,000", "٣",
)  # fmt: skip
"""What stays text, though YAML 1.1 or a habit reads more into some of it."""

TRICKY = (
    "", " ", "1e3", "null", "~", "true", "False", "- x", "-", "a: b", "a:", ":", "#x", "a #b", "a#b", "'", '"', "''",
    "\n", "a\nb", "\r\n", "a\r", "\t", "tab\tin", " lead", "trail ", "é", "日本語", "🙂", "\x00", "\x07", "\x7f", "\x85",
    "\u2028", "\ufeff", "\ud800", "[a]", "{a: 1}", "a, b", "*a", "&a", "!a", "%a", "@a", "`a`", "|", ">", "? a", "0x1F",
    "0o17", "1_000", ".inf", ".nan", "-.inf", "yes", "OFF", "2001-01-01", "1:30", "---", "...", "--- a", "<<", "=",
    "a\\b", "C:\\dir", "~/x", "/a b", "a" * 3000, "a " * 100, "x\u00a0y", "ª", "'quoted'", "it's", "100%", "a=b;c",
)  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_plain_scalar(text: str) -> None:
    expected = PLAIN[text]
    for got in (scalar(text), parse_value(text, "--set"), parse(f"a: {text}\n", "f").values["a"]):
        assert got == expected
        assert type(got) is type(expected)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    assert math.isnan(scalar(text))


@pytest.mark.parametrize("text", WORDS)
def test_plain_text(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize("text", [*filter(None, PLAIN), "off", "2001-01-01"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_what_is_quoted_stays_text(text: str, quote: str) -> None:
    assert parse(f"a: {quote}{text}{quote}", "f").values == {"a": text}
    assert parse_value(f"{quote}{text}{quote}", "--set") == text


def test_block_scalars_are_text() -> None:
    assert parse("a: |\n  1\nb: >-\n  null\n", "f").values == {"a": "1\n", "b": "null"}


def test_keys_are_text() -> None:
    assert parse("1: a\ntrue: b\nnull: c\n'quoted key': d\n", "f").values == {
        "1": "a", "true": "b", "null": "c", "quoted key": "d",
    }  # fmt: skip


def test_a_number_too_long_for_any_key_stays_text() -> None:
    for text in ("9" * 5000, "0x" + "f" * 5000):
        assert scalar(text) == text
    assert scalar("9" * 399) == int("9" * 399)
    assert scalar("1e999") == math.inf


LINED = """\
# a comment

name: x      # line 3
stages:
  - name: a  # line 5
    data:
      - {source: text,
         path: p}
    list: [1,
      2]
  -
    name: b  # line 12
text: |
  two
  lines
after: 1     # line 16
"""


def test_the_line_of_every_key_and_item() -> None:
    tree = parse(LINED, "f.yaml")
    lines = {
        ("name",): 3,
        ("stages",): 4,
        ("stages", 0): 5,
        ("stages", 0, "name"): 5,
        ("stages", 0, "data", 0): 7,
        ("stages", 0, "data", 0, "source"): 7,
        ("stages", 0, "data", 0, "path"): 8,
        ("stages", 0, "list", 0): 9,
        ("stages", 0, "list", 1): 10,
        ("stages", 1, "name"): 12,
        ("text",): 13,
        ("after",): 16,
    }
    for path, line in lines.items():
        assert tree.places[path] == (line, f"f.yaml:{line}")
    assert tree.place(("stages", 0, "absent", 3)).line == 5
    assert tree.place(("absent",)).line == 3


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_an_editor_counts_them(ending: str) -> None:
    tree = parse(LINED.replace("\n", ending), "f.yaml")
    assert tree.places["after",].line == 16
    assert tree.values["text"] == "two\nlines\n"


def test_a_repeated_key_is_a_problem_and_the_first_value_stays() -> None:
    tree = parse("a: 1\nb:\n  c: 2\n  c: {d: 3}\na: 4\n", "f")
    assert tree.values == {"a": 1, "b": {"c": 2}}
    assert [(place.line, path) for place, path, _ in tree.problems] == [(4, ("b", "c")), (5, ("a",))]
    assert "first on line 3" in tree.problems[0][2]
    with pytest.raises(RecipeError, match="stands twice"):
        parse_value("{a: 1, a: 2}", "--set x={a: 1, a: 2}")


def test_an_override_has_no_line_number() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_value("[1", "--set seed=[1")
    assert caught.value.where == "--set seed=[1"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(TRICKY)
    | st.text(max_size=20)
    | st.text(alphabet=" -:#,[]{}'\"\\\n\ttrue0123e.x_", max_size=12)
)
keys = st.text(max_size=20) | st.sampled_from([text for text in TRICKY if len(text) < 100])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types: 1, 1.0 and True are three values."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, values, max_size=5))
def test_what_is_written_reads_back_equal(tree: dict[str, Any]) -> None:
    text = dump(tree)
    text.encode("utf-8")
    assert same(parse(text, "f").values, tree), text
    assert dump(parse(text, "f").values) == text


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_text_reads_back_equal(text: str) -> None:
    for tree in ({"a": text}, {"a": [text, text]}, {"a": [{"b": text}]}, {"a": [[text], {}]}):
        assert same(parse(dump(tree), "f").values, tree)


@pytest.mark.parametrize(
    "text", ["yes", "OFF", "1e3", "null", "2001-01-01", "1:30", "1_000", "~", "True", "0o17"]
)
def test_what_a_reader_of_yaml_1_1_would_bend_is_quoted(text: str) -> None:
    assert dump({"a": text}) == f'a: "{text}"\n'


def test_written_recipes_are_plain_to_read() -> None:
    tree = {
        "name": "x",
        "betas": [0.9, 0.95],
        "none": [],
        "empty": {},
        "stages": [{"name": "a", "data": [{"k": "v"}]}],
    }
    assert dump(tree) == (
        "name: x\nbetas: [0.9, 0.95]\nnone: []\nempty: {}\nstages:\n  - name: a\n    data:\n      - k: v\n"
    )


def test_written_yaml_means_the_same_to_another_reader() -> None:
    from ruamel.yaml import YAML

    tree = {f"key{index}": text for index, text in enumerate(TRICKY) if text != "\ud800"}
    assert YAML(typ="safe", pure=True).load(dump(tree)) == tree
