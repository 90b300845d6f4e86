"""Functions that are given functions, and names that say what a function does not do (slow: compiles)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from whet.evm.pairs.make import Made, make
from whet.evm.pairs.nouns import SPECIALISED, Pair, Project
from whet.evm.pairs.pool import Pool

pytestmark = pytest.mark.slow

GIVEN = """pragma solidity 0.8.30;
contract Given {
    mapping(uint256 => uint256) kept;
    uint256 locked;
    modifier alone(uint256 at) { require(locked & (1 << at) == 0, "locked"); locked |= 1 << at; _; locked &= ~(1 << at); }
    function _change(
        uint256 at, function (uint256, uint256) pure returns (uint256) how, uint256 by
    ) private returns (uint256) {
        uint256 found = kept[at];
        for (uint256 i = 0; i < by % 5; i++) found = how(found, by + i);
        kept[at] = found;
        return found;
    }
    function _more(uint256 a, uint256 b) private pure returns (uint256) { return a * 3 + b; }
    function _less(uint256 a, uint256 b) private pure returns (uint256) { return a / 3 - b; }
    function _up(uint256 at, uint256 by) private returns (uint256) { return _change(at, _more, by + 1); }
    function up(uint256 at, uint256 by) external returns (uint256) { return _up(at, by) + _up(by, at); }
    function down(uint256 at, uint256 by) external returns (uint256) { return _change(at, _less, by); }
    function _guarded(uint256 at, uint256 by) private alone(at) returns (uint256) {
        for (uint256 i = 0; i < by; i++) kept[at] = kept[at] * 7 + kept[i] % 11;
        return kept[at];
    }
    function guard(uint256 at, uint256 by) external returns (uint256) { return _guarded(at, by) + _guarded(by, at); }
}
"""
MEMORY = """pragma solidity 0.8.30;
library Memory {
    function sort(uint256[] memory all) internal pure returns (uint256[] memory) {
        uint256 begin; assembly { begin := add(all, 0x20) }
        _sorted(begin, begin + all.length * 32, all.length);
        return all;
    }
    function _sorted(uint256 begin, uint256 end, uint256 most) private pure {
        if (end - begin < 64 || most == 0) return;
        uint256 pivot; assembly { pivot := mload(begin) }
        uint256 at = begin;
        for (uint256 it = begin + 32; it < end; it += 32) {
            uint256 value; assembly { value := mload(it) }
            if (value < pivot) {
                at += 32;
                assembly { let held := mload(at) mstore(at, mload(it)) mstore(it, held) }
            }
        }
        assembly { let held := mload(begin) mstore(begin, mload(at)) mstore(at, held) }
        _sorted(begin, at, most - 1);
        _sorted(at + 32, end, most - 1);
    }
    function splice(bytes memory all, uint256 start, uint256 end) internal pure returns (bytes memory) {
        assembly { mcopy(add(all, 0x20), add(add(all, 0x20), start), sub(end, start)) mstore(all, sub(end, start)) }
        return all;
    }
}
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module", params=["off", "runs200", "runs200-ir", "off-ir"])
def given(request: pytest.FixtureRequest, pool: Pool) -> Made:
    return make(Project("given@1", "given", {"G.sol": GIVEN}, ("G.sol",)), request.param, pool)


def by_name(made: Made) -> dict[str, Pair]:
    return {pair.name: pair for pair in made.pairs}


def test_every_function_that_a_text_calls_is_with_it(given: Made) -> None:
    for pair in given.pairs:
        for view in (pair.shown, pair.hidden):
            own = set(re.findall(r"function (\w+)", view.tac.split("{")[0]))
            called = set(re.findall(r"\b(p_[0-9a-f_]+)\(", "\n".join([view.tac, *view.called.values()])))
            assert called - own == set(view.called), pair.name


def test_a_copy_for_the_functions_that_it_is_given_is_told(given: Made) -> None:
    change = by_name(given).get("_change")
    if change is None:
        return
    header = change.tac.split("{")[0]
    fixed = re.search(r"p_[0-9a-f]+_[0-9a-f]+\(", header) is not None or header.count("x") < 3
    assert change.otherwise == ([SPECIALISED] if fixed else []), header
    assert all(not pair.otherwise for name, pair in by_name(given).items() if name in ("up", "down", "_more"))


def test_bound_copies_and_calls_of_them_are_there(pool: Pool) -> None:
    pairs = by_name(make(Project("given@1", "given", {"G.sol": GIVEN}, ("G.sol",)), "off", pool))
    assert pairs["_change"].otherwise == [SPECIALISED]
    assert re.search(r"\bp_[0-9a-f]+_[0-9a-f]+\(", pairs["_up"].tac)
    assert pairs["_up"].called


def test_a_body_without_its_modifiers_is_not_the_function(given: Made) -> None:
    """Through Yul it has the function's range; the modifier's words must be in what is paired."""
    pair = by_name(given).get("_guarded")
    if pair is not None:
        assert '"locked"' in "\n".join([pair.tac, *pair.called.values()])


@pytest.mark.parametrize("build", ["off", "runs200", "runs200-ir"])
def test_no_name_says_what_a_function_does_not_do(build: str, pool: Pool) -> None:
    project = Project("memory@1", "memory", {"M.sol": MEMORY}, ("M.sol",))
    pairs = by_name(make(project, build, pool))
    assert {"sort", "splice"} <= pairs.keys() or "ir" in build
    for pair in pairs.values():
        for text in (pair.tac, *pair.called.values()):
            assert re.match(r"function p_[0-9a-f_]+\(", text), text.split("\n")[0]
