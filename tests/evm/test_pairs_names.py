"""The author's names of what a prompt shows: proved by the compiler, one to one, and put into answers where they stand."""

from __future__ import annotations

import re

import pytest

from tests.evm.judged import PROJECT, VAULT
from whet.evm.meaning.base import StateVariable
from whet.evm.pairs.answer import answer, own_name
from whet.evm.pairs.inventory import tokens
from whet.evm.pairs.make import make
from whet.evm.pairs.names import Known, Stored, named
from whet.evm.pairs.nouns import Pair, from_plain
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.prompt import prompt
from whet.evm.tac import Function


def variable(name: str, slot: int, offset: int = 0, size: int = 32, kind: str = "value") -> Stored:
    return Stored(name, slot * 100 + offset + 1, slot, offset, size, kind, transient=False)


LAYOUT = [
    variable("_low", 0, 0, 16),
    variable("_high", 0, 16, 8),
    variable("_all", 1, 0, 20),
    variable("_of", 2, kind="mapping"),
    variable("_round", 3, 0, 64, "struct"),
]


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (StateVariable("a", "uint128", 0, 0, 16), "_low"),
        (StateVariable("a", "uint64", 0, 16, 8), "_high"),
        (StateVariable("a", "uint256", 0, 0, 32), ""),  # both of them
        (StateVariable("a", "uint256", 1, 0, 32), "_all"),  # nothing else is there
        (StateVariable("a", "bool", 1, 20, 1), ""),
        (StateVariable("a", "mapping(address => uint256)", 2), "_of"),
        (StateVariable("a", "uint256", 2), ""),  # another kind
        (StateVariable("a", "uint128", 3, 0, 16), ""),  # a member
        (StateVariable("a", "S_3", 3, 0, 64), "_round"),
        (StateVariable("a", "S_3", 3, 0, 64, transient=True), ""),
        (StateVariable("other", "uint128", 0, 0, 16), ""),  # not in the text
    ],
)
def test_a_variable_is_the_authors_where_it_alone_has_the_place_and_the_kind(
    ours: StateVariable, expected: str
) -> None:
    found = named("x = a", [], [ours], Known(variables=LAYOUT))
    assert [name for name, _ in found.values()] == ([expected] if expected else [])


def private(name: str, pc: int) -> Function:
    return Function(name, "private", pc, (), 0, {})


def test_functions_by_their_place_and_one_to_one() -> None:
    known = Known({10: ("_a", 1), 20: ("_b", 2), 30: ("_b", 3), 40: ("Lib.c", 4)})
    functions = [
        private("p_a", 10),
        private("p_14", 20),
        private("p_1e", 30),
        private("p_28", 40),
        private("max", 50),
    ]
    found = named("p_a p_14 p_1e p_28 max", functions, [], known)
    assert found == {"p_a": ("_a", 1), "p_28": ("Lib.c", 4)}, "two are called _b"
    assert named("p_14", functions, [], known) == {"p_14": ("_b", 2)}, "here only one is"


def test_the_own_name_stands_below_notes() -> None:
    assert own_name("// cut\nfunction f_1(uint256 a) public {\n}") == "f_1"
    assert own_name("nothing") == ""


@pytest.fixture(scope="module", params=["default", "off"])
def pairs(request: pytest.FixtureRequest) -> list[Pair]:
    with Pool(1) as pool:
        return make(PROJECT, request.param, pool).pairs


def one(pairs: list[Pair], signature: str, contract: str = "Vault") -> Pair:
    (found,) = (pair for pair in pairs if (pair.signature, pair.contract) == (signature, contract))
    return found


EXPECTED = {
    ("hand(address)", "Owned"): {"_owner"},
    ("balanceOf(address)", "Vault"): {"_shares"},
    ("pay(uint256)", "Vault"): {"_closed", "_history", "_shares", "_take"},
    ("give(address,uint256)", "Vault"): {"_owner", "_limit", "_shares", "Sums.capped"},
    ("set(uint64,bool)", "Vault"): {"_owner", "_opened", "_closed"},
    ("opened()", "Vault"): {"_opened"},
    ("count()", "Vault"): {"_history"},
    ("_take(address,uint256)", "Vault"): {"_take", "_shares"},
}


