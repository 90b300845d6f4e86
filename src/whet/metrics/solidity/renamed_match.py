"""Exact match after renaming: the same text, once every name that its author chose is numbered.

Names are the grammar's identifiers, of Solidity and of assembly, but those that the language gives a meaning: its
functions and variables (`_GLOBALS`), its members (`_MEMBERS`, behind a dot), all that belongs to `abi`, `block`, `msg` and
`tx`. The first name met becomes `n1`, the next
`n2`; the same name is the same number everywhere in the function. Which names are alike is compared, what they are
called is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.syntax import Solidity, Token

# fmt: off
_GLOBALS = frozenset((
    "abi", "addmod", "assert", "block", "blockhash", "blobhash", "ecrecover", "gasleft", "keccak256", "msg", "mulmod",
    "now", "require", "revert", "ripemd160", "selfdestruct", "sha256", "sha3", "suicide", "super", "this", "throw", "tx", "type",
))
_MEMBERS = frozenset((
    "balance", "call", "callcode", "code", "codehash", "concat", "delegatecall", "length", "max", "min", "pop", "push",
    "selector", "send", "staticcall", "transfer",
))
# fmt: on
"""Behind a dot; names that people give to functions of their own too keep them there."""
_SPACES = frozenset({"abi", "block", "msg", "tx"})
"""Everything behind their dot is the language's."""
NAMES = frozenset({"identifier", "yul_identifier"})


class RenamedMatch(SolidityMetric):
    """1 where the canonical texts are equal after renaming, else 0."""

    NAME = "renamed_match"
    SUMMARY = "the same text but for the names in it"
    UNITS = "share of functions"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return [float(renamed(pair.candidate) == renamed(pair.reference)) for pair in pairs]


def renamed(side: Solidity, mark: str = "n") -> list[str]:
    """The tokens with names numbered by their first appearance, `mark` before the number."""
    numbers: dict[str, str] = {}
    found = []
    tokens = side.tokens
    for at, token in enumerate(tokens):
        if is_name(tokens, at):
            found.append(numbers.setdefault(token.text, f"{mark}{len(numbers) + 1}"))
        else:
            found.append(token.text)
    return found


def is_name(tokens: list[Token], at: int) -> bool:
    """Whether somebody chose it."""
    token = tokens[at]
    member = at > 0 and tokens[at - 1].text == "."
    if token.kind not in NAMES:
        return False
    if member:
        return token.text not in _MEMBERS and tokens[at - 2].text not in _SPACES
    return token.text not in _GLOBALS
