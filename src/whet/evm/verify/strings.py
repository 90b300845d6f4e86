"""Storage that is read as a string and is none: seeded words that no compiler writes, which only some code refuses.

The slot of a string holds 31 bytes at most and twice their number, or twice the number and one (Solidity, "Layout of State
Variables in Storage"). Code that checks it ends with Panic(0x22), other code reads on.
"""

from __future__ import annotations

from whet.evm.replay.mocks import TARGET
from whet.evm.replay.trace import Trace

PANIC = (0x4E487B71 << 256 | 0x22).to_bytes(36, "big")
SHORT = 31


def is_string(word: int) -> bool:
    """Whether a string's slot may hold that word."""
    size = (word & 0xFF) >> 1
    return word >> 1 > SHORT if word & 1 else size <= SHORT


def string_of(word: int) -> int:
    """A word that a string's slot may hold: the first five bytes of that one, their number."""
    return word >> 216 << 216 | 10


def refused(traced: Trace) -> tuple[int, int] | None:
    """(address, slot) of the word that the last condition of a call which ends with that panic was about, if it is no
    string."""
    if not traced.decisions:
        return None
    slots = [at for kind, *at in traced.decisions[-1].word.leaves if kind == "slot" and at[0] == TARGET]
    return (slots[0][0], slots[0][1]) if len(slots) == 1 else None
