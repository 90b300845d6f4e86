"""What lies in code beside its instructions: creation code of other contracts, data that is copied, immutables, slots.

Found by reading the code from front to back, with the constants that stand on the stack within one stretch without a
JUMPDEST. So a copy whose place is computed is not seen, and neither is data that nothing copies; the lifter does not
depend on any of this. Cost: one pass over the code, and a bounded search in each part that may be creation code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from whet import limits
from whet.evm.constructor import Unknown, Word, deployed
from whet.evm.metadata import Metadata
from whet.evm.opcodes import BY_NAME, OPCODES, Opcode

PARTS = 64
"""Parts of one code that are looked at for being creation code."""
PART_STEPS = 5_000
"""Instructions followed in each."""

_PROLOGUE = re.compile(rb"(?:\x60[\x60-\xff]|\x61..)(?:\x80)?\x60\x40\x52", re.DOTALL)
"""How creation code of solc begins: the free memory pointer is set."""

SLOTS = {
    0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC: "EIP-1967 implementation",
    0xB53127684A568B3173AE13B9F8A6016E243E63B6E8EE1178D6A717850B5D6103: "EIP-1967 admin",
    0xA3F0AD74E5423AEBFD80D3EF4346578335A9A72AEAEE59FF6CB3582B35133D50: "EIP-1967 beacon",
    0x7050C9E0F4CA769C69BD3A8EF740BC37934F8E2C036E5A723FD8EE048ED3F8C3: "implementation (OpenZeppelin before EIP-1967)",
    0xC5F16F0FCC639FA48A6947836D9850F504798523BF8C9A3A87D5876CF622BCF7: "EIP-1822 proxiable (UUPS)",
    0xC8FCAD8DB84D3CC18B4C41D551EA0EE66DD599CDE068D998E57D5E09332C131C: "EIP-2535 diamond storage",
}
"""Storage slots that say what kind of proxy it is."""

_DIAMOND = frozenset({0x1F931C1C, 0x7A0ED627})
"""diamondCut and facets of EIP-2535."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A contract within the code, as creation code. Offsets in bytes of the whole code; what it deploys is
    `runtime_length` bytes at `runtime_offset`."""

    offset: int
    length: int
    runtime_offset: int
    runtime_length: int


@dataclass(frozen=True, slots=True)
class Regions:
    """code_end: where instructions end, as far as data is known that follows them. slots: what SLOTS says of constants."""

    code_end: int
    embedded: tuple[Embedded, ...]
    zero_words: tuple[int, ...]
    """Offsets of zeros behind PUSH32: where a constructor writes immutables."""
    hints: tuple[str, ...]
    cut_push: int | None
    """Offset of a last PUSH whose bytes are not all there; None where data stands at the end, or nothing is cut."""
    missing: int | None
    """Where a part begins that is copied out of the code and ends behind it; None if there is none."""


def find_regions(code: bytes, metadata: Metadata | None) -> Regions:
    """What is found in runtime code."""
    seen = _Reader(code)
    embedded = _embedded(code, seen.parts)
    starts = [part.offset for part in embedded] + [offset for offset, length in seen.parts.items() if length]
    end = min([*starts, metadata.offset if metadata else len(code)])
    if starts and end and code[end - 1] in (0x00, 0xFE):
        end -= 1  # solc puts one such byte between instructions and data
    return Regions(
        code_end=end,
        embedded=embedded,
        zero_words=tuple(at + 1 for at in seen.zero_words if at < end),
        hints=tuple(dict.fromkeys(hint for at, hint in seen.hints if at < end)),
        cut_push=seen.last if seen.last_end > len(code) == end else None,
        missing=min((at for at, by in seen.missing if by < end), default=None),
    )


class _Reader:
    """parts: {offset: length}, what is copied out of the code, and with length 0 where creation code may begin.
    zero_words: offsets of PUSH32 with zero. hints: (offset, what a constant says).
    missing: (offset, of the instruction) of parts that are copied and end behind the code."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        self.parts: dict[int, int] = {}
        self.zero_words: list[int] = []
        self.hints: list[tuple[int, str]] = []
        self.missing: list[tuple[int, int]] = []
        self.last = self.last_end = 0
        self._stack: list[Word] = []
        at = 0
        while at < len(code):
            opcode = OPCODES.get(code[at], _INVALID)
            behind = at + 1 + opcode.immediate
            if opcode.name.startswith("PUSH"):
                self._constant(at, opcode.immediate, int.from_bytes(code[at + 1 : behind], "big"))
            else:
                self._instruction(at, opcode)
            self.last, self.last_end = at, behind
            at = behind

    def _constant(self, at: int, size: int, value: int) -> None:
        self._stack.append(value)
        if size == 32 and not value:
            self.zero_words.append(at)
        elif size == 32 and value in SLOTS:
            self.hints.append((at, SLOTS[value]))
        elif size == 4 and value in _DIAMOND:
            self.hints.append((at, "EIP-2535 diamond"))
        elif 1 < size < 4 and at < value < len(self.code) and _PROLOGUE.match(self.code, value):
            self.parts.setdefault(value, 0)

    def _instruction(self, at: int, opcode: Opcode) -> None:
        stack, pops = self._stack, opcode.pops
        if opcode.name == "JUMPDEST":
            stack.clear()
        if len(stack) < pops:
            stack[:0] = [Unknown() for _ in range(pops - len(stack))]
        if opcode.name.startswith("DUP"):
            stack.append(stack[-pops])
        elif opcode.name.startswith("SWAP"):
            stack[-1], stack[-pops] = stack[-pops], stack[-1]
        else:
            args = [stack.pop() for _ in range(pops)]
            stack.extend(Unknown() for _ in range(opcode.pushes))
            if opcode.name == "CODECOPY":
                self._copy(at, args[1], args[2])

    def _copy(self, at: int, offset: Word, length: Word) -> None:
        if isinstance(offset, Unknown) or isinstance(length, Unknown):
            return
        if length and at < offset < offset + length <= len(self.code):
            self.parts[offset] = length
        elif length and at < offset < limits.CODE_BYTES and offset + length > len(self.code):
            self.missing.append((offset, at))


_INVALID = BY_NAME["INVALID"]


def _embedded(code: bytes, parts: dict[int, int]) -> tuple[Embedded, ...]:
    found: list[Embedded] = []
    for offset in sorted(parts)[:PARTS]:
        if found and offset < found[-1].offset + found[-1].length:
            continue
        part = code[offset : offset + parts[offset]] if parts[offset] else code[offset:]
        inner = deployed(part, PART_STEPS)
        if inner and inner.offset + inner.length <= len(part):
            length = parts[offset] or inner.offset + inner.length
            found.append(Embedded(offset, length, offset + inner.offset, inner.length))
    return tuple(found)
