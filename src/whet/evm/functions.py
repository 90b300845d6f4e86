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

from whet.evm.flow import Exit, Flow, Frame


class Shape(NamedTuple):
    """takes: arguments (the return offset lies beneath them). leaves: results; None for a function that never returns."""

    takes: int
    leaves: int | None


def choose(flow: Flow, refused: frozenset[int] = frozenset()) -> dict[int, Shape]:
    """{offset: shape} of the private functions; `refused` ones are left out."""
    chosen: dict[int, Shape] = {}
    for entry, frame in sorted(flow.frames.items()):
        if entry in refused:
            continue
        shape = _shape(frame.exits) if frame.exits else _dead_end(flow, frame)
        if shape is not None and not _returns_places(flow, frame) and _is_called(flow, frame):
            chosen[entry] = shape
    return chosen


def _shape(exits: list[Exit]) -> Shape | None:
    slot, takes, leaves = exits[0].slot, exits[0].takes, len(exits[0].leaves)
    if takes != slot + 1 or any((e.slot, e.takes, len(e.leaves)) != (slot, takes, leaves) for e in exits):
        return None
    return Shape(slot, leaves)


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


def _dead_end(flow: Flow, frame: Frame) -> Shape | None:
    """The shape of a function that never returns: its arguments lie above the place that was pushed for it."""
    depths = set()
    for _, _, stack, pc, how in frame.waiting:
        if how != "jump":
            return None
        depth = next((i for i, word in enumerate(reversed(stack)) if word is not None and word < 0), None)
        if depth is None or -1 - stack[-1 - depth] not in flow.disassembly.jumpdests:  # type: ignore[operator]
            return None
        if not _pushed_in(flow, pc, -1 - stack[-1 - depth]):  # type: ignore[operator]
            return None
        depths.add(depth)
    if len(depths) != 1 or flow.cut or flow.lost or frame.deepest > min(depths):
        return None
    return Shape(depths.pop(), None)


def _pushed_in(flow: Flow, pc: int, offset: int) -> bool:
    """The block at `pc` ends with a jump, and what lies behind that jump is `offset`: where a call goes on."""
    return flow.disassembly.block(pc).end == offset


def _is_called(flow: Flow, frame: Frame) -> bool:
    entry = frame.entry
    block_end = flow.disassembly.block
    sites = (
        [s for s in frame.sites if s.how == "jump" or block_end(s.block).end != entry]
        if frame.exits
        else frame.sites
    )
    if not frame.exits:
        return True
    if not sites:
        return False
    entered = entry in flow.taken or entry in flow.fell
    backs = {site.back for site in sites}
    direct = {site.back for site in sites if block_end(site.block).end == site.back}
    if entered:
        return len(direct) >= 2
    return bool(backs)
