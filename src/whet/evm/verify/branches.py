"""Branches of three-address code: each way out of a condition a block of its own, so that blocks visited are branches taken.

Left out: which branches no input can take is judged by `whet.evm.verify.impossible`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from whet.evm.replay.run import reachable
from whet.evm.tac import Block, Contract, End, Function, Phi

Place = tuple[str, str]
"""(function, block)."""

FORKS = ("BRANCH", "SWITCH")


def split_branches(contract: Contract) -> Contract:
    """The same program, where every target of a BRANCH or SWITCH is entered from nowhere else."""
    functions = {name: _split(function) for name, function in contract.functions.items()}
    return replace(contract, functions=functions)


def _split(function: Function) -> Function:
    entered = Counter(target for block in function.blocks.values() for target in block.end.targets)
    shared = {target for target, count in entered.items() if count > 1}
    blocks: dict[str, Block] = {}
    between: dict[str, list[tuple[str, str]]] = {}
    for block in function.blocks.values():
        blocks[block.id] = block
        if block.end.op in FORKS and shared & set(block.end.targets):
            blocks[block.id] = replace(block, end=_apart(block, shared, blocks, between))
    for target, edges in between.items():
        blocks[target] = replace(blocks[target], phis=[_also(phi, edges) for phi in blocks[target].phis])
    return replace(function, blocks=blocks)


def _apart(
    block: Block, shared: set[str], blocks: dict[str, Block], between: dict[str, list[tuple[str, str]]]
) -> End:
    targets = []
    for index, target in enumerate(block.end.targets):
        name = f"{block.id}>{index}"
        if target in shared:
            blocks[name] = Block(name, block.end.pc, [], [], End("JUMP", targets=(target,), pc=block.end.pc))
            between.setdefault(target, []).append((block.id, name))
        targets.append(name if target in shared else target)
    return replace(block.end, targets=tuple(targets))


def _also(phi: Phi, edges: list[tuple[str, str]]) -> Phi:
    return Phi(phi.result, phi.incoming | {new: phi.incoming[old] for old, new in edges})


def root(contract: Contract, selector: int | None, name: str) -> str | None:
    """The function where a call of that selector, or of "(fallback)" and "(receive)", ends up; None: the dispatcher
    itself answers."""
    if selector is not None:
        found = contract.public.get(selector)
        return found.name if found else None
    kinds = ("receive", "fallback") if name == "(receive)" else ("fallback",)
    return next((f.name for kind in kinds for f in contract.functions.values() if f.kind == kind), None)


def branches(contract: Contract, function: str | None) -> set[Place]:
    """The first block of every way out of a condition, in that function and in those that it calls."""
    if function is None:
        return set()
    inside = reachable(contract, function)
    return {
        (name, target)
        for name, block in inside
        if (end := contract.functions[name].blocks[block].end).op in FORKS
        for target in end.targets
    }
