"""Basic blocks of bytecode, and what each does to the stack as far as jumps care.

A block begins at a JUMPDEST, at offset 0 or behind a JUMPI, and ends with a jump, a halt, or before the next JUMPDEST.
Its `Effect` says which stack words it takes and leaves, where only three things are known of a word: it is one that
was there before (a slot), it is a constant that was pushed, or it was computed (None). Computed once per block, so
that following jumps through thousands of contexts costs a few tuple operations each.
"""

from __future__ import annotations

from collections import Counter
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

    @property
    def only_sorts(self) -> bool:
        """It does nothing but sort the stack and go on at a fixed place."""
        return self.last == "JUMP" and all(name in _STACK_ONLY for _, name, _ in self.instructions)


_STACK_ONLY = frozenset({"JUMPDEST", "PUSH", "DUP", "SWAP", "POP", "JUMP"})


@dataclass(slots=True)
class Effect:
    """takes: how many words of the entry stack are read or moved; they are replaced by `leaves` (deepest first).
    target: of a jump, already taken from the stack. escapes: constants that were stored or packed into another word.
    grows: how many words more than on entry the stack has at its highest.

    condition: of a JUMPI on a word from before, or on ISZEROs of it: (slot, whether their number is odd).
    shown: of a JUMPI on the success of an external call of this block: which words of `leaves` (0 is the top) are not 0,
    and which are 0, where it goes; the other way round where it does not. (`try` ends with a PUSH 1 that runs into what
    asks whether it succeeded: shown as the latter.)"""

    takes: int
    leaves: list[Item]
    target: Item
    escapes: list[Constant]
    grows: int
    condition: tuple[Slot, bool] | None = None
    shown: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


LONGEST = 1024
"""Instructions of one block; a longer stretch is several, so that budgets can cut it."""


class Disassembly:
    """The instructions of `code`, block by block, decoded when asked for."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.jumpdests = jumpdests(code)
        self.decoded = 0
        """Instructions so far, for budgets."""
        self._blocks: dict[int, RawBlock] = {}

    def block(self, pc: int) -> RawBlock:
        """The block that begins at `pc`, which control reaches."""
        found = self._blocks.get(pc)
        if found is None:
            instructions, end, last = self._decode(pc)
            self.decoded += len(instructions)
            found = self._blocks[pc] = RawBlock(pc, end, instructions, last, _effect(instructions, last))
        return found

    def _decode(self, pc: int) -> tuple[list[Instruction], int, str]:
        code, size, at = self.code, len(self.code), pc
        instructions: list[Instruction] = []
        while at < size:
            byte = code[at]
            if (byte == 0x5B and at != pc) or len(instructions) == LONGEST:
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


_PUTS = {
    "MSTORE": (1,),
    "SSTORE": (1,),
    "TSTORE": (1,),
    "SHL": (1,),
    "OR": (0, 1),
    "MUL": (0, 1),
    "ADD": (0, 1),
}
"""Which arguments (0 is the top) end up, whole or in part, where they may be read again as a place in the code."""


_CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"})


class _Computed:
    """A word computed in this block. zero_of: what it is the ISZERO of. is_call: it tells whether a call succeeded."""

    __slots__ = ("is_call", "zero_of")

    def __init__(self, zero_of: _Word | None = None, *, is_call: bool = False) -> None:
        self.zero_of, self.is_call = zero_of, is_call


_Word = Item | _Computed


def _effect(instructions: list[Instruction], last: str) -> Effect:
    stack: list[_Word] = []
    takes = grows = 0
    escapes: list[Constant] = []
    target: _Word = None
    condition: _Word = None

    def need(words: int) -> None:
        nonlocal takes
        missing = words - len(stack)
        if missing > 0:
            stack[:0] = range(takes + missing - 1, takes - 1, -1)
            takes += missing

    for pc, name, value in instructions:
        grows = max(grows, len(stack) - takes)
        if name == "PUSH":
            stack.append(Constant(value, pc))
        elif name == "DUP":
            need(value)
            stack.append(stack[-value])
        elif name == "SWAP":
            need(value + 1)
            stack[-1], stack[-value - 1] = stack[-value - 1], stack[-1]
        elif name != "JUMPDEST":
            pops, pushes = _ARITY[name]
            need(pops)
            taken = stack[len(stack) - pops :]
            del stack[len(stack) - pops :]
            if name in ("JUMP", "JUMPI"):
                target, condition = taken[-1], taken[0]
            elif name == "AND":
                stack.append(_masked(taken[0], taken[1]))
            elif name == "ISZERO":
                stack.append(_Computed(taken[0]))
            else:
                put = [taken[-1 - at] for at in _PUTS.get(name, ())]
                escapes += [item for item in put if isinstance(item, Constant)]
                stack += [_Computed(is_call=name in _CALLS) for _ in range(pushes)]
    grows = max(grows, len(stack) - takes)
    leaves = [None if isinstance(word, _Computed) else word for word in stack]
    target = None if isinstance(target, _Computed) else target
    known: _Known = (None, ((), ()))
    if last == "JUMPI":
        known = _tested(condition, stack)
    elif last == "FALL" and instructions and instructions[-1][1:] == ("PUSH", 1):
        known = (None, ((), (0,)))
    return Effect(takes, leaves, target, escapes, grows, *known)


_Known = tuple[tuple[Slot, bool] | None, tuple[tuple[int, ...], tuple[int, ...]]]
"""`Effect.condition` and `Effect.shown`."""


def _tested(condition: _Word, stack: list[_Word]) -> _Known:
    """What is known of a JUMPI on this word, with this stack left."""
    shown: tuple[list[int], list[int]] = ([], [])
    flipped = False
    while isinstance(condition, _Computed):
        shown[flipped].extend(place for place, word in enumerate(reversed(stack)) if word is condition)
        if condition.zero_of is None:
            break
        condition, flipped = condition.zero_of, not flipped
    if isinstance(condition, _Computed) and condition.is_call:
        return None, (tuple(shown[0]), tuple(shown[1]))
    return ((condition, flipped) if isinstance(condition, int) else None), ((), ())


def _masked(a: _Word, b: _Word) -> _Word:
    """AND with a mask of low bits wide enough for any offset: the word itself, if it is a place in the code."""
    for mask, other in ((b, a), (a, b)):
        if not isinstance(mask, Constant) or mask.value < 0xFFFF or mask.value & (mask.value + 1):
            continue
        if isinstance(other, int):
            return Masked(other, mask.value)
        if isinstance(other, Constant) and other.value <= mask.value:
            return other
    return _Computed()
