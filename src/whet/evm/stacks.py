"""What `flow` knows of stacks and frames: the nouns, and what happens to a stack.

A frame is code that begins at one offset and knows nothing of the stack beneath it. Of a word only three things are
known: that it is an offset of the code, that it is one that the frame began with, and, for the success of an external
call, whether it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from whet.evm.blocks import Constant, Effect, Item

Word = int | None
"""A stack word inside a frame: i >= 0, the word `i` below the top when the frame began; -1 - offset, that offset of the
code; None, anything else."""

Stack = tuple[Word, ...]
"""The frame's own words, deepest first; beneath them lies what the frame began with, from slot `base` on."""

ZERO, NOT_ZERO = 1 << 30, (1 << 30) + 1
"""Stand for a word that says whether an external call succeeded, once a JUMPI has asked it: what follows a failure, in
`try` and `catch`, asks again, and its other way, never gone, would leave the stack in disorder."""

DEEPEST = 1024
"""Words: the EVM's limit of the stack, and of how deep a frame may look beneath itself."""


class Exit(NamedTuple):
    """A frame goes on at its slot `slot`, after taking `takes` words from the stack it began with and leaving `leaves`."""

    slot: int
    takes: int
    leaves: Stack


class Site(NamedTuple):
    """A way into a frame: from the block at `block`; by "jump" or by "return" of another frame; going on at `back`.
    root: from the root frame, where public functions are entered."""

    block: int
    how: str
    back: int
    root: bool


Bound = tuple[tuple[int, int], ...]
"""((slot, offset), ...): words that a frame begins with and that are known, since it jumps to them: function pointers."""


@dataclass(slots=True, eq=False)
class Frame:
    """Code from `entry` on. indirect: slots that it calls as functions; callers that know them get a frame of their own,
    in which they are `bound`. sites: calls whose return offset is known. blocks: offsets of the blocks it reached.
    deepest: how many words from beneath it were read or moved. only_reverts: it met no STOP or RETURN of its own."""

    entry: int
    bound: Bound = ()
    root: bool = False
    indirect: set[int] = field(default_factory=set)
    exits: list[Exit] = field(default_factory=list)
    sites: set[Site] = field(default_factory=set)
    blocks: set[int] = field(default_factory=set)
    seen: set[tuple[int, int, Stack]] = field(default_factory=set)
    waiting: dict[tuple[int, int, Stack, int, str], Frame] = field(default_factory=dict)
    deepest: int = 0
    only_reverts: bool = True


def never(effect: Effect, stack: Sequence[int | None]) -> str:
    """Which way of a JUMPI is never gone, since what it tests is known: "taken", "fell", or "" """
    if effect.condition is None:
        return ""
    slot, flipped = effect.condition
    word = stack[-1 - slot]
    if word not in (ZERO, NOT_ZERO):
        return ""
    return "taken" if (word == ZERO) != flipped else "fell"


def show(stack: Stack, shown: tuple[tuple[int, ...], tuple[int, ...]], taken: bool) -> Stack:
    """The stack with what a JUMPI shows of it where it is taken, or not."""
    if shown == ((), ()):
        return stack
    words = list(stack)
    for places, word in zip(shown, (NOT_ZERO, ZERO) if taken else (ZERO, NOT_ZERO), strict=True):
        for place in places:
            words[-1 - place] = word
    return tuple(words)


def forget(stack: Stack) -> Stack:
    """The stack without what was shown."""
    if ZERO in stack or NOT_ZERO in stack:
        return tuple([None if word in (ZERO, NOT_ZERO) else word for word in stack])
    return stack


def reach(frame: Frame, base: int, stack: Stack, depth: int) -> tuple[int, Stack] | None:
    """The stack with at least `depth` words of its own; None where there is nothing to take (stack underflow)."""
    missing = depth - len(stack)
    if missing <= 0:
        return base, stack
    if frame.root or base + missing > DEEPEST:
        return None
    return base + missing, tuple(range(base + missing - 1, base - 1, -1)) + stack


def word_at(stack: Stack, base: int, depth: int) -> Word:
    """The word `depth` below the top."""
    return stack[-1 - depth] if depth < len(stack) else base + depth - len(stack)


def resolve(item: Item, stack: Stack) -> Word:
    if item is None:
        return None
    if isinstance(item, int):
        return stack[-1 - item]
    if isinstance(item, Constant):
        return -1 - item.value
    word = stack[-1 - item.slot]
    if word is None or word >= ZERO:
        return None
    return word if word >= 0 or -1 - word <= item.mask else None
