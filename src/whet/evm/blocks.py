"""Basic blocks of bytecode, and what each does to the stack as far as jumps care.

A block begins at a JUMPDEST, at offset 0 or behind a JUMPI, and ends with a jump, a halt, or before the next JUMPDEST.
Its `Effect` says which stack words it takes and leaves, where only three things are known of a word: it is one that
was there before (a slot), it is a constant that was pushed, or it was computed (None). Computed once per block, so
that following jumps through thousands of contexts costs a few tuple operations each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whet.evm.opcodes import HALTS, OPCODES

Instruction = tuple[int, str, int]
"""(offset, name, immediate value; 0 for all but PUSH). DUPn and SWAPn are "DUP" and "SWAP" with n as the value."""

Slot = int
"""A stack word from before the block: 0 is the top."""


class Constant(NamedTuple):
    """A word that was pushed: its value, and the offset of the PUSH."""

    value: int
    pc: int


class Masked(NamedTuple):
    """A word from before of which only low bits are kept, as solc does with function pointers."""

    slot: Slot
    mask: int


Item = Slot | Constant | Masked | None


@dataclass(slots=True)
class RawBlock:
    """pc, end: offsets of the first instruction and behind the last. last: JUMP, JUMPI, a halt, or "FALL" (runs into the
    next block at `end`); an undefined byte is INVALID, and the end of the code is STOP, as the Yellow Paper says."""

    pc: int
    end: int
    instructions: list[Instruction]
    last: str
    effect: Effect


@dataclass(slots=True)
class Effect:
    """takes: how many words of the entry stack are read or moved; they are replaced by `leaves` (deepest first).
    target: of a jump, already taken from the stack. escapes: constants that were stored or packed into another word."""

    takes: int
    leaves: list[Item]
    target: Item
    escapes: list[Constant]


class Disassembly:
    """The instructions of `code`, block by block, decoded when asked for."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.jumpdests = jumpdests(code)
        self._blocks: dict[int, RawBlock] = {}

    def block(self, pc: int) -> RawBlock:
        """The block that begins at `pc`, which control reaches."""
        found = self._blocks.get(pc)
        if found is None:
            instructions, end, last = self._decode(pc)
            found = self._blocks[pc] = RawBlock(pc, end, instructions, last, _effect(instructions, last))
        return found

    def _decode(self, pc: int) -> tuple[list[Instruction], int, str]:
        code, size, at = self.code, len(self.code), pc
        instructions: list[Instruction] = []
        while at < size:
            byte = code[at]
            if byte == 0x5B and at != pc:
                return instructions, at, "FALL"
            kind = _DECODED[byte]
            name, value, length = kind
            if length > 1:
                value = int.from_bytes(code[at + 1 : at + length].ljust(length - 1, b"\0"), "big")
            instructions.append((at, name, value))
            at += length
            if name in _LAST:
                return instructions, at, name
        return instructions, at, "STOP"


def jumpdests(code: bytes) -> frozenset[int]:
    """Offsets that a jump may go to: every 0x5b that is not inside the data of a PUSH (Yellow Paper, 9.4.3)."""
    found, at, size = [], 0, len(code)
    while at < size:
        byte = code[at]
        if byte == 0x5B:
            found.append(at)
        at += byte - 0x5E if 0x60 <= byte <= 0x7F else 1
    return frozenset(found)


_LAST = HALTS | {"JUMP", "JUMPI"}


def _decoded(byte: int) -> tuple[str, int, int]:
    opcode = OPCODES.get(byte)
    if opcode is None:
        return ("INVALID", 0, 1)
    if 0x80 <= byte <= 0x8F:
        return ("DUP", byte - 0x7F, 1)
    if 0x90 <= byte <= 0x9F:
        return ("SWAP", byte - 0x8F, 1)
    if 0x5F <= byte <= 0x7F:
        return ("PUSH", 0, 1 + opcode.immediate)
    return (opcode.name, 0, 1)


_DECODED = [_decoded(byte) for byte in range(256)]
_ARITY = {opcode.name: (opcode.pops, opcode.pushes) for opcode in OPCODES.values()}


_PUTS = {"MSTORE": (1,), "SSTORE": (1,), "TSTORE": (1,), "SHL": (1,), "OR": (0, 1), "MUL": (0, 1), "ADD": (0, 1)}
"""Which arguments (0 is the top) end up, whole or in part, where they may be read again as a place in the code."""


def _effect(instructions: list[Instruction], last: str) -> Effect:
    stack: list[Item] = []
    takes = 0
    escapes: list[Constant] = []
    target: Item = None

    def need(words: int) -> None:
        nonlocal takes
        missing = words - len(stack)
        if missing > 0:
            stack[:0] = range(takes + missing - 1, takes - 1, -1)
            takes += missing

    for pc, name, value in instructions:
        if name == "PUSH":
            stack.append(Constant(value, pc))
        elif name == "DUP":
            need(value)
            stack.append(stack[-value])
        elif name == "SWAP":
            need(value + 1)
            stack[-1], stack[-value - 1] = stack[-value - 1], stack[-1]
        elif name == "POP":
            need(1)
            stack.pop()
        elif name in ("JUMP", "JUMPI"):
            need(_ARITY[name][0])
            target = stack.pop()
            if name == "JUMPI":
                stack.pop()
        elif name != "JUMPDEST":
            pops, pushes = _ARITY[name]
            if pops:
                need(pops)
                taken = stack[-pops:]
                del stack[-pops:]
                if name == "AND" and (kept := _masked(taken[0], taken[1])) is not None:
                    stack.append(kept)
                    continue
                put = [taken[-1 - at] for at in _PUTS.get(name, ())]
                escapes += [item for item in put if isinstance(item, Constant)]
            if pushes:
                stack.append(None)
    return Effect(takes, stack, target if last in ("JUMP", "JUMPI") else None, escapes)


def _masked(a: Item, b: Item) -> Item:
    """AND with a mask of low bits wide enough for any offset: the word itself, if it is a place in the code."""
    for mask, other in ((b, a), (a, b)):
        if not isinstance(mask, Constant) or mask.value < 0xFFFF or mask.value & (mask.value + 1):
            continue
        if isinstance(other, int):
            return Masked(other, mask.value)
        if isinstance(other, Constant) and other.value <= mask.value:
            return other
    return None
