"""Runtime code of a corpus's contract with its immutables, for the benches that execute it.

The constructor is executed where the contract will stand, with arguments of its types: what it returns is the code, so that
immutables fit one another and the constructor's own checks (a cached domain with its chain and address, a name in a word).
Where no arguments that were tried please it, or a harness hands over a mere 1, immutables are words made here: most are
addresses of mocks; so is what a constructor asks a mock for, where that may be an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any

import eth_abi

from whet.evm.interpret import Block, Transaction
from whet.evm.replay.mocks import ADDRESS, ANSWERS, MOCKS, MODE, OWNER, TARGET, WORD, people_and_mocks
from whet.evm.replay.reference import run_reference
from whet.evm.replay.vectors import Pool, split_types, type_of
from whet.evm.world import Account, World

TRIES = 20
"""Sets of arguments for a constructor: plain ones, then by chance."""
GIVES_ADDRESS = MappingProxyType({MODE: 1 + list(ANSWERS).index("address"), ADDRESS: MOCKS[1]})
GIVES_DECIMALS = MappingProxyType({MODE: 1 + list(ANSWERS).index("word"), WORD: 18})
"""Of constructors that ask a token."""
PLAIN = {"bool": True, "string": "Token", "bytes": b"", "uint8": 18}


def deployed(row: dict[str, Any]) -> bytes:
    """The code as it would stand on a chain, the same for builds of one contract."""
    runtime = bytes.fromhex(row["runtime"])
    if not row.get("immutables"):
        return runtime
    code = constructed(row) or constructed(row, answers=GIVES_DECIMALS)
    if not code:
        return _filled(runtime, row, lambda at: True, (*MOCKS, *MOCKS, 18, 10**18))
    code = _with_addresses(code, constructed(row, answers=GIVES_ADDRESS), row)
    if row["kind"] != "subclass":
        return code
    elsewhere = constructed(row, chain_id=5)
    return _filled(code, row, lambda at: _is_one(code[at]) and _is_one(elsewhere[at]), MOCKS)


def constructed(
    row: dict[str, Any], chain_id: int = 1, answers: Mapping[int, int] = MappingProxyType({})
) -> bytes:
    """What the constructor gives; b"" where it fails with all that was tried, or gives something else. answers: what stands in
    the storage of mocks, which says how they answer it (1 without)."""
    creation, size = bytes.fromhex(row["creation"]), len(row["runtime"]) // 2
    for arguments in _arguments(row):
        accounts = people_and_mocks() | {TARGET: Account()}
        for mock in MOCKS:
            accounts[mock] = replace(accounts[mock], storage={**accounts[mock].storage, **answers})
        code = {TARGET: creation + arguments}
        outcome = run_reference(World(accounts), code, Transaction(OWNER, TARGET), Block(chain_id=chain_id))
        if outcome.status == "success" and len(outcome.data) == size:
            return outcome.data
    return b""


def _with_addresses(code: bytes, asked: bytes, row: dict[str, Any]) -> bytes:
    """The code with the address of a mock where its constructor asked a mock for one, and was given a 1. asked: the code that
    it gives where mocks answer with that address."""
    filled = bytearray(code)
    for places in row["immutables"].values() if asked else ():
        for at in (slice(place["start"], place["start"] + place["length"]) for place in places):
            if _is_one(code[at]) and int.from_bytes(asked[at], "big") == GIVES_ADDRESS[ADDRESS]:
                filled[at] = asked[at]
    return bytes(filled)


def _is_one(word: bytes) -> bool:
    """On every chain: the literal that a harness hands over (`solc.surface`), as address too, at which nothing answers."""
    return int.from_bytes(word, "big") == 1


def _filled(code: bytes, row: dict[str, Any], unset: Callable[[slice], bool], words: Sequence[int]) -> bytes:
    """The code with one of `words` where no constructor chose one, by their order (ids differ between settings)."""
    filled, rng = bytearray(code), Random("immutables")
    for _, places in sorted(row["immutables"].items(), key=lambda pair: int(pair[0])):
        value = rng.choice(words).to_bytes(32, "big")
        for at in (slice(place["start"], place["start"] + place["length"]) for place in places):
            if unset(at):
                filled[at] = value[at.start - at.stop :]
    return bytes(filled)


def _arguments(row: dict[str, Any]) -> Iterator[bytes]:
    inputs = next((entry["inputs"] for entry in row["abi"] if entry["type"] == "constructor"), [])
    types = [type_of(one) for one in inputs]
    if not types:
        yield b""
        return
    rng = Random(row["contract"])
    pool = Pool(rng, [])
    plain = partial(_plain, mocks=iter(MOCKS * 100))
    for value in (plain, *[pool.value] * (TRIES - 1)):
        yield eth_abi.encode(types, [value(kind) for kind in types])


def _plain(kind: str, mocks: Iterator[int]) -> Any:
    if kind.endswith("]"):
        inner, count = kind[:-1].rsplit("[", 1)
        return [_plain(inner, mocks) for _ in range(int(count) if count else 1)]
    if kind.startswith("("):
        return tuple(_plain(part, mocks) for part in split_types(kind[1:-1]))
    if kind == "address":
        return f"0x{next(mocks):040x}"
    if kind in PLAIN:
        return PLAIN[kind]
    if kind.startswith("bytes"):
        return bytes(range(1, int(kind[5:]) + 1))
    bits = int(kind.lstrip("uint") or 256)
    return 10**18 if bits > 64 else 1
