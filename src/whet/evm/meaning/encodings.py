"""Payloads with strings, bytes and arrays in them, as the arguments that the ABI's encoder was given.

What an encoder writes is found by running it (`slices`): one run shows which object in memory stands where, seven more,
with other lengths and other pointers, must give exactly the ABI's encoding of the arguments that are claimed; memory
is full of other bytes before, so padding counts too. Words are those that the walk knows. A claim is tested, not
proved. Objects: bytes (or string: their code is the same) and arrays of words.
"""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.meaning.base import END, Place
from whet.evm.meaning.saying import Sayer
from whet.evm.meaning.slices import Run, Slice, Stuck, computed, run, slice_before
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.tac import Operand
from whet.evm.terms import Expression, InMemory, Name, Operation, Typed

_RUNS = 8
_MOST_BYTES = 1 << 13
_MOST_TRIED = 24
"""Effects of one function."""
_FIRST_ARGUMENT = {
    "KECCAK256": 0,
    "RETURN": 0,
    "REVERT": 0,
    "STATICCALL": 2,
    "DELEGATECALL": 2,
    "CALL": 3,
    "CALLCODE": 3,
}
_WITH_SELECTOR = frozenset({"REVERT", "CALL", "CALLCODE", "STATICCALL", "DELEGATECALL"})


@dataclass(slots=True)
class Encoded:
    """The arguments of a payload. written: the statements that only wrote it. part: the code that prepared it."""

    selector: int | None
    args: tuple[Expression, ...]
    written: set[Place]
    part: Slice


class Encodings:
    """Finds the arguments of the payloads of one function."""

    def __init__(self, walk: Walk, sayer: Sayer) -> None:
        self.walk, self.sayer, self.left = walk, sayer, _MOST_TRIED
        self.found: dict[Place, Encoded] = {}

    def of(self, effect: Effect) -> Encoded | None:
        """The arguments of what an effect consumes, at least one of them an object; None if that is not sure."""
        if effect.payload is None or self.left == 0:
            return None
        self.left -= 1
        function, shapes = self.sayer.function, self.walk.shapes
        part = slice_before(function, shapes, self.sayer.namer.dominators, effect)
        inside: set[Place] = set()
        outside: set[Place] = set()
        claim: tuple[int | None, tuple[Expression, ...]] | None = None
        try:
            for number in range(_RUNS):
                made = run(self.walk.contract, function, part, number)
                start, length = (made.word(operand) for operand in self._place(effect))
                if length > _MOST_BYTES:
                    return None
                data = made.read(start, length)
                claim = claim or self._claimed(effect, made, start, data)
                if claim is None or self._encoded(made, *claim) != data:
                    return None
                for place, offset, size in made.writes:
                    within = start <= offset and offset + size <= start + length + 32
                    (inside if within else outside).add(place)
        except Stuck:
            return None
        assert claim is not None
        found = self.found[effect.block, effect.index] = Encoded(*claim, inside - outside, part)
        return found

    def _place(self, effect: Effect) -> tuple[Operand, Operand]:
        block = self.sayer.function.blocks[effect.block]
        args = block.end.args if effect.index == END else block.statements[effect.index].args
        first = _FIRST_ARGUMENT.get(effect.op, 0)
        return args[first], args[first + 1]

    def _claimed(
        self, effect: Effect, made: Run, start: int, data: bytes
    ) -> tuple[int | None, tuple[Expression, ...]] | None:
        """(selector, arguments) that would give the data of this run."""
        selector, end = None, start + len(data)
        if effect.op in _WITH_SELECTOR:
            if len(data) % 32 != 4:
                return None
            selector, data = int.from_bytes(data[:4], "big"), data[4:]
        objects = {p: name for p, name in self._objects(effect, made).items() if not start <= p < end}
        args: list[Expression] = []
        first = len(data)
        while 32 * len(args) < first:
            at = 32 * len(args)
            offset = int.from_bytes(data[at : at + 32], "big")
            found = _object_at(made, data, offset, objects) if at < offset < len(data) else None
            if found is not None:
                first = min(first, offset)
            argument = found or self._static(effect, len(args))
            if argument is None:
                return None
            args.append(argument)
        return (selector, tuple(args)) if first < len(data) else None

    def _static(self, effect: Effect, position: int) -> Expression | None:
        words = effect.payload.words if effect.payload is not None else ()
        word = words[position] if position < len(words) else None
        return self.sayer.say(effect, word) if word is not None else None

    def _objects(self, effect: Effect, made: Run) -> dict[int, str]:
        """{pointer: the first variable that has it and may be said}"""
        block = effect.block
        index = len(self.sayer.function.blocks[block].statements) if effect.index == END else effect.index
        found: dict[int, str] = {}
        for name, value in made.values.items():
            if 0x80 <= value < len(made.memory) and self.sayer.namer.is_known(name, block, index):
                found.setdefault(value, name)
        return found

    def _encoded(self, made: Run, selector: int | None, args: tuple[Expression, ...]) -> bytes:
        """The ABI's encoding of arguments by the state at the end of a run."""
        heads, tails = b"", b""
        for arg in args:
            if isinstance(arg, InMemory):
                heads += (32 * len(args) + len(tails)).to_bytes(32, "big")
                tails += _content(made, self._value(made, arg.pointer), arg.type)
            else:
                heads += self._value(made, arg).to_bytes(32, "big")
        return (b"" if selector is None else selector.to_bytes(4, "big")) + heads + tails

    def _value(self, made: Run, term: Expression) -> int:
        if isinstance(term, int | str):
            return made.word(term)
        if isinstance(term, Typed):
            return self._value(made, term.value)
        if isinstance(term, Operation):
            return computed(term.op, tuple(self._value(made, arg) for arg in term.args))
        if isinstance(term, Name):
            return computed("CALLDATALOAD", (0,))
        raise Stuck


def _content(made: Run, pointer: int, kind: str) -> bytes:
    """Length and content of an object, padded."""
    size = made.read(pointer, 32)
    length = int.from_bytes(size, "big") * (32 if kind.endswith("[]") else 1)
    if length > _MOST_BYTES:
        raise Stuck
    return size + made.read(pointer + 32, length).ljust(-(-length // 32) * 32, b"\0")


def _object_at(made: Run, data: bytes, offset: int, objects: dict[int, str]) -> InMemory | None:
    """The object whose encoding begins at an offset."""
    for kind in ("bytes", "uint256[]"):
        for pointer, name in objects.items():
            try:
                content = _content(made, pointer, kind)
            except Stuck:
                continue
            if data[offset : offset + len(content)] == content:
                return InMemory(name, kind)
    return None
