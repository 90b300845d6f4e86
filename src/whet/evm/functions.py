"""Which frames are functions: chosen among the frames that `flow` found, by how they are entered and left.

A frame can be a function when all its exits go on at the same slot, take that slot and everything above it (the
arguments) and leave the same number of words (the results). Any such frame could be called without changing what the
code does, so the choice below decides only how well the text reads, never what it means:

- code that is run into, or that a JUMPI goes to, is the middle of something, unless it is called from several places;
- code right behind the jump of a call is where that call goes on;
- code that returns but is entered only by returns of others is a function when those did not begin next to it.

A frame that never goes on is a function when a place to go on was pushed for it, always equally deep.
"""

from __future__ import annotations

from typing import NamedTuple

from whet.evm.flow import Flow
from whet.evm.stacks import Bound, Exit, Frame, Stack


class Private(NamedTuple):
    """A private function. bound: as of its frame. takes: arguments, bound ones too (the return offset lies beneath them).
    leaves: results; None for a function that never returns."""

    entry: int
    bound: Bound
    takes: int
    leaves: int | None

    @property
    def name(self) -> str:
        """ "p_" and the offset; with the functions that are called through an argument behind it."""
        return "_".join([f"p_{self.entry:x}", *(f"{offset:x}" for _, offset in self.bound)])


def choose(flow: Flow) -> list[Private]:
    """The private functions, by offset; of two of the same name one."""
    chosen: dict[str, Private] = {}
    for key, frame in sorted(flow.frames.items()):
        shape = _shape(frame.exits) if frame.exits else _dead_end(flow, frame)
        if shape is not None and not _returns_places(flow, frame) and _is_called(flow, frame):
            private = Private(*key, *shape)
            chosen.setdefault(private.name, private)
    return list(chosen.values())


_Shape = tuple[int, int | None]


def _shape(exits: list[Exit]) -> _Shape | None:
    slot, takes, leaves = exits[0].slot, exits[0].takes, len(exits[0].leaves)
    if takes != slot + 1 or any((e.slot, e.takes, len(e.leaves)) != (slot, takes, leaves) for e in exits):
        return None
    return slot, leaves


def _returns_places(flow: Flow, frame: Frame) -> bool:
    """Whether some of its results are offsets of the code that a caller jumps to: those would be lost in a call."""
    words = {word for exit_ in frame.exits for word in exit_.leaves if word is not None}
    if any(word < 0 and -1 - word in flow.used for word in words):
        return True
    passed = [word for word in words if word >= 0]
    for _, _, stack, _, _ in frame.waiting if passed else ():
        for slot in passed:
            word = stack[-1 - slot] if slot < len(stack) else None
            if word is not None and word < 0 and -1 - word in flow.used:
                return True
    return False


def _dead_end(flow: Flow, frame: Frame) -> _Shape | None:
    """The shape of a function that never returns: its arguments lie above the place that was pushed for it."""
    depths, backs = set(), set()
    for (_, _, stack, pc, how), caller in frame.waiting.items():
        pending = _pending(stack)
        if how != "jump" or pending is None or pending[1] not in flow.disassembly.jumpdests:
            return None
        depth, back = pending
        reverts = caller.root and frame.only_reverts
        if not reverts and flow.disassembly.block(pc).end != back:
            return None
        depths.add(depth)
        backs.add(back)
    if len(depths) != 1 or flow.cut or flow.lost or frame.deepest > min(depths):
        return None
    flow.used |= backs
    return depths.pop(), None


def _pending(stack: Stack) -> tuple[int, int] | None:
    """(depth below the top, offset) of the highest word that is a place in the code."""
    for depth, word in enumerate(reversed(stack)):
        if word is not None and word < 0:
            return depth, -1 - word
    return None


def _is_called(flow: Flow, frame: Frame) -> bool:
    """Whether its ways in look like calls."""
    entry = frame.entry
    if not frame.exits:
        return entry not in flow.jumped
    block = flow.disassembly.block
    if any(site.how == "jump" and block(site.block).end == site.back for site in frame.sites):
        return True
    own_end = any(site.back == block(entry).end for site in frame.sites)
    if entry in flow.fell or own_end or not frame.sites:
        return False
    by_jump = any(site.how == "jump" for site in frame.sites)
    if entry in flow.taken:
        return any(site.root and site.how == "jump" for site in frame.sites)
    return by_jump or any(site.root for site in frame.sites) or not block(entry).only_sorts
