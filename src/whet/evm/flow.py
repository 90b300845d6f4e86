"""Where jumps go: the whole code followed once, frame by frame, with a stack of which only places in the code are known.

A frame is code that begins at one offset and knows nothing of the stack beneath it. The root frame begins at offset 0
with an empty stack. A jump made while a place in the code lies pending on the frame's own stack may be a call; so its
target gets a frame of its own, explored once for all who jump there, and its exits are told to each of them: "goes on
at the word that was `slot` words below the top, took `takes` words, left these". So contexts are no longer than what
one frame itself has pending, a shared tail costs its own length, and recursion is a frame that waits for its own exits.

What is lost: everything of a word but whether it is a known offset of the code. A jump to a word that came through
memory, storage or arithmetic may go to any offset that was put there (`escaped`); those jumps are listed as dynamic.
Costs one step per block and context; `steps` bounds them, and what was cut off is said in `cut`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from whet.evm.blocks import Constant, Disassembly, Item

Word = int | None
"""A stack word inside a frame: i >= 0, the word `i` below the top when the frame began; -1 - offset, that offset of the
code; None, anything else."""

Stack = tuple[Word, ...]
"""The frame's own words, deepest first; beneath them lies what the frame began with, from slot `base` on."""

DEEPEST = 1024
"""Words: the EVM's limit of the stack, and of how deep a frame may look beneath itself."""

_EXITS_KEPT = 12
_DYNAMIC_TARGETS = 96


class Exit(NamedTuple):
    """A frame goes on at its slot `slot`, after taking `takes` words from the stack it began with and leaving `leaves`."""

    slot: int
    takes: int
    leaves: Stack


class Site(NamedTuple):
    """A way into a frame: from the block at `block`; by "jump" or by "return" of another frame; going on at `back`."""

    block: int
    how: str
    back: int


@dataclass(slots=True, eq=False)
class Frame:
    """Code from `entry` on. sites: calls whose return offset is known. blocks: offsets of the blocks it reached.
    deepest: how many words from beneath it were read or moved."""

    entry: int
    root: bool = False
    exits: list[Exit] = field(default_factory=list)
    sites: set[Site] = field(default_factory=set)
    blocks: set[int] = field(default_factory=set)
    seen: set[tuple[int, int, Stack]] = field(default_factory=set)
    waiting: dict[tuple[int, int, Stack, int, str], Frame] = field(default_factory=dict)
    deepest: int = 0


@dataclass(slots=True)
class Jumps:
    """What is known of the jump instructions at the end of blocks, by the offset of the block."""

    to: dict[int, set[int]] = field(default_factory=dict)
    dynamic: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    invalid: set[int] = field(default_factory=set)


