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

from collections.abc import Collection
from typing import NamedTuple

from whet.evm.flow import Bound, Exit, Flow, Frame


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


def choose(flow: Flow, refused: Collection[str] = ()) -> list[Private]:
    """The private functions, by offset; those whose names are `refused` are left out."""
    chosen: dict[str, Private] = {}
    for key, frame in sorted(flow.frames.items()):
        shape = _shape(frame.exits) if frame.exits else _dead_end(flow, frame)
        if shape is not None and not _returns_places(flow, frame) and _is_called(flow, frame):
            private = Private(*key, *shape)
            if private.name not in refused:
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
        if how != "jump":
            return None
        depth = next((i for i, word in enumerate(reversed(stack)) if word is not None and word < 0), None)
        if depth is None or -1 - stack[-1 - depth] not in flow.disassembly.jumpdests:  # type: ignore[operator]
            return None
        reverts = caller.root and frame.only_reverts
        if not reverts and not _pushed_in(flow, pc, -1 - stack[-1 - depth]):  # type: ignore[operator]
            return None
        depths.add(depth)
        backs.add(-1 - stack[-1 - depth])  # type: ignore[operator]
    if len(depths) != 1 or flow.cut or flow.lost or frame.deepest > min(depths):
        return None
    flow.used |= backs
    return depths.pop(), None


def _pushed_in(flow: Flow, pc: int, offset: int) -> bool:
    """The block at `pc` ends with a jump, and what lies behind that jump is `offset`: where a call goes on."""
    return flow.disassembly.block(pc).end == offset


def _is_called(flow: Flow, frame: Frame) -> bool:
    """Whether its ways in look like calls."""
    entry = frame.entry
    if not frame.exits:
        return entry not in flow.jumped
    end = flow.disassembly.block
    direct = any(site.how == "jump" and end(site.block).end == site.back for site in frame.sites)
    if direct:
        return True
    own_end = any(site.back == end(entry).end for site in frame.sites)
    if entry in flow.fell or own_end or not frame.sites:
        return False
    by_jump = any(site.how == "jump" for site in frame.sites)
    if entry in flow.taken:
        return any(site.root and site.how == "jump" for site in frame.sites)
    return by_jump or any(site.root for site in frame.sites) or not _only_shuffles(flow, entry)


def _only_shuffles(flow: Flow, entry: int) -> bool:
    """The block does nothing but sort the stack and go on at a fixed place: a continuation that several calls share."""
    block = flow.disassembly.block(entry)
    return block.last == "JUMP" and all(name in _STACK_ONLY for _, name, _ in block.instructions)


_STACK_ONLY = frozenset({"JUMPDEST", "PUSH", "DUP", "SWAP", "POP", "JUMP"})
