"""The prompt of a pair: its form to the letter, what a budget leaves out, and what is learned of it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.text.chat_templates import TEXTS as SAMPLES
from whet.evm.pairs.answer import answer
from whet.evm.pairs.nouns import Pair, View
from whet.evm.pairs.prompt import (
    LEFT_OUT,
    NO_ROOM_CALLED,
    NO_ROOM_EMITTED,
    NO_ROOM_STORAGE,
    NOT_EMITTED,
    TASK,
    Metadata,
    Prompt,
    prompt,
)
from whet.evm.text import count_tokens
from whet.sources.solidity import document
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat
from whet.text.conversation import from_text

PLENTY = 10_000
DEPOSIT = "function deposit() public payable {\n  p_7f(msg.sender, msg.value)\n}"
CREDIT = "function p_7f(address x0, uint256 x1) private {\n  p_a1()\n  balances[x0] = checked(x1 + balances[x0])\n}"
OPEN = "function p_a1() private view {\n  if (closed) revert()\n}"
SHOWN = View(
    DEPOSIT,
    {"p_7f": CREDIT, "p_a1": OPEN},
    ["bool closed; // slot 0", "mapping(address => uint256) balances; // slot 1"],
    "function deposit() external payable {\n    p_7f(msg.sender, msg.value);\n}",
)
HIDDEN = View(
    DEPOSIT.replace("deposit", "f_d0e30db0"),
    {"p_7f": CREDIT.replace("balances", "stor_1"), "p_a1": OPEN},
    ["bool closed; // slot 0", "mapping(address => uint256) stor_1; // slot 1"],
    "",
)
EXPECTED = """\
// signature: deposit()
// visibility: external
// mutability: payable

// emitter
function deposit() external payable {
    p_7f(msg.sender, msg.value);
}

// storage
mapping(address => uint256) balances; // slot 1
bool closed; // slot 0

// called
function p_7f(address x0, uint256 x1) private {
  p_a1()
  balances[x0] = checked(x1 + balances[x0])
}

function p_a1() private view {
  if (closed) revert()
}

// function
function deposit() public payable {
  p_7f(msg.sender, msg.value)
}"""


def pair(shown: View = SHOWN, hidden: View = HIDDEN) -> Pair:
    said = {one.name: "" for one in fields(Pair)} | {
        "signature": "deposit()",
        "visibility": "external",
        "mutability": "payable",
        "line": 1,
        "hidden": hidden,
        "mentions": {},
    }
    view = {name: getattr(shown, name) for name in ("tac", "called", "storage", "emitted", "names")}
    return Pair(**said | view)  # type: ignore[arg-type]


def asked(one: Pair, metadata: Metadata = "shown", budget: int = PLENTY, *, emitted: bool = False) -> Prompt:
    found = prompt(one, metadata, budget, emitted=emitted)
    assert found is not None
    return found


def test_the_format() -> None:
    assert asked(pair(), emitted=True) == Prompt(TASK["shown"], EXPECTED, ())


def test_without_metadata_neither_facts_nor_names_are_there() -> None:
    found = asked(pair(), "hidden")
    assert (found.task, found.left_out) == (TASK["hidden"], ())
    for given_away in ("deposit", "signature", "balances", "external"):
        assert given_away not in found.text
    assert found.text.endswith(f"// function\n{HIDDEN.tac}")


def test_the_page_says_what_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs/pairs.md").read_text()
    example = page.split("```text\n")[1].split("\n```")[0]
    for said in (*TASK.values(), *LEFT_OUT):
        assert said in page
    _, storage, called, function = example.split("\n\n")
    shown = View(function.partition("\n")[2], {"p_35d": called.partition("\n")[2]}, storage.split("\n")[1:])
    one = replace(pair(shown), visibility="public", mutability="nonpayable")
    one = replace(one, signature="transferFrom(address,address,uint256)")
    assert asked(one) == Prompt(TASK["shown"], example, ())


def test_what_is_empty_has_no_heading() -> None:
    alone = View("function p_1(uint256 x0) private {\n  if (x0) p_1(x0 - 1)\n}", {}, [])
    assert asked(pair(hidden=alone), "hidden") == Prompt(TASK["hidden"], f"// function\n{alone.tac}", ())


def without(*parts: str) -> str:
    text = EXPECTED
    for part in parts:
        assert part in text
        text = text.replace(part, "")
    return text


def test_the_nearest_stay_and_what_does_not_fit_is_told() -> None:
    """Each budget at which something more fits, from the function alone to all."""
    found: dict[str, tuple[str, ...]] = {}
    for budget in range(count_tokens(EXPECTED) + 40):
        one = prompt(pair(), "shown", budget, emitted=True)
        if one is not None:
            found.setdefault(one.text, one.left_out)
    facts, function = EXPECTED.split("\n\n")[0], EXPECTED[EXPECTED.index("// function") :]
    texts = list(found)
    assert texts[0] == f"{facts}\n\n{function}"
    assert found[texts[0]] == (NO_ROOM_EMITTED, NO_ROOM_CALLED)
    assert found[without(f"{OPEN}\n\n", "bool closed; // slot 0\n")] == (NO_ROOM_CALLED,)
    assert found[without("bool closed; // slot 0\n")] == (NO_ROOM_STORAGE,)
    assert found[EXPECTED] == ()


@pytest.mark.parametrize("metadata", ["shown", "hidden"])
def test_no_name_is_learned_that_the_prompt_does_not_show(metadata: Metadata) -> None:
    """A name that only a called function has stays the author's where that function is left out."""
    source = (
        "function deposit() external payable { _credit(msg.sender, _held[0]); if (_shut) _shut = false; }"
    )
    variable = "balances" if metadata == "shown" else "stor_1"
    view = replace(
        SHOWN if metadata == "shown" else HIDDEN,
        names={variable: "_held", "closed": "_shut", "p_7f": "_credit", "p_a1": "_open"},
    )
    one = replace(
        pair(view, view),
        source=source,
        mentions={
            name: [at.start() for at in re.finditer(name, source)] for name in ("_credit", "_held", "_shut")
        },
    )
    found = {}
    for budget in range(count_tokens(EXPECTED) + 40):
        if given := prompt(one, metadata, budget):
            said = answer(one, metadata, "context", given)
            found.setdefault((said, *(name in given.text for name in (variable, "closed"))), given)
            assert answer(one, metadata, "author", given) == source
    small = source.replace("_credit", "p_7f")
    more = small.replace("_held", variable)
    assert list(found) == [
        (small, False, False),
        (more, True, False),
        (more.replace("_shut", "closed"), True, True),
    ]
    assert answer(one, metadata, "context") == list(found)[-1][0], "without a prompt, that of a large budget"


