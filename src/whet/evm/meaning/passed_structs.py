"""Structs that are passed by an offset, of which code reads only some members: those of standards, else what is possible.

A struct behind an offset has a dynamic member. Where none of those that are read is one, the last unread one is said to be
bytes, so that the arguments keep their encoding.
"""

from __future__ import annotations

from whet.evm.meaning.abi_types import is_dynamic, split

UNREAD = ""
"""A member that code does not read."""

_STANDARD = (
    "address,uint256,bytes,bytes,bytes32,uint256,bytes32,bytes,bytes",
    "address,uint256,bytes,bytes,uint256,uint256,uint256,uint256,uint256,bytes,bytes",
)
"""User operations of ERC-4337: packed, and as they were before."""


def struct_of(members: tuple[str, ...]) -> str:
    """The type of a struct behind an offset, by its members; "" for less than two."""
    if len(members) < 2:
        return ""
    for standard in map(split, _STANDARD):
        if len(standard) == len(members) and all(map(_agree, members, standard)):
            return f"({','.join(standard)})"
    kinds = [kind or "uint256" for kind in members]
    if UNREAD in members and not any(map(is_dynamic, kinds)):
        last = max(at for at, kind in enumerate(members) if kind == UNREAD)
        kinds[last] = "bytes"
    return f"({','.join(kinds)})"


def _agree(found: str, declared: str) -> bool:
    if found in (UNREAD, declared):
        return True
    return is_dynamic(found) == is_dynamic(declared) and (
        is_dynamic(found) or {found, declared} <= {"uint256", "bytes32"}
    )
