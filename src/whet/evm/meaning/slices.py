"""The code that only prepares memory for an effect, cut out of its function and run on samples.

A slice reaches back from the effect as far as there is nothing but arithmetic and memory: through helpers, through
loops and branches that meet again. Run, it starts from memory full of other bytes, in which every variable that it
does not make itself points to an object: a length, then bytes. So what the effect consumes shows what it is made of.
Left out: whatever needs calldata, storage or calls, but for their words, which are samples too. Bounded by steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whet.evm.meaning.base import END
from whet.evm.meaning.shapes import Shapes
from whet.evm.meaning.walk import Effect
from whet.evm.opcodes import PURE
from whet.evm.tac import WORD, Block, Contract, Function, Operand, Statement
from whet.evm.words import ONE, THREE, TWO

_MOST_BLOCKS = 16
_MOST_STEPS = 4000
_MOST_DEPTH = 12
_IDENTITY = 4
_SAMPLED = frozenset({"GAS", "SLOAD", "TLOAD"})
_MEMORY = frozenset({"MLOAD", "MSTORE", "MSTORE8", "MCOPY"})

FREE, OBJECTS, SPACE, MOST_OBJECTS = 0x8000, 0x10000, 0x2000, 24
_END_OF_MEMORY = OBJECTS + SPACE * (MOST_OBJECTS + 1)
_DIRT = bytes((i * 37 + (i >> 8) * 11) & 0xFF | 1 for i in range(_END_OF_MEMORY))
RETURNED_BYTES = 77
LENGTHS = (33, 0, 1, 31, 32, 64, 5, 70)
"""Of objects, in turn."""


class Stuck(Exception):
    """The slice does something that samples do not show."""


@dataclass(slots=True)
class Slice:
    """ranges: {block: (first statement, behind the last)}; control enters in `first` and reaches the effect in `last`."""

    ranges: dict[str, tuple[int, int]]
    first: str
    last: str


def slice_before(
    function: Function, shapes: Shapes, dominators: Mapping[str, frozenset[str]], effect: Effect
) -> Slice:
    """The longest slice that ends at an effect."""
    came = function.predecessors()
    statements = function.blocks[effect.block].statements
    stop = len(statements) if effect.index == END else effect.index
    found = Slice({effect.block: (_back(statements, stop, shapes), stop)}, effect.block, effect.block)
    while found.ranges[found.first][0] == 0 and len(found.ranges) < _MOST_BLOCKS:
        entered = _closed(function, shapes, dominators, came, found.first)
        if entered is None:
            break
        head, between = entered
        found.ranges |= {name: (0, len(function.blocks[name].statements)) for name in between}
        length = len(function.blocks[head].statements)
        found.ranges[head] = (_back(function.blocks[head].statements, length, shapes), length)
        found.first = head
    return found


def _back(statements: list[Statement], stop: int, shapes: Shapes) -> int:
    while stop and _runs(statements[stop - 1], shapes):
        stop -= 1
    return stop


def _runs(s: Statement, shapes: Shapes) -> bool:
    if s.op == "CALLPRIVATE":
        return shapes.of[s.function].only_memory
    if s.op in ("STATICCALL", "CALL"):
        return s.args[1] == _IDENTITY
    return s.op in PURE or s.op in _MEMORY or s.op in _SAMPLED


def _closed(
    function: Function,
    shapes: Shapes,
    dominators: Mapping[str, frozenset[str]],
    came: dict[str, list[str]],
    block: str,
) -> tuple[str, list[str]] | None:
    """(a block before, those between): all ways from it lead to `block`, and nothing on them does more than run."""
    above = sorted(dominators[block] - {block}, key=lambda name: -len(dominators[name]))
    for head in above[:4]:
        between, work = {block}, [block]
        while work and len(between) <= _MOST_BLOCKS:
            for source in came[work.pop()]:
                if source != head and source not in between:
                    between.add(source)
                    work.append(source)
        inside = between - {block}
        ends = [function.blocks[name].end for name in (*inside, head)]
        if work or not all(end.op in ("JUMP", "BRANCH") and set(end.targets) <= between for end in ends):
            continue
        if all(_runs(s, shapes) for name in inside for s in function.blocks[name].statements):
            return head, sorted(inside)
    return None


def straight(function: Function, part: Slice) -> dict[str, str]:
    """{block with a BRANCH: the target that is nearer to the effect} of a slice; a block that is left by a JUMP leads
    there anyway. Empty for one block."""
    away, work = {part.last: 0}, [part.last]
    came = function.predecessors()
    while work:
        name = work.pop(0)
        for source in came[name] if name != part.first else ():
            if source in part.ranges and source not in away:
                away[source] = away[name] + 1
                work.append(source)
    return {
        name: min(function.blocks[name].end.targets, key=lambda target: away.get(target, len(away)))
        for name in part.ranges
        if name != part.last and function.blocks[name].end.op == "BRANCH"
    }


@dataclass(slots=True)
class Run:
    """One run of a slice. values: of all variables; writes: (statement of the function, offset, length).

    given: values of variables that the run shall not compute itself. read_at: where was read."""

    contract: Contract
    number: int
    values: dict[str, int] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    memory: bytearray = field(default_factory=lambda: bytearray(_DIRT))
    writes: list[tuple[tuple[str, int], int, int]] = field(default_factory=list)
    steps: int = _MOST_STEPS
    at: tuple[str, int] = ("", 0)
    given: Mapping[str, int] = field(default_factory=dict)
    read_at: list[int] = field(default_factory=list)

    def word(self, operand: Operand) -> int:
        """The value of an operand; of a variable that nothing has made, a pointer to an object of its own."""
        if isinstance(operand, int):
            return operand
        if operand not in self.values:
            self.values[operand] = self._object(operand)
        return self.values[operand]

    def _object(self, name: str) -> int:
        if len(self.free) == MOST_OBJECTS:
            raise Stuck
        self.free.append(name)
        position = len(self.free) - 1
        length = 33 + position if not self.number else LENGTHS[(3 * self.number + position) % len(LENGTHS)]
        pointer = OBJECTS + SPACE * (
            (5 * position + self.number) % MOST_OBJECTS if position < 1 else position
        )
        self.memory[pointer : pointer + 32] = length.to_bytes(32, "big")
        return pointer

    def read(self, offset: int, length: int) -> bytes:
        """A part of memory; what lies beyond the samples is refused."""
        if offset + length > len(self.memory):
            raise Stuck
        return bytes(self.memory[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """Into memory, noted as done by the statement that runs."""
        if offset + len(data) > len(self.memory):
            raise Stuck
        self.memory[offset : offset + len(data)] = data
        self.writes.append((self.at, offset, len(data)))


def run(
    contract: Contract, function: Function, part: Slice, number: int, given: Mapping[str, int] | None = None
) -> Run:
    """Runs a slice from the sample of that number; raises Stuck. given: values of variables instead of samples."""
    made = Run(contract, number, values=dict(given or {}), given=given or {})
    made.memory[0x40:0x80] = FREE.to_bytes(32, "big") + bytes(32)
    block, source = function.blocks[part.first], ""
    while True:
        start, stop = part.ranges[block.id]
        if source:
            _enter(made, made.values, block, source)
        for index in range(start, stop):
            made.at = (block.id, index)
            _step(made, made.values, block.statements[index], 0)
        if block.id == part.last:
            return made
        source, block = block.id, function.blocks[_target(made, made.values, block)]


def _word(made: Run, values: dict[str, int], operand: Operand) -> int:
    if values is made.values:
        return made.word(operand)
    return operand if isinstance(operand, int) else values[operand]


def _enter(made: Run, values: dict[str, int], block: Block, source: str) -> None:
    values |= {phi.result: _word(made, values, phi.incoming[source]) for phi in block.phis}


def _target(made: Run, values: dict[str, int], block: Block) -> str:
    made.steps -= 1
    end = block.end
    if made.steps < 0 or end.op not in ("JUMP", "BRANCH"):
        raise Stuck
    if end.op == "JUMP":
        return end.targets[0]
    return end.targets[0 if _word(made, values, end.args[0]) else 1]


def _step(made: Run, values: dict[str, int], s: Statement, depth: int) -> None:
    made.steps -= 1
    if made.steps < 0:
        raise Stuck
    if s.op in _SAMPLED:
        if values is not made.values:
            raise Stuck
        made.word(s.results[0])
        return
    args = [_word(made, values, arg) for arg in s.args]
    if values is made.values and s.op != "CALLPRIVATE" and s.results and s.results[0] in made.given:
        return
    if s.op == "CALLPRIVATE":
        values |= zip(s.results, _call(made, s.function, args, depth + 1), strict=True)
    elif s.op == "MLOAD":
        made.read_at.append(args[0])
        values[s.results[0]] = int.from_bytes(made.read(args[0], 32), "big")
    elif s.op == "MSTORE":
        made.write(args[0], args[1].to_bytes(32, "big"))
    elif s.op == "MSTORE8":
        made.write(args[0], bytes([args[1] & 0xFF]))
    elif s.op == "MCOPY":
        made.read_at.append(args[1])
        made.write(args[0], made.read(args[1], args[2]))
    elif s.op == "CALLDATACOPY":
        made.write(args[0], calldata(args[1], args[2]))
    elif s.op == "RETURNDATASIZE":
        values[s.results[0]] = RETURNED_BYTES
    elif s.op == "RETURNDATACOPY":
        if args[1] + args[2] > RETURNED_BYTES:
            raise Stuck
        made.write(args[0], returned(args[1], args[2]))
    elif s.op in ("STATICCALL", "CALL"):
        source, length, to, room = args[-4:]
        if args[1] != _IDENTITY or room > length:
            raise Stuck
        made.write(to, made.read(source, length)[:room])
        values[s.results[0]] = 1
    elif s.op in PURE:
        values[s.results[0]] = computed(s.op, tuple(args))
    else:
        raise Stuck


def _call(made: Run, name: str, args: list[int], depth: int) -> tuple[int, ...]:
    function = made.contract.functions[name]
    if depth > _MOST_DEPTH:
        raise Stuck
    values = dict(zip(function.params, args, strict=True))
    block, source = function.entry, ""
    while True:
        if source:
            _enter(made, values, block, source)
        for s in block.statements:
            _step(made, values, s, depth)
        if block.end.op == "RETURNPRIVATE":
            return tuple(_word(made, values, arg) for arg in block.end.args)
        source, block = block.id, function.blocks[_target(made, values, block)]


def calldata(offset: int, length: int) -> bytes:
    """A part of the sample of calldata; 0 behind its end, as the EVM has it."""
    if length > SPACE:
        raise Stuck
    end = computed("CALLDATASIZE", ())
    return bytes((i * 29 + 11) & 0xFF | 1 if i < end else 0 for i in range(offset, offset + length))


def returned(offset: int, length: int) -> bytes:
    """A part of the sample of what a call gave back."""
    return bytes((i * 53 + 7) & 0xFF | 1 for i in range(offset, offset + length))


def computed(op: str, args: tuple[int, ...]) -> int:
    """The result of a pure instruction; a sample for those that ask for the transaction or the block."""
    if op in ONE:
        return ONE[op](*args) & WORD
    if op in TWO:
        return TWO[op](*args) & WORD
    if op in THREE:
        return THREE[op](*args) & WORD
    return 1 if op == "CALLDATALOAD" else 7 + sum(op.encode()) + sum(args) % 1000
