"""What holds of every contract that the lifter gives, whatever the code: the promises of `whet.evm.tac`."""

from __future__ import annotations

from collections import Counter

from whet.evm.tac import EXITS, Contract, Function, Operand


def faults(contract: Contract) -> list[str]:
    """Every promise that is broken, in words; [] if none is."""
    found = []
    for name, function in contract.functions.items():
        found += [
            f"{name}: {fault}" for fault in [*_names(function), *_flow(function), *_calls(function, contract)]
        ]
        if name != function.name:
            found.append(f"{name}: is named {function.name}")
    if contract.entry.kind != "entry":
        found.append("the first function is not the entry")
    return found


def _names(function: Function) -> list[str]:
    """Each variable is assigned once, none is used that is not."""
    assigned = Counter(function.params)
    used: set[Operand] = set()
    for block in function.blocks.values():
        assigned.update(phi.result for phi in block.phis)
        used |= {operand for phi in block.phis for operand in phi.incoming.values()} | set(block.end.args)
        for statement in block.statements:
            assigned.update(statement.results)
            used |= set(statement.args)
    found = [f"{name} is assigned {count} times" for name, count in assigned.items() if count > 1]
    found += [
        f"{name} is used and never assigned"
        for name in used
        if isinstance(name, str) and name not in assigned
    ]
    return found + [f"{word} is no word" for word in used if isinstance(word, int) and not 0 <= word < 2**256]


def _flow(function: Function) -> list[str]:
    """Targets exist, phis have one operand for each block that leads here, what cannot go on says why."""
    found, blocks = [], function.blocks
    before: dict[str, set[str]] = {name: set() for name in blocks}
    for block in blocks.values():
        end = block.end
        found += [
            f"{block.id} leads to {target}, which is not there"
            for target in end.targets
            if target not in blocks
        ]
        for target in end.targets:
            before.get(target, set()).add(block.id)
        if bool(end.targets) == (end.op in EXITS):
            found.append(f"{block.id} ends with {end.op} and has {len(end.targets)} targets")
        if end.op == "SWITCH" and len(end.cases) != len(end.targets):
            found.append(f"{block.id}: {len(end.cases)} cases, {len(end.targets)} targets")
        if end.op == "UNRESOLVED" and not (end.why and function.notes):
            found.append(f"{block.id} is not resolved, and nothing says why")
    for block in blocks.values():
        found += [
            f"{phi.result} has operands for {sorted(phi.incoming)}, before it are {sorted(before[block.id])}"
            for phi in block.phis
            if set(phi.incoming) != before[block.id]
        ]
    if "b0" not in blocks:
        found.append("no block is b0")
    return found


def _calls(function: Function, contract: Contract) -> list[str]:
    found = []
    for statement in function.statements():
        if statement.op == "CALLPRIVATE":
            callee = contract.functions.get(statement.function)
            if callee is None:
                found.append(f"{statement.function} is called and not there")
            elif len(callee.params) != len(statement.args) or (
                callee.returns is not None and callee.returns != len(statement.results)
            ):
                found.append(
                    f"{callee.name} takes {len(callee.params)} and gives {callee.returns}: {statement}"
                )
    for block in function.blocks.values():
        if block.end.op == "ENTER" and block.end.function not in contract.functions:
            found.append(f"{block.end.function} is entered and not there")
        if block.end.op == "RETURNPRIVATE" and len(block.end.args) != function.returns:
            found.append(f"gives back {len(block.end.args)} words, not {function.returns}")
    return found
