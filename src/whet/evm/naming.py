"""The order and the names of blocks and variables: the same for the same function, wherever it comes from."""

from __future__ import annotations

from whet.evm.tac import Function, Operand, Phi


def rename(function: Function) -> None:
    """Blocks and variables numbered in order, so that the same function has the same text wherever it comes from."""
    ids = {old: f"b{position}" for position, old in enumerate(reading_order(function))}
    names: dict[str, str] = {param: param for param in function.params}

    def name(old: Operand) -> Operand:
        return names[old] if isinstance(old, str) else old

    ordered = {new: function.blocks[old] for old, new in ids.items()}
    for block in ordered.values():
        for made in [*(phi.result for phi in block.phis), *(r for s in block.statements for r in s.results)]:
            names[made] = f"v{len(names) - len(function.params)}"
    for new, block in ordered.items():
        block.id = new
        block.phis = [
            Phi(names[p.result], {ids[b]: name(v) for b, v in p.incoming.items()}) for p in block.phis
        ]
        for s in block.statements:
            s.args = tuple([name(arg) for arg in s.args])
            s.results = tuple([names[result] for result in s.results])
        end = block.end
        end.args = tuple([name(arg) for arg in end.args])
        end.targets = tuple([ids[target] for target in end.targets])
    function.blocks = ordered


def reading_order(function: Function) -> list[str]:
    """Reverse postorder, the way of a false condition first."""
    order: list[str] = []
    seen = {"b0"}
    path = [("b0", list(function.blocks["b0"].end.targets))]
    while path:
        id_, following = path[-1]
        if following:
            after = following.pop(0)
            if after not in seen:
                seen.add(after)
                path.append((after, list(function.blocks[after].end.targets)))
        else:
            order.append(id_)
            path.pop()
    return order[::-1]
