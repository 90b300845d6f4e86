"""What an internal function returns in storage, or writes into its arguments in memory, decides its verdict (slow: compiles)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from whet.evm.judge import Judge, Verdict
from whet.evm.judge.unseen import UNSEEN
from whet.evm.pairs.make import make
from whet.evm.pairs.nouns import Pair, Project
from whet.evm.pairs.pool import Pool

pytestmark = pytest.mark.slow

SLOTS = """pragma solidity >=0.5.0;
library Slots {
    struct S { uint256 x; mapping(uint256 => uint256) y; }
    function at(bytes32 s) internal pure returns (S storage r) { assembly { r.slot := s } }
    function pick(S storage a, S storage b, bool c, uint256 n) internal returns (S storage) {
        for (uint256 i = 0; i < n % 4; i++) a.x += i;
        return c ? a : b;
    }
    function use(bytes32 s, uint256 n) external returns (uint256) {
        return pick(at(s), at(keccak256(abi.encode(s))), n > 2, n).x;
    }
}
library Memories {
    function set(uint256[] memory a, uint256 i, uint256 v) internal pure { a[i] = v; }
    function swap(uint256[] memory a, uint256 i) internal pure returns (uint256 old) {
        old = a[i];
        a[i] = old * 3 + i;
        _next(a, i / 2, old);
    }
    function _next(uint256[] memory a, uint256 i, uint256 v) private pure { a[i] = v ^ 7; }
    function many(uint256[] memory a, uint256 n) external pure returns (uint256) {
        set(a, n, 5); set(a, n + 1, 6); _next(a, n, 3);
        return swap(a, n) + swap(a, 0);
    }
}
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module", params=["0.6.12", "0.8.30"])
def made(request: pytest.FixtureRequest, pool: Pool) -> tuple[Judge, dict[str, Pair]]:
    text = SLOTS.replace(">=0.5.0", request.param)
    if request.param == "0.6.12":
        text = text.replace("r.slot", "r_slot")
    project = Project("slots@1", "slots", {"S.sol": text}, ("S.sol",))
    found = make(project, "off", pool)
    return Judge([project], pool, calls=120), {pair.name: pair for pair in found.pairs}


def said(made: tuple[Judge, dict[str, Pair]], name: str, right: str, wrong: str) -> Verdict:
    judge, pairs = made
    source = pairs[name].source
    slot = "r_slot" if "r_slot" in source else "r.slot"
    right, wrong = right.replace("r.slot", slot), wrong.replace("r.slot", slot)
    assert right in source
    (found,) = judge.judged([(pairs[name], source.replace(right, wrong), "shown")])
    assert (found.parses, found.compiles, found.abi) == (True, True, True), found
    return found


