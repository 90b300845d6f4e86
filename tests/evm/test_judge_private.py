"""Names that are private in another contract, in texts that may use them (slow: compiles)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from whet.evm.judge import Judge, Verdict
from whet.evm.judge.candidate import candidate
from whet.evm.pairs.make import make
from whet.evm.pairs.nouns import Pair, Project
from whet.evm.pairs.pool import Pool

pytestmark = pytest.mark.slow

TOTALS = """pragma solidity ^0.8.20;
contract A {
    uint256 private total; /* é: a private total */ mapping(uint256 => uint256) private kept;
    function a(uint256 x) public { total += x; kept[x] = _more(x); }
    function _more(uint256 x) private view returns (uint256) { return x + total; }
}
contract B is A { uint256 private total; function b(uint256 x) public { total = x * 3; } }
contract C is A { function c(uint256 x) public { a(x * 7); } }
contract D { uint256 private total; function d(uint256 x) public { total = x * 5; } }
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def made(pool: Pool) -> tuple[Judge, dict[str, Pair]]:
    project = Project("totals@1", "totals", {"T.sol": TOTALS}, ("T.sol",))
    return Judge([project], pool, calls=120), {
        pair.name: pair for pair in make(project, "default", pool).pairs
    }


@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_a_name_that_base_and_derived_contract_have(made: tuple[Judge, dict[str, Pair]], name: str) -> None:
    judge, pairs = made
    (found,) = judge.judged([(pairs[name], pairs[name].source, "shown")])
    assert found == Verdict(parses=True, compiles=True, abi=True, behaves="same", why="the same code")
    (found,) = judge.judged([(pairs[name], pairs[name].source.replace("= x", "= missing", 1), "shown")])
    assert "Undeclared identifier" in found.why


TEXTS = [
    (
        "function c(uint256 x) public { kept[x * 7] = total + x * 14; total += x * 7; }",
        ["total", "kept"],
        True,
    ),
    ("function c(uint256 x) public { a(_more(x)); }", ["_more"], True),
    ("function c(uint256 x) public { a(_more(x)); }", [], False),
]


@pytest.mark.parametrize(("text", "names", "compiles"), TEXTS)
def test_what_is_private_in_a_base_alone_is_opened(
    made: tuple[Judge, dict[str, Pair]], text: str, names: list[str], compiles: bool
) -> None:
    judge, pairs = made
    taken = judge.taken_from(pairs["c"])
    assert not isinstance(taken, str)
    function, harness = taken.place.function, taken.found.contracts[taken.place.contract][0]
    other = TOTALS.replace("contract B is A { uint256 private total;", "contract B { uint256 private total;")
    for whole in (TOTALS, other):
        at = ("T.sol", len(whole[: whole.index("function c")].encode()))
        found = candidate(
            harness, {"T.sol": whole}, taken.found.settings, at, len(function.source.encode()), text, names
        )
        clash = whole == TOTALS and "total" in names
        assert bool(found.runtime) == (compiles and not clash), found.why
