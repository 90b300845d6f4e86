"""TAC decoded for execution: every statement a Python closure over slots of one list; no code is generated.

A function's variables and constants are slots of a list (`Routine.values` is the list at its start). A block is one
`Node` or several: it is split after each private call, message call and creation, so that the driver
(`whet.evm.interpret`) needs no recursion of its own. Functions are decoded when first called; blocks all at once.
Costs about 10 us a statement to decode and 0.2 us to execute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from whet.errors import WhetError
from whet.evm.state_ops import FREE, STATEFUL, Halt
from whet.evm.tac import Block, Contract, End, Function, Operand, Statement
from whet.evm.words import ONE, THREE, TWO

if TYPE_CHECKING:
    from whet.evm.frame import Frame

Values = list[Any]
Step = Callable[[Values, "Frame"], None]
Jump = Callable[[Values, "Frame"], "Node | None"]

COMPARISONS = frozenset({"EQ", "LT", "GT", "SLT", "SGT", "SUB", "XOR"})
"""Whose operands are kept for the one who searches arguments that reach new blocks."""
COMPARISONS_KEPT = 400
PRIVATE_DEPTH = 1024
"""Private calls within one another; each holds at least its return address on the EVM's stack of 1,024 words."""


class Malformed(WhetError):
    """TAC that breaks the rules of `whet.evm.tac`: a defect of what wrote it."""


class Unresolved(WhetError):
    """Execution came to where the analysis was cut off."""


class Node:
    """Straight-line code and the jump at its end. `key` is (function, block id)."""

    __slots__ = ("cost", "end", "key", "steps")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.steps: tuple[Step, ...] = ()
        self.cost = 1
        self.end: Jump = _no_end


def _no_end(values: Values, frame: Frame) -> Node | None:
    raise AssertionError("a node without an end")


