"""What an object in memory is made of: `abi.encode(a, b)`, `abi.encodePacked(...)`, a literal, a part of calldata, words.

A claim is read off one run of the code that writes the object (`whet.evm.meaning.slices`) and tested on others, in which
all words and lengths differ. Everything of the object must have been written by that code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from whet.evm.meaning.slices import FREE, RETURNED_BYTES, Run, computed
from whet.evm.solidity.claims import MOST_BYTES, RETURNED_DATA, content
from whet.evm.tac import Statement
from whet.evm.terms import Expression, InMemory, Invoke, Name, Operation, Slice, Text, Typed

MOST_WORDS = 32
_MASKS = {"address": (1 << 160) - 1, **{f"uint{n}": (1 << n) - 1 for n in range(8, 256, 8)}}
_LEFT = {f"bytes{n}": (1 << 256) - (1 << 256 - 8 * n) for n in range(1, 32)}
CALLDATA = Name("msg.data")


@dataclass(slots=True)
class Seen:
    """One run of the code that makes an object at FREE, or bytes there that are consumed at once.

    moved: bytes that the free pointer went on by; 0 for bytes that are consumed.
    stored: {offset: what a plain MSTORE of the code stored there last}.
    said: a variable of the function as an expression where the object is made; None where it is not known there.
    """

    run: Run
    moved: int
    stored: Mapping[int, int | str]
    made: Mapping[str, Statement]
    said: Callable[[str], Expression | None]
    copied: Statement | None = None
    """The only CALLDATACOPY."""
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.run.values.items():
            if self.said(name) is not None:
                self.names.setdefault(value, name)

    def claims(self) -> Iterator[tuple[str, Expression]]:
        """(type, expression)."""
        if not 32 <= self.moved <= MOST_BYTES:
            return
        length = self._word(FREE)
        if self._is_written(FREE, FREE + 32):
            if self.moved == 32 + 32 * length and length:
                yield from (("uint256[]", term) for term in self._zeros(length, 32))
            if 32 + length <= self.moved < 96 + length:
                yield from (("bytes" if length else "", term) for term in self._object_of(length))
        yield from self._words()

    def _word(self, at: int) -> int:
        return int.from_bytes(self.run.read(at, 32), "big")

    def _is_written(self, start: int, stop: int) -> bool:
        left = set(range(start, stop))
        for _, offset, size in self.run.writes:
            left -= set(range(max(offset, start), min(offset + size, stop)))
        return not left

    # Bytes.

    def _object_of(self, length: int) -> Iterator[Expression]:
        if not length:
            if not isinstance(self.stored.get(FREE, 0), str):  # else only samples may be that small
                yield Invoke(Name("new bytes"), (0,))
            return
        if length == RETURNED_BYTES:
            yield RETURNED_DATA
        yield from self._zeros(length, 1)
        yield from self.bytes_at(FREE + 32, length)

    def bytes_at(self, start: int, length: int) -> Iterator[Expression]:
        """What makes these bytes."""
        if not 0 < length <= MOST_BYTES or not self._is_written(start, start + length):
            return
        data = self.run.read(start, length)
        if self.copied is not None:
            yield from self._part_of_calldata(self.copied)
        packed = self._packed(data, start)
        if packed is not None and len(packed) == 1 and not isinstance(packed[0], Typed | InMemory):
            yield packed[0]
        if length % 32 == 0 and (args := self._encoded(data, start)) is not None:
            yield Invoke(Name("abi.encode"), args)
        if length % 32 == 4 and (args := self._encoded(data[4:], start + 4)) is not None:
            selector = Typed(int.from_bytes(data[:4], "big") << 224, "bytes4")
            yield Invoke(Name("abi.encodeWithSelector"), (selector, *args))
        if packed is not None:
            yield Invoke(Name("abi.encodePacked"), packed)

    def _zeros(self, length: int, size: int) -> Iterator[Expression]:
        name = self._operand(FREE)
        data = self.run.read(FREE + 32, size * length)
        if name is not None and not any(data) and self._is_written(FREE + 32, FREE + 32 + size * length):
            yield Invoke(Name("new bytes" if size == 1 else "new uint256[]"), (name,))

    def _part_of_calldata(self, copy: Statement) -> Iterator[Expression]:
        start, length = (self._term(arg) for arg in copy.args[1:])
        if start is not None and length is not None:
            stop = length if start == 0 else Operation("ADD", (start, length))
            yield Slice(CALLDATA, start, stop)

    def _term(self, operand: int | str) -> Expression | None:
        return operand if isinstance(operand, int) else self.said(operand)

    # Words.

    def _words(self) -> Iterator[tuple[str, Expression]]:
        count = self.moved // 32
        if self.moved % 32 or not 1 <= count <= MOST_WORDS or not self._is_written(FREE, FREE + self.moved):
            return
        args = [self._operand(FREE + 32 * at) for at in range(count)]
        if None not in args:
            yield f"Words{count}", Invoke(Name(f"Words{count}"), tuple(args))  # type: ignore[arg-type]

    def _operand(self, at: int) -> Expression | None:
        """What stands in memory as a whole word."""
        value = self._word(at)
        operand = self.stored.get(at)
        if operand is not None and self.run.word(operand) == value:
            return self._term(operand)
        return self._found(value)

    def _found(self, value: int) -> Expression | None:
        """A variable, cleaned or not, or a constant."""
        if value in self.names:
            return self.said(self.names[value])
        for table in (_MASKS, _LEFT):
            for mask in table.values():
                for known, name in self.names.items():
                    if (
                        value
                        and known >> 200
                        and known & mask == value
                        and (said := self.said(name)) is not None
                    ):
                        return Operation("AND", (mask, said))
        return None if value in _SAMPLES else value

    # Encodings.

    def _objects(self) -> Iterator[tuple[str, int]]:
        for value, name in self.names.items():
            if 0x80 <= value < len(self.run.memory) and not FREE <= value < FREE + MOST_BYTES:
                yield name, value

    def _encoded(self, data: bytes, start: int) -> tuple[Expression, ...] | None:
        args: list[Expression] = []
        first = len(data)
        while 32 * len(args) < first:
            at = 32 * len(args)
            offset = int.from_bytes(data[at : at + 32], "big")
            found = self._object(data[offset:]) if at < offset < len(data) else None
            if found is not None:
                first = min(first, offset)
            argument = found or self._operand(start + at)
            if argument is None:
                return None
            args.append(argument)
        return tuple(args) if len(args) <= MOST_WORDS else None

    def _object(self, data: bytes) -> InMemory | None:
        for kind in ("bytes", "uint256[]"):
            for name, pointer in self._objects():
                whole = content(self.run, pointer, kind)
                if whole and data.startswith(whole) and (said := self.said(name)) is not None:
                    return InMemory(said, kind)
        return None

    def _packed(self, data: bytes, start: int) -> tuple[Expression, ...] | None:
        """Pieces that begin where something was written."""
        bounds = sorted({o - start for _, o, _ in self.run.writes if 0 < o - start < len(data)} | {len(data)})
        pieces: list[Expression] = []
        at, constant = 0, b""
        while at < len(data):
            stop = next(bound for bound in bounds if bound > at)
            piece = self._piece(data, start, at, stop, bounds)
            if isinstance(piece, bytes):
                constant, at = constant + piece, at + len(piece)
                continue
            if piece is None or len(pieces) > MOST_WORDS:
                return None
            if constant:
                pieces.append(_literal(constant))
                constant = b""
            pieces.append(piece[0])
            at += piece[1]
        return tuple([*pieces, _literal(constant)] if constant else pieces)

    def _piece(
        self, data: bytes, start: int, at: int, stop: int, bounds: list[int]
    ) -> bytes | tuple[Expression, int] | None:
        """The bytes of a constant, or what stands there and how many bytes it has."""
        for name, pointer in self._objects():
            size = int.from_bytes(self.run.read(pointer, 32), "big")
            if size > 0 and at + size in bounds and self.run.read(pointer + 32, size) == data[at : at + size]:
                return InMemory(self.said(name) or name, "bytes"), size
        size = stop - at
        if size > 32:
            return None
        operand = self.stored.get(start + at)
        if operand is not None and self.run.word(operand) >> 8 * (32 - size) != int.from_bytes(
            data[at:stop], "big"
        ):
            operand = None
        if isinstance(operand, int):
            return data[at:stop]
        found = self._typed(operand, size) if operand is not None else self._loose(data[at:stop])
        return (found, size) if isinstance(found, Typed) else found

    def _typed(self, name: str, size: int) -> Typed | None:
        """The first bytes of a variable, as the type that has so many."""
        made, shift = self.made.get(name), 256 - 8 * size
        if made is not None and made.op in ("SHL", "MUL") and size < 32:
            factors = {"SHL": (shift,), "MUL": (1 << shift,)}[made.op]
            for one, other in (made.args, made.args[::-1]):
                if one in factors and isinstance(other, str) and (said := self.said(other)) is not None:
                    return Typed(said, "address" if size == 20 else f"uint{8 * size}")
        said = self.said(name)
        if said is None:
            return None
        return Typed(said, "uint256" if size == 32 else f"bytes{size}")

    def _loose(self, data: bytes) -> Typed | bytes | None:
        """What a helper stored."""
        value, size = int.from_bytes(data, "big"), len(data)
        for known, name in self.names.items():
            said = self.said(name)
            if value and said is not None and known >> 8 * (32 - size) == value:
                return Typed(said, "uint256" if size == 32 else f"bytes{size}")
            if value and said is not None and known & ((1 << 8 * size) - 1) == value:
                return Typed(said, "address" if size == 20 else f"uint{8 * size}")
        return None if value in _SAMPLES else data


_SAMPLES = {
    computed(op, ())
    for op in ("ADDRESS", "CALLER", "ORIGIN", "CALLVALUE", "CALLDATASIZE", "TIMESTAMP", "NUMBER", "CHAINID", "GASPRICE")
}  # fmt: skip


def _literal(data: bytes) -> Expression:
    if all(32 <= byte < 127 for byte in data) and len(data) > 1:
        return Text(data.decode())
    return Invoke(Name("hex"), (Text(data.hex()),))
