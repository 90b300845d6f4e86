"""Code that stands at an address, and what a proxy there stands for, asked of a node that the user named.

Proxies: those whose code names its implementation (`whet.evm.proxies`), and those that keep it in a known storage slot
(ERC-1967, its beacons, EIP-1822, OpenZeppelin's before them) that stands in their code. The address in a slot is as of
the block asked; a proxy may point elsewhere in the next one. Others, such as diamonds, are not named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from whet.errors import CodeError
from whet.evm.bytecode import Code, read_code
from whet.evm.decompile.endpoint import Endpoint, RpcError
from whet.evm.keccak import keccak256
from whet.evm.regions import SLOTS

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_NEARLY = re.compile(r"0[xX][0-9a-zA-Z]{34,46}")
_MOST_STEPS = 4

_POINTING = {slot: said for slot, said in SLOTS.items() if "admin" not in said and "diamond" not in said}
"""The slots that hold the address of the implementation or of its beacon."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What a proxy stands for. how: "EIP-1167 minimal proxy", or the slot's name; slot: None where the code says it.
    implementation: "0x" and 40 digits, "" where only a node could say it: the code may be a proxy, or what one stands for,
    since both know the slot."""

    how: str
    slot: int | None
    implementation: str

    def __str__(self) -> str:
        place = "" if self.slot is None else f", storage slot {self.slot:#066x}"
        if not self.implementation:
            return f"perhaps a proxy ({self.how}{place}); a node could say it: --rpc URL and its address"
        return f"proxy ({self.how}{place}) to {self.implementation}"


def is_address(text: str) -> bool:
    """Whether `text` is, or is nearly, an address and not code."""
    return _NEARLY.fullmatch(text) is not None


def checked_address(text: str) -> str:
    """In lower case. Raises CodeError for a wrong length, other characters, or a checksum (EIP-55) that does not fit."""
    if not _ADDRESS.fullmatch(text):
        digits = text[2:]
        odd = next((char for char in digits if char not in "0123456789abcdefABCDEF"), "")
        what = f"{odd!r} is no hex digit" if odd else f"an address has 40 hex digits, this has {len(digits)}"
        raise CodeError(what, where=text[:60])
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and text[2:] != with_checksum(text)[2:]:
        raise CodeError(
            "the address's checksum (upper and lower case, EIP-55) does not fit",
            where=text,
            fix="compare it with where it comes from; in lower case it is not checked",
        )
    return f"0x{text[2:].lower()}"


def with_checksum(address: str) -> str:
    """As EIP-55 writes it."""
    digits = address[2:].lower()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(m, 16) > 7 else c for c, m in zip(digits, marks, strict=False))


def block_name(block: str) -> str:
    """A block as a node takes it: a number in hex, or "latest", "safe", "finalized". Raises CodeError."""
    if block in ("latest", "safe", "finalized", "earliest"):
        return block
    try:
        number = int(block, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise CodeError(
            f"no block: {block[:40]!r}", where="--block", fix="a number, latest, safe or finalized"
        )
    return hex(number)


def code_at(endpoint: Endpoint, address: str, block: str) -> Code:
    """Raises CodeError if there is none, RpcError."""
    given = endpoint.ask("eth_getCode", address, block)
    if given in ("0x", "0x0", ""):
        fix = "an account of a person, another chain, a later block, or a contract that destroyed itself"
        raise CodeError(f"no code stands there (block {block})", where=with_checksum(address), fix=fix)
    return read_code(_hex(endpoint, given, "eth_getCode"))


def behind(code: Code, address: str, endpoint: Endpoint | None, block: str) -> Behind | None:
    """What `code`, at `address`, stands for; None for what is no proxy that is known here. Raises RpcError."""
    if code.proxy:
        return Behind(code.proxy.kind, None, code.proxy.implementation)
    for slot, how in _POINTING.items():
        if slot.to_bytes(32, "big") not in code.runtime:
            continue
        if endpoint is None or not address:
            return Behind(how, slot, "")
        word = _hex(endpoint, endpoint.ask("eth_getStorageAt", address, hex(slot), block), "eth_getStorageAt")
        if int(word, 16):
            found = f"0x{word[2:]:0>64}"[-40:]
            return Behind(how, slot, _of_beacon(endpoint, found, block) if "beacon" in how else f"0x{found}")
    return None


def follow(code: Code, address: str, endpoint: Endpoint | None, block: str) -> tuple[Code, str, list[str]]:
    """The code that is run in the end, its address, and a line for each proxy on the way.

    Raises CodeError where the way ends, goes in a circle or is longer than four, RpcError.
    """
    told: list[str] = []
    seen = {address}
    while found := behind(code, address, endpoint, block):
        told.append(str(found))
        if not found.implementation or endpoint is None:
            raise CodeError(str(found), where="--follow", fix="name a node: --rpc URL")
        address = found.implementation
        if address in seen or len(told) > _MOST_STEPS:
            raise CodeError(f"proxies without an end: {'; '.join(told)}", where="--follow")
        seen.add(address)
        code = code_at(endpoint, address, block)
    return code, address, told


def _of_beacon(endpoint: Endpoint, beacon: str, block: str) -> str:
    """What the beacon's `implementation()` says, "" if it says nothing that is an address."""
    call = {"to": f"0x{beacon}", "data": "0x5c60da1b"}
    word = _hex(endpoint, endpoint.ask("eth_call", call, block), "eth_call")
    return f"0x{word[-40:]}" if len(word) == 66 and int(word, 16) else ""


def _hex(endpoint: Endpoint, given: Any, method: str) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"0x[0-9a-fA-F]+", given):
        raise RpcError(f"the node's answer to {method} is no hex", where=endpoint.shown)
    return given
