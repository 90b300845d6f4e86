"""Texts judged by a real compiler and by running (slow: the compiler is fetched the first time)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.evm.judged import PROJECT
from whet import limits
from whet.evm.decompile.given import Task
from whet.evm.decompile.many import one as decompiled
from whet.evm.decompile.nouns import NOT_COMPILED, Judged
from whet.evm.decompile.run import Options
from whet.evm.judge import BEHAVES, Judge, Verdict
from whet.evm.judge.behaviour import replayed
from whet.evm.judge.emitted import _told, one_function, wanted
from whet.evm.pairs.answer import answer
from whet.evm.pairs.make import make
from whet.evm.pairs.nouns import Pair, Project
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.prompt import Metadata

pytestmark = pytest.mark.slow

RIGHT = Verdict(parses=True, compiles=True, abi=True, behaves="same", why="the same code")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def pairs(pool: Pool) -> list[Pair]:
    return make(PROJECT, "default", pool).pairs


@pytest.fixture(scope="module")
def judge(pool: Pool) -> Judge:
    return Judge([PROJECT], pool, calls=120)


def one(pairs: list[Pair], signature: str, contract: str = "Vault") -> Pair:
    (found,) = (pair for pair in pairs if (pair.signature, pair.contract) == (signature, contract))
    return found


def said(judge: Judge, pair: Pair, text: str, metadata: Metadata = "shown") -> Verdict:
    (found,) = judge.judged([(pair, text, metadata)])
    assert found.behaves in BEHAVES
    return found


def test_the_authors_text_is_right_whosever_names_it_has(judge: Judge, pairs: list[Pair]) -> None:
    for metadata in ("shown", "hidden"):
        for names in ("author", "context"):
            found = judge.judged([(pair, answer(pair, metadata, names), metadata) for pair in pairs])
            assert found == [RIGHT] * len(pairs), (metadata, names)


@pytest.mark.parametrize("build", ["default", "off"])
def test_calls_alone_call_the_authors_text_never_different(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    monkeypatch.setattr("whet.evm.judge.judge.behaviour", replayed)
    made = make(PROJECT, build, pool).pairs
    found = Judge([PROJECT], pool, calls=200).judged([(pair, pair.source, "shown") for pair in made])
    labels = [one.behaves for one in found]
    assert "different" not in labels, found
    assert labels.count("same") >= 0.8 * len(made), found


WRONG = [
    ("pay(uint256)", 'require(!_closed, "closed");', ""),
    ("pay(uint256)", "left = _shares[msg.sender]", "left = amount"),
    ("give(address,uint256)", "> _limit", ">= _limit"),
    ("give(address,uint256)", "external onlyOwner", "external"),
    ("sums(uint256)", "i < _limit", "i <= _limit"),
    ("half(uint256,uint256)", "(a + b)", "(a - b)"),
    ("_take(address,uint256)", 'require(had >= amount, "too little");', ""),
    ("_take(address,uint256)", "amount: amount", "amount: had"),
    ("opened()", "+ _round.until", ""),
]


@pytest.mark.parametrize(("signature", "right", "wrong"), WRONG)
def test_what_does_something_else_is_different(
    judge: Judge, pairs: list[Pair], signature: str, right: str, wrong: str
) -> None:
    pair = one(pairs, signature)
    assert right in pair.source
    found = said(judge, pair, pair.source.replace(right, wrong))
    assert (found.parses, found.compiles, found.abi, found.behaves) == (True, True, True, "different")
    assert "differs" in found.why


def test_a_swapped_argument_in_a_library(judge: Judge, pairs: list[Pair]) -> None:
    pair = one(pairs, "capped(uint256,uint256)", "Sums")
    assert said(judge, pair, pair.source.replace("1e30", "1e29")).behaves == "different"
    assert said(judge, pair, pair.source.replace("a + b", "b + a")).behaves == "same"


def test_what_is_written_otherwise_and_does_the_same_is_the_same(judge: Judge, pairs: list[Pair]) -> None:
    text = """function f_3790fbeb(address a) external {
        if (msg.sender != stor_0) { revert NotOwner(msg.sender); }
        if (a == address(0)) revert("_owner is nobody");
        address _owner = stor_0;
        stor_0 = a;
        emit Handed(_owner, a);
    }"""
    found = said(judge, one(pairs, "hand(address)", "Owned"), text, "hidden")
    assert found == replace(RIGHT, why="")


def test_private_variables_of_a_base_can_be_written(judge: Judge, pairs: list[Pair]) -> None:
    """`set` stands in Vault, `stor_0` is private to Owned; the prompt shows it, since the modifier is inlined."""
    text = """function f_0fdec35b(uint64 opened, bool closed) external {
        if (msg.sender != stor_0) revert NotOwner(msg.sender);
        stor_0_20 = opened;
        stor_1_16 = closed;
    }"""
    assert said(judge, one(pairs, "set(uint64,bool)"), text, "hidden") == RIGHT


ROUTED = """pragma solidity ^0.8.20;
contract Routed {
    uint256 private _sum;
    fallback() external payable { _route(msg.value); _route(msg.data.length); }
    function _route(uint256 a) private { require(a != 3, "three"); _sum = _sum * 31 + a; }
}
"""


def test_an_internal_function_that_only_the_fallback_calls(pool: Pool) -> None:
    project = Project("routed@1", "routed", {"Routed.sol": ROUTED}, ("Routed.sol",))
    made = make(project, "default", pool).pairs
    (pair,) = (one for one in made if one.name == "_route")
    judge = Judge([project], pool)
    for right, wrong in (("a != 3", "a == 3"), ("31 + a", "31 - a")):
        assert said(judge, pair, pair.source.replace(right, wrong)).behaves == "different"
    assert said(judge, pair, pair.source.replace("a != 3", "!(a == 3)")).behaves == "same"


HEADERS = [
    ("uint256 shares) public view", "uint256 a, uint256 shares) public view", False),
    ("public view returns (uint256)", "public view returns (uint128)", True),
    ("public view returns (uint256)", "public returns (uint256)", True),
    ("public view returns (uint256)", "external view returns (uint256)", True),
    ("function half(", "function halved(", True),
]


@pytest.mark.parametrize(("right", "wrong", "compiles"), HEADERS)
def test_headers(judge: Judge, pairs: list[Pair], right: str, wrong: str, compiles: bool) -> None:
    pair = one(pairs, "half(uint256)")
    text = pair.source.replace(right, wrong)
    if "uint128" in wrong:
        text = text.replace("return half", "return uint128(half").replace("]);", "]));")
    found = said(judge, pair, text)
    assert (found.parses, found.compiles) == (True, compiles), found
    assert found.abi == ("external" in wrong)
    if compiles and not found.abi:
        assert "the author's half(uint256) view returns (uint256);" in found.why


TEXTS = [
    ("", False),
    ("function half(uint256 shares) public view returns (uint256) { return shares }", False),
    ("function half(uint256 shares) public view returns (uint256) { return missing; }", True),
    ("function half(uint256 shares) public view returns (uint256) { return shares; } }", False),
    ("} function half(uint256 shares) public view returns (uint256) { return shares; } {", False),
    ("function half(uint256 shares) public { while (true) { } }", True),
    ("function half(uint256 shares) public { x = " + "(" * 20_000 + "1" + ")" * 20_000 + "; }", False),
    ("function half(uint256 shares) public { " + "{" * 20_000 + "}" * 20_000 + " }", False),
    ("function half(uint256 shares) public { x = " + "9" * 60_000 + "; }", True),
    ("function half(uint256 shares) public { x = 1" + "+1" * 20_000 + "; }", False),
    (
        "function half(uint256 shares) public { assembly { let x := "
        + "add(1, " * 9_000
        + "1"
        + ")" * 9_000
        + "} }",
        False,
    ),
    ("function half(uint256 shares) public { }" * limits.WRITTEN_CHARACTERS, False),
]


@pytest.mark.parametrize(("text", "parses"), TEXTS, ids=range(len(TEXTS)))
def test_any_text_has_a_verdict(judge: Judge, pairs: list[Pair], text: str, parses: bool) -> None:
    pair = one(pairs, "half(uint256)")
    for metadata in ("shown", "hidden"):
        found = said(judge, pair, text, metadata)
        assert not found.abi
        assert found.why
        assert len(found.why) < 500
        assert found.parses == parses, found
    assert said(judge, pair, pair.source) == RIGHT, "the next one is judged as before"


def test_what_cannot_be_judged_says_why(pool: Pool, judge: Judge, pairs: list[Pair]) -> None:
    pair = pairs[0]
    assert "not there" in said(Judge([], pool), pair, pair.source).why
    assert "not compiled so" in said(judge, replace(pair, solc="0.8.19"), pair.source).why
    assert "not found again" in said(judge, replace(pair, source_hash="0"), pair.source).why
    assert judge.judged([]) == []


def test_several_at_once_are_judged_as_each_alone(judge: Judge, pairs: list[Pair]) -> None:
    texts: list[tuple[Pair, str, Metadata]] = [
        (pair, pair.source.replace("_limit", "1"), "shown") for pair in pairs[:6]
    ]
    texts.append((pairs[0], "nothing", "shown"))
    with Pool(2) as two:
        assert Judge([PROJECT], two, calls=120).judged(texts) == judge.judged(texts)


def test_the_emitter_is_judged_too(judge: Judge, pairs: list[Pair]) -> None:
    wanted = ("count()", "_take(address,uint256)", "opened()")
    chosen = [one(pairs, signature) for signature in wanted]
    found = judge.emitted(chosen)
    assert found[0][0].startswith("function count(")
    assert found[1][0].startswith("function p_")
    for text, verdict in found:
        assert text.endswith("}")
        assert (verdict.parses, verdict.compiles, verdict.behaves) == (True, True, "same"), verdict
    assert found[0][1].abi
    assert found[1][1].abi
    assert found[2][0].startswith("function func_5f88eade() private view")
    assert found[2][1].abi, "the fallback calls it by the author's selector, whose name is not known"


NAMED = """pragma solidity ^0.8.20;
type Price is int128;
interface IBank { function held(address) external view returns (uint256); }
contract Shop {
    type Tag is bytes4;
    enum State { Open, Shut }
    mapping(address => int128) private _of;
    bytes4 private _tag;
    function price(IBank bank, int128 by) external returns (int128) {
        return Price.unwrap(_priced(bank, Price.wrap(by)));
    }
    function tag(bytes4 a, uint8 b) external returns (uint256) {
        return _tagged(Tag.wrap(a), State(b)) + _tagged(Tag.wrap(a), State.Open);
    }
    function low(Price by) external pure returns (bool) { return Price.unwrap(by) < 7; }
    function _priced(IBank bank, Price by) private returns (Price) {
        _of[address(bank)] += Price.unwrap(by) * int128(uint128(block.number));
        for (uint256 i = 0; i < 3; i++) _of[address(bank)] += 1;
        return by;
    }
    function _tagged(Tag a, State b) private returns (uint256 sum) {
        if (b == State.Shut) _tag = Tag.unwrap(a);
        for (uint256 i = 0; i < 3; i++) sum += i * block.number;
    }
}
"""


@pytest.fixture(scope="module")
def named(pool: Pool) -> tuple[Judge, list[Pair]]:
    project = Project("named@1", "named", {"Shop.sol": NAMED}, ("Shop.sol",))
    return Judge([project], pool, calls=60), make(project, "off", pool).pairs


def test_types_of_the_authors_are_compared_by_what_they_stand_for(named: tuple[Judge, list[Pair]]) -> None:
    judge, pairs = named
    chosen = [pair for pair in pairs if pair.name in ("_priced", "_tagged")]
    assert len(chosen) == 2
    wanted = {pair.name: judge.taken_from(pair) for pair in chosen}
    assert {name: one.header.abi for name, one in wanted.items() if not isinstance(one, str)} == {
        "_priced": (("address", "int128"), ("int128",)),
        "_tagged": (("bytes4", "uint8"), ("uint256",)),
    }
    for _, verdict in judge.emitted(chosen):
        assert verdict.abi, verdict


def test_a_type_of_the_authors_is_one_of_the_abi_outside(named: tuple[Judge, list[Pair]]) -> None:
    judge, pairs = named
    pair = one(pairs, "low(Price)", "Shop")
    text = "function low(int128 by) external pure returns (bool) { return by < 7; }"
    assert said(judge, pair, text).abi
    assert not said(judge, pair, text.replace("int128", "int256")).abi


@pytest.mark.parametrize(
    ("text", "parses"),
    [
        ("function f() public { unknown = 1; }", True),
        ("/// twice\nfunction f(Unknown x) public returns (uint256) { return x.y + f; }", True),
        ("function f() public { x = ; }", False),
        ("function f() public {} function g() public {}", False),
        ("function f() public;", False),
        ("} contract D {", False),
    ],
)
def test_what_does_not_compile_may_still_parse(text: str, parses: bool) -> None:
    assert one_function(text, "0.8.30") == parses


def test_of_the_emitters_text_that_is_refused_its_parsing_is_known(judge: Judge, pairs: list[Pair]) -> None:
    taken = judge.taken_from(one(pairs, "count()"))
    assert not isinstance(taken, str)
    result = decompiled(Task("contract", taken.labels.runtime, Options(calls=120))).result
    assert result is not None
    harness = taken.found.contracts[taken.place.contract][0]
    author = wanted(taken.labels, taken.place.key, taken.header, "count", harness)
    whole = next(one for one in result.functions if one.text.selector == author.key)
    assert _told(author, whole, result)[1].abi
    assert not _told(replace(author, called="counted"), whole, result)[1].abi
    assert not _told(replace(author, called=""), whole, result)[1].abi
    function = replace(result.functions[0], judged=Judged(NOT_COMPILED, reason="stack too deep"))
    _, verdict = _told(author, function, result)
    assert verdict == Verdict(
        parses=True, compiles=False, abi=False, behaves="not compared", why="stack too deep"
    )
    assert not _told(author, function, replace(result, no_compiler=True))[1].parses
