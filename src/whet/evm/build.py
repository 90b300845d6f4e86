"""From blocks to TAC: one function at a time, its blocks cloned per context, its stack turned into variables.

A block is cloned for every combination of known code offsets on the function's own stack (return offsets of what is
inlined, function pointers); so shared tails get a copy for each way through, and all jumps have fixed targets. Where
control enters a private function with its return offset on the stack, a CALLPRIVATE is written and control goes on at
that offset. Where ways meet, every other stack word becomes a phi; `fold` removes those that were not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.blocks import Constant, Disassembly, Item
from whet.evm.dispatch import Dispatch, Edge, Entry, Expression
from whet.evm.flow import NOT_ZERO, ZERO, never, show
from whet.evm.functions import Private
from whet.evm.opcodes import BY_NAME
from whet.evm.tac import Block, End, Function, Operand, Phi, Statement

RETURN_OFFSET = -1
"""Stands in a context for the word that holds where this function returns to."""

Context = tuple[int | None, ...]
"""For each word of the function's own stack, deepest first: an offset of the code, RETURN_OFFSET, or None."""

Key = tuple[int, Context]

_CALLS_ON_A_WAY = 32

_RETURN = "return offset"
"""Stands for the value of that word; no statement may use it."""


class NotAFunction(Exception):
    """This cannot be a function as it was thought to be."""

    def __init__(self, private: Private) -> None:
        self.private = private
        super().__init__(private.name)


@dataclass(slots=True)
class Program:
    """What the functions of a contract are built from. privates: {offset: functions that begin there, most bound first}."""

    disassembly: Disassembly
    dispatch: Dispatch
    privates: dict[int, list[Private]]
    entered: dict[Edge, str]
    """{edge of the dispatcher: name of the function behind it}"""
    used: set[int]
    """Code offsets that jumps take from the stack of an earlier block; only these are kept apart."""
    escaped: list[int]
    """Code offsets that a jump to an unknown word may go to."""
    most_blocks: int
    """Blocks one function may have; more are cut off."""
    most_words: int
    """What the blocks of one function may cost: their instructions, four each, and the stack words on entry to them,
    since each may become a phi with an operand per way in."""
    words_left: int
    """The same for all functions that are yet to be built."""


@dataclass(slots=True)
class _Way:
    """Where control goes: through calls, to a block (key), or out (`end`)."""

    calls: list[Private]
    key: Key | None
    end: str = ""
    function: str = ""


@dataclass(slots=True)
class _Node:
    key: Key
    ways: list[_Way]
    kind: str
    cases: tuple[int, ...] = ()
    id: str = ""
    ways_in: int = 0


def build(program: Program, name: str, entry: Entry) -> Function:
    """The dispatcher, or what it goes over to."""
    return _Builder(
        program, Function(name, entry.kind, entry.pc, (), None, {}, entry.selector), entry.stack
    ).function()


def build_private(program: Program, private: Private) -> Function:
    """A private function. Raises NotAFunction where it does not return as was thought."""
    params = tuple(f"a{i}" for i in range(private.takes))
    out = Function(private.name, "private", private.entry, params, private.leaves, {})
    return _Builder(program, out, (), private).function()


