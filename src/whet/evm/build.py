"""From blocks to TAC: one function at a time, the nodes of `contexts` written down, the stack turned into variables.

A known word of a context is written as a constant; where ways meet, every other stack word becomes a phi; `fold`
removes those that were not needed. Costs a statement per instruction that is none of the stack's own, and a phi per
unknown stack word and meeting.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.evm.contexts import RETURN_OFFSET, Key, Node, NotAFunction, Program, Way, explore
from whet.evm.dispatch import Entry
from whet.evm.functions import Private
from whet.evm.opcodes import BY_NAME
from whet.evm.selectors import Expression
from whet.evm.stacks import NOT_ZERO, ZERO
from whet.evm.tac import Block, End, Function, Operand, Phi, Statement

_RETURN = "return offset"
"""Stands for the value of the word that holds where the function returns to; no statement may use it."""

_UNKNOWN = (None, ZERO, NOT_ZERO)
"""Words of a context whose value is a variable."""

_ENDS = frozenset({"JUMP", "JUMPI", "STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"})

_WRONG = {"bad jump": "jump to no JUMPDEST", "no return": "the function called never returns"}
"""Why a way ends with INVALID."""


def build(program: Program, entry: Entry) -> Function:
    """The dispatcher, or what it goes over to. Raises NotAFunction where it reads more words than it is told."""
    out = Function(entry.name, entry.kind, entry.pc, (), None, {}, entry.selector)
    context = tuple(
        [word if isinstance(word, int) and word in program.used else None for word in entry.stack]
    )
    order = explore(program, out, context, sealed=entry.beneath)
    _Writer(program, out, order, [], entry.stack).write()
    return out


def build_private(program: Program, private: Private) -> Function:
    """A private function. Raises NotAFunction where it does not return as was thought."""
    params = tuple(f"a{i}" for i in range(private.takes))
    out = Function(private.name, "private", private.entry, params, private.leaves, {})
    known = {private.takes - 1 - slot: offset for slot, offset in private.bound}
    words = [known.get(place) for place in range(private.takes)]
    order = explore(program, out, (RETURN_OFFSET, *words), sealed=True)
    operands = [param if word is None else word for param, word in zip(params, words, strict=True)]
    _Writer(program, out, order, [_RETURN, *operands]).write()
    return out


class _Writer:
    """Writes the blocks of `order` into `out`.

    operands: the stack that the function begins with, deepest first. initial: what is computed of it first.
    """

    def __init__(
        self,
        program: Program,
        out: Function,
        order: list[Node],
        operands: list[Operand],
        initial: Sequence[Expression] = (),
    ) -> None:
        self.program, self.out, self.order = program, out, order
        self.operands, self.initial = operands, initial
        self.nodes = {node.key: node for node in order}
        self._stacks: dict[Key, list[Operand]] = {}
        self._phis: dict[Key, list[Phi | None]] = {}
        """For nodes that several ways lead to, and each word of their stack."""
        self._stubs: list[Block] = []
        self._variables = 0

    def write(self) -> None:
        start = self.order[0]
        prologue = bool(start.ways_in or self.initial)
        for position, node in enumerate(self.order):
            node.id = f"b{position + prologue}"
        if prologue:
            self._prologue(start)
        else:
            self._stacks[start.key] = self.operands
        for node in self.order:
            self._block(node)
        self.out.blocks |= {stub.id: stub for stub in self._stubs}

    def _prologue(self, start: Node) -> None:
        """A first block, to which nothing comes back, and that computes what the dispatcher left."""
        start.ways_in += 1
        block = Block("b0", self.out.pc, [], [], End("JUMP", (), (start.id,), self.out.pc))
        self.out.blocks["b0"] = block
        known: dict[Expression, Operand] = {}
        words = [self._computed(expression, block, known) for expression in self.initial]
        self._arrive("b0", start.key, words or self.operands)

    def _computed(self, expression: Expression, block: Block, known: dict[Expression, Operand]) -> Operand:
        """What the dispatcher left, computed once more: it depends on nothing that changes."""
        if isinstance(expression, int):
            return expression
        if expression not in known:
            args = tuple(
                [self._computed(part, block, known) for part in expression[1:] if not isinstance(part, str)]
            )
            result = known[expression] = self._new()
            block.statements.append(Statement(str(expression[0]), args, (result,), self.out.pc))
        return known[expression]

    def _new(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    # Stacks on entry to nodes.

    def _arrive(self, from_id: str, key: Key, words: list[Operand]) -> str:
        """Control goes to a node, from the block `from_id` and with these words; the id of the node's block."""
        node = self.nodes[key]
        if node.ways_in == 1:
            self._stacks[key] = words
            return node.id
        for phi, word in zip(self._merged(key), words, strict=True):
            if phi is not None:
                phi.incoming[from_id] = word
        return node.id

    def _merged(self, key: Key) -> list[Phi | None]:
        """The phis of a node that several ways lead to."""
        if key not in self._phis:
            phis = [Phi(self._new(), {}) if word in _UNKNOWN else None for word in key[1]]
            self._phis[key] = phis
            self._stacks[key] = [
                _constant(word) if phi is None else phi.result for phi, word in zip(phis, key[1], strict=True)
            ]
        return self._phis[key]

    # One block.

    def _block(self, node: Node) -> None:
        phis = self._merged(node.key) if node.ways_in > 1 else []
        block = Block(node.id, node.key[0], [phi for phi in phis if phi is not None], [], End("STOP"))
        self.out.blocks[node.id] = block
        stack = list(self._stacks[node.key])
        if node.kind in ("underflow", "overflow"):
            block.end = End("INVALID", pc=node.key[0], why=f"stack {node.kind}")
        else:
            operands = self._execute(block, stack)
            self._end(node, block, stack, operands)

    def _execute(self, block: Block, stack: list[Operand]) -> list[Operand]:
        """Write the statements; `stack` becomes what lies behind the block. The operands of its last instruction."""
        for pc, name, value in self.program.disassembly.block(block.pc).instructions:
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
                self._check(args[1:] if name in ("JUMP", "JUMPI") else args)
                if name in _ENDS:
                    return args
                results = (self._new(),) if opcode.pushes else ()
                block.statements.append(Statement(name, tuple(args), results, pc))
                stack.extend(results)
        return []

    def _check(self, operands: Sequence[Operand]) -> None:
        if _RETURN in operands:
            raise NotAFunction(self.out.name)

    def _end(self, node: Node, block: Block, stack: list[Operand], operands: list[Operand]) -> None:
        instructions = self.program.disassembly.block(block.pc).instructions
        pc = instructions[-1][0] if instructions else block.pc
        if node.kind == "JUMPI":
            block.end = End("BRANCH", (operands[1],), self._targets(node, stack, operands, pc), pc)
        elif node.kind == "SWITCH":
            targets = self._targets(node, stack, operands, pc)
            block.end = End("SWITCH", (operands[0],), targets, pc, node.cases)
        elif node.ways:
            self._follow(block, node.ways[0], stack, operands, pc)
        else:
            undefined = (
                node.kind == "INVALID" and self.program.disassembly.code[pc] != BY_NAME["INVALID"].value
            )
            block.end = End(
                node.kind, tuple(operands), pc=pc, why="undefined instruction" if undefined else ""
            )

    def _targets(self, node: Node, stack: list[Operand], operands: list[Operand], pc: int) -> tuple[str, ...]:
        """The blocks that several ways lead to. A way through calls or out, or one of two to the same, gets a block of
        its own."""
        targets: list[str] = []
        keys = [way.key for way in node.ways]
        for way in node.ways:
            if way.key is not None and not way.calls and keys.count(way.key) == 1:
                targets.append(self._arrive(node.id, way.key, stack))
                continue
            stub = Block(f"{node.id}x{len(targets)}", pc, [], [], End("STOP"))
            self._stubs.append(stub)
            self._follow(stub, way, stack, operands, pc)
            targets.append(stub.id)
        return tuple(targets)

    def _follow(self, block: Block, way: Way, stack: list[Operand], operands: list[Operand], pc: int) -> None:
        """The block goes this way, through its calls."""
        words = self._call(block, way.calls, stack, pc)
        if way.key is not None:
            block.end = End("JUMP", (), (self._arrive(block.id, way.key, words),), pc)
        elif way.end == "ENTER":
            block.end = End("ENTER", pc=pc, function=way.function)
        elif way.end == "RETURNPRIVATE":
            self._check(words)
            block.end = End("RETURNPRIVATE", tuple(words), pc=pc)
        elif way.end in _WRONG:
            block.end = End("INVALID", pc=pc, why=_WRONG[way.end])
        else:
            block.end = End("UNRESOLVED", tuple(operands[:1]), pc=pc, why=way.end)

    def _call(self, block: Block, calls: list[Private], stack: list[Operand], pc: int) -> list[Operand]:
        """Write the calls; the stack behind them."""
        words = list(stack)
        for call in calls:
            cut = len(words) - call.takes
            args = tuple(words[cut:])
            self._check(args)
            results = [self._new() for _ in range(call.leaves or 0)]
            block.statements.append(Statement("CALLPRIVATE", args, tuple(results), pc, call.name))
            words[cut - 1 :] = results
        return words


def _constant(word: int | None) -> Operand:
    assert word is not None
    return _RETURN if word == RETURN_OFFSET else word
