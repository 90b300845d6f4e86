"""Which variables of a function always hold the same word: pure values that are computed twice, what is read twice, what a
private function gives back unchanged, the caller.

In static single assignment two variables of equal expressions are equal wherever both may be used. What was read from
storage or memory, or written there, is read again as long as nothing on any way may have written there since. Assumed, as
compilers do it: slots and places in memory that are computed are none that have a small number, elements do not overlap
lengths.
"""

from __future__ import annotations

from whet.evm.call_graph import reach
from whet.evm.opcodes import PURE
from whet.evm.tac import Contract, Function, Operand, Statement
from whet.evm.verify.reads import Shape, free_pointers, older_places, read_again, writes
from whet.evm.words import ADDRESS

COMMUTATIVE = frozenset({"ADD", "MUL", "AND", "OR", "XOR", "EQ"})
WHO = ("CALLER", "ADDRESS", "ORIGIN")
PASSES = 3


class Shapes:
    """Of the functions of a contract, each found once."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.reached = reach(contract)
        self.does: dict[str, frozenset[str]] = {}
        self.found: dict[str, Shape] = {}

    def of(self, function: Function) -> Shape:
        """Found once; of a function that calls itself without what it gives back."""
        if function.name not in self.found:
            self.found[function.name] = Shape()
            self.found[function.name] = self._made(function)
        return self.found[function.name]

    def _made(self, function: Function) -> Shape:
        shape = Shape(
            params=tuple(function.params), free=free_pointers(function), older=older_places(function)
        )
        self._note_equal(function, shape)
        # What is read twice shows what else is computed twice, and where it is written.
        for _ in range(PASSES):
            known = len(shape.same)
            read_again(function, shape, self._written)
            self._note_equal(function, shape)
            if len(shape.same) == known:
                break
        ends = [block.end for block in function.blocks.values() if block.end.op == "RETURNPRIVATE"]
        for index in range(function.returns or 0):
            names = {shape.name(end.args[index]) for end in ends}
            if len(names) == 1 and (name := names.pop()) in function.params:
                shape.given[index] = function.params.index(str(name))
        return shape

    def _note_equal(self, function: Function, shape: Shape) -> None:
        """What is computed twice, and what private functions give back unchanged."""
        for _ in range(2):  # the second time, arguments that stand further down are known
            known: dict[tuple[str, tuple[Operand, ...]], str] = {}
            for statement in function.statements():
                if statement.op == "CALLPRIVATE":
                    self._unchanged(statement, shape)
                elif len(statement.results) == 1:
                    shape.made[statement.results[0]] = statement
                    if statement.op in PURE:
                        shape.same[statement.results[0]] = _first(statement, shape, known)

    def _written(self, function: str) -> frozenset[str]:
        """What the statements of a private function and of all it calls write, see `reads.writes`."""
        if function not in self.does:
            names = {function, *self.reached.get(function, ())}
            found = {writes(s) for name in names for s in self.contract.functions[name].statements()}
            self.does[function] = frozenset(found)
        return self.does[function]

    def _unchanged(self, statement: Statement, shape: Shape) -> None:
        """Results of a private call that are one of its arguments."""
        for index, param in self.of(self.contract.functions[statement.function]).given.items():
            name = shape.name(statement.args[param])
            if isinstance(name, str):
                shape.same[statement.results[index]] = name


def _first(statement: Statement, shape: Shape, known: dict[tuple[str, tuple[Operand, ...]], str]) -> str:
    """The name of a pure value: its first variable; of one without operands, the instruction, also where it is cleaned."""
    if not statement.args:
        return statement.op
    args = tuple(shape.name(arg) for arg in statement.args)
    if statement.op in COMMUTATIVE:
        args = tuple(sorted(args, key=str))
    if statement.op == "AND" and args[0] == ADDRESS and args[1] in WHO:
        return str(args[1])
    return known.setdefault((statement.op, args), statement.results[0])
