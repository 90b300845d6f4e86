"""Runtime code to TAC, start to end: blocks, flow, dispatcher, functions, variables, folding."""

from __future__ import annotations

from collections.abc import Iterable

from whet.evm.blocks import Disassembly
from whet.evm.build import build, build_private
from whet.evm.cleanups import cleanups
from whet.evm.contexts import NotAFunction, Program
from whet.evm.dispatch import Edge, Entry, Walk, find_entries
from whet.evm.flow import Flow
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

MOST_REFUSED = 64
"""Functions that turn out to be none, each time with those that call it built anew; then everything is inlined."""


def lift_code(code: bytes, steps: int = DEFAULT_STEPS) -> Contract:
    """The TAC of runtime code. Whatever was cut off or guessed stands in `notes`; never raises for odd code.

    steps: the budget of the control-flow analysis; the same code and budget give the same TAC, on any machine.
    """
    disassembly = Disassembly(code)
    flow = Flow(disassembly, steps)
    functions, notes = _build(flow)
    contract = Contract(
        functions={function.name: function for function in functions},
        code_size=len(code),
        data={},
        notes=[*(["the control-flow analysis was cut off"] if flow.cut else []), *notes],
        figures={},
        cleaned=cleanups(functions, disassembly),
    )
    fold(contract)
    _drop_uncalled(contract)
    contract.data = _data(code, contract.functions.values())
    if any(block.end.op == "SWITCH" for f in contract.functions.values() for block in f.blocks.values()):
        contract.places = tuple(sorted(disassembly.jumpdests))
    for function in contract.functions.values():
        _tell_unknown(function)
    contract.figures = _figures(flow, contract)
    return contract


def _build(flow: Flow) -> tuple[list[Function], list[str]]:
    """Every function, without those that turn out to be none; and what is to be noted."""
    chosen = {private.name: private for private in choose(flow)}
    walk, places = Walk(flow.disassembly), flow.used | set(flow.escaped)
    entries = find_entries(walk, places)
    program = Program(
        flow.disassembly, {}, {}, flow.used, sorted(flow.escaped), MOST_BLOCKS, MOST_WORDS, ALL_WORDS
    )
    built: dict[str, Function] = {}
    refused: set[str] = set()
    while len(refused) < MOST_REFUSED:
        try:
            return _functions(program, entries, list(chosen.values()), built), []
        except NotAFunction as error:
            refused.add(error.name)
            if chosen.pop(error.name, None) is None:
                entries = find_entries(walk, places, refused)
                built.clear()
            built = {name: f for name, f in built.items() if error.name not in _called(f)}
    program.words_left = ALL_WORDS
    note = f"everything is inlined: {MOST_REFUSED} functions were none"
    return _functions(program, {}, [], {}), [note]


def _functions(
    program: Program, entries: dict[Edge, Entry], chosen: list[Private], built: dict[str, Function]
) -> list[Function]:
    """All functions; those in `built` are there already, and new ones are put there. Raises NotAFunction."""
    program.entered = {edge: entry.name for edge, entry in entries.items()}
    program.privates = {}
    for private in sorted(chosen, key=lambda private: -len(private.bound)):
        program.privates.setdefault(private.entry, []).append(private)
    order = sorted(set(entries.values()), key=lambda entry: (entry.kind != "public", entry.name))
    for entry in (Entry("entry", None, 0), *order):
        if entry.name not in built:
            built[entry.name] = build(program, entry)
    for private in chosen:
        if private.name not in built:
            built[private.name] = build_private(program, private)
    return [built[name] for name in ("entry", *(e.name for e in order), *(p.name for p in chosen))]


def _called(function: Function) -> set[str]:
    """Names of the functions that it calls or goes over to."""
    ends = {block.end.function for block in function.blocks.values()}
    return (ends | {statement.function for statement in function.statements()}) - {""}


def _drop_uncalled(contract: Contract) -> None:
    """Without functions that nothing reaches: frames of code that was called only in a context that was inlined."""
    reached = [contract.entry.name]
    for name in reached:
        function = contract.functions[name]
        reached += sorted(_called(function) - set(reached))
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
        if start >= len(code) or stop <= max(start, end):
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