class Program:
    """A contract's TAC, decoded function by function."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.places = frozenset(contract.places)
        self._routines: dict[str, Routine] = {}

    @property
    def entry(self) -> Routine:
        return self.routine(next(iter(self.contract.functions)))

    def routine(self, name: str) -> Routine:
        """The decoded function. Raises Malformed where the contract has none of that name."""
        if name not in self._routines:
            if name not in self.contract.functions:
                raise Malformed(f"no function {name!r} in this contract")
            self._routines[name] = self.decoded(self.contract.functions[name])
        return self._routines[name]

    def decoded(self, function: Function) -> Routine:
        """The function as it is going to be executed."""
        return Routine(function, self)


class Routine:
    """One function, decoded. `params` are slots; `values` is copied for each call."""

    def __init__(self, function: Function, program: Program) -> None:
        self.name = function.name
        self.program = program
        self._slots: dict[Operand, int] = {}
        self.values: Values = []
        self.params = tuple(self.slot(name) for name in function.params)
        self._nodes = {name: Node((function.name, name)) for name in function.blocks}
        self._blocks = function.blocks
        for block in function.blocks.values():
            self._decode(block)
        if "b0" not in self._nodes or function.blocks["b0"].phis:
            raise Malformed("a function begins with a block b0 without phis", where=function.name)
        self.first = self._nodes["b0"]

    def slot(self, operand: Operand) -> int:
        if operand not in self._slots:
            self._slots[operand] = len(self.values)
            self.values.append(operand if isinstance(operand, int) else None)
        return self._slots[operand]

    def slots(self, operands: tuple[Operand, ...]) -> tuple[int, ...]:
        return tuple(self.slot(operand) for operand in operands)

    def _decode(self, block: Block) -> None:
        node = self._nodes[block.id]
        steps: list[Step] = []
        for statement in block.statements:
            node.cost += 1
            if statement.op in CALLS:
                after = Node(node.key)
                node.steps, node.end = tuple(steps), CALLS[statement.op](self, statement, after)
                node, steps = after, []
            else:
                steps.append(self.step(statement))
        node.steps = tuple(steps)
        node.end = self.end(block)

    def end(self, block: Block) -> Jump:
        """What the end of a block does."""
        return ENDS[block.end.op](self, block)

    def step(self, statement: Statement) -> Step:
        """What a statement does."""
        op, args = statement.op, self.slots(statement.args)
        results = self.slots(statement.results)
        if op in COMPARISONS:
            return _comparison(TWO[op], results[0], *args)
        if op in TWO:
            return _two(TWO[op], results[0], *args)
        if op in ONE:
            return _one(ONE[op], results[0], *args)
        if op in THREE:
            return _three(THREE[op], results[0], *args)
        if op in FREE:
            return partial(_free, FREE[op], results[0])
        if op in STATEFUL:
            return STATEFUL[op](*results, *args)
        raise Malformed(f"no instruction {op}", where=f"{self.name}, pc {statement.pc:#x}")

    def edge(self, source: Block, target: str) -> Jump:
        """Over to the block, its phis assigned all at once."""
        if target not in self._nodes:
            raise Malformed(f"no block {target!r}", where=f"{self.name}, {source.id}")
        phis = self._blocks[target].phis
        missing = [phi.result for phi in phis if source.id not in phi.incoming]
        if missing:
            raise Malformed(f"phi {missing[0]} of {target} has no value from {source.id}", where=self.name)
        moves = [(self.slot(phi.result), self.slot(phi.incoming[source.id])) for phi in phis]
        return _edge(self._nodes[target], [pair for pair in moves if pair[0] != pair[1]])


def _one(f: Callable[[int], int], result: int, a: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = f(values[a])

    return step


def _two(f: Callable[[int, int], int], result: int, a: int, b: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = f(values[a], values[b])

    return step


def _three(f: Callable[[int, int, int], int], result: int, a: int, b: int, c: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = f(values[a], values[b], values[c])

    return step


def _comparison(f: Callable[[int, int], int], result: int, a: int, b: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        x, y = values[a], values[b]
        values[result] = f(x, y)
        if x != y and len(frame.compared) < COMPARISONS_KEPT:
            frame.compared[x, y] = True

    return step


def _free(f: Callable[[Frame], int], result: int, values: Values, frame: Frame) -> None:
    values[result] = f(frame)


def _edge(node: Node, moves: list[tuple[int, int]]) -> Jump:
    if not moves:
        return lambda values, frame: node
    if len(moves) == 1:
        [(to, source)] = moves

        def one(values: Values, frame: Frame) -> Node:
            values[to] = values[source]
            return node

        return one

    def many(values: Values, frame: Frame) -> Node:
        read = [values[source] for _, source in moves]
        for (to, _), value in zip(moves, read, strict=True):
            values[to] = value
        return node

    return many


# Ends of blocks.


def _jump(routine: Routine, block: Block) -> Jump:
    return routine.edge(block, block.end.targets[0])


def _branch(routine: Routine, block: Block) -> Jump:
    condition = routine.slot(block.end.args[0])
    yes, no = (routine.edge(block, target) for target in block.end.targets)

    def end(values: Values, frame: Frame) -> Node | None:
        return (yes if values[condition] else no)(values, frame)

    return end


def _switch(routine: Routine, block: Block) -> Jump:
    value = routine.slot(block.end.args[0])
    edges = [routine.edge(block, target) for target in block.end.targets]
    ways = dict(zip(block.end.cases, edges, strict=True))

    def end(values: Values, frame: Frame) -> Node | None:
        way = ways.get(values[value])
        if way is not None:
            return way(values, frame)
        if values[value] not in routine.program.places:
            raise Halt("jump to a place that is no JUMPDEST")
        raise Unresolved(
            f"a jump to {values[value]:#x} was not foreseen", where=f"{routine.name}, {block.id}"
        )

    return end


def _enter(routine: Routine, block: Block) -> Jump:
    name, args = block.end.function, routine.slots(block.end.args)

    def end(values: Values, frame: Frame) -> Node:
        return _over(routine.program.routine(name), args, values, frame)

    return end


def _over(callee: Routine, args: tuple[int, ...], values: Values, frame: Frame) -> Node:
    if len(callee.params) != len(args):
        raise Malformed(f"{len(args)} arguments for {len(callee.params)} parameters", where=callee.name)
    frame.values = callee.values.copy()
    for param, arg in zip(callee.params, args, strict=True):
        frame.values[param] = values[arg]
    return callee.first


def _return_private(routine: Routine, block: Block) -> Jump:
    args = routine.slots(block.end.args)

    def end(values: Values, frame: Frame) -> Node:
        if not frame.returns:
            raise Malformed("RETURNPRIVATE without a private call", where=f"{routine.name}, {block.id}")
        caller, results, node = frame.returns.pop()
        if len(results) != len(args):
            raise Malformed(f"{len(args)} values for {len(results)} results", where=routine.name)
        for result, arg in zip(results, args, strict=True):
            caller[result] = values[arg]
        frame.values = caller
        return node

    return end


def _finish(routine: Routine, block: Block) -> Jump:
    """RETURN, REVERT, STOP."""
    args = routine.slots(block.end.args)
    status = "revert" if block.end.op == "REVERT" else "success"

    def end(values: Values, frame: Frame) -> None:
        frame.finish(status, frame.read(values[args[0]], values[args[1]]) if args else b"")

    return end


def _selfdestruct(routine: Routine, block: Block) -> Jump:
    beneficiary = routine.slot(block.end.args[0])

    def end(values: Values, frame: Frame) -> None:
        frame.selfdestruct(values[beneficiary])

    return end


def _halt(end: End) -> Jump:
    def halt(values: Values, frame: Frame) -> None:
        raise Halt(end.why or "INVALID")

    return halt


def _unresolved(routine: Routine, block: Block) -> Jump:
    def end(values: Values, frame: Frame) -> None:
        raise Unresolved(
            f"the analysis was cut off here: {block.end.why}",
            where=f"{routine.name}, {block.id}, pc {block.end.pc:#x}",
        )

    return end


ENDS: dict[str, Callable[[Routine, Block], Jump]] = {
    "JUMP": _jump,
    "BRANCH": _branch,
    "SWITCH": _switch,
    "ENTER": _enter,
    "RETURNPRIVATE": _return_private,
    "RETURN": _finish,
    "REVERT": _finish,
    "STOP": _finish,
    "SELFDESTRUCT": _selfdestruct,
    "INVALID": lambda routine, block: _halt(block.end),
    "UNRESOLVED": _unresolved,
}


# Statements after which control is elsewhere for a while.


def _call_private(routine: Routine, statement: Statement, after: Node) -> Jump:
    args, results = routine.slots(statement.args), routine.slots(statement.results)

    def end(values: Values, frame: Frame) -> Node:
        if len(frame.returns) >= frame.machine.private_depth:
            _deeper(frame)
        frame.returns.append((values, results, after))
        return _over(routine.program.routine(statement.function), args, values, frame)

    return end


def _deeper(frame: Frame) -> None:
    frame.machine.private_depth = len(frame.returns) + 1
    if len(frame.returns) >= PRIVATE_DEPTH:
        raise Halt("stack overflow")


def _message(routine: Routine, statement: Statement, after: Node) -> Jump:
    """CALL and its kin, CREATE, CREATE2: the driver goes on in a new frame and comes back to `after`."""
    args, (result,) = routine.slots(statement.args), routine.slots(statement.results)
    op = statement.op

    def end(values: Values, frame: Frame) -> None:
        frame.resume = (result, after)
        frame.request = (op, [values[arg] for arg in args])

    return end


MESSAGES = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2")
CALLS: dict[str, Callable[[Routine, Statement, Node], Jump]] = {
    "CALLPRIVATE": _call_private,
    **dict.fromkeys(MESSAGES, _message),
}