@pytest.mark.slow
def test_what_the_compiler_proves_is_named_and_no_more(pairs: list[Pair]) -> None:
    for (signature, contract), expected in EXPECTED.items():
        pair = one(pairs, signature, contract)
        for view in (pair.shown, pair.hidden):
            found = set(view.names.values()) - {pair.name}
            assert found <= expected, (signature, found)
            stored = {name for name in expected if name != "_take" and "." not in name}
            assert stored <= found, (signature, found)
    assert from_plain(pairs[0].plain()) == pairs[0]


@pytest.mark.slow
def test_places_in_the_text_are_where_the_author_names_that(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert pair.source in VAULT + PROJECT.texts["Sums.sol"]
        for name, places in pair.mentions.items():
            assert all(re.match(rf"{re.escape(name)}\b", pair.source[at:]) for at in places)
    assert len(one(pairs, "hand(address)", "Owned").mentions["_owner"]) == 2, (
        "neither the text nor the comment"
    )


@pytest.mark.slow
def test_an_answer_with_the_names_of_its_prompt(pairs: list[Pair]) -> None:
    for pair in pairs:
        for metadata in ("shown", "hidden"):
            view = pair.shown if metadata == "shown" else pair.hidden
            assert answer(pair, metadata, "author") == pair.source
            said = answer(pair, metadata, "context")
            back = {name: author for name, author in view.names.items() if author != pair.name}
            if metadata == "hidden":
                back[own_name(view.tac)] = pair.name
            there = zip(tokens(said), tokens(pair.source), strict=True)
            assert all(ours == theirs or back[ours] == theirs for ours, theirs in there)
    hand = answer(one(pairs, "hand(address)", "Owned"), "hidden", "context")
    assert hand.startswith("function f_3790fbeb(address next) public virtual onlyOwner {")
    assert 'require(next != address(0), "_owner is nobody")' in hand
    assert "emit Handed(stor_0, next); // the _owner as it was" in hand
    sums = answer(one(pairs, "sums(uint256)"), "shown", "context")
    assert "i < _limit" in sums, "a parameter shadows it"
    take = answer(one(pairs, "_take(address,uint256)"), "hidden", "context")
    assert "emit Paid({who: from, amount: amount})" in take


@pytest.mark.slow
def test_an_answer_has_no_name_that_its_prompt_lacks(pairs: list[Pair]) -> None:
    fewer = 0
    for pair in pairs:
        for metadata in ("shown", "hidden"):
            view = pair.shown if metadata == "shown" else pair.hidden
            for budget in (60, 90, 120, 200, 20_000):
                if (asked := prompt(pair, metadata, budget)) is not None:
                    said = answer(pair, metadata, "context", asked)
                    added = {*tokens(said)} - {*tokens(pair.source)}
                    assert added <= {*re.findall(r"\w+", asked.text)}, (pair.origin, budget)
                    assert added <= view.names.keys() | {own_name(view.tac)}
                    fewer += said != answer(pair, metadata, "context")
    assert fewer


@pytest.mark.slow
def test_what_a_name_would_be_mistaken_for_stays(pairs: list[Pair]) -> None:
    """`owner()` is a function of the text, so the variable that a getter is known of keeps its name."""
    pair = one(pairs, "hand(address)", "Owned")
    assert pair.names["owner"] == "_owner"
    assert "owner = next" in answer(pair, "shown", "context")
    text = pair.source.replace("next", "owner")
    moved = {
        name: [at for at in places if text[at:].startswith(name)] for name, places in pair.mentions.items()
    }
    other = from_plain(pair.plain() | {"source": text, "mentions": moved})
    assert answer(other, "shown", "context") == text
