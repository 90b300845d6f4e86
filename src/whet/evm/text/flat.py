"""Three-address code as plain text: one statement a line, nothing left out, nothing made nicer.

What stands in the JSON stands here, except the bytes in `Contract.data`, which are given by offset and length.
"""

from __future__ import annotations

from whet.evm import tac


def flat(contract: tac.Contract) -> str:
    """All functions, the contract's notes and figures first, as comments."""
    lines = [f"# {contract.code_size} bytes of code"]
    lines += [f"# data: {len(part)} bytes at {offset:#x}" for offset, part in sorted(contract.data.items())]
    lines += [f"# note: {note}" for note in contract.notes]
    lines += [f"# {name}: {number}" for name, number in contract.figures.items()]
    parts = ["\n".join(lines), *(flat_function(function) for function in contract.functions.values())]
    return "\n\n".join(parts) + "\n"


def flat_function(function: tac.Function) -> str:
    """One function: header, then blocks with their predecessors, phis, statements and end."""
    head = f"function {function.name}({', '.join(function.params)})"
    lines = [f"{head}  # {function.kind}, {_returns(function)}, pc {function.pc:#x}{_selector(function)}"]
    lines += [f"  # note: {note}" for note in function.notes]
    predecessors = function.predecessors()
    for block in function.blocks.values():
        lines += _block(block, predecessors[block.id])
    return "\n".join(lines)


def _returns(function: tac.Function) -> str:
    if function.returns is None:
        return "never returns"
    return f"returns {function.returns} word{'' if function.returns == 1 else 's'}"


def _selector(function: tac.Function) -> str:
    return "" if function.selector is None else f", selector 0x{function.selector:08x}"


def _block(block: tac.Block, predecessors: list[str]) -> list[str]:
    came = f", from {' '.join(predecessors)}" if predecessors else ""
    lines = [f"{block.id}:  # pc {block.pc:#x}{came}"]
    lines += [f"    {_phi(phi)}" for phi in block.phis]
    lines += [f"    {statement_text(statement)}  # {statement.pc:#x}" for statement in block.statements]
    return [*lines, f"    {end_text(block.end)}  # {block.end.pc:#x}"]


def _phi(phi: tac.Phi) -> str:
    ways = ", ".join(f"{block}: {word(value)}" for block, value in phi.incoming.items())
    return f"{phi.result} = PHI({ways})"


def statement_text(statement: tac.Statement) -> str:
    """`v3 = ADD(v1, 0x4)`; of a CALLPRIVATE the function's name stands in front of the arguments."""
    results = f"{', '.join(statement.results)} = " if statement.results else ""
    callee = f" {statement.function}" if statement.function else ""
    return f"{results}{statement.op}{callee}({', '.join(map(word, statement.args))})"


def end_text(end: tac.End) -> str:
    """`BRANCH(v1) b2 else b3`, `SWITCH(v1) 0x5: b2, 0x9: b3`, `JUMP b2`, `RETURN(v1, v2)`."""
    arguments = f"({', '.join(map(word, end.args))})" if end.args else ""
    if end.op == "SWITCH":
        ways = ", ".join(f"{word(c)}: {t}" for c, t in zip(end.cases, end.targets, strict=True))
    else:
        ways = " else ".join(end.targets)
    said = [end.op, end.function, arguments, ways, end.why and f"# {end.why}"]
    return " ".join(part for part in said if part).replace(" (", "(", 1)


def word(operand: tac.Operand) -> str:
    """A word in hexadecimal, or the name of a variable."""
    return hex(operand) if isinstance(operand, int) else operand