class Flow:
    """Follow the code of `disassembly` from offset 0, at most `steps` steps.

    frames: {entry: Frame}. used: offsets that a jump took from the stack of an earlier block (so they must be kept
    apart in contexts). escaped: offsets put where they cannot be followed. fell, taken, jumped: blocks entered by
    running into them, by JUMPI, by a plain JUMP. lost: ways on that were not followed because nothing is known of the
    word they go to; some of them are impossible when running.
    """

    def __init__(self, disassembly: Disassembly, steps: int) -> None:
        self.disassembly = disassembly
        self.frames: dict[int, Frame] = {}
        self.jumps = Jumps()
        self.used: set[int] = set()
        self.escaped: dict[int, None] = {}
        self.fell: set[int] = set()
        self.taken: set[int] = set()
        self.jumped: set[int] = set()
        self.steps = 0
        self.lost = 0
        self.cut = False
        self.widths = tag_widths(disassembly.code, disassembly.jumpdests)
        self._leaves: dict[int, list[Item]] = {}
        self._work: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._lost: list[tuple[Frame, int, int, Stack]] = []
        self._follow(steps)

    def _follow(self, steps: int) -> None:
        self.root = Frame(0, root=True)
        self._visit(self.root, 0, 0, ())
        while self._work:
            if self.steps >= steps:
                self.cut = True
                return
            self.steps += 1
            work, arguments = self._work.popleft()
            work(*arguments)

    # One block in one context.

    def _step(self, frame: Frame, pc: int, base: int, stack: Stack) -> None:
        block = self.disassembly.block(pc)
        effect = block.effect
        opened = _reach(frame, base, stack, effect.takes)
        if opened is None:
            return
        base, stack = opened
        frame.deepest = max(frame.deepest, base)
        if effect.escapes:
            self._escape(effect.escapes)
        kept = stack[: len(stack) - effect.takes] + tuple([_resolve(item, stack) for item in self._kept(pc)])
        if len(kept) > DEEPEST:
            return
        if block.last in ("JUMP", "JUMPI"):
            target = effect.target
            if isinstance(target, Constant):
                word: Word = -1 - target.value
            else:
                word = _resolve(target, stack)
                if word is not None and word < 0:
                    self.used.add(-1 - word)
            self._jump(frame, pc, word, base, kept, block.last)
        if block.last == "JUMPI" or block.last == "FALL":
            self.fell.add(block.end)
            self._visit(frame, block.end, base, kept)

    def _jump(self, frame: Frame, pc: int, word: Word, base: int, stack: Stack, kind: str) -> None:
        if word is None:
            self._dynamic(frame, pc, base, stack)
        elif word >= 0:
            self._exit(frame, word, base, stack)
        elif -1 - word not in self.disassembly.jumpdests:
            self.jumps.invalid.add(pc)
        else:
            target = -1 - word
            self.jumps.to.setdefault(pc, set()).add(target)
            if kind == "JUMPI":
                self.taken.add(target)
                self._visit(frame, target, base, stack)
            else:
                self._go(frame, target, base, stack, pc, "jump")

    def _go(self, frame: Frame, target: int, base: int, stack: Stack, pc: int, how: str) -> None:
        """Control goes to `target`: as a call if the frame has a place in the code pending on its stack.

        What returns to the place right behind the jump of a call just goes on.
        """
        if how == "return" and self.disassembly.block(pc).end == target:
            return self._visit(frame, target, base, stack)
        for word in stack:
            if word is not None and word < 0:
                return self._call(frame, target, base, stack, pc, how)
        if how == "jump":
            self.jumped.add(target)
        self._visit(frame, target, base, stack)

    def _visit(self, frame: Frame, pc: int, base: int, stack: Stack) -> None:
        while stack and stack[0] == base - 1:
            base, stack = base - 1, stack[1:]
        key = (pc, base, stack)
        if key not in frame.seen:
            frame.seen.add(key)
            frame.blocks.add(pc)
            self._work.append((self._step, (frame, pc, base, stack)))

    # Frames that wait for one another.

    def _call(self, frame: Frame, target: int, base: int, stack: Stack, pc: int, how: str) -> None:
        callee = self.frames.get(target)
        if callee is None:
            callee = self.frames[target] = Frame(target)
            self._visit(callee, target, 0, ())
        key = (id(frame), base, stack, pc, how)
        if key not in callee.waiting:
            callee.waiting[key] = frame
            self._work.extend(
                (self._resume, (frame, callee, exit_, base, stack, pc, how)) for exit_ in callee.exits
            )

    def _exit(self, frame: Frame, slot: int, base: int, stack: Stack) -> None:
        exit_ = Exit(slot, base, stack)
        if exit_ in frame.exits:
            return
        if len(frame.exits) >= _EXITS_KEPT:
            exit_ = Exit(
                slot, base, tuple([word if word is not None and word < 0 else None for word in stack])
            )
            if exit_ in frame.exits or len(frame.exits) > 4 * _EXITS_KEPT:
                return
        frame.exits.append(exit_)
        self._work.extend(
            (self._resume, (caller, frame, exit_, its_base, its_stack, pc, how))
            for (_, its_base, its_stack, pc, how), caller in frame.waiting.items()
        )

    def _resume(
        self, frame: Frame, callee: Frame, exit_: Exit, base: int, stack: Stack, pc: int, how: str
    ) -> None:
        opened = _reach(frame, base, stack, exit_.takes)
        if opened is None:
            return
        base, stack = opened
        back = _at(stack, base, exit_.slot)
        left = stack[: len(stack) - exit_.takes] + tuple(
            [word if word is None or word < 0 else _at(stack, base, word) for word in exit_.leaves]
        )
        if len(left) > DEEPEST:
            return
        if back is None:
            self.lost += 1
        elif back >= 0:
            self._exit(frame, back, base, left)
        elif -1 - back in self.disassembly.jumpdests:
            self.used.add(-1 - back)
            callee.sites.add(Site(pc, how, -1 - back))
            self._go(frame, -1 - back, base, left, pc, "return")

    # Places in the code that went through memory, storage or arithmetic.

    def _escape(self, constants: list[Constant]) -> None:
        """Note those that are, or hold in their low 32 bits (as solc packs two), a place in the code."""
        for constant in constants:
            packed = constant.value > 0xFFFFFFFF
            offset = constant.value & 0xFFFFFFFF
            if packed or self._is_tag(constant):
                self._may_go(offset)

    def _may_go(self, offset: int) -> None:
        if offset not in self.disassembly.jumpdests or offset in self.escaped:
            return
        if len(self.escaped) >= _DYNAMIC_TARGETS:
            self.lost += 1
            return
        self.escaped[offset] = None
        for frame, pc, base, stack in list(self._lost):
            self._go(frame, offset, base, stack, pc, "jump")

    def _dynamic(self, frame: Frame, pc: int, base: int, stack: Stack) -> None:
        self.jumps.dynamic.add(pc)
        self.lost += not self.escaped
        self._lost.append((frame, pc, base, stack))
        for offset in list(self.escaped):
            self._go(frame, offset, base, stack, pc, "jump")

    def _kept(self, pc: int) -> list[Item]:
        """What the block leaves, without constants that are no places in the code."""
        leaves = self._leaves.get(pc)
        if leaves is None:
            leaves = [self._place(item) for item in self.disassembly.block(pc).effect.leaves]
            self._leaves[pc] = leaves
        return leaves

    def _place(self, item: Item) -> Item:
        if isinstance(item, Constant):
            return item if self._is_tag(item) and item.value in self.disassembly.jumpdests else None
        return item

    def _is_tag(self, constant: Constant) -> bool:
        return self.disassembly.code[constant.pc] - 0x5F in self.widths

    @property
    def blocks(self) -> set[int]:
        """Offsets of all blocks that any frame reached."""
        return self.root.blocks.union(*[frame.blocks for frame in self.frames.values()])


