"""CODECOPY: bytes of the original's code, which this text has as constants.

Costs two characters a byte, of the whole code where the place is known only when running; more than MOST_COPIED_BYTES at
once cannot be said.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.solidity.events import Events
from whet.evm.solidity.lines import Line
from whet.evm.solidity.pieces import Piece, Unsayable, variable
from whet.evm.terms import Expression

MOST_COPIED_BYTES = 1 << 16
"""More than any deployed code has (24,576, EIP-170), since compilers also zero memory by copying from behind its end."""

MOST_STORES = 4
"""Words that are stored one by one; more are copied out of a literal."""


class CodeCopy(Events):
    """Copies to memory."""

    def copy_code(self, args: tuple[Expression, ...]) -> None:
        target, offset, length = args
        if not isinstance(offset, int) or not isinstance(length, int):
            self._copy_computed(*(self.computed(piece.text, piece) for piece in map(self.yul, args)))
            return
        if length > MOST_COPIED_BYTES:
            raise Unsayable(f"{length:#x} bytes of code copied")
        data = _read(self.frame.codes, offset, length)
        where = self.yul(target)
        if length <= 32 * MOST_STORES:
            self._store(data, where)
        else:
            self._copy_literal(data, where)

    def _store(self, data: bytes, where: Piece) -> None:
        for at in range(0, len(data), 32):
            word = int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big")
            place = where.text if not at else f"add({where.text}, {at:#x})"
            value = f"{word:#x}"
            if (left := len(data) - at) < 32:
                keep = (1 << 8 * (32 - left)) - 1
                value = f"or({word:#x}, and(mload({place}), {keep:#x}))"
            self.assembly(f"mstore({place}, {value})", where)

    def _copy_literal(self, data: bytes, where: Piece) -> None:
        """Solidity makes the literal in free memory, which begins behind the target meanwhile."""
        literal = variable(self.temporary("bytes memory"), "bytes memory")
        kept = self.computed("mload(0x40)")
        self.assembly(f"mstore(0x40, add({where.text}, {len(data):#x}))", where)
        self.out.append(Line(f'{literal.text} = hex"{data.hex()}";', (literal.text,)))
        copy = f"mcopy({where.text}, add({literal.text}, 0x20), {len(data):#x})"
        self.assembly(copy, where, literal)
        self.assembly(f"mstore(0x40, {kept.text})", kept)

    def _copy_computed(self, target: Piece, offset: Piece, length: Piece) -> None:
        """Out of a literal of the whole code, in free memory behind the target meanwhile; behind its end there are zeros."""
        code = _read(
            self.frame.codes,
            0,
            max((start + len(part) for start, part in self.frame.codes.items()), default=0),
        )
        literal = variable(self.temporary("bytes memory"), "bytes memory")
        kept = self.computed("mload(0x40)")
        self.assembly(f"mstore(0x40, add(mload(0x40), add({target.text}, {length.text})))", target, length)
        self.out.append(Line(f'{literal.text} = hex"{code.hex()}";', (literal.text,)))
        self.assembly(f"calldatacopy({target.text}, calldatasize(), {length.text})", target, length)
        left = self.computed(
            f"mul(lt({offset.text}, {len(code):#x}), sub({len(code):#x}, {offset.text}))", offset
        )
        size = self.computed(
            f"xor({length.text}, mul(xor({length.text}, {left.text}), lt({left.text}, {length.text})))",
            length,
            left,
        )
        source = f"add(add({literal.text}, 0x20), mul(gt({left.text}, 0), {offset.text}))"
        self.assembly(f"mcopy({target.text}, {source}, {size.text})", target, literal, left, offset, size)
        self.assembly(f"mstore(0x40, {kept.text})", kept)


def _read(codes: Mapping[int, bytes], offset: int, length: int) -> bytes:
    """What the original reads there; 0 where no part of the code is known."""
    data = bytearray(length)
    for start, part in codes.items():
        for at in range(max(start, offset), min(start + len(part), offset + length)):
            data[at - offset] = part[at - start]
    return bytes(data)
