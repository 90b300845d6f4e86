"""Standards whose required functions a contract has all of, by their selectors."""

from __future__ import annotations

from functools import cache

from whet.evm.keccak import selector

_REQUIRED = {
    "ERC-20": "totalSupply() balanceOf(address) transfer(address,uint256) transferFrom(address,address,uint256) "
    "approve(address,uint256) allowance(address,address)",
    "ERC-721": "balanceOf(address) ownerOf(uint256) safeTransferFrom(address,address,uint256,bytes) "
    "safeTransferFrom(address,address,uint256) transferFrom(address,address,uint256) approve(address,uint256) "
    "setApprovalForAll(address,bool) getApproved(uint256) isApprovedForAll(address,address)",
    "ERC-1155": "balanceOf(address,uint256) balanceOfBatch(address[],uint256[]) setApprovalForAll(address,bool) "
    "isApprovedForAll(address,address) safeTransferFrom(address,address,uint256,uint256,bytes) "
    "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
    "ERC-165": "supportsInterface(bytes4)",
    "ERC-173": "owner() transferOwnership(address)",
    "ERC-2612": "permit(address,address,uint256,uint256,uint8,bytes32,bytes32) nonces(address) DOMAIN_SEPARATOR()",
    "ERC-4626": "asset() totalAssets() convertToShares(uint256) convertToAssets(uint256) deposit(uint256,address) "
    "mint(uint256,address) withdraw(uint256,address,address) redeem(uint256,address,address)",
}


@cache
def _selectors() -> dict[str, frozenset[int]]:
    return {name: frozenset(selector(s) for s in text.split()) for name, text in _REQUIRED.items()}


def standards(public: set[int]) -> list[str]:
    """Names like "ERC-20" for a set of selectors; having the functions is no proof of what they do."""
    return [name for name, required in _selectors().items() if required <= public]
