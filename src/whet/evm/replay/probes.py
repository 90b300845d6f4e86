"""Calls that are made of one that succeeded: by others, at another time, with other words."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from whet.evm.keccak import keccak256
from whet.evm.meaning.abi_types import head_words
from whet.evm.replay.cases import LATEST, Case, Tried
from whet.evm.replay.mocks import BOB, CODED, FORWARDER, MOCKS
from whet.evm.replay.vectors import Method
from whet.evm.tac import WORD

BROKEN_WORDS = 12
"""Of calldata, from the first: those that are broken one by one; and as many slots."""
OTHERS = 2
"""People who call what somebody else's call succeeded with."""
FILLED = 4
"""Calls without zeros that are made of one that succeeded."""
DENSE = int.from_bytes(bytes(range(0x21, 0x41)), "big")


def by_others(winner: Tried) -> list[Case]:
    """By people whom the caller was compared with, by another person, through a contract that its caller calls, and with mocks
    for the words in storage that are 0: one may be who is called."""
    case = winner.case
    empty = [key for key, word in winner.result.reads.items() if not word]
    mocks = {key: MOCKS[number % len(MOCKS)] for number, key in enumerate(empty)}
    return [
        *(replace(case, caller=other) for other in _compared(winner)),
        replace(case, caller=BOB),
        between(case),
        replace(case, slots=case.slots | mocks),
    ]


def between(case: Case) -> Case:
    """The same call through a contract that its caller calls."""
    return replace(case, caller=FORWARDER, origin=case.begun_by)


def _compared(winner: Tried) -> list[int]:
    """Addresses that the caller's was compared with."""
    caller = winner.case.caller
    found = [b for a, b in winner.result.compared if a == caller]
    found += [a for a, b in winner.result.compared if b == caller]
    people = (one for one in found if 0 < one < 1 << 160 and one not in CODED and one != caller)
    return list(dict.fromkeys(people))[:OTHERS]


def probes(method: Method, winner: Tried, rng: Random) -> list[Case]:
    """At another time, with calldata broken, and with words read from storage that have something in every byte: what is
    kept of them, and what is thrown away, shows. Strings are as long as the shortest that has a slot of its own."""
    case, reads = winner.case, list(winner.result.reads.items())[:BROKEN_WORDS]
    found = [replace(case, timestamp=LATEST - 1, number=77)]
    found += [
        replace(case, data=data, plain=False, odd=True)
        for data in (broken(case.data) if method.types else [])
    ]
    for key, old in reads:
        for word in (old | DENSE << old.bit_length(), DENSE):
            found.append(replace(case, slots=case.slots | {key: word & WORD}))
    sizes = {size for pair in winner.result.compared if set(pair) & {31, 32} for size in pair}
    for key, old in reads:
        if (old >> 1 if old & 1 else (old & 0xFF) >> 1) in sizes:
            behind = (key[0], int.from_bytes(keccak256(key[1].to_bytes(32, "big")), "big"))
            found.append(replace(case, slots=case.slots | {key: 2 * 32 + 1, behind: DENSE}))
    found += [_filled(method, winner, rng) for _ in range(FILLED)]
    rng.shuffle(found)
    return found


def broken(data: bytes) -> list[bytes]:
    """The calldata a byte short, and with bits that few types have (the highest, the lowest) in one word each."""
    found = [data[:-1]]
    for at in range(4, min(len(data) - 31, 4 + 32 * BROKEN_WORDS), 32):
        word = int.from_bytes(data[at : at + 32], "big") | 1 << 255 | 1
        found.append(data[:at] + word.to_bytes(32, "big") + data[at + 32 :])
    return found


def _filled(method: Method, winner: Tried, rng: Random) -> Case:
    """With numbers that were 0 small ones, and words read from storage that were 0 some that may be more: of an amount of 0
    nothing shows."""
    data, at = winner.case.data, 4
    for kind in method.types or ():
        if kind.startswith(("uint", "int")) and "[" not in kind and data[at : at + 32] == bytes(32):
            data = data[:at] + rng.randrange(1, 4).to_bytes(32, "big") + data[at + 32 :]
        at += 32 * head_words(kind)
    slots = dict(winner.case.slots)
    for key, old in winner.result.reads.items():
        if not old and rng.random() < 0.7:
            slots[key] = rng.choice((1, 1 << 64, 10**18, (1 << 96) - 1))
    return replace(winner.case, data=data, slots=slots)
