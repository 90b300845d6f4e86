"""Whether a function changes the chain, only looks at it, or neither: by what it executes, and everything that it calls.

As Solidity means it: "nonpayable" changes storage, logs, creates, sends, or calls; "view" reads storage, accounts, the
block or the transaction; "pure" does none of these. One way on which it would is enough. Left out: whether that way is
ever taken, and what calls of precompiled contracts leave unchanged; so it is a promise that holds, not the best one.
"""

from __future__ import annotations

from whet.evm.call_graph import reach
from whet.evm.tac import Contract, Function, Statement

PURE, VIEW, NONPAYABLE = "pure", "view", "nonpayable"
_ORDER = (PURE, VIEW, NONPAYABLE)

CHANGES = frozenset(
    {"SSTORE", "TSTORE", "CREATE", "CREATE2", "CALL", "CALLCODE", "DELEGATECALL", "SELFDESTRUCT"}
)
"""What a static call forbids, DELEGATECALL aside; logs too."""

READS = frozenset(
    {
        "SLOAD",
        "TLOAD",
        "BALANCE",
        "SELFBALANCE",
        "EXTCODESIZE",
        "EXTCODEHASH",
        "EXTCODECOPY",
        "BLOCKHASH",
        "STATICCALL",
    }
    | {
        "ADDRESS",
        "CALLER",
        "CALLVALUE",
        "ORIGIN",
        "TIMESTAMP",
        "NUMBER",
        "CHAINID",
        "GASPRICE",
        "COINBASE",
        "GAS",
    }
    | {"PREVRANDAO", "GASLIMIT", "BASEFEE", "BLOBHASH", "BLOBBASEFEE"}
)
"""What Solidity forbids in a pure function, in its assembly too."""


def effects(contract: Contract) -> dict[str, str]:
    """{function: "pure", "view" or "nonpayable"} of all functions."""
    own = {name: _own(function) for name, function in contract.functions.items()}
    return {
        name: max((own[one] for one in (name, *reached)), key=_ORDER.index)
        for name, reached in reach(contract).items()
    }


def _own(function: Function) -> str:
    ends = {block.end.op for block in function.blocks.values()}
    if "SELFDESTRUCT" in ends or "UNRESOLVED" in ends or any(_changes(s) for s in function.statements()):
        return NONPAYABLE
    return VIEW if any(s.op in READS for s in function.statements()) else PURE


def _changes(s: Statement) -> bool:
    return s.op in CHANGES or s.op.startswith("LOG")
