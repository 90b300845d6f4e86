"""What others see of a function: its name, its types, its mutability."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_OF_A_BYTE = 256
"""Members of an enum in one byte; before 0.8 it can have more, and takes two."""


@dataclass(frozen=True, slots=True)
class Header:
    """What others see of a function. called: by name, or "" for an internal one, whose name is its callers' only.
    parameters, returns: types as the ABI writes them; an internal one's as the source does, with where they lie. abi: both
    as the ABI would, of internal ones too; no part of what is equal."""

    called: str
    parameters: tuple[str, ...]
    returns: tuple[str, ...]
    mutability: str
    abi: tuple[tuple[str, ...], tuple[str, ...]] = field(default=((), ()), compare=False)

    def __str__(self) -> str:
        called, returned = self.called or "(internal)", ", ".join(self.returns)
        return f"{called}({', '.join(self.parameters)}) {self.mutability}" + (
            f" returns ({returned})" if returned else ""
        )


def header(node: Mapping[str, Any], index: Mapping[int, Mapping[str, Any]]) -> Header:
    """Of a function's node. index: {id: node} of the syntax trees."""
    outside = node.get("visibility") in ("public", "external")
    parts = [node[part]["parameters"] for part in ("parameters", "returnParameters")]
    parameters, returns = (tuple(_resolved(one["typeName"], index) for one in part) for part in parts)
    abi = parameters, returns
    if not outside:
        parameters, returns = (
            tuple(str(one["typeDescriptions"]["typeString"]) for one in part) for part in parts
        )
    name = str(node["name"] or node.get("kind") or "fallback") if outside else ""
    return Header(name, parameters, returns, str(node.get("stateMutability", "")), abi)


def _resolved(named: Mapping[str, Any], index: Mapping[int, Mapping[str, Any]]) -> str:
    """The type that a type's node names, as the ABI writes it: a user-defined one by what it stands for."""
    written = canonical(str(named["typeDescriptions"]["typeString"]))
    if named["nodeType"] == "ArrayTypeName":
        return _resolved(named["baseType"], index) + written[written.rindex("[") :]
    declared = index.get(named.get("referencedDeclaration", -1), {})
    if declared.get("nodeType") == "UserDefinedValueTypeDefinition":
        return canonical(str(declared["underlyingType"]["typeDescriptions"]["typeString"]))
    if declared.get("nodeType") == "EnumDefinition" and len(declared["members"]) > MOST_OF_A_BYTE:
        return "uint16"
    return written


def canonical(type_string: str) -> str:
    """As the ABI writes it; structs, which 0.4 and 0.5 hardly pass, as they are."""
    text = re.sub(r" (storage|memory|calldata)( ref| pointer| slice)?\b", "", type_string)
    text = re.sub(r"\bcontract [\w.$]+|\baddress payable", "address", text)
    return re.sub(r"\benum [\w.$]+", "uint8", text)
