"""Runtime code to TAC, start to end: blocks, flow, dispatcher, functions, variables, folding."""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.blocks import Disassembly
from whet.evm.build import NotAFunction, Program, build
from whet.evm.dispatch import Dispatch, Edge, find_entries
from whet.evm.flow import Flow
from whet.evm.fold import fold
from whet.evm.functions import Shape, choose
from whet.evm.tac import Contract, Function

DEFAULT_STEPS = 300_000
"""Blocks times contexts that are followed before the rest is cut off; real contracts need a few thousand."""

MOST_BLOCKS = 4_000
"""Blocks of one function, clones included."""


def lift_code(code: bytes, steps: int = DEFAULT_STEPS) -> Contract:
    """The TAC of runtime code. Whatever was cut off or guessed stands in `notes`; never raises for odd code.

    steps: the budget of the control-flow analysis; the same code and budget give the same TAC, on any machine.
    """
    disassembly = Disassembly(code)
    flow = Flow(disassembly, steps)
    dispatch = find_entries(disassembly)
    refused: set[int] = set()
    while True:
        try:
            functions = _functions(flow, dispatch, choose(flow, frozenset(refused)))
            break
        except NotAFunction as error:
            refused.add(error.entry)
    contract = Contract(
        functions={function.name: function for function in functions},
        code_size=len(code),
        data={},
        notes=["the control-flow analysis was cut off"] if flow.cut else [],
        figures={},
    )
    fold(contract)
    _drop_uncalled(contract)
    contract.data = _data(code, contract.functions.values())
    for function in contract.functions.values():
        _tell_unknown(function)
    contract.figures = _figures(flow, contract)
    return contract


def _functions(flow: Flow, dispatch: Dispatch, shapes: dict[int, Shape]) -> list[Function]:
    names = {entry: f"p_{entry:x}" for entry in shapes}
    entered: dict[Edge, str] = {}
    for edge, entry in dispatch.entries.items():
        entered[edge] = f"f_{entry.selector:08x}" if entry.selector is not None else entry.kind
    program = Program(
        flow.disassembly, dispatch, shapes, names, entered, flow.used, sorted(flow.escaped), MOST_BLOCKS
    )
    functions = [build(program, "entry", "entry", 0, (), None)]
    public = {entered[edge]: entry for edge, entry in dispatch.entries.items()}
    for name, entry in sorted(public.items(), key=lambda item: (item[1].kind != "public", item[0])):
        functions.append(build(program, name, entry.kind, entry.pc, entry.stack, entry.selector))
    functions += [build(program, names[entry], "private", entry, (), None) for entry in sorted(shapes)]
    return functions


def _drop_uncalled(contract: Contract) -> None:
    """Without functions that nothing reaches: frames of code that was called only in a context that was inlined."""
    reached = [contract.entry.name]
    for name in reached:
        function = contract.functions[name]
        called = {s.function for s in function.statements() if s.function}
        called |= {block.end.function for block in function.blocks.values() if block.end.function}
        reached += sorted(called - set(reached))
    kept = set(reached)
    contract.functions = {name: f for name, f in contract.functions.items() if name in kept}


def _tell_unknown(function: Function) -> None:
    ends = [block.end for block in function.blocks.values()]
    unknown = sorted({end.pc for end in ends if end.op == "UNRESOLVED" and end.why == "unknown target"})
    function.notes += [f"the jump at 0x{pc:x} goes to an unknown place" for pc in unknown]


def _data(code: bytes, functions: Iterable[Function]) -> dict[int, bytes]:
    """The parts of the code that CODECOPY names; all of it where a copy's place is computed, or EXTCODECOPY is used."""
    ranges: list[tuple[int, int]] = []
    for statement in (s for function in functions for s in function.statements()):
        if statement.op == "EXTCODECOPY":
            return {0: code}
        if statement.op == "CODECOPY":
            _, start, length = statement.args
            if isinstance(start, str) or isinstance(length, str):
                return {0: code}
            ranges.append((start, start + length))
    data: dict[int, bytes] = {}
    end = -1
    for start, stop in sorted(ranges):
        if start >= len(code) or stop <= end:
            continue
        if start <= end:
            first = max(data)
            data[first] += code[end:stop]
        else:
            data[start] = code[start:stop]
        end = min(stop, len(code))
    return data


def _figures(flow: Flow, contract: Contract) -> dict[str, int]:
    disassembly, blocks = flow.disassembly, flow.blocks
    sites = {pc for pc in blocks if disassembly.block(pc).last in ("JUMP", "JUMPI")}
    ends = [block.end for function in contract.functions.values() for block in function.blocks.values()]
    lost = {end.pc for end in ends if end.op == "UNRESOLVED"}
    dynamic = {end.pc for end in ends if end.op == "SWITCH"}
    return {
        "code_bytes": len(disassembly.code),
        "jump_sites": len(sites),
        "jump_sites_resolved": len(sites) - len(lost),
        "jump_sites_dynamic": len(dynamic),
        "jumpdests": len(disassembly.jumpdests),
        "jumpdests_reached": len(disassembly.jumpdests & blocks),
        "steps": flow.steps,
    }