DOORS = """pragma solidity 0.8.30;
contract Open {
    uint256 total;
    uint256 n;
    receive() external payable { total += msg.value; }
    function _after(uint256 x) internal pure returns (uint256) { return x * 3 + 1; }
    function _paid(uint256 x) internal returns (uint256) { total += x; return msg.value + x; }
    function _first(bytes calldata all) internal pure returns (bytes32 first) { first = bytes32(all[:32]); }
    function _byte(bytes calldata all) internal pure returns (bytes1) { return all[0]; }
    function _none(uint256 x) internal { total = x; assembly { stop() } }
    function _out(uint256 x) internal { total = x * 3; }
    function _ends(uint256 x) internal { if (x > 100) { total = x; assembly { stop() } } n = x + 1; }
    function _at(uint256 slot, uint256 value) internal { assembly { sstore(slot, value) } }
    function next(uint256 x, bytes calldata all) external payable returns (uint256, bytes32) {
        return (_after(_after(x)) + _paid(x) + _paid(x / 2), _first(all) ^ _first(all[1:]) ^ _byte(all) ^ _byte(all[1:]));
    }
    function ends(uint256 x) external { _out(x); _out(x + 1); _at(x, x + 1); _at(x + 2, x); _ends(x); _ends(x / 2); _none(x); }
    function get(uint256 x) public pure returns (uint256) { return x * 3; }
    function twice(uint256 x) external pure returns (uint256) { return get(x) + get(x + 1); }
}
contract Shut {
    bool paused;
    function pause() external { paused = true; }
}
"""
RARE = "if (x == 0x123456789abcdef0) { revert(); } if (keccak256(abi.encode(x)) == 0) { revert(); } return 1 + 3 * x;"
BEYOND = [
    ("receive", "receive() external payable { total += msg.value; }", "same"),
    ("receive", "fallback() external payable { total += msg.value; }", "different"),
    ("pause", "function pause() external { bool on = !false; paused = on; }", "same"),
    ("pause", "fallback() external { paused = true; }", "different"),
    ("pause", "receive() external payable { paused = true; }", "different"),
    ("_after", "function _after(uint256 x) internal pure returns (uint256) { return 1 + 3 * x; }", "same"),
    ("_after", "function _after(uint256 x) public pure returns (uint256) { return 1 + 3 * x; }", "different"),
    ("_after", f"function _after(uint256 x) public pure returns (uint256) {{ {RARE} }}", "different"),
    (
        "_after",
        "function _after(uint256 x) internal pure returns (uint256) { x = x * 3 + 1; assembly { mstore(0, x) return(0, 32) } }",
        "inconclusive",
    ),
    (
        "_after",
        "function _after(uint256) internal pure returns (uint256 r) { assembly { r := calldataload(4) } r = 3 * r + 1; }",
        "inconclusive",
    ),
    (
        "_paid",
        "function _paid(uint256 x) internal returns (uint256) { total = total + x; return x; }",
        "inconclusive",
    ),
    (
        "_paid",
        "function _paid(uint256 x) internal returns (uint256) { total = x + total; return x + 2 * msg.value; }",
        "inconclusive",
    ),
    (
        "_first",
        (
            "function _first(bytes calldata all) internal pure returns (bytes32 r) "
            "{ require(all.length > 31); assembly { r := calldataload(all.offset) } }"
        ),
        "same",
    ),
    (
        "_first",
        (
            "function _first(bytes calldata all) internal pure returns (bytes32 r) "
            "{ require(all.length > 31); assembly { r := calldataload(68) } }"
        ),
        "inconclusive",
    ),
    (
        "_byte",
        "function _byte(bytes calldata all) internal pure returns (bytes1) { all[0]; return msg.data[68]; }",
        "inconclusive",
    ),
    ("_out", "function _out(uint256 x) internal { uint256 y = 3 * x; total = y; }", "same"),
    ("_out", "function _out(uint256 x) internal { _none(3 * x); }", "inconclusive"),
    (
        "_ends",
        "function _ends(uint256 x) internal { n = x + 1; if (x > 100) { n = n; total = x; } else assembly { stop() } }",
        "different",
    ),
    (
        "_ends",
        "function _ends(uint256 x) internal { if (x > 100) { total = x; return; } n = x + 1; assembly { stop() } }",
        "inconclusive",
    ),
    (
        "_at",
        "function _at(uint256 slot, uint256 value) internal { value += 0; assembly { sstore(slot, value) } }",
        "same",
    ),
    ("get", "function get(uint256 x) public pure returns (uint256) { return 3 * x; }", "same"),
    (
        "get",
        "function get(uint256 x) public pure returns (uint256) { x = 3 * x; assembly { mstore(0, x) return(0, 32) } }",
        "inconclusive",
    ),
]


@pytest.fixture(scope="module")
def doors(pool: Pool) -> tuple[Judge, dict[str, Pair]]:
    project = Project("doors@1", "doors", {"D.sol": DOORS}, ("D.sol",))
    found = make(project, "off", pool)
    return Judge([project], pool, calls=120), {pair.name: pair for pair in found.pairs}


