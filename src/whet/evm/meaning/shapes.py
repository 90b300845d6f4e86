"""What is known of functions before any walk, with all that they call: loops, what they write, how they give up."""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.meaning.base import PANIC
from whet.evm.meaning.memory import FREE_POINTER
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Contract, Function, Operand, Statement

WALKED = PURE - {"BLOCKHASH"}
"""Instructions whose results are words of symbols."""
CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"})
COPIES = frozenset({"MCOPY", "CALLDATACOPY", "CODECOPY", "EXTCODECOPY", "RETURNDATACOPY"})
_WRITES = CALLS | COPIES | {"MSTORE", "MSTORE8"}


@dataclass(slots=True)
class Shape:
    """What is known of a function before any walk."""

    heads: dict[str, tuple[str, ...]]
    """{head of a loop: blocks behind it, up to the last that jumps back}"""
    sources: dict[str, tuple[str, ...]]
    pure: bool = False
    computes: bool = False
    """Pure but for reverting, which may need memory."""
    only_memory: bool = False
    """Does nothing but compute, write memory and revert."""
    decodes: bool = False
    """Does nothing but compute, read memory, move the free pointer and revert."""
    halts: bool = False
    """May revert, or end otherwise than by coming back."""
    gives_up_plainly: bool = False
    """Reverts without data or with a Panic only, as a decoder does."""
    copies: bool = False
    """Writes nothing but words of calldata as they are, and pointers to such."""
    writes: bool = False
    allocates: bool = False

    def facts(self) -> tuple[bool, ...]:
        """What calls of others may change."""
        flags = (self.pure, self.computes, self.only_memory, self.decodes, self.gives_up_plainly, self.copies)
        return (*flags, self.halts, self.writes, self.allocates)


class Shapes:
    """Of all functions of a contract: loops, and which are pure, write memory, or move the free pointer."""

    def __init__(self, contract: Contract) -> None:
        self.of = {name: _begun(function) for name, function in contract.functions.items()}
        self.contract = contract
        for name in contract.functions:
            shape = self.of[name]
            shape.pure = shape.computes = shape.only_memory = shape.decodes = shape.gives_up_plainly = True
            shape.copies = _writes_copies(contract.functions[name])
        changed = True
        while changed:
            changed = False
            for name, function in contract.functions.items():
                changed |= self._update(self.of[name], function)

    def _update(self, shape: Shape, function: Function) -> bool:
        before = shape.facts()
        for block in function.blocks.values():
            goes_on = block.end.op in ("JUMP", "BRANCH", "RETURNPRIVATE")
            stops = block.end.op in ("REVERT", "INVALID")
            shape.pure &= goes_on
            shape.halts |= not goes_on
            shape.computes &= goes_on or stops
            shape.only_memory &= goes_on or stops
            shape.decodes &= goes_on or stops
            shape.gives_up_plainly &= block.end.op != "REVERT" or block.end.args[1] == 0 or _panics(block)
            for s in block.statements:
                called = self.of[s.function] if s.op == "CALLPRIVATE" else None
                shape.pure &= s.op in WALKED or (called is not None and called.pure)
                shape.computes &= s.op in WALKED or stops or (called is not None and called.computes)
                simple = s.op in WALKED or s.op in ("MLOAD", "MSTORE", "MSTORE8", "CALLDATACOPY", "MCOPY")
                shape.only_memory &= simple or (called is not None and called.only_memory)
                reads = s.op in WALKED or s.op == "MLOAD" or (s.op == "MSTORE" and s.args[0] == FREE_POINTER)
                shape.decodes &= reads or stops or (called is not None and called.decodes)
                shape.gives_up_plainly &= called is None or called.gives_up_plainly
                shape.copies &= called is None or called.copies
                shape.halts |= called is not None and called.halts
                shape.writes |= self.writes(s)
                shape.allocates |= self.allocates(s)
        return before != shape.facts()

    def gives_up(self, function: str, block: str) -> bool:
        """Whether one way out of the block is `revert(0, 0)`, or INVALID as in code older than REVERT."""
        blocks = self.contract.functions[function].blocks
        ends = [blocks[target].end for target in blocks[block].end.targets]
        return any(
            (end.op == "INVALID" and not end.why) or (end.op == "REVERT" and end.args == (0, 0))
            for end in ends
        )

    def writes(self, s: Statement) -> bool:
        return s.op in _WRITES or (s.op == "CALLPRIVATE" and self.of[s.function].writes)

    def allocates(self, s: Statement) -> bool:
        if s.op == "CALLPRIVATE":
            return self.of[s.function].allocates
        return s.op == "MSTORE" and s.args[0] == FREE_POINTER


def _begun(function: Function) -> Shape:
    order = {id_: position for position, id_ in enumerate(function.blocks)}
    heads: dict[str, int] = {}
    for id_, block in function.blocks.items():
        for target in block.end.targets:
            if order[target] <= order[id_]:
                heads[target] = max(heads.get(target, 0), order[id_])
    ids = list(order)
    return Shape(
        {head: tuple(ids[order[head] : last + 1]) for head, last in heads.items()},
        {id_: tuple(found) for id_, found in function.predecessors().items()},
    )


def _panics(block: Block) -> bool:
    return any(s.op == "MSTORE" and s.args == (0, PANIC << 224) for s in block.statements)


def _writes_copies(function: Function) -> bool:
    copied: set[Operand] = {0, *function.params}
    for s in function.statements():
        cleaned = s.op in ("AND", "SIGNEXTEND", "ISZERO") and not copied.isdisjoint(s.args)
        if s.op in ("CALLDATALOAD", "CALLPRIVATE") or cleaned:
            copied.update(s.results)
    return all(
        s.args[0] == FREE_POINTER or s.args[1] in copied or _panics(block)
        for block in function.blocks.values()
        for s in block.statements
        if s.op == "MSTORE"
    )
