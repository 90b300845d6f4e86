"""What compilers append to code: a CBOR map with their version and the hash of the source's metadata.

solc since 0.4.7: the map, then its length in two bytes; the version stands in it since 0.5.9. Vyper since 0.3.4, since
0.3.10 in creation code only, as a list that ends with the map, and with a length that counts its own two bytes.
Sources: docs.soliditylang.org "Contract Metadata", vyper's `compile_ir.py`. Nothing here is trusted: anybody can write
any version there. A compiler can be told to leave it out; then the version is bounded by what the code begins with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cbor2

LONGEST = 256
"""Bytes of metadata that are decoded at most; solc's longest has under 100, Vyper's grows with its data sections."""

CANDIDATES = 256
"""Places in one code that look like the beginning of metadata and are tried."""

_MAP = re.compile(rb"[\xa1-\xa4](?:dipfsX\x22|ebzzr[01]X\x20|dsolc|lexperimental|evyper)", re.DOTALL)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Metadata:
    """offset, length: where it stands in the code, in bytes, with the bytes of its length.

    compiler: "solc", "vyper" or "". version: "0.8.30", or "" where it does not stand there; then `versions` is the range
    (first, last) that writes such metadata. source: "ipfs://Qm...", "bzzr1://..." or "". experimental: compiled with a
    feature that was experimental.
    """

    offset: int
    length: int
    compiler: str
    version: str
    versions: tuple[str, str] | None
    source: str
    experimental: bool

    @property
    def end(self) -> int:
        return self.offset + self.length

    def __str__(self) -> str:
        told = f"{self.compiler or 'compiler'} {self.version or 'of unknown version'}"
        if self.versions:
            told = f"{self.compiler} {self.versions[0]} to {self.versions[1]}"
        return f"{told}{', experimental features' if self.experimental else ''}"


def metadata_at_end(code: bytes) -> Metadata | None:
    """The metadata that `code` ends with, or None."""
    said = int.from_bytes(code[-2:], "big")
    for length in (said + 2, said):
        if 4 <= length <= min(LONGEST, len(code)):
            found = _decoded(code, len(code) - length, length)
            if found:
                return found
    return None


def all_metadata(code: bytes) -> Iterator[Metadata]:
    """Those that stand anywhere in `code`: of sub-contracts, and one with something appended. CANDIDATES are tried."""
    behind = 0
    for match in islice(_MAP.finditer(code), CANDIDATES):
        start = match.start()
        if start < behind:
            continue
        for length in range(4, LONGEST):
            if int.from_bytes(code[start + length : start + length + 2], "big") == length:
                found = _decoded(code, start, length + 2)
                if found:
                    behind = found.end
                    yield found
                break


def _decoded(code: bytes, offset: int, length: int) -> Metadata | None:
    try:
        values = cbor2.loads(code[offset : offset + length - 2])
    except (cbor2.CBORError, ValueError, RecursionError):
        return None
    if isinstance(values, list) and values:
        values = values[-1]
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        return None
    if not values.keys() & {"ipfs", "bzzr0", "bzzr1", "solc", "vyper", "experimental"}:
        return None
    compiler = "vyper" if "vyper" in values else "solc"
    version = _version(values.get(compiler))
    return Metadata(
        offset=offset,
        length=length,
        compiler=compiler,
        version=version,
        versions=None if version else _range(code, values),
        source=_source(values),
        experimental=values.get("experimental") is True,
    )


def _version(value: Any) -> str:
    """Three bytes of a release, a list of numbers (Vyper), or the text of a build between releases."""
    if isinstance(value, str):
        return value[:80]
    if isinstance(value, bytes | list) and len(value) == 3 and all(isinstance(part, int) for part in value):
        return ".".join(str(int(part)) for part in value)
    return ""


def _range(code: bytes, values: dict[str, Any]) -> tuple[str, str] | None:
    if "bzzr0" not in values:
        return None
    return ("0.4.7", "0.4.21") if code[:5] == bytes.fromhex("6060604052") else ("0.4.7", "0.5.8")


def _source(values: dict[str, Any]) -> str:
    for kind in ("ipfs", "bzzr1", "bzzr0"):
        digest = values.get(kind)
        if isinstance(digest, bytes):
            return f"{kind}://{_base58(digest) if kind == 'ipfs' else digest.hex()}"
    return ""


def _base58(digest: bytes) -> str:
    number, text = int.from_bytes(digest, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return text