def _reach(frame: Frame, base: int, stack: Stack, depth: int) -> tuple[int, Stack] | None:
    """The stack with at least `depth` words of its own; None where there is nothing to take (stack underflow)."""
    missing = depth - len(stack)
    if missing <= 0:
        return base, stack
    if frame.root or base + missing > DEEPEST:
        return None
    return base + missing, tuple(range(base + missing - 1, base - 1, -1)) + stack


def _at(stack: Stack, base: int, depth: int) -> Word:
    """The word `depth` below the top."""
    return stack[-1 - depth] if depth < len(stack) else base + depth - len(stack)


def _resolve(item: Item, stack: Stack) -> Word:
    if item is None:
        return None
    if isinstance(item, int):
        return stack[-1 - item]
    if isinstance(item, Constant):
        return -1 - item.value
    word = stack[-1 - item.slot]
    return word if word is not None and (word >= 0 or -1 - word <= item.mask) else None


def tag_widths(code: bytes, dests: frozenset[int]) -> frozenset[int]:
    """How many bytes wide this code pushes places in itself: the widths of PUSH directly before a jump.

    solc uses one width for all of a contract, so that a number of another width is no place even if it happens to
    equal one. A width counts when a twentieth of those jumps have it.
    """
    counts: Counter[int] = Counter()
    at, size = 0, len(code)
    while at < size:
        width = code[at] - 0x5F
        if 0 < width <= 32:
            behind = at + 1 + width
            if width <= 4 and behind < size and code[behind] in (0x56, 0x57):
                counts[width] += int.from_bytes(code[at + 1 : behind], "big") in dests
            at = behind
        else:
            at += 1
    enough = sum(counts.values()) / 20
    return frozenset(width for width, count in counts.items() if count and count >= enough) or frozenset(
        {1, 2, 3, 4}
    )
