"""The dispatcher: Solidity writes its own, unless this one does more than to find functions."""

from __future__ import annotations

from whet.evm.draft import Readable
from whet.evm.tac import Contract
from whet.evm.terms import Do, Operation

_SETS_UP = ("MSTORE",)


def is_plain(contract: Contract) -> bool:
    """Whether all that it does is to go over to functions, and to revert without data for everything else."""
    entry = contract.entry
    for block in entry.blocks.values():
        if block.end.op in ("STOP", "RETURN", "SELFDESTRUCT", "UNRESOLVED", "RETURNPRIVATE"):
            return False
        if block.end.op == "REVERT" and block.end.args[1] != 0:
            return False
        for s in block.statements:
            if not s.results and s.op not in _SETS_UP:
                return False
            if s.op == "CALLPRIVATE" and contract.functions[s.function].returns is not None:
                return False
    return True


def as_fallback(body: Readable) -> Readable:
    """The dispatcher without what Solidity's own does before: the pointer to free memory."""
    for block in body.draft.blocks.values():
        block.lines = [line for line in block.lines if not _is_first_pointer(line.form)]
    return body


def _is_first_pointer(form: object) -> bool:
    if not isinstance(form, Do) or not isinstance(form.expression, Operation):
        return False
    return form.expression.op == "MSTORE" and form.expression.args[0] == 0x40
