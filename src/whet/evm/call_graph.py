"""Which functions of a contract a call of another can reach: private ones that it calls, public ones that it enters."""

from __future__ import annotations

from whet.evm.tac import Contract, Function


def reach(contract: Contract) -> dict[str, set[str]]:
    """{function: all others that a call of it can reach, itself where it recurses}."""
    direct = {name: _called(function) for name, function in contract.functions.items()}
    found: dict[str, set[str]] = {}
    for name in direct:
        reached: set[str] = set()
        work = [name]
        while work:
            new = direct.get(work.pop(), set()) - reached
            reached |= new
            work += new
        found[name] = reached
    return found


def _called(function: Function) -> set[str]:
    entered = {block.end.function for block in function.blocks.values() if block.end.op == "ENTER"}
    return entered | {s.function for s in function.statements() if s.op == "CALLPRIVATE"}
