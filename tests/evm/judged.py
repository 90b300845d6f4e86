"""A small project whose functions are judged: packed storage, shadowed names, overloads, a library, internal functions."""

from __future__ import annotations

from whet.evm.pairs.nouns import Project

VAULT = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;
import {Sums} from "./Sums.sol";

abstract contract Owned {
    address private _owner;
    error NotOwner(address caller);
    event Handed(address indexed from, address indexed to);
    constructor() { _owner = msg.sender; }
    modifier onlyOwner() {
        if (msg.sender != _owner) revert NotOwner(msg.sender);
        _;
    }
    function owner() public view virtual returns (address) { return _owner; }
    /// @notice Another owner.
    /// @param next who it will be
    function hand(address next) public virtual onlyOwner {
        require(next != address(0), "_owner is nobody");
        emit Handed(_owner, next); // the _owner as it was
        _owner = next;
    }
}

contract Vault is Owned {
    using Sums for uint256;
    struct Round { uint128 from; uint128 until; }
    uint64 private _opened;
    uint128 private _limit;
    bool private _closed;
    mapping(address => uint256) private _shares;
    uint256[] private _history;
    Round private _round;
    uint256 public immutable price;
    event Paid(address indexed who, uint256 amount);
    constructor(uint256 price_, uint128 limit_) { price = price_; _limit = limit_; }

    function balanceOf(address who) external view returns (uint256) { return _shares[who]; }
    function owner() public view override returns (address) { return super.owner(); }
    function pay(uint256 amount) external returns (uint256 left) {
        require(!_closed, "closed");
        _take(msg.sender, amount);
        _history.push(amount);
        left = _shares[msg.sender];
    }
    function give(address to, uint256 amount) external onlyOwner {
        _shares[to] = Sums.capped(_shares[to], amount);
        if (_shares[to] > _limit) revert("over the _limit");
    }
    function set(uint64 opened, bool closed) external onlyOwner { _opened = opened; _closed = closed; }
    function opened() external view returns (uint128) { return _opened + _round.until; }
    function count() external view returns (uint256) { return _history.length; }
    function sums(uint256 _limit) external pure returns (uint256 total) {
        for (uint256 i = 0; i < _limit; i++) total += i * i;
    }
    function _take(address from, uint256 amount) internal virtual {
        uint256 had = _shares[from];
        require(had >= amount, "too little");
        unchecked { _shares[from] = had - amount; }
        emit Paid({who: from, amount: amount});
    }
    function half(uint256 shares) public view returns (uint256) { return half(shares, _shares[msg.sender]); }
    function half(uint256 a, uint256 b) public pure returns (uint256) { return (a + b) / 2; }
    receive() external payable { _shares[msg.sender] += msg.value / price; }
}
"""
SUMS = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;
library Sums {
    function capped(uint256 a, uint256 b) internal pure returns (uint256) {
        uint256 sum = a + b;
        require(sum <= 1e30, "too much");
        return sum == 0 ? 1 : sum;
    }
}
"""
PROJECT = Project("judged@1", "judged", {"Vault.sol": VAULT, "Sums.sol": SUMS}, ("Vault.sol", "Sums.sol"))
