"""Which variables of a function always hold the same word: pure values that are computed twice, what a private function
gives back unchanged, the caller.

In static single assignment two variables of equal expressions are equal wherever both may be used. Left out: what memory
and storage hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.opcodes import PURE
from whet.evm.tac import Contract, Function, Operand, Statement
from whet.evm.words import ADDRESS

COMMUTATIVE = frozenset({"ADD", "MUL", "AND", "OR", "XOR", "EQ"})
WHO = ("CALLER", "ADDRESS", "ORIGIN")


@dataclass(slots=True)
class Shape:
    """What is the same in all walks of a function. same: {variable: the first one of equal value, or "CALLER" and the like};
    made: by what; given: {index of a result: index of the parameter that it always is}."""

    same: dict[str, str] = field(default_factory=dict)
    made: dict[str, Statement] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)

    def name(self, operand: Operand) -> Operand:
        """What all of equal value are called."""
        return self.same.get(operand, operand) if isinstance(operand, str) else operand


class Shapes:
    """Of the functions of a contract, each found once."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.found: dict[str, Shape] = {}

    def of(self, function: Function) -> Shape:
        """Found once; of a function that calls itself without what it gives back."""
        if function.name not in self.found:
            self.found[function.name] = Shape()
            self.found[function.name] = self._made(function)
        return self.found[function.name]

    def _made(self, function: Function) -> Shape:
        shape = Shape()
        known: dict[tuple[str, tuple[Operand, ...]], str] = {}
        for _ in range(2):  # the second time, arguments that stand further down are known
            known.clear()
            for statement in function.statements():
                if statement.op == "CALLPRIVATE":
                    self._unchanged(statement, shape)
                elif len(statement.results) == 1:
                    shape.made[statement.results[0]] = statement
                    if statement.op in PURE:
                        shape.same[statement.results[0]] = _first(statement, shape, known)
        ends = [block.end for block in function.blocks.values() if block.end.op == "RETURNPRIVATE"]
        for index in range(function.returns or 0):
            names = {shape.name(end.args[index]) for end in ends}
            if len(names) == 1 and (name := names.pop()) in function.params:
                shape.given[index] = function.params.index(str(name))
        return shape

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
