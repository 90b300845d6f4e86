"""What others see of a function: its name, its types, its mutability."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Header:
    """What others see of a function. called: by name, or "" for an internal one, whose name is its callers' only.
    parameters, returns: types as the ABI writes them; an internal one's with where they lie."""

    called: str
    parameters: tuple[str, ...]
    returns: tuple[str, ...]
    mutability: str

    def __str__(self) -> str:
        called, returned = self.called or "(internal)", ", ".join(self.returns)
        return f"{called}({', '.join(self.parameters)}) {self.mutability}" + (
            f" returns ({returned})" if returned else ""
        )


def header(node: Mapping[str, Any]) -> Header:
    """Of a function's node."""
    outside = node.get("visibility") in ("public", "external")

    def types(part: str) -> tuple[str, ...]:
        said = [str(one["typeDescriptions"]["typeString"]) for one in node[part]["parameters"]]
        return tuple(canonical(one) if outside else one for one in said)

    name = str(node["name"] or node.get("kind") or "fallback") if outside else ""
    return Header(name, types("parameters"), types("returnParameters"), str(node.get("stateMutability", "")))


def canonical(type_string: str) -> str:
    """As the ABI writes it; structs, which 0.4 and 0.5 hardly pass, as they are."""
    text = re.sub(r" (storage|memory|calldata)( ref| pointer| slice)?\b", "", type_string)
    text = re.sub(r"\bcontract [\w.$]+|\baddress payable", "address", text)
    return re.sub(r"\benum [\w.$]+", "uint8", text)
