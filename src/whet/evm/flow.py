"""Where jumps go: the whole code followed once, frame by frame, with a stack of which only places in the code are known.

A frame is code that begins at one offset and knows nothing of the stack beneath it. The root frame begins at offset 0
with an empty stack. A jump made while a place in the code lies pending on the frame's own stack may be a call; so its
target gets a frame of its own, explored once for all who jump there, and its exits are told to each of them: "goes on
at the word that was `slot` words below the top, took `takes` words, left these". So contexts are no longer than what
one frame itself has pending, a shared tail costs its own length, and recursion is a frame that waits for its own exits.

What is lost: everything of a word but whether it is a known offset of the code. A jump to a word that came through
memory, storage or arithmetic may go to any offset that was put there (`escaped`); those jumps are listed as dynamic.
Costs one step per block and context, one more per 16 words on its stack and per 4 instructions decoded; `steps` bounds
them together with what waits to be done, and what was cut off is said in `cut`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from whet.evm.blocks import Constant, Disassembly, Item, tag_widths
from whet.evm.stacks import (
    DEEPEST,
    ZERO,
    Bound,
    Exit,
    Frame,
    Site,
    Stack,
    Word,
    forget,
    never,
    reach,
    resolve,
    show,
    word_at,
)

_BOUND_AT_MOST = 4
_EXITS_KEPT = 12
_DYNAMIC_TARGETS = 96


class Flow:
    """Follow the code of `disassembly` from offset 0, at most `steps` steps.

    frames: {(entry, bound): Frame}. used: offsets that a jump took from the stack of an earlier block (so they must be kept
    apart in contexts). escaped: offsets put where they cannot be followed. fell, taken, jumped: blocks entered by
    running into them, by JUMPI, by a plain JUMP. lost: ways on that were not followed because nothing is known of the
    word they go to; some of them are impossible when running.
    """

    def __init__(self, disassembly: Disassembly, steps: int) -> None:
        self.disassembly = disassembly
        self.frames: dict[tuple[int, Bound], Frame] = {}
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
        self._passing: dict[int, bool] = {}
        self._behind: set[int] = set()
        self._work: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._lost: list[tuple[Frame, int, int, Stack]] = []
        self._follow(steps)

    def _follow(self, steps: int) -> None:
        self.root = Frame(0, root=True)
        self._visit(self.root, 0, 0, ())
        while self._work:
            if self.steps + len(self._work) + self.disassembly.decoded // 4 > steps:
                self.cut = True
                return
            self.steps += 1
            work, arguments = self._work.popleft()
            work(*arguments)

    # One block in one context.

    def _step(self, frame: Frame, pc: int, base: int, stack: Stack) -> None:
        block = self.disassembly.block(pc)
        effect = block.effect
        opened = reach(frame, base, stack, effect.takes)
        if opened is None:
            return
        base, stack = opened
        frame.deepest = max(frame.deepest, base)
        gone = never(effect, stack)
        if effect.escapes:
            self._escape(effect.escapes)
        kept = stack[: len(stack) - effect.takes] + tuple([resolve(item, stack) for item in self._kept(pc)])
        if len(kept) > DEEPEST:
            return
        if block.last in ("STOP", "RETURN"):
            frame.only_reverts = False
        if block.last in ("JUMP", "JUMPI") and gone != "taken":
            target = effect.target
            if isinstance(target, Constant):
                word: Word = -1 - target.value
            else:
                word = resolve(target, stack)
                if word is not None and word < 0:
                    self.used.add(-1 - word)
            self._jump(frame, pc, word, base, show(kept, effect.shown, True), block.last)
        if block.last in ("JUMPI", "FALL") and gone != "fell":
            self.fell.add(block.end)
            self._visit(frame, block.end, base, show(kept, effect.shown, False))

    def _jump(self, frame: Frame, pc: int, word: Word, base: int, stack: Stack, kind: str) -> None:
        if word is None or word >= ZERO:
            self._dynamic(frame, pc, base, stack)
        elif word >= 0:
            self._leave(frame, word, base, stack)
        elif -1 - word in self.disassembly.jumpdests:
            target = -1 - word
            if kind == "JUMPI":
                self.taken.add(target)
                self._visit(frame, target, base, stack)
            else:
                self._go(frame, target, base, stack, pc, "jump")

    def _go(self, frame: Frame, target: int, base: int, stack: Stack, pc: int, how: str) -> None:
        """Control goes to `target`: as a call if the frame has a place in the code pending on its stack.

        What returns to, or jumps to, the place right behind the jump just goes on, and so does what returns to a place
        right behind the block that pushed it.
        """
        if self.disassembly.block(pc).end == target or (how == "return" and target in self._behind):
            return self._visit(frame, target, base, stack)
        for word in stack if not self._passes(target) else ():
            if word is not None and word < 0:
                return self._call(frame, target, base, stack, pc, how)
        if how == "jump":
            self.jumped.add(target)
        self._visit(frame, target, base, stack)

    def _passes(self, target: int) -> bool:
        """The block only sorts the stack and goes on at a fixed place, with nothing new pending: part of the way."""
        known = self._passing.get(target)
        if known is None:
            block = self.disassembly.block(target)
            known = (
                block.only_sorts
                and isinstance(block.effect.target, Constant)
                and sum(name == "PUSH" for _, name, _ in block.instructions) == 1
            )
            self._passing[target] = known
        return known

    def _visit(self, frame: Frame, pc: int, base: int, stack: Stack) -> None:
        while stack and stack[0] == base - 1:
            base, stack = base - 1, stack[1:]
        key = (pc, base, stack)
        if key not in frame.seen:
            self.steps += len(stack) >> 4  # what is kept and compared grows with the stack
            frame.seen.add(key)
            frame.blocks.add(pc)
            self._work.append((self._step, (frame, pc, base, stack)))

    # Frames that wait for one another.

    def _call(self, frame: Frame, target: int, base: int, stack: Stack, pc: int, how: str) -> None:
        callee = self._frame(target, ())
        while callee.indirect:
            bound = self._bound(frame, callee, base, stack)
            if bound == callee.bound:
                break
            callee = self._frame(target, bound)
        key = (id(frame), base, stack, pc, how)
        if key not in callee.waiting:
            callee.waiting[key] = frame
            self._work.extend(
                (self._resume, (frame, callee, exit_, base, stack, pc, how)) for exit_ in callee.exits
            )

    def _frame(self, entry: int, bound: Bound) -> Frame:
        frame = self.frames.get((entry, bound))
        if frame is None:
            frame = self.frames[entry, bound] = Frame(entry, bound)
            deepest = max((slot for slot, _ in bound), default=-1)
            known = dict(bound)
            stack = tuple([-1 - known[slot] if slot in known else slot for slot in range(deepest, -1, -1)])
            self._visit(frame, entry, deepest + 1, stack)
        return frame

    def _bound(self, frame: Frame, callee: Frame, base: int, stack: Stack) -> Bound:
        """What is known here of the words that `callee` calls; those that came with `frame` are asked of its callers."""
        known = dict(callee.bound)
        for slot in sorted(callee.indirect):
            word = word_at(stack, base, slot)
            if word is None or word >= ZERO:
                self.lost += 1
            elif word >= 0:
                self._indirect(frame, word)
            elif len(known) < _BOUND_AT_MOST and -1 - word in self.disassembly.jumpdests:
                known[slot] = -1 - word
                self.used.add(-1 - word)
        return tuple(sorted(known.items()))

    def _indirect(self, frame: Frame, slot: int) -> None:
        if frame.root or slot in frame.indirect:
            return
        frame.indirect.add(slot)
        for (_, base, stack, pc, how), caller in list(frame.waiting.items()):
            self._work.append((self._call, (caller, frame.entry, base, stack, pc, how)))

    def _leave(self, frame: Frame, slot: int, base: int, stack: Stack) -> None:
        """A jump to a word that the frame began with: back, or, with a place to go on pending, a call of it."""
        if any(word is not None and word < 0 for word in stack):
            self._indirect(frame, slot)
        else:
            self._exit(frame, slot, base, stack)

    def _exit(self, frame: Frame, slot: int, base: int, stack: Stack) -> None:
        stack = forget(stack)
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
        opened = reach(frame, base, stack, exit_.takes)
        if opened is None:
            return
        base, stack = opened
        back = word_at(stack, base, exit_.slot)
        left = stack[: len(stack) - exit_.takes] + tuple(
            [word if word is None or word < 0 else word_at(stack, base, word) for word in exit_.leaves]
        )
        if len(left) > DEEPEST:
            return
        if back is None or back >= ZERO:
            self.lost += 1
        elif back >= 0:
            self._leave(frame, back, base, left)
        elif -1 - back in self.disassembly.jumpdests:
            self.used.add(-1 - back)
            callee.sites.add(Site(pc, how, -1 - back, frame.root))
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
        self.lost += not self.escaped
        self._lost.append((frame, pc, base, stack))
        for offset in list(self.escaped):
            self._go(frame, offset, base, stack, pc, "jump")

    def _kept(self, pc: int) -> list[Item]:
        """What the block leaves, without constants that are no places in the code."""
        leaves = self._leaves.get(pc)
        if leaves is None:
            block = self.disassembly.block(pc)
            leaves = [self._place(item) for item in block.effect.leaves]
            if any(isinstance(item, Constant) and item.value == block.end for item in leaves):
                self._behind.add(block.end)
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
