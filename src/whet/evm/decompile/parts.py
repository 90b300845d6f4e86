"""Parts of a result as text: storage, events, errors, three-address code; and the function that is meant by a name."""

from __future__ import annotations

from typing import Any

from whet.errors import CodeError
from whet.evm.decompile.annotate import plain
from whet.evm.decompile.nouns import Decompiled, Function
from whet.evm.signatures import entry_signature

PARTS = ("storage", "events", "errors", "tac")
_MOST_NAMES = 40


def part(result: Decompiled, name: str, function: Function | None) -> str:
    """One of PARTS; `function` narrows the three-address code to that one."""
    if name == "storage":
        return storage_text(result)
    if name == "tac":
        chosen = [function] if function else result.functions
        return "\n\n".join(one.tac for one in chosen if one.tac) + "\n"
    return "".join(f"{plain(line)}\n" for line in declared(result, name.removesuffix("s")))


def declared(result: Decompiled, kind: str) -> list[str]:
    """ "Transfer(address,address,uint256)" for every event or error."""
    return [entry_signature(entry) for entry in result.source.abi if entry.get("type") == kind]


def storage_text(result: Decompiled) -> str:
    """A line for each variable: slot, bytes within it from the lowest, type, name; then the structs."""
    if not result.storage:
        return "no storage is used by name\n"
    rows = [("slot", "bytes", "type", "name")]
    rows += [(slot_text(one), bytes_text(one), one["type"], one["name"]) for one in result.storage]
    wide = [max(len(row[at]) for row in rows) for at in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, wide, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    return "".join(f"{plain(line)}\n" for line in lines)


def slot_text(variable: dict[str, Any]) -> str:
    """A slot's number; large ones, which are hashes, in hex."""
    slot = variable["slot"]
    return f"{slot if slot < 1 << 32 else hex(slot)}{' (transient)' if variable['transient'] else ''}"


def bytes_text(variable: dict[str, Any]) -> str:
    """ "0-19": the bytes of the slot that it has, 0 the lowest."""
    first, size = variable["offset"], variable["size"]
    return f"{first}-{first + size - 1}" if size <= 32 else f"{size} bytes"


def find(result: Decompiled, wanted: str) -> Function:
    """The function that is meant. Raises CodeError with what there is if none or several are."""
    spaceless = "".join(wanted.split())
    digits = wanted.lower().removeprefix("0x")
    found = [
        one
        for one in result.functions
        if spaceless in (one.text.of, one.text.name, one.text.signature)
        or (one.text.selector is not None and digits == f"{one.text.selector:08x}")
        or spaceless == one.text.signature.partition("(")[0]
    ]
    if len(found) == 1:
        return found[0]
    known = [one.text.signature or one.text.name for one in found or result.functions]
    more = f", and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    raise CodeError(
        f"{len(found) or 'no'} functions are meant by {wanted!r}",
        where="--function",
        fix=f"one of: {', '.join(known[:_MOST_NAMES])}{more}",
    )