def test_a_name_in_the_metadata_is_none_of_the_code() -> None:
    one = replace(
        pair(replace(SHOWN, names={"balances": "_held"})),
        signature="balances()",
        source="function deposit() external { _held; }",
        mentions={"_held": [30]},
    )
    given = prompt(one, "shown", count_tokens(f"{EXPECTED.split(chr(10) * 2)[0]}\n\n// function\n{DEPOSIT}"))
    assert given is not None
    assert "balances()" in given.text
    assert answer(one, "shown", "context", given) == one.source


def test_a_function_that_was_cut_off_before_is_told_too() -> None:
    shown = replace(SHOWN, called={"p_7f": CREDIT})
    assert asked(pair(shown)).left_out == (NO_ROOM_CALLED,)


def test_an_emitter_that_gave_nothing_is_told() -> None:
    assert asked(pair(), "hidden", emitted=True).left_out == (NOT_EMITTED,)


@pytest.mark.parametrize("template", ["plain", "alpaca", "chatml"])
@pytest.mark.parametrize("metadata", ["shown", "hidden"])
def test_only_the_solidity_is_learned(template: str, metadata: Metadata) -> None:
    source = "function deposit() external payable { _credit(msg.sender, msg.value); }"
    one = replace(pair(), source=source, project="p", file="f.sol")
    made = document(one, asked(one, metadata), source, "p:f.sol", "p")
    assert made.group == "p"
    tokenizer = tokenizers.train(SAMPLES, vocab_size=350, special_tokens=["<|im_start|>", "<|im_end|>"])
    chat = Chat.of(tokenizer, template)
    try:
        (example,) = chat.encode(from_text(made.text))
    finally:
        chat.close()
    learned = [one for one, is_learned in zip(example.ids, example.learned, strict=True) if is_learned]
    text = tokenizer.decode(learned)
    assert text.startswith(source)
    assert text.removeprefix(source) in ("", "<|im_end|>", "<|endoftext|>")
    assert "// function" in tokenizer.decode(example.ids)


TEXTS = st.text(st.sampled_from("ab1 _;/\n(){}[]xyzP"), max_size=60)
NAMES = ("p_1", "p_2", "p_3")


@st.composite
def views(draw: st.DrawFn) -> View:
    storage = [f"uint256 s{at}; // slot {at}" for at in range(draw(st.integers(0, 4)))]
    words = st.lists(st.sampled_from([*NAMES, "s0", "s1", "s2", "s3"]), max_size=4).map(" ".join)
    called = {name: f"{draw(TEXTS)} {draw(words)}" for name in NAMES[: draw(st.integers(0, 3))]}
    return View(f"function f() {draw(TEXTS)}\n{draw(words)}", called, storage, draw(TEXTS))


@example(View("function f() 1;\np_1 p_1 s0", {}, ["uint256 s0; // slot 0"]), 49, False, "shown")
@given(views(), st.integers(1, 120), st.booleans(), st.sampled_from(["shown", "hidden"]))
def test_never_above_the_budget_and_never_silent(
    view: View, budget: int, emitted: bool, metadata: Metadata
) -> None:
    one = pair(view, view)
    found, whole = prompt(one, metadata, budget, emitted=emitted), asked(one, metadata, emitted=emitted)
    if found is None:
        assert count_tokens(view.tac) > budget - 40
        return
    assert count_tokens(found.text) <= budget
    assert found.text.endswith(view.tac)
    assert set(found.left_out) <= set(LEFT_OUT)
    if found.text != whole.text:
        assert found.left_out


def test_overloads_on_one_line_are_two_pairs_by_their_origins() -> None:
    one = pair()
    other = replace(one, signature=f"{one.name}(bytes,uint8)")
    assert one.origin != other.origin
    assert f".{one.signature}:" in one.origin
    assert f".{one.name}:" in replace(one, signature="").origin
