"""Where the author's state variables lie: as the compiler says, or, before 0.5.13, as the language lays them out.

Bases first, in the order of the text; what fits into the rest of a slot shares it, structs and fixed arrays begin a slot and end
one. Compared with what newer compilers say, this gives the same for all that is laid out here.
Source: https://docs.soliditylang.org/en/v0.4.26/miscellaneous.html#layout-of-state-variables-in-storage
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A state variable as the compiler lays it out. id: of its declaration. kind: value, mapping, array, fixed, bytes, struct.
    offset, size: bytes from the lowest, within its first slot."""

    name: str
    id: int
    slot: int
    offset: int
    size: int
    kind: str
    transient: bool


def stored(output: Mapping[str, Any], contract: Node, index: Mapping[int, Node]) -> list[Stored]:
    """The variables of a contract. output: what the compiler said of it; contract: its node; index: {id: node}."""
    if "storageLayout" not in output:
        return list(laid_out(contract, index))
    found = []
    for part, transient in (("storageLayout", False), ("transientStorageLayout", True)):
        layout = output.get(part) or {}
        types = layout.get("types") or {}
        for one in layout.get("storage") or ():
            kind, size = _kind(types[one["type"]])
            place = int(one["slot"]), int(one["offset"]), size
            found.append(Stored(one["label"], int(one["astId"]), *place, kind, transient))
    return found


def _kind(type_: Mapping[str, Any]) -> tuple[str, int]:
    encoding, size = type_["encoding"], int(type_["numberOfBytes"])
    if encoding == "inplace":
        kind = "struct" if "members" in type_ else "fixed" if "base" in type_ else "value"
        return kind, size
    return {"dynamic_array": "array"}.get(encoding, encoding), size


def laid_out(contract: Node, index: Mapping[int, Node]) -> list[Stored]:
    """By the rules of the language alone. No transient ones, and none behind a type whose size is not known."""
    variables = [
        part
        for base in reversed(contract["linearizedBaseContracts"])
        for part in index[base]["nodes"]
        if part["nodeType"] == "VariableDeclaration"
        and not part.get("constant")
        and part.get("mutability", "mutable") == "mutable"
    ]
    found = []
    try:
        for part, slot, offset, kind, size in _placed(variables, index):
            found.append(Stored(part["name"], part["id"], slot, offset, size, kind, transient=False))
    except _Unmeasured:
        pass
    return found


class _Unmeasured(Exception):
    """What a type takes is not known."""


def _placed(
    variables: Iterable[Node], index: Mapping[int, Node]
) -> Iterator[tuple[Node, int, int, str, int]]:
    """(variable or member, slot, offset, kind, size), in order."""
    slot = offset = 0
    for part in variables:
        kind, size = _measured(part["typeName"], index)
        if offset and (offset + size > 32 or kind in ("struct", "fixed")):
            slot, offset = slot + 1, 0
        yield part, slot, offset, kind, size
        slot, offset = slot + (offset + size) // 32, (offset + size) % 32


def _measured(name: Node, index: Mapping[int, Node]) -> tuple[str, int]:
    """Kind and bytes of a type."""
    if name["nodeType"] == "Mapping":
        return "mapping", 32
    if name["nodeType"] == "ArrayTypeName":
        return ("fixed", _fixed(name, index)) if name.get("length") else ("array", 32)
    text = str(name.get("typeDescriptions", {}).get("typeString", ""))
    if text.startswith("struct "):
        members = index[name["referencedDeclaration"]]["members"]
        ends = [32 * slot + offset + size for _, slot, offset, _, size in _placed(members, index)]
        return "struct", 32 * -(-ends[-1] // 32)
    if text.startswith("enum "):
        return "value", 1 if len(index[name["referencedDeclaration"]]["members"]) <= 256 else 2
    if text.startswith(("contract ", "address")):
        return "value", 20
    if match := re.fullmatch(r"(u?int|bytes)(\d+)", text):
        return "value", int(match[2]) if match[1] == "bytes" else int(match[2]) // 8
    if text.startswith("function "):
        return "value", 24 if " external" in text else 8
    if re.match(r"(string|bytes)\b", text):
        return "bytes", 32
    if text == "bool":
        return "value", 1
    raise _Unmeasured


def _fixed(name: Node, index: Mapping[int, Node]) -> int:
    """Bytes of a fixed array."""
    length = re.search(r"\[(\d+)\]( storage (ref|pointer))?$", name["typeDescriptions"]["typeString"])
    kind, size = _measured(name["baseType"], index)
    if length is None:
        raise _Unmeasured
    if kind == "value":
        return 32 * -(-int(length[1]) // (32 // size))
    return int(length[1]) * size
