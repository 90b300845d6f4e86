"""Exact match after renaming: the same text, once every name that its author chose is numbered.

Names are the grammar's identifiers, of Solidity and of assembly, but those that the language gives a meaning where they
stand: its functions and variables, its members (behind a dot, and some only where they are called), all that belongs to
`abi`, `block`, `bytes`, `msg`, `string`, `tx` and `type(...)`, the options of calls, what `catch` may name, and in assembly
opcodes and what it knows of Solidity's variables. The first name met becomes `n1`, the next `n2`; the same name is the
same number everywhere in the function. Which names are alike is compared, what they are called is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.syntax import OPCODES, Solidity, Token

# fmt: off
_GLOBALS = frozenset((
    "_", "abi", "addmod", "assert", "block", "blockhash", "blobhash", "constant", "ecrecover", "gasleft", "keccak256", "log0",
    "log1", "log2", "log3", "log4", "msg", "mulmod", "now", "require", "revert", "ripemd160", "selfdestruct", "sha256", "sha3",
    "suicide", "super", "this", "throw", "tx", "type",
))
_MEMBERS = frozenset((
    "address", "balance", "call", "callcode", "code", "codehash", "delegatecall", "length", "pop", "push", "selector", "send",
    "staticcall", "transfer",
))
# fmt: on
"""Behind a dot; names that people give to functions and members of their own too keep them there."""
_CALLED = frozenset({"gas", "unwrap", "value", "wrap"})
"""The same, where they are called."""
_SPACES = frozenset({"abi", "block", "bytes", "msg", "string", "tx"})
"""Everything behind their dot is the language's."""
_OPTIONS = frozenset({"gas", "salt", "value"})
"""Of a call, in braces."""
_CAUGHT = frozenset({"Error", "Panic"})
_ASSEMBLY = frozenset({"address", "length", "offset", "selector", "slot"})
"""Behind a dot in assembly."""
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


def is_name(tokens: Sequence[Token], at: int) -> bool:
    """Whether somebody chose it."""
    token = tokens[at]
    if token.kind not in NAMES:
        return False
    member = at > 0 and tokens[at - 1].text == "."
    called = at + 1 < len(tokens) and tokens[at + 1].text == "("
    if "yul_identifier" in (token.kind, token.within):
        return token.text not in _ASSEMBLY if member else not (called and token.text in OPCODES)
    if member:
        known = token.text in _MEMBERS or (called and token.text in _CALLED)
        return not known and not _space(tokens, at - 2)
    if token.within == "struct_field_assignment":
        return token.text not in _OPTIONS
    if token.within == "catch_clause":
        return token.text not in _CAUGHT
    return token.text not in _GLOBALS


def _space(tokens: Sequence[Token], at: int) -> bool:
    """Whether everything behind the dot that follows is the language's."""
    if at < 0:
        return False
    member = at > 0 and tokens[at - 1].text == "."
    return tokens[at].within == "meta_type_expression" or (tokens[at].text in _SPACES and not member)
