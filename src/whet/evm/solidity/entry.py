"""The dispatcher: Solidity writes its own, unless this one does more than to find functions."""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.draft import Readable
from whet.evm.tac import Block, Contract
from whet.evm.terms import Do, Operation

_SETS_UP = ("MSTORE",)


def is_plain(contract: Contract) -> bool:
    """Whether all that it does is to go over to functions, and to revert without data for everything else."""
    return not any(_does(contract, block) for block in contract.entry.blocks.values())


def does_before(contract: Contract) -> bool:
    """Whether it does anything before it goes over to a function: then Solidity's own dispatcher must not do that."""
    blocks = contract.entry.blocks
    before = contract.entry.predecessors()
    work = [b.id for b in blocks.values() if b.end.op == "ENTER"]
    seen = set(work)
    while work:
        block = work.pop()
        if _does(contract, blocks[block]):
            return True
        new = set(before[block]) - seen
        seen |= new
        work += new
    return False


def _does(contract: Contract, block: Block) -> bool:
    if block.end.op in ("STOP", "RETURN", "SELFDESTRUCT", "UNRESOLVED", "RETURNPRIVATE"):
        return True
    if block.end.op == "REVERT" and block.end.args[1] != 0:
        return True
    for s in block.statements:
        if not s.results and s.op not in _SETS_UP:
            return True
        if s.op == "CALLPRIVATE" and contract.functions[s.function].returns is not None:
            return True
    return False


def as_fallback(body: Readable) -> Readable:
    """The dispatcher without what Solidity's own does before: the pointer to free memory."""
    first = body.draft.blocks[body.draft.first]
    if first.lines and _is_first_pointer(first.lines[0].form):
        del first.lines[0]
    return body


def _is_first_pointer(form: object) -> bool:
    if not isinstance(form, Do) or not isinstance(form.expression, Operation):
        return False
    return form.expression.op == "MSTORE" and form.expression.args in ((0x40, 0x60), (0x40, 0x80))


def without_arguments(contract: Contract, reached: Mapping[str, set[str]]) -> set[str]:
    """The functions that run before calldata is known to hold any arguments: all that others than public ones call."""
    entry = contract.entry
    first = {f.name for f in contract.functions.values() if f.kind in ("fallback", "receive")}
    first |= {s.function for s in entry.statements() if s.op == "CALLPRIVATE"}
    return first.union({entry.name}, *(reached[name] for name in first))
