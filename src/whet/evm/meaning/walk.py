"""Walks a function once, with everything it calls, and notes which words it makes and what it does with them.

Blocks are visited in reverse postorder, each once for every call of its function; where ways meet, words that differ
become a CHOICE, and at the head of a loop start + LOOP. Private functions are walked with the arguments of the call
(results of pure ones are kept), so that a check in a helper is seen on the word that was checked.
Budget in statements; calls beyond it, half of what is left for each that the function itself makes, give unknown results,
and `Walk.cut` says so. The function itself is walked to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.meaning.constants import of_code
from whet.evm.meaning.memory import FREE_POINTER, Memory, Payload, meet
from whet.evm.meaning.shapes import CALLS, WALKED, Shape, Shapes
from whet.evm.meaning.symbols import Node, Word
from whet.evm.tac import WORD, Block, Function, Operand, Statement

STEPS = 20_000
"""Statements visited for one function."""

_DEEPEST = 24


@dataclass(slots=True)
class Effect:
    """A statement or end that does something. args: its words; payload: the memory it consumes; result: what it gives.

    depth: 0 in the function itself, more in those it calls. checks: conditions that held (word, not 0) in this block."""

    op: str
    args: tuple[Word, ...]
    function: str
    block: str
    index: int
    depth: int
    payload: Payload | None = None
    result: Word | None = None
    object: Word | None = None
    """The pointer to an object in memory of which all bytes, and nothing else, are consumed."""


@dataclass(slots=True)
class _Frame:
    function: Function
    depth: int
    words: dict[str, Word]
    left: dict[str, tuple[Memory, frozenset[str]]] = field(default_factory=dict)
    """{block: (memory at its end, the targets it may go on to)}"""
    returned: list[tuple[tuple[Word, ...], Memory]] = field(default_factory=list)


class Walk:
    """One walk from `function`. words: {variable of the function: word}; effects: in the order of visits."""

    def __init__(self, shapes: Shapes, function: Function, memory: Memory, steps: int = STEPS) -> None:
        self.symbols, self.shapes, self.contract = memory.symbols, shapes, shapes.contract
        self.name = function.name
        self.effects: list[Effect] = []
        self.conditions: list[tuple[Word, str, str, int]] = []
        """(condition, function, block, depth) of every BRANCH visited."""
        self.stores: list[tuple[Word, Word, int]] = []
        """(offset in memory, word, offset in the code) of every MSTORE."""
        self.decoded: list[tuple[Word, Node]] = []
        """(offset in memory, word of calldata) of every MSTORE of one."""
        self.copied: set[Word] = set()
        """Words of storage that are stored in memory as they are."""
        self.at = ("b0", 0)
        """The statement of `function` that is being walked."""
        self.returned: dict[tuple[str, int], tuple[Word, ...]] = {}
        """{place of a CALLPRIVATE of `function`: the words it gave}"""
        self.asked: dict[tuple[str, int], tuple[int, int]] = {}
        """{place of a CALLPRIVATE of `function`: (first, behind the last) of `conditions` that it asked}"""
        self.steps, self.cut = steps, False
        self._pure: dict[tuple[object, ...], tuple[Word, ...] | None] = {}
        self._active: set[str] = set()
        self._object: Word | None = None
        self.readers = memory.readers
        """{statement of `function` that stores in memory: what reads it: numbers of effects, places of other statements}"""
        args = tuple(self.symbols.node("PARAM", name) for name in function.params)
        self.words = self._run(function, args, memory, 0).words

    # Control.

    def _run(self, function: Function, args: tuple[Word, ...], memory: Memory, depth: int) -> _Frame:
        frame = _Frame(function, depth, dict(zip(function.params, args, strict=True)))
        shape = self.shapes.of[function.name]
        self._active.add(function.name)
        for id_, block in function.blocks.items():
            if depth and self.steps <= 0:
                self.cut = True
                break
            ways = [s for s in shape.sources[id_] if s in frame.left and id_ in frame.left[s][1]]
            if not ways and id_ != "b0":
                continue
            here = memory.fork() if id_ == "b0" else self._meet(frame, id_, ways)
            if id_ in shape.heads:
                self._enter_loop(frame, shape, block, here)
            self._phis(frame, block, ways, id_ in shape.heads)
            self._block(frame, block, here)
        self._active.discard(function.name)
        return frame

    def _meet(self, frame: _Frame, id_: str, ways: list[str]) -> Memory:
        memories = [frame.left[way][0] for way in ways]
        return meet(memories, self._free_pointer(memories)) if len(memories) > 1 else memories[0].fork()

    def _free_pointer(self, memories: list[Memory]) -> Word:
        """The pointer where ways meet; a word of its own unless all know it and agree."""
        known = [p[0] for m in memories if (p := m.load(FREE_POINTER))]
        if len(known) == len(memories) and len(set(known)) == 1:
            return known[0]
        return self.symbols.fresh("CHOICE", *known[:4])

    def _enter_loop(self, frame: _Frame, shape: Shape, block: Block, memory: Memory) -> None:
        body = [s for id_ in shape.heads[block.id] for s in frame.function.blocks[id_].statements]
        if any(self.shapes.writes(s) for s in body):
            memory.doubt()
        if any(self.shapes.allocates(s) for s in body):
            memory.store(FREE_POINTER, self.symbols.fresh("POINTER"))

    def _phis(self, frame: _Frame, block: Block, ways: list[str], head: bool) -> None:
        made: dict[str, Word] = {}
        for phi in block.phis:
            words = [self._word(frame, phi.incoming[way]) for way in ways if way in phi.incoming]
            distinct = list(dict.fromkeys(words))
            if head:
                start = distinct[0] if len(distinct) == 1 else 0
                made[phi.result] = self.symbols.add(start, self.symbols.fresh("LOOP"))
            elif len(distinct) == 1:
                made[phi.result] = distinct[0]
            else:
                made[phi.result] = self.symbols.fresh("CHOICE", *distinct[:4])
        frame.words.update(made)

    def _word(self, frame: _Frame, operand: Operand) -> Word:
        if isinstance(operand, int):
            return operand
        word = frame.words.get(operand)
        if word is None:
            word = frame.words[operand] = self.symbols.fresh("UNKNOWN")
        return word

    def _block(self, frame: _Frame, block: Block, memory: Memory) -> None:
        words = frame.words
        self.steps -= (len(block.statements) + 1) if frame.depth else 0
        for index, s in enumerate(block.statements):
            if not frame.depth:
                self.at = (block.id, index)
            memory.by = self.at
            args = tuple([a if a.__class__ is int else words.get(a) or self._word(frame, a) for a in s.args])  # type: ignore[arg-type]
            if s.op in WALKED:
                words[s.results[0]] = self.symbols.operation(s.op, args)
            elif s.op == "CALLPRIVATE":
                asked = len(self.conditions)
                results = (
                    self._call(frame, s, args, memory)
                    if frame.depth
                    else self._own_call(frame, s, args, memory)
                )
                if results is None:
                    return
                words.update(zip(s.results, results, strict=True))
                if not frame.depth:
                    self.returned[block.id, index] = results
                    self.asked[block.id, index] = (asked, len(self.conditions))
            else:
                result = self._instruction(frame, block, index, s, args, memory)
                if s.results:
                    assert result is not None
                    words[s.results[0]] = result
        self._end(frame, block, memory)

    def _end(self, frame: _Frame, block: Block, memory: Memory) -> None:
        end = block.end
        args = tuple([self._word(frame, arg) for arg in end.args])
        targets = frozenset(end.targets)
        if end.op == "BRANCH":
            condition = args[0]
            self.conditions.append((condition, frame.function.name, block.id, frame.depth))
            if isinstance(condition, int):
                targets = frozenset((end.targets[0 if condition else 1],))
        elif end.op == "RETURNPRIVATE":
            frame.returned.append((args, memory))
            for arg in args if not frame.depth else ():
                if isinstance(arg, Node):
                    memory.note_read(arg, None, ("", -1))
        elif end.op not in ("JUMP", "SWITCH"):
            payload = self._consumed(memory, *args) if end.op in ("RETURN", "REVERT") else None
            self._note(end.op, args, frame, block.id, -1, payload)
        frame.left[block.id] = (memory, targets)

    def _note(
        self,
        op: str,
        args: tuple[Word, ...],
        frame: _Frame,
        block: str,
        index: int,
        payload: Payload | None = None,
        result: Word | None = None,
    ) -> None:
        effect = Effect(op, args, frame.function.name, block, index, frame.depth, payload, result)
        effect.object, self._object = self._object, None
        self.effects.append(effect)

    # Calls of private functions.

    def _call(
        self, frame: _Frame, s: Statement, args: tuple[Word, ...], memory: Memory
    ) -> tuple[Word, ...] | None:
        """The results, None if the call never comes back. `memory` becomes that behind the call."""
        callee = self.contract.functions[s.function]
        shape = self.shapes.of[s.function]
        key = (s.function, *args)
        if shape.pure and key in self._pure:
            return self._pure[key]
        if s.function in self._active or frame.depth >= _DEEPEST or self.steps <= 0:
            self.cut |= self.steps <= 0
            return self._unknown(s, shape, memory)
        before, self.cut = self.cut, False
        inner = self._run(callee, args, memory, frame.depth + 1)
        cut, self.cut = self.cut, self.cut or before
        results = self._unknown(s, shape, memory) if cut else self._returned(inner, len(s.results), memory)
        if shape.pure:
            self._pure[key] = results
        return results

    def _own_call(
        self, frame: _Frame, s: Statement, args: tuple[Word, ...], memory: Memory
    ) -> tuple[Word, ...] | None:
        """A call of the function walked itself, which must leave some of the budget to the next one."""
        left = self.steps
        self.steps = most = min(left, max(left // 2, STEPS // 8))
        results = self._call(frame, s, args, memory)
        self.steps += left - most
        return results

    def _unknown(self, s: Statement, shape: Shape, memory: Memory) -> tuple[Word, ...]:
        """What a call gives that is not walked, or not to its end."""
        if shape.writes:
            memory.forget_all()
        return tuple([self.symbols.fresh("RESULT", s.function) for _ in s.results])

    def _returned(self, inner: _Frame, count: int, memory: Memory) -> tuple[Word, ...] | None:
        if not inner.returned:
            return None
        results = []
        for position in range(count):
            distinct = list(dict.fromkeys(words[position] for words, _ in inner.returned))
            results.append(distinct[0] if len(distinct) == 1 else self.symbols.fresh("CHOICE", *distinct[:4]))
        memories = [m for _, m in inner.returned]
        left = meet(memories, self._free_pointer(memories))
        memory.cells, memory.regions, memory._owned = left.cells, left.regions, set()
        return tuple(results)

    # Instructions that are not pure.

    def _instruction(
        self, frame: _Frame, block: Block, index: int, s: Statement, args: tuple[Word, ...], memory: Memory
    ) -> Word | None:
        symbols, op = self.symbols, s.op
        payload: Payload | None = None
        result: Word | None = None
        if op == "MLOAD":
            found = memory.load(args[0])
            if args[0] != FREE_POINTER:
                memory.note_read(args[0], 32, self.at)
            return found[0] if found else self._unread(args[0], memory)
        if op == "MSTORE":
            memory.store(args[0], args[1], pc=s.pc)
            self.stores.append((args[0], args[1], s.pc))
            if isinstance(args[1], Node) and args[1].op == "CALLDATALOAD":
                self.decoded.append((args[0], args[1]))
            elif isinstance(args[1], Node) and args[1].op == "SLOAD":
                self.copied.add(args[1])
            return None
        if op == "MSTORE8":
            memory.store(args[0], args[1], low=31)
            return None
        if op == "KECCAK256":
            payload = self._consumed(memory, *args)
            result = self._hash(payload, memory.load(symbols.add(symbols.add(args[0], args[1]), WORD - 31)))
        elif op in ("SLOAD", "TLOAD"):
            result = symbols.fresh(op, args[0])
        elif op.startswith("LOG"):
            payload = self._consumed(memory, args[0], args[1])
        elif op in CALLS:
            at = len(args) - 4
            payload = self._consumed(memory, args[at], args[at + 1])
            result = symbols.fresh("SUCCESS", op)
            memory.forget(args[at + 2], args[at + 3])
            if args[at + 3] != 0:
                memory.copy(args[at + 2], symbols.node("OUTPUT", 0, result), args[at + 3])
        elif op in ("CREATE", "CREATE2"):
            payload = self._consumed(memory, args[1], args[2])
            result = symbols.fresh(op)
        elif op.endswith("COPY"):
            self._copy(op, args, memory)
        elif s.results:
            result = symbols.fresh(op, *args)
        self._note(op, args, frame, block.id, index, payload, result)
        return result

    def _consumed(self, memory: Memory, offset: Word, length: Word) -> Payload:
        """What the effect that is noted next reads."""
        memory.note_read(offset, length, len(self.effects))
        pointer = self.symbols.add(offset, WORD - 31)
        size = memory.load(pointer) if isinstance(length, Node) else None
        self._object = pointer if size is not None and size[0] is length and size[1] else None
        return memory.payload(offset, length)

    def _unread(self, offset: Word, memory: Memory) -> Word:
        """A word of memory that is not known; the same when it is read again."""
        word = self.symbols.fresh("MLOAD", offset)
        memory.store(offset, word)
        return word

    def _hash(self, payload: Payload, last: tuple[Word, bool] | None) -> Word:
        """last: the last 32 bytes, which for a mapping by strings is its slot."""
        words = payload.words
        if isinstance(payload.length, int) and payload.selector is None and words and None not in words:
            return self.symbols.node("KECCAK256", payload.length, *words)
        source = payload.regions[0][1] if payload.regions else None
        if last is not None and not isinstance(payload.length, int):
            return self.symbols.node("KEYHASH", source, last[0], self.symbols.fresh("UNKNOWN"))
        return self.symbols.fresh("HASH", source)

    def _copy(self, op: str, args: tuple[Word, ...], memory: Memory) -> None:
        symbols = self.symbols
        if op == "EXTCODECOPY":
            memory.forget(args[1], args[3])
            return
        if op == "MCOPY":
            self._move(args, memory)
            return
        if op == "CODECOPY" and self._copy_constants(args, memory):
            return
        kind = {"CALLDATACOPY": "CALLDATA", "RETURNDATACOPY": "RETURNDATA", "CODECOPY": "CODE"}[op]
        memory.copy(args[0], symbols.node(kind, args[1], args[2]), args[2])

    def _copy_constants(self, args: tuple[Word, ...], memory: Memory) -> bool:
        """CODECOPY of words that stand in the code, as old compilers keep large constants and long strings."""
        to, source, length = args
        if not isinstance(source, int) or not isinstance(length, int) or length > 1024:
            return False
        data = of_code(self.contract, source, length)
        whole = len(data) - len(data) % 32
        if len(data) != whole and not memory.is_untouched(
            self.symbols.add(to, len(data)), whole + 32 - len(data)
        ):
            return False
        for at in range(0, len(data), 32):
            word = int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big")
            memory.store(self.symbols.add(to, at), word)
        return len(data) > 0

    def _move(self, args: tuple[Word, ...], memory: Memory) -> None:
        to, source, length = args
        payload = memory.payload(source, length)
        memory.note_read(source, length, self.at)
        distance = next((node for at, node in payload.regions if at == 0), None)
        if distance is None:
            distance = self.symbols.fresh("MEMORY", source)
        memory.copy(to, distance, length)
        for position, word in enumerate(payload.words if isinstance(length, int) else ()):
            if word is not None and 32 * position + 32 <= length:  # type: ignore[operator]
                memory.store(self.symbols.add(to, 32 * position), word)
