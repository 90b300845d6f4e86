"""Keccak-256, the EVM's hash (the padding of SHA-3's competition, not of FIPS 202)."""

from __future__ import annotations

from functools import lru_cache

from Crypto.Hash import keccak


@lru_cache(maxsize=4096)
def keccak256(data: bytes) -> bytes:
    """The 32 bytes of the hash."""
    return bytes(keccak.new(digest_bits=256, data=data).digest())


def selector(signature: str) -> int:
    """The first four bytes of the hash of e.g. "transfer(address,uint256)", as a number."""
    return int.from_bytes(keccak256(signature.encode())[:4], "big")
