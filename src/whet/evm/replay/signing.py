"""Signatures of the people who call, on the curve secp256k1 (SEC 2, 2.4.1), as `ecrecover` takes them.

The keys are 1, 2 and 3, and so are the random numbers of a signature: nothing here is secret, everything is the same in
each run. Cost: a few multiplications for a signature.
"""

from __future__ import annotations

from functools import lru_cache

from whet.evm.keccak import keccak256

FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Point = tuple[int, int]
BASE: Point = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
TRIES = 16


@lru_cache(maxsize=64)
def multiple(times: int) -> Point:
    """A small multiple of the base point, times >= 1."""
    if times == 1:
        return BASE
    (x, y), (u, v) = multiple(times - 1), BASE
    slope = 3 * x * x * pow(2 * y, -1, FIELD) if (x, y) == (u, v) else (v - y) * pow(u - x, -1, FIELD)
    third = (slope * slope - x - u) % FIELD
    return third, (slope * (x - third) - y) % FIELD


def address_of(key: int) -> int:
    """The account that the key signs for."""
    x, y = multiple(key)
    return int.from_bytes(keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:], "big")


def sign(digest: int, key: int, parity: int | None = None) -> tuple[int, int, int] | None:
    """(v, r, s) with v 27 or 28 (that one, where it is given) and s in the lower half; None if no try gives it."""
    for nonce in range(1, TRIES):
        x, y = multiple(nonce)
        s = pow(nonce, -1, ORDER) * (digest + x * key) % ORDER
        v = 27 + y % 2
        if 2 * s > ORDER:
            s, v = ORDER - s, 55 - v
        if s and parity in (None, v):
            return v, x, s
    return None
