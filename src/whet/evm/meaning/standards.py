"""Standards: which of them a contract has all required functions of, and how their functions are declared.

Results and mutability are not in a selector. For functions of published standards (ERC-20, 165, 173, 721, 777, 1155, 1271,
1363, 1822, 2612, 2981, 3156, 4626, 4906, 5267, 5313, 5805, 6372, 6909 ...) and of the interfaces that most contracts are
written against (access control, governors, price feeds, pairs) they are known.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from whet.evm.keccak import selector
from whet.evm.meaning.abi_types import split

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

_DECLARED = """
view uint256: totalSupply() balanceOf(address) allowance(address,address) nonces(address) cap() totalAssets()
view uint256: convertToShares(uint256) convertToAssets(uint256) maxDeposit(address) maxMint(address)
view uint256: maxWithdraw(address) maxRedeem(address) previewDeposit(uint256) previewMint(uint256)
view uint256: previewWithdraw(uint256) previewRedeem(uint256) tokenByIndex(uint256)
view uint256: tokenOfOwnerByIndex(address,uint256) balanceOf(address,uint256) totalSupply(uint256) granularity()
view uint256: maxFlashLoan(address) flashFee(address,uint256) getVotes(address) getPastVotes(address,uint256)
view uint256: getPastTotalSupply(uint256) allowance(address,address,uint256)
view uint256: getRoleMemberCount(bytes32) getMinDelay() getTimestamp(bytes32) proposalThreshold() votingDelay()
view uint256: votingPeriod() quorum(uint256) proposalSnapshot(uint256) proposalDeadline(uint256)
view uint256: proposalEta(uint256) getVotes(address,uint256) MINIMUM_LIQUIDITY() price0CumulativeLast()
view uint256: price1CumulativeLast() kLast() allPairsLength() latestTimestamp() latestRound() getTimestamp(uint256)
view uint256: getThreshold() nonce() nonces(address,uint192) nonces(address,bytes32) deadline()
view uint256: quorumNumerator() quorumNumerator(uint256) quorumDenominator()
view uint256: releasable() releasable(address) vestedAmount(uint64) vestedAmount(address,uint64)
view uint256: userExpires(uint256) getNonce(address,uint192)
view uint8: getOperationState(bytes32)
view uint48: defaultAdminDelay() defaultAdminDelayIncreaseWait() lateQuorumVoteExtension()
view uint48,uint48: pendingDefaultAdminDelay()
view address,uint48: pendingDefaultAdmin()
view bool,uint32: canCall(address,address,bytes4)
view uint8: decimals() decimals(uint256) getPoolRevision() state(uint256)
view uint48: clock()
view uint32: numCheckpoints(address)
view string: name() symbol() tokenURI(uint256) uri(uint256) contractURI() CLOCK_MODE() COUNTING_MODE() description()
view string: UPGRADE_INTERFACE_VERSION() name(uint256) symbol(uint256) typeAndVersion()
view bytes32: DOMAIN_SEPARATOR() proxiableUUID() getRoleAdmin(bytes32) DEFAULT_ADMIN_ROLE() MINTER_ROLE()
view bytes32: PAUSER_ROLE() BURNER_ROLE() UPGRADER_ROLE() PROPOSER_ROLE() EXECUTOR_ROLE() CANCELLER_ROLE()
view bytes32: PERMIT_TYPEHASH() domainSeparator() DELEGATION_TYPEHASH() DOMAIN_TYPEHASH() BALLOT_TYPEHASH()
view bytes32: EIP712_REVISION_HASH() canImplementInterfaceForAddress(bytes32,address) interfaceHash(string)
view bytes32: TRANSFER_WITH_AUTHORIZATION_TYPEHASH() RECEIVE_WITH_AUTHORIZATION_TYPEHASH()
view bytes32: hashOperation(address,uint256,bytes,bytes32,bytes32)
view bytes32: hashOperationBatch(address[],uint256[],bytes[],bytes32,bytes32)
view bytes4: isValidSignature(bytes32,bytes)
view bool: supportsInterface(bytes4) isApprovedForAll(address,address) paused() hasRole(bytes32,address)
view bool: isOperatorFor(address,address) isOperator(address,address) authorizationState(address,bytes32)
view bool: isOperation(bytes32) isOperationPending(bytes32) isOperationReady(bytes32) isOperationDone(bytes32)
view bool: hasVoted(uint256,address) proposalNeedsQueuing(uint256) isOwner(address) isModuleEnabled(address)
view bool: isTrustedForwarder(address) exists(uint256) isMinter(address) isPauser(address) isOwner()
view address: owner() pendingOwner() ownerOf(uint256) getApproved(uint256) asset() implementation() admin()
view address: getRoleMember(bytes32,uint256) delegates(address) proposalProposer(uint256) timelock() token()
view address: factory() token0() token1() getPair(address,address) allPairs(uint256) feeTo() feeToSetter()
view address: defaultAdmin() trustedForwarder() getInterfaceImplementer(address,bytes32) getManager(address)
view address: userOf(uint256) facetAddress(bytes4) entryPoint()
view address: authority() beneficiary() WETH() aggregator() proxyAdmin() beacon()
view address[]: facetAddresses() getRoleMembers(bytes32) defaultOperators() getOwners()
view bytes4[]: facetFunctionSelectors(address)
view uint256[]: balanceOfBatch(address[],uint256[])
view int256: latestAnswer() getAnswer(uint256)
view uint80,int256,uint256,uint256,uint80: latestRoundData() getRoundData(uint80)
view uint112,uint112,uint32: getReserves()
view address,uint256: royaltyInfo(uint256,uint256)
view bytes1,string,string,uint256,address,bytes32,uint256[]: eip712Domain()
pure uint256: proxyType() hashProposal(address[],uint256[],bytes[],bytes32)
nonpayable bool: transfer(address,uint256) transferFrom(address,address,uint256) approve(address,uint256)
nonpayable bool: transferAndCall(address,uint256) transferAndCall(address,uint256,bytes)
nonpayable bool: transferFromAndCall(address,address,uint256) transferFromAndCall(address,address,uint256,bytes)
nonpayable bool: approveAndCall(address,uint256) approveAndCall(address,uint256,bytes)
nonpayable bool: increaseAllowance(address,uint256) decreaseAllowance(address,uint256)
nonpayable bool: transfer(address,uint256,uint256) transferFrom(address,address,uint256,uint256)
nonpayable bool: approve(address,uint256,uint256) setOperator(address,bool)
nonpayable bool: flashLoan(address,address,uint256,bytes)
nonpayable uint256: deposit(uint256,address) mint(uint256,address) withdraw(uint256,address,address)
nonpayable uint256: redeem(uint256,address,address) propose(address[],uint256[],bytes[],string)
nonpayable uint256: queue(address[],uint256[],bytes[],bytes32) cancel(address[],uint256[],bytes[],bytes32)
nonpayable uint256: execute(address[],uint256[],bytes[],bytes32) castVoteWithReasonAndParams(uint256,uint8,string,bytes)
nonpayable uint256: castVoteBySig(uint256,uint8,address,bytes) castVoteBySig(uint256,uint8,uint8,bytes32,bytes32)
nonpayable uint256: castVote(uint256,uint8) castVoteWithReason(uint256,uint8,string)
nonpayable bytes32: onFlashLoan(address,address,uint256,uint256,bytes)
nonpayable bytes4: onERC721Received(address,address,uint256,bytes)
nonpayable bytes4: onERC1155Received(address,address,uint256,uint256,bytes)
nonpayable bytes4: onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)
nonpayable bytes4: onTransferReceived(address,address,uint256,bytes) onApprovalReceived(address,uint256,bytes)
nonpayable bytes[]: multicall(bytes[])
nonpayable address: createPair(address,address)
nonpayable: setApprovalForAll(address,bool) transferOwnership(address) renounceOwnership() acceptOwnership()
nonpayable: permit(address,address,uint256,uint256,uint8,bytes32,bytes32) delegate(address)
nonpayable: grantRole(bytes32,address) revokeRole(bytes32,address) renounceRole(bytes32,address)
nonpayable: safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)
nonpayable: safeTransferFrom(address,address,uint256,uint256,bytes) tokensReceived(address,address,address,uint256,bytes,bytes)
nonpayable: tokensToSend(address,address,address,uint256,bytes,bytes)
"""
"""One line: mutability, results, and functions. What standards leave to a contract (payable or not) is not here."""


class Declared(NamedTuple):
    """How the standard declares a function. mutability: a contract may be stricter in what it does, not in what it says."""

    mutability: str
    results: tuple[str, ...]


@cache
def _selectors() -> dict[str, frozenset[int]]:
    return {name: frozenset(selector(s) for s in text.split()) for name, text in _REQUIRED.items()}


@cache
def _declared() -> dict[str, Declared]:
    found: dict[str, Declared] = {}
    for line in _DECLARED.strip().splitlines():
        head, _, functions = line.partition(": ")
        mutability, _, results = head.partition(" ")
        found |= dict.fromkeys(functions.split(), Declared(mutability, split(results)))
    return found


def standards(public: set[int]) -> list[str]:
    """Names like "ERC-20" for a set of selectors; having the functions is no proof of what they do."""
    return [name for name, required in _selectors().items() if required <= public]


def declared(signature: str) -> Declared | None:
    """How a well-known function is declared; None for others."""
    return _declared().get(signature)
