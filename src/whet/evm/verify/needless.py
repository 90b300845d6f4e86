"""Changes that need not be made: they mean the same, or only calls that no encoder makes could show them."""

from __future__ import annotations

from whet.evm.replay.mutants import Change
from whet.evm.tac import Contract, Function, Operand
from whet.evm.verify.branches import Place

_ORDERS = frozenset({"LT", "GT", "SLT", "SGT"})

Variable = tuple[str, Operand]
"""(function, variable)."""


def means_the_same(contract: Contract, sizes: set[Variable], place: Place, change: Change) -> bool:
    """Of a change in that (function, block): the arguments of a subtraction swapped of which is only asked if it gives 0,
    or another limit for how long calldata must be. sizes: of `calldata_sizes`."""
    function = contract.functions[place[0]]
    if change.at is None or change.dropped:
        return False
    statement = function.blocks[place[1]].statements[change.at]
    if change.text == "SUB: arguments swapped":
        return is_only_asked(function, statement.results[0])
    return statement.op in _ORDERS and any((place[0], arg) in sizes for arg in statement.args)


def is_only_asked(function: Function, variable: str) -> bool:
    """Whether nothing depends on a variable but on whether it is 0."""
    for block in function.blocks.values():
        if any(variable in s.args and s.op != "ISZERO" for s in block.statements):
            return False
        if any(variable in phi.incoming.values() for phi in block.phis):
            return False
        if variable in block.end.args and block.end.op != "BRANCH":
            return False
    return True


def calldata_sizes(contract: Contract) -> set[Variable]:
    """(function, variable) of all that is the length of calldata, but for a constant."""
    found: set[Variable] = set()
    while True:
        before = len(found)
        given: dict[tuple[str, str], list[bool]] = {}
        for name, function in contract.functions.items():
            for s in function.statements():
                sized = [(name, arg) in found for arg in s.args]
                if s.op == "CALLDATASIZE" or (s.op in ("ADD", "SUB") and any(sized)):
                    found |= {(name, result) for result in s.results}
                if s.op == "CALLPRIVATE":
                    for param, is_size in zip(contract.functions[s.function].params, sized, strict=False):
                        given.setdefault((s.function, param), []).append(is_size)
        found |= {one for one, sizes in given.items() if all(sizes)}
        if len(found) == before:
            return found
