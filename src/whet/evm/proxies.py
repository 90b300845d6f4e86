"""Code that stands for other code: minimal proxies, delegated accounts; and libraries, which know their own address.

Sources: EIP-1167 and its shorter forms, EIP-7511 (PUSH0), EIP-7702, the proxies of 0age, Vyper, Solady (LibClone) and of
"clones with immutable args" (wighawag). A form that is not listed is not named, but lifted like any other code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DELEGATION = bytes.fromhex("ef0100")
"""What the code of an account begins with that delegates to a contract (EIP-7702); 20 bytes of address follow."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """kind: which form. implementation: "0x" and 40 hex digits of the contract whose code is run. arguments: bytes
    appended to the code that the implementation reads as its own constants."""

    kind: str
    implementation: str
    arguments: bytes = b""

    def __str__(self) -> str:
        appended = f", {len(self.arguments)} bytes of immutable arguments" if self.arguments else ""
        return f"{self.kind} to {self.implementation}{appended}"


_ADDRESS = "<address>"
_SHORT = "<short>"
"""PUSH14 to PUSH20 with an address that begins with zeros, as short as that makes it."""
_LENGTH = "...."

_FORMS = {
    "EIP-1167 minimal proxy": f"363d3d373d3d3d363d{_SHORT}5af43d82803e903d91602[5-9ab]57fd5bf3",
    "minimal proxy (0age)": f"3d3d3d3d363d3d37363d{_SHORT}5af43d3d93803e602[4-9a]57fd5bf3",
    "EIP-7511 minimal proxy": f"365f5f375f5f365f73{_ADDRESS}5af43d5f5f3e5f3d91602a57fd5bf3",
    "minimal proxy (Solady, PUSH0)": f"5f5f365f5f37365f73{_ADDRESS}5af43d5f5f3e5f3d91602a57fd5bf3",
    "minimal proxy (Vyper)": f"366000600037611000600036600073{_ADDRESS}5af4602c57600080fd5b6110006000f3",
    "clone with immutable arguments": f"3d3d3d3d363d3d3761{_LENGTH}603736393661{_LENGTH}013d73{_ADDRESS}"
    "5af43d3d93803e603557fd5bf3",
    "clone with immutable arguments (Solady)": f"36602c57343d527f9e4ac34f21c619cefc926c8bd93b54bf5a39c7ab2127a895af1cc0"
    f"691d7e3dff593da1005b363d3d373d3d3d3d61{_LENGTH}806062363936013d73{_ADDRESS}5af43d3d93803e606057fd5bf3",
}


def _pattern(form: str) -> re.Pattern[str]:
    short = "|".join(f"{0x5F + size:02x}([0-9a-f]{{{2 * size}}})" for size in range(20, 13, -1))
    form = form.replace(_LENGTH, "[0-9a-f]{4}").replace(_ADDRESS, "([0-9a-f]{40})")
    return re.compile(form.replace(_SHORT, f"(?:{short})"))


_PATTERNS = {kind: _pattern(form) for kind, form in _FORMS.items()}
_LONGEST = 256
"""Bytes of the longest of these forms; what follows are arguments."""


def find_proxy(code: bytes) -> Proxy | None:
    """The proxy that `code` is, or None."""
    if code[:3] == DELEGATION and len(code) == 23:
        return Proxy("EIP-7702 delegation", f"0x{code[3:].hex()}")
    text = code[:_LONGEST].hex()
    for kind, pattern in _PATTERNS.items():
        found = pattern.match(text)
        if found:
            address = next(group for group in found.groups() if group)
            return Proxy(kind, f"0x{address:0>40}", code[found.end() // 2 :])
    return None


def is_library(code: bytes) -> bool:
    """Whether it begins by comparing its own address with one that was written into it: solc's guard against calls."""
    return len(code) > 23 and code[0] == 0x73 and code[21:23] == b"\x30\x14"
