"""Names of slots that standards and OpenZeppelin's contracts keep their variables in, by the hash that gives the slot.

ERC-1967 (proxies: implementation, admin, beacon), ERC-1822 (proxiable), the proxies of ZeppelinOS before these, and ERC-7201
namespaces "openzeppelin.storage.NAME" of OpenZeppelin's upgradeable contracts 5, whose members lie from the slot on as in
a struct. A slot of a known namespace whose member is not known gets its number. The layouts are those of 5.0 to 5.4 and later;
a name says where a variable stands, not that the contract is what the name promises.
"""

from __future__ import annotations

from functools import cache

from whet.evm.keccak import keccak256

_NAMESPACES = """
AccessControl: roles
AccessControlDefaultAdminRules: pendingDefaultAdmin pendingDefaultAdminSchedule@20 currentDelay@26
    currentDefaultAdmin pendingDelay@20 pendingDelaySchedule@26
AccessControlEnumerable: roleMembers
AccessManaged: authority consumingSchedule@20
AccessManager: targets roles schedules executionId
AccountERC7579: validators executors:2 fallbacks:2
AccountERC7579Hooked: hook
BridgeERC20: token
BridgeERC721: token
BridgeERC1155: token
BridgeERC7802: token
CrosschainLinked: links
CrosschainRemoteExecutor: gateway controller
EIP712: hashedName hashedVersion name version
ERC20: balances allowances totalSupply name symbol
ERC20Capped: cap
ERC20Wrapper: underlying
ERC721: name symbol owners balances tokenApprovals operatorApprovals
ERC721Consecutive: sequentialOwnership sequentialBurn
ERC721Enumerable: ownedTokens ownedTokensIndex allTokens allTokensIndex
ERC721URIStorage: tokenURIs
ERC721Wrapper: underlying
ERC1155: balances operatorApprovals uri
ERC1155Supply: totalSupply totalSupplyAll
ERC1155URIStorage: baseURI tokenURIs
ERC2981: defaultRoyaltyInfo tokenRoyaltyInfo
ERC3009: usedNonces
ERC4626: asset underlyingDecimals@20
ERC6909: balances operatorApprovals allowances
ERC6909ContentURI: contractURI tokenURIs
ERC6909Metadata: tokenMetadata
ERC6909TokenSupply: totalSupplies
Governor: name proposals governanceCall
GovernorCountingFractional: proposalVotes
GovernorCountingOverridable: proposalVotes
GovernorCountingSimple: proposalVotes
GovernorPreventLateQuorum: voteExtension extendedDeadlines
GovernorProposalGuardian: proposalGuardian
GovernorSequentialProposalId: latestProposalId proposalIds
GovernorSettings: proposalThreshold votingDelay votingPeriod@6
GovernorStorage: proposalIds proposalDetails
GovernorTimelockAccess: ignoreToggle executionPlan baseDelay manager@4
GovernorTimelockCompound: timelock
GovernorTimelockControl: timelock timelockIds
GovernorVotes: token
GovernorVotesQuorumFraction: quorumNumeratorHistory
GovernorVotesSuperQuorumFraction: superQuorumNumeratorHistory
Initializable: initialized initializing@8
MultiSignerERC7913: signers threshold:2
MultiSignerERC7913Weighted: totalExtraWeight extraWeights
Nonces: nonces
NoncesKeyed: nonces
Ownable: owner
Ownable2Step: pendingOwner
Pausable: paused
PaymasterERC721Owner: token
ReentrancyGuard: status
SignerECDSA: signer
SignerERC7913: signer
SignerP256: qx qy
SignerRSA: e n
TimelockController: timestamps minDelay
VestingWallet: released erc20Released start duration@8
VestingWalletCliff: cliff
Votes: delegatee delegateCheckpoints totalCheckpoints
VotesExtended: userDelegationCheckpoints userVotingUnitsCheckpoints
"""
"""Members in order, one slot after another; @N: in the slot of the one before, from byte N on; :N: N slots after the one
before, which is as long."""

_ALONE = {
    "eip1967.proxy.implementation": "ERC1967_implementation",
    "eip1967.proxy.admin": "ERC1967_admin",
    "eip1967.proxy.beacon": "ERC1967_beacon",
    "eip1967.proxy.rollback": "ERC1967_rollback",
}
"""Slots one before the hash, so that nobody can hash anything to them."""

_HASHES = {
    "PROXIABLE": "ERC1822_implementation",
    "org.zeppelinos.proxy.implementation": "zeppelinos_implementation",
    "org.zeppelinos.proxy.admin": "zeppelinos_admin",
}
"""Slots that are the hash itself."""


def well_known(slot: int, byte: int) -> str:
    """The name of what stands in a slot from a byte (0: the lowest) on; "" for unknown."""
    if slot < 1 << 32:
        return ""
    alone, namespaces = _table()
    if slot in alone:
        return alone[slot] if not byte else ""
    space = namespaces.get(slot & ~0xFF)
    if space is None:
        return ""
    name, members = space
    member = members.get((slot & 0xFF, byte))
    return f"{name}_{member or slot & 0xFF}" + (f"_{byte}" if byte and not member else "")


@cache
def _table() -> tuple[dict[int, str], dict[int, tuple[str, dict[tuple[int, int], str]]]]:
    """({slot: name}, {first slot of a namespace: (name, {(slots from there, byte): member})})."""
    alone = {_hash(text.encode()) - 1: name for text, name in _ALONE.items()}
    alone |= {_hash(text.encode()): name for text, name in _HASHES.items()}
    spaces = {}
    for line in _NAMESPACES.strip().replace("\n    ", " ").splitlines():
        name, _, members = line.partition(": ")
        spaces[_namespace(f"openzeppelin.storage.{name}")] = (name, _members(members))
    return alone, spaces


def _members(text: str) -> dict[tuple[int, int], str]:
    found: dict[tuple[int, int], str] = {}
    slot = -1
    for word in text.split():
        name, _, byte = word.partition("@")
        name, _, slots = name.partition(":")
        slot += 0 if byte else int(slots or 1)
        found[slot, int(byte or 0)] = name
    return found


def _hash(data: bytes) -> int:
    return int.from_bytes(keccak256(data), "big")


def _namespace(name: str) -> int:
    """The slot of an ERC-7201 namespace."""
    return _hash((_hash(name.encode()) - 1).to_bytes(32, "big")) & ~0xFF
