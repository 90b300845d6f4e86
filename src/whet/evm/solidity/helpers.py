"""Functions that the text brings along where it calls them."""

from __future__ import annotations

from collections.abc import Iterable

HELPERS = {
    "withCode": """\
function withCode(address target) private view returns (address) {
    require(target.code.length != 0);
    return target;
}""",
    "callOrRevert": """\
function callOrRevert(address target, bytes memory data, uint256 value, uint256 gas, bool asksCode)
    private
    returns (bytes memory)
{
    require(!asksCode || target.code.length != 0);
    (bool success, bytes memory result) = target.call{value: value, gas: gas}(data);
    return resultOrRevert(success, result);
}""",
    "readOrRevert": """\
function readOrRevert(address target, bytes memory data, uint256 gas, bool asksCode)
    private
    view
    returns (bytes memory)
{
    require(!asksCode || target.code.length != 0);
    (bool success, bytes memory result) = target.staticcall{gas: gas}(data);
    return resultOrRevert(success, result);
}""",
    "delegateOrRevert": """\
function delegateOrRevert(address target, bytes memory data, uint256 gas, bool asksCode)
    private
    returns (bytes memory)
{
    require(!asksCode || target.code.length != 0);
    (bool success, bytes memory result) = target.delegatecall{gas: gas}(data);
    return resultOrRevert(success, result);
}""",
    "resultOrRevert": """\
function resultOrRevert(bool success, bytes memory result) private pure returns (bytes memory) {
    if (!success) {
        assembly ("memory-safe") {
            revert(add(result, 0x20), mload(result))
        }
    }
    return result;
}""",
    "hash": """\
function hash(uint256 a) private pure returns (bytes32 result) {
    assembly ("memory-safe") {
        mstore(0, a)
        result := keccak256(0, 0x20)
    }
}""",
    "hashPair": """\
function hashPair(uint256 a, uint256 b) private pure returns (bytes32 result) {
    assembly ("memory-safe") {
        mstore(0, a)
        mstore(0x20, b)
        result := keccak256(0, 0x40)
    }
}""",
    "returned": """\
function returned() private pure returns (bytes memory data) {
    assembly ("memory-safe") {
        data := mload(0x40)
        mstore(data, returndatasize())
        returndatacopy(add(data, 0x20), 0, returndatasize())
        mstore(0x40, add(data, and(add(returndatasize(), 0x3f), not(0x1f))))
    }
}""",
    "clz": """\
function clz(uint256 x) private pure returns (uint256 zeros) {
    if (x == 0) {
        return 256;
    }
    for (uint256 half = 128; half != 0; half /= 2) {
        if (x >> (256 - half) == 0) {
            zeros += half;
            x <<= half;
        }
    }
}""",
    "callValue": """\
function callValue() private view returns (uint256) {
    return msg.value;
}""",
    "sameWord": """\
function sameWord(uint256 word) private pure returns (uint256) {
    return word;
}""",
    "panic": """\
function panic(uint256 code) private pure {
    assembly ("memory-safe") {
        mstore(0, 0x4e487b7100000000000000000000000000000000000000000000000000000000)
        mstore(4, code)
        revert(0, 0x24)
    }
}""",
}
"""{name: text}."""

AS_WORDS = """\
function {name}() private pure returns (function(uint256) internal pure returns ({kind} memory) place) {{
    function(uint256) internal pure returns (uint256) unchanged = sameWord;
    assembly ("memory-safe") {{
        place := unchanged
    }}
}}"""
"""The object in memory at a place, `asWords2()(place)`: to declare one would take memory."""
_CALLS = dict.fromkeys(("callOrRevert", "readOrRevert", "delegateOrRevert"), "resultOrRevert")


def texts(needed: Iterable[str]) -> list[str]:
    """The helpers, and those that they call."""
    names = set(needed)
    names |= {_CALLS[name] for name in names if name in _CALLS}
    places = sorted(name for name in names if name.startswith("asWords"))
    names |= {"sameWord"} if places else set()
    found = [text for name, text in HELPERS.items() if name in names]
    return [*found, *(AS_WORDS.format(name=name, kind=name.removeprefix("as")) for name in places)]