@pytest.mark.parametrize(("name", "text", "behaves"), BEYOND, ids=lambda value: value[:24])
def test_what_a_functions_own_calls_do_not_show(
    doors: tuple[Judge, dict[str, Pair]], name: str, text: str, behaves: str
) -> None:
    judge, pairs = doors
    (found,) = judge.judged([(pairs[name], text, "shown")])
    assert found.compiles, found
    assert found.behaves == behaves, found


WRONG = [
    ("at", "r.slot := s", "r.slot := add(s, 1)"),
    ("at", "r.slot := s", "r.slot := 7"),
    ("pick", "c ? a : b", "c ? b : a"),
    ("pick", "c ? a : b", "a"),
    ("set", "= v", "= 0"),
    ("set", "= v", "= v ^ 1"),
    ("swap", "old * 3", "old * 5"),
    ("_next", "v ^ 7", "v ^ 6"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), WRONG)
def test_another_slot_or_memory_is_different(
    made: tuple[Judge, dict[str, Pair]], name: str, right: str, wrong: str
) -> None:
    assert said(made, name, right, wrong).behaves == "different"


ALIKE = [
    ("at", "r.slot := s", "let t := s r.slot := t"),
    ("pick", "return c ? a : b;", "if (!c) return b; return a;"),
    ("set", "a[i] = v;", "uint256 at = i; a[at] = v;"),
    ("swap", "old * 3 + i", "i + 3 * old"),
    ("_next", "v ^ 7", "7 ^ v"),
]


@pytest.mark.parametrize(("name", "right", "other"), ALIKE)
def test_the_same_slot_or_memory_is_the_same(
    made: tuple[Judge, dict[str, Pair]], name: str, right: str, other: str
) -> None:
    found = said(made, name, right, other)
    assert found.behaves == "same", found


WIDE = """pragma solidity ^0.8.20;
library Wide {
    function wide(uint256[] memory a, uint256[] memory b, uint256[] memory, uint256[] memory, uint256[] memory)
        internal pure returns (uint256, uint256, uint256, uint256, uint256, uint256) { a[0] = 3 ^ b[0]; }
    function fill(uint256[] memory a, uint256 v) internal view {
        for (uint256 i = 0; i < a.length; i++) a[i] = v ^ (block.number + i);
    }
    function most(uint256[] memory a, uint256 v) internal view returns (uint256 found) {
        for (uint256 i = 0; i < a.length; i++) if (a[i] > found) found = a[i] ^ (block.number + v);
    }
    function sum(uint256 v) internal view returns (uint256 found) {
        for (uint256 i = 0; i < v % 5; i++) found += i ^ block.number;
    }
}
"""


@pytest.fixture(scope="module")
def wide(pool: Pool) -> tuple[Judge, dict[str, Pair]]:
    project = Project("wide@1", "wide", {"W.sol": WIDE}, ("W.sol",))
    pairs = make(project, "off", pool).pairs
    return Judge([project], pool, calls=60), {pair.name: pair for pair in pairs}


def test_where_nothing_can_show_it_only_the_same_code_is_the_same(
    wide: tuple[Judge, dict[str, Pair]],
) -> None:
    """Behind six results there is no room for five arrays on the stack."""
    assert said(wide, "wide", "3 ^ b", "(3) ^ b").behaves == "same"
    for other in ("b[0] ^ 3", "5 ^ b[0]"):
        found = said(wide, "wide", "3 ^ b[0]", other)
        assert (found.behaves, found.why) == ("inconclusive", UNSEEN)
    assert said(wide, "wide", "a[0] =", "require(b.length > 3); a[0] =").behaves == "different"


def test_the_emitters_are_compared_so_too(wide: tuple[Judge, dict[str, Pair]]) -> None:
    judge, pairs = wide
    found = judge.emitted([pairs[name] for name in ("wide", "fill", "most", "sum")])
    assert [(one.behaves, one.why) for _, one in found] == [("inconclusive", UNSEEN), *[("same", "")] * 3]
    assert "x0[v2] = v3;" in found[1][0]
