"""Runtime code to TAC, start to end: blocks, flow, dispatcher, functions, variables, folding."""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.blocks import Disassembly
from whet.evm.build import NotAFunction, Program, build, build_private
from whet.evm.dispatch import Dispatch, Entry, find_entries
from whet.evm.flow import Bound, Flow
from whet.evm.fold import fold
from whet.evm.functions import Private, choose
from whet.evm.tac import Contract, Function

DEFAULT_STEPS = 100_000
"""Blocks times contexts that are followed before the rest is cut off; 350 real contracts needed up to 2,976."""

MOST_BLOCKS = 4_000
"""Blocks of one function, clones included."""

MOST_WORDS = 60_000
"""Cost of one function: instructions, stack words on entry to its blocks, four more a block."""

ALL_WORDS = 400_000
"""The same for all functions together."""

MOST_TRIES = 64
"""Times that the functions are built anew without one that turned out to be none; then all private ones are inlined."""


def lift_code(code: bytes, steps: int = DEFAULT_STEPS) -> Contract:
    """The TAC of runtime code. Whatever was cut off or guessed stands in `notes`; never raises for odd code.

    steps: the budget of the control-flow analysis; the same code and budget give the same TAC, on any machine.
    """
    disassembly = Disassembly(code)
    flow = Flow(disassembly, steps)
    dispatch = find_entries(disassembly)
    functions, notes = _build(flow, dispatch)
    contract = Contract(
        functions={function.name: function for function in functions},
        code_size=len(code),
        data={},
        notes=[*(["the control-flow analysis was cut off"] if flow.cut else []), *notes],
        figures={},
    )
    fold(contract)
    _drop_uncalled(contract)
    contract.data = _data(code, contract.functions.values())
    for function in contract.functions.values():
        _tell_unknown(function)
    contract.figures = _figures(flow, contract)
    return contract


def _build(flow: Flow, dispatch: Dispatch) -> tuple[list[Function], list[str]]:
    """Every function, without those private ones that turn out to be none; and what is to be noted."""
    refused: set[tuple[int, Bound]] = set()
    for _ in range(MOST_TRIES):
        try:
            return _functions(flow, dispatch, choose(flow, frozenset(refused))), []
        except NotAFunction as error:
            refused.add((error.private.entry, error.private.bound))
    return _functions(flow, dispatch, []), [f"private functions are inlined: {MOST_TRIES} of them were none"]


def _functions(flow: Flow, dispatch: Dispatch, chosen: list[Private]) -> list[Function]:
    privates: dict[int, list[Private]] = {}
    for private in sorted(chosen, key=lambda private: -len(private.bound)):
        privates.setdefault(private.entry, []).append(private)
    entered = {edge: _name(entry) for edge, entry in dispatch.entries.items()}
    program = Program(
        flow.disassembly,
        dispatch,
        privates,
        entered,
        flow.used,
        sorted(flow.escaped),
        MOST_BLOCKS,
        MOST_WORDS,
        ALL_WORDS,
    )
    public = {entered[edge]: entry for edge, entry in dispatch.entries.items()}
    order = sorted(public.items(), key=lambda item: (item[1].kind != "public", item[0]))
    functions = [
        build(program, name, entry) for name, entry in [("entry", Entry("entry", None, 0, ())), *order]
    ]
    return functions + [build_private(program, private) for private in chosen]


def _name(entry: Entry) -> str:
    return f"f_{entry.selector:08x}" if entry.selector is not None else entry.kind


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