class _Builder:
    def __init__(
        self, program: Program, out: Function, stack: tuple[Expression, ...], private: Private | None = None
    ) -> None:
        self.program, self.out, self.private = program, out, private
        self.pc = out.pc
        self.nodes: dict[Key, _Node] = {}
        self.initial = stack
        self._words_left = min(program.most_words, program.words_left)
        self._count = 0
        self._leaves: dict[int, list[Item]] = {}

    # Which blocks there are, and in which contexts.

    def function(self) -> Function:
        context, operands = self._entry()
        start = self._explore((self.pc, context))
        order = self._number(start)
        self._write(order, operands)
        return self.out

    def _entry(self) -> tuple[Context, list[Operand]]:
        if self.private is not None:
            known = {len(self.out.params) - 1 - slot: offset for slot, offset in self.private.bound}
            words = [known.get(place) for place in range(len(self.out.params))]
            params = [
                param if word is None else word for param, word in zip(self.out.params, words, strict=True)
            ]
            return (RETURN_OFFSET, *words), [_RETURN, *params]
        context = tuple(
            word if isinstance(word, int) and word in self.program.used else None for word in self.initial
        )
        return context, []

    def _explore(self, start: Key) -> _Node:
        work = [start]
        self.nodes[start] = first = _Node(start, [], "")
        while work:
            key = work.pop()
            node = self.nodes[key]
            self._ways(node)
            for way in node.ways:
                if way.key is None or way.key in self.nodes:
                    continue
                if len(self.nodes) >= self.program.most_blocks or self._words_left <= 0:
                    way.key, way.end = None, "cut"
                    self._note(f"cut off after {len(self.nodes)} blocks")
                    continue
                self._pay(4 + len(way.key[1]) + len(self.program.disassembly.block(way.key[0]).instructions))
                self.nodes[way.key] = _Node(way.key, [], "")
                work.append(way.key)
        return first

    def _pay(self, words: int) -> None:
        self._words_left -= words
        self.program.words_left -= words

    def _note(self, note: str) -> None:
        if note not in self.out.notes:
            self.out.notes.append(note)

    def _ways(self, node: _Node) -> None:
        pc, context = node.key
        block = self.program.disassembly.block(pc)
        effect = block.effect
        if effect.takes > len(context):
            if self.private is not None:
                raise NotAFunction(self.private)
            node.kind = "underflow"
            return
        gone = never(effect, context)
        left = context[: len(context) - effect.takes] + tuple(
            [self._word(item, context) for item in self._known(pc)]
        )
        node.kind = block.last
        if len(left) > 1024:
            node.kind = "overflow"
            return
        if gone:
            node.kind = "decided"
        if block.last in ("JUMP", "JUMPI") and gone != "taken":
            target = self._word(effect.target, context)
            after = show(left, effect.shown, True)
            if target is None or target >= ZERO:
                self._switch(node, after)
            else:
                node.ways.append(self._way(pc, "jumped" if block.last == "JUMP" else "taken", target, after))
        if block.last in ("JUMPI", "FALL") and gone != "fell":
            node.ways.append(self._way(pc, "fell", block.end, show(left, effect.shown, False)))

    def _switch(self, node: _Node, left: Context) -> None:
        pc = node.key[0]
        node.cases = tuple(sorted(self.program.escaped))
        self._pay(len(node.cases))
        if not node.cases or node.kind == "JUMPI" or self._words_left <= 0:
            node.ways.append(_Way([], None, "unknown target"))
            node.cases = ()
            return
        node.kind = "SWITCH"
        node.ways = [self._way(pc, "jumped", target, left) for target in node.cases]
        self._note(
            f"the jump at the end of block 0x{pc:x} goes to one of {len(node.cases)} places, known when running"
        )

    def _way(self, pc: int, how: str, target: int, context: Context) -> _Way:
        """The way to `target`, through the functions that are entered on it."""
        program = self.program
        entered = program.entered.get((pc, how))
        if entered is not None and self.out.kind == "entry":
            return _Way([], None, "ENTER", entered)
        calls: list[Private] = []
        while True:
            if target == RETURN_OFFSET:
                return self._returned(calls, context)
            if target not in program.disassembly.jumpdests and how != "fell":
                return _Way(calls, None, "bad jump")
            private = self._enters(target, context) if len(calls) < _CALLS_ON_A_WAY else None
            if private is None:
                return _Way(calls, (target, context))
            calls.append(private)
            if private.leaves is None:
                return _Way(calls, None, "no return")
            target, how = context[-1 - private.takes], "jumped"  # type: ignore[assignment]
            context = context[: len(context) - private.takes - 1] + (None,) * private.leaves

    def _enters(self, target: int, context: Context) -> Private | None:
        """The private function that control enters at `target`, with what it needs on the stack."""
        for private in self.program.privates.get(target, ()):
            back = context[-1 - private.takes] if private.takes < len(context) else None
            if (
                back is not None
                and back < ZERO
                and all(context[-1 - slot] == offset for slot, offset in private.bound)
            ):
                return private
        return None

    def _returned(self, calls: list[Private], context: Context) -> _Way:
        assert self.private is not None
        if len(context) != self.private.leaves:
            raise NotAFunction(self.private)
        return _Way(calls, None, "RETURNPRIVATE")

    def _known(self, pc: int) -> list[Item]:
        leaves = self._leaves.get(pc)
        if leaves is None:
            used = self.program.used
            leaves = [
                None if isinstance(item, Constant) and item.value not in used else item
                for item in self.program.disassembly.block(pc).effect.leaves
            ]
            self._leaves[pc] = leaves
        return leaves

    def _word(self, item: Item, context: Context) -> int | None:
        if item is None:
            return None
        if isinstance(item, int):
            return context[-1 - item]
        if isinstance(item, Constant):
            return item.value
        word = context[-1 - item.slot]
        return word if word is None or word <= item.mask else None

    # In which order, and with which variables.

    def _number(self, start: _Node) -> list[_Node]:
        """Reverse postorder: a block comes behind all that lead to it, but for loops."""
        order: list[_Node] = []
        seen = {start.key}
        path = [(start, self._next(start))]
        while path:
            node, following = path[-1]
            if following:
                after = following.pop()
                if after.key not in seen:
                    seen.add(after.key)
                    path.append((after, self._next(after)))
            else:
                order.append(node)
                path.pop()
        order.reverse()
        for node in order:
            for way in node.ways:
                if way.key is not None:
                    self.nodes[way.key].ways_in += 1
        shift = 1 if start.ways_in or self.initial else 0
        for position, node in enumerate(order):
            node.id = f"b{position + shift}"
        return order

    def _next(self, node: _Node) -> list[_Node]:
        keys = [way.key for way in node.ways if way.key is not None]
        return [self.nodes[key] for key in dict.fromkeys(keys)]

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _write(self, order: list[_Node], operands: list[Operand]) -> None:
        phis: dict[Key, list[Phi | None]] = {}
        stacks: dict[Key, list[Operand]] = {}
        start = order[0]
        if start.id != "b0":
            first = Block("b0", self.pc, [], [], End("JUMP", (), (start.id,), self.pc))
            operands = operands or self._materialise(first)
            self.out.blocks["b0"] = first
        merging = {node.key for node in order if node.ways_in + (node is start and start.id != "b0") > 1}
        stubs: list[Block] = []
        if start.key in merging:
            self._merge(start.key, phis, stacks)
            self._arrive("b0", start.key, operands, phis, stacks)
        else:
            stacks[start.key] = operands
        for node in order:
            if node.key in merging and node.key not in stacks:
                self._merge(node.key, phis, stacks)
            block = Block(
                node.id, node.key[0], [p for p in phis.get(node.key, []) if p is not None], [], End("STOP")
            )
            self.out.blocks[node.id] = block
            stack, condition = self._execute(node, block, list(stacks[node.key]))
            self._finish(node, block, stack, condition, merging, phis, stacks, stubs)
        for stub in stubs:
            self.out.blocks[stub.id] = stub

    def _merge(self, key: Key, phis: dict[Key, list[Phi | None]], stacks: dict[Key, list[Operand]]) -> None:
        made: list[Phi | None] = [Phi(self._new(), {}) if word in _UNKNOWN else None for word in key[1]]
        phis[key] = made
        stacks[key] = [
            phi.result if phi is not None else _known_word(word)
            for phi, word in zip(made, key[1], strict=True)
        ]

    def _arrive(
        self,
        from_id: str,
        key: Key,
        stack: list[Operand],
        phis: dict[Key, list[Phi | None]],
        stacks: dict[Key, list[Operand]],
    ) -> None:
        if key not in phis:
            stacks[key] = stack
            return
        for phi, operand in zip(phis[key], stack, strict=True):
            if phi is not None:
                phi.incoming[from_id] = operand

    def _materialise(self, block: Block) -> list[Operand]:
        """The words that the dispatcher left, computed once more: they depend on nothing that changes."""
        known: dict[Expression, Operand] = {}

        def word(expression: Expression) -> Operand:
            if isinstance(expression, int):
                return expression
            if expression not in known:
                args = tuple(word(part) for part in expression[1:] if not isinstance(part, str))
                result = self._new()
                block.statements.append(Statement(str(expression[0]), args, (result,), self.pc))
                known[expression] = result
            return known[expression]

        return [word(expression) for expression in self.initial]

    def _execute(
        self, node: _Node, block: Block, stack: list[Operand]
    ) -> tuple[list[Operand], list[Operand]]:
        """Write the statements; (stack behind the block, operands of its last instruction, top first)."""
        if node.kind in ("underflow", "overflow"):
            return stack, []
        statements = block.statements
        for pc, name, value in self.program.disassembly.block(node.key[0]).instructions:
            if name == "PUSH":
                stack.append(value)
            elif name == "DUP":
                stack.append(stack[-value])
            elif name == "SWAP":
                stack[-1], stack[-value - 1] = stack[-value - 1], stack[-1]
            elif name == "POP":
                stack.pop()
            elif name == "PC":
                stack.append(pc)
            elif name != "JUMPDEST":
                opcode = BY_NAME[name]
                args = [stack.pop() for _ in range(opcode.pops)]
                if _RETURN in args and name != "JUMP" and not (name == "JUMPI" and args[1] != _RETURN):
                    raise NotAFunction(self._itself())
                if name in _ENDS:
                    return stack, args
                results = (self._new(),) if opcode.pushes else ()
                statements.append(Statement(name, tuple(args), results, pc))
                stack.extend(results)
        return stack, []

    def _finish(
        self,
        node: _Node,
        block: Block,
        stack: list[Operand],
        operands: list[Operand],
        merging: set[Key],
        phis: dict[Key, list[Phi | None]],
        stacks: dict[Key, list[Operand]],
        stubs: list[Block],
    ) -> None:
        raw = self.program.disassembly.block(node.key[0])
        pc = raw.instructions[-1][0] if raw.instructions else node.key[0]

        def arrive(key: Key, from_id: str, words: list[Operand]) -> str:
            if key in merging and key not in phis:
                self._merge(key, phis, stacks)
            self._arrive(from_id, key, words, phis, stacks)
            return self.nodes[key].id

        def follow(into: Block, way: _Way) -> None:
            words = self._call(into, way.calls, stack, pc)
            if way.key is not None:
                into.end = End("JUMP", (), (arrive(way.key, into.id, words),), pc)
            else:
                into.end = self._out(way, words, operands, pc)

        if node.kind in ("underflow", "overflow"):
            block.end = End("INVALID", pc=pc, why=f"stack {node.kind}")
        elif node.kind in ("JUMP", "FALL", "decided") and node.ways:
            follow(block, node.ways[0])
        elif node.kind in ("JUMPI", "SWITCH"):
            targets = []
            for way in node.ways:
                direct = (
                    way.key is not None
                    and not way.calls
                    and all(other is way or other.key != way.key for other in node.ways)
                )
                if direct:
                    assert way.key is not None
                    targets.append(arrive(way.key, block.id, stack))
                    continue
                stub = Block(f"{node.id}x{len(targets)}", pc, [], [], End("STOP"))
                stubs.append(stub)
                follow(stub, way)
                targets.append(stub.id)
            if node.kind == "SWITCH":
                block.end = End("SWITCH", (operands[0],), tuple(targets), pc, node.cases)
            else:
                block.end = End("BRANCH", (operands[1],), tuple(targets), pc)
        else:
            why = (
                "undefined instruction" if node.kind == "INVALID" and _is_undefined(self.program, pc) else ""
            )
            block.end = End(node.kind, tuple(operands), pc=pc, why=why)

    def _itself(self) -> Private:
        assert self.private is not None
        return self.private

    def _call(self, block: Block, calls: list[Private], stack: list[Operand], pc: int) -> list[Operand]:
        words = list(stack)
        for call in calls:
            cut = len(words) - call.takes
            args = tuple(words[cut:])
            if _RETURN in args:
                raise NotAFunction(self._itself())
            results = tuple(self._new() for _ in range(call.leaves or 0))
            block.statements.append(Statement("CALLPRIVATE", args, results, pc, call.name))
            words[cut - 1 :] = results
        return words

    def _out(self, way: _Way, words: list[Operand], operands: list[Operand], pc: int) -> End:
        if way.end == "ENTER":
            return End("ENTER", pc=pc, function=way.function)
        if way.end == "RETURNPRIVATE":
            if _RETURN in words:
                raise NotAFunction(self._itself())
            return End("RETURNPRIVATE", tuple(words), pc=pc)
        if way.end == "bad jump":
            return End("INVALID", pc=pc, why="jump to no JUMPDEST")
        if way.end == "no return":
            return End("INVALID", pc=pc, why="the function called never returns")
        return End("UNRESOLVED", tuple(operands[:1]), pc=pc, why=way.end)


_UNKNOWN = (None, ZERO, NOT_ZERO)


def _known_word(word: int | None) -> Operand:
    assert word is not None
    return _RETURN if word == RETURN_OFFSET else word


_ENDS = frozenset({"JUMP", "JUMPI", "STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"})


def _is_undefined(program: Program, pc: int) -> bool:
    code = program.disassembly.code
    return pc < len(code) and code[pc] != 0xFE
