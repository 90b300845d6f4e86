"""Changes that need not be made: they mean the same, or only calls and answers that no encoder makes could show them."""

from __future__ import annotations

from whet.evm.bits import Bits
from whet.evm.replay.mutants import Change
from whet.evm.tac import Contract, Function, Operand
from whet.evm.verify.branches import Place

_ORDERS = frozenset({"LT", "GT", "SLT", "SGT"})

SIZE_BITS = 32
"""No calldata is longer than what so many bits can say."""

Variable = tuple[str, Operand]
"""(function, variable)."""


def means_the_same(contract: Contract, sizes: set[Variable], place: Place, change: Change) -> bool:
    """Of a change in that (function, block): the arguments of a subtraction swapped of which is only asked if it gives 0;
    another mask of a word that is no wider, of a length in calldata, or of what is only asked whether it is 0; what is read
    from scratch space to be written back; another limit for how long calldata, or what came back, must be. sizes: of
    `given_sizes`."""
    function = contract.functions[place[0]]
    if change.at is None or change.dropped:
        return False
    statement = function.blocks[place[1]].statements[change.at]
    if change.text == "SUB: arguments swapped":
        return is_only_asked(function, statement.results[0])
    if statement.op == "AND" and change.text.startswith("AND: "):
        masks = [int(word, 16) for word in change.text.removeprefix("AND: ").split(" became ")]
        kept = min((mask & ~(mask + 1)).bit_length() for mask in masks)
        bits = Bits(function)
        words = [arg for arg in statement.args if isinstance(arg, str)]
        narrow = any(bits.width(arg) <= kept for arg in words)
        sized = kept >= SIZE_BITS and any(is_in_calldata(place[0], function, sizes, arg) for arg in words)
        return narrow or sized or is_only_asked(function, statement.results[0])
    if statement.op == "MLOAD" and change.text.startswith("MLOAD: "):
        return is_only_put_back(function, statement.results[0])
    return statement.op in _ORDERS and any((place[0], arg) in sizes for arg in statement.args)


def is_in_calldata(name: str, function: Function, sizes: set[Variable], variable: str) -> bool:
    """Whether a variable, with something added, is compared with the length of calldata: it is a place or a length there."""
    reached = {variable}
    while True:
        before = len(reached)
        for s in function.statements():
            if s.op in ("ADD", "SHL", "MUL") and reached & set(map(str, s.args)):
                reached.update(s.results)
        if len(reached) == before:
            break
    return any(
        s.op in _ORDERS and reached & set(map(str, s.args)) and any((name, arg) in sizes for arg in s.args)
        for s in function.statements()
    )


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


def is_only_put_back(function: Function, variable: str) -> bool:
    """Whether a word is only written into scratch space (Solidity, below 0x40)."""
    ends = [block.end.args for block in function.blocks.values()]
    ends += [tuple(phi.incoming.values()) for block in function.blocks.values() for phi in block.phis]
    uses = [s for s in function.statements() if variable in s.args]
    put = all(s.op == "MSTORE" and isinstance(s.args[0], int) and s.args[0] < 0x40 for s in uses)
    return put and not any(variable in args for args in ends)


def given_sizes(contract: Contract) -> set[Variable]:
    """(function, variable) of all that is the length of calldata or of what came back, but for a constant or a limit."""
    found: set[Variable] = set()
    while True:
        before = len(found)
        given: dict[tuple[str, str], list[bool]] = {}
        for name, function in contract.functions.items():
            for s in function.statements():
                sized = [(name, arg) in found for arg in s.args]
                if s.op in ("CALLDATASIZE", "RETURNDATASIZE") or (s.op in ("ADD", "SUB") and any(sized)):
                    found |= {(name, result) for result in s.results}
                if s.op == "CALLPRIVATE":
                    for param, is_size in zip(contract.functions[s.function].params, sized, strict=False):
                        given.setdefault((s.function, param), []).append(is_size)
            for block in function.blocks.values():
                for phi in block.phis:
                    if any((name, word) in found for word in phi.incoming.values()):
                        found.add((name, phi.result))
        found |= {one for one, sizes in given.items() if all(sizes)}
        if len(found) == before:
            return found
