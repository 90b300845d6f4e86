"""Names of private functions that compilers make, and how calls of them are said.

Those that only compute are known by what they give (`computing`), those of memory and calldata by what they read and
write (`encoders`); a panic by what it reverts with. Names are those of the compiler's own code without the parts that
tell types apart ("abi_encode", "abi_decode_address"), and never change what executes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from whet.evm.meaning.computing import computed_name
from whet.evm.meaning.encoders import memory_name
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.shapes import Shapes
from whet.evm.tac import WORD, Contract, Function, Operand
from whet.evm.terms import Expression, Invoke, Name, Operation


def helper_names(contract: Contract, shapes: Shapes, walks: Mapping[str, Uses]) -> dict[str, str]:
    """{private function: the helper that it is}, "" for none of those known. Equal functions are tried once.

    Functions of one name compute the same; of those that read or write memory or calldata, each has a name of its own.
    """
    known: dict[tuple[object, ...], str] = {}
    named: dict[str, str] = {}
    for function in contract.functions.values():
        if function.kind == "private":
            key = _text(function)
            if key not in known:
                known[key] = _helper_name(contract, function, shapes, walks, set(known.values()))
            named[function.name] = known[key]
    return named


_CHECKED = re.compile(r"checked_(add|sub|mul|div|mod)_(u?)int(\d+)(_reversed)?")
_STEP = re.compile(r"(increment|decrement)_(u?)int(\d+)")


def spoken(helper: str, args: tuple[Operand, ...]) -> Expression:
    """A call of a helper: `checked(a + b)` for checked arithmetic of uint256, `checked_int8(a + b)` for other types.

    Cleanups are said as the instructions that they are.
    """
    if helper == "identity" or helper.startswith("cleanup_"):
        return _cleaned(helper.removeprefix("cleanup_"), args[0])
    found, step = _CHECKED.fullmatch(helper), _STEP.fullmatch(helper)
    if step is not None:
        op, unsigned, bits = "ADD" if step[1] == "increment" else "SUB", step[2], step[3]
        said = Operation(op, (args[0], 1))
    elif found is not None:
        op, unsigned, bits = found[1].upper(), found[2], found[3]
        op = f"S{op}" if op in ("DIV", "MOD") and not unsigned else op
        said = Operation(op, tuple(args[::-1] if found[4] else args))
    else:
        return Invoke(Name(helper), args)
    kind = f"{unsigned}int{bits}"
    return Invoke(Name("checked" if kind == "uint256" else f"checked_{kind}"), (said,))


def _cleaned(kind: str, word: Operand) -> Expression:
    if kind == "identity":
        return word
    if kind == "bool":
        return Operation("ISZERO", (Operation("ISZERO", (word,)),))
    family, digits = kind.rstrip("0123456789"), int(re.sub(r"\D", "", kind) or 160)
    if family == "int":
        return Operation("SIGNEXTEND", (digits // 8 - 1, word))
    mask = WORD ^ (1 << 256 - 8 * digits) - 1 if family == "bytes" else (1 << digits) - 1
    return Operation("AND", (mask, word))


def _text(function: Function) -> tuple[object, ...]:
    blocks = function.blocks.values()
    statements = tuple((s.op, s.args, s.results, s.function) for s in function.statements())
    ends = tuple((b.id, len(b.statements), b.end.op, b.end.args, b.end.targets) for b in blocks)
    phis = tuple((phi.result, tuple(phi.incoming.items())) for b in blocks for phi in b.phis)
    return function.params, function.returns, statements, ends, phis


def _helper_name(
    contract: Contract, function: Function, shapes: Shapes, walks: Mapping[str, Uses], taken: set[str]
) -> str:
    if function.returns is None:
        return _panic_name(function)
    found = computed_name(contract, function) if shapes.of[function.name].computes else ""
    if found or function.name not in walks:
        return found
    found = memory_name(function, shapes, walks[function.name])
    return f"{found}_{function.name.removeprefix('p_')}" if found in taken and found else found


def _panic_name(function: Function) -> str:
    """panic_error_0x11 for a function that does nothing but revert with Panic(0x11)."""
    if function.params or len(function.blocks) != 1:
        return ""
    block = function.entry
    stores = {s.args[0]: s.args[1] for s in block.statements if s.op == "MSTORE"}
    code = stores.get(4)
    if block.end.op == "REVERT" and block.end.args == (0, 36) and stores.get(0) == 0x4E487B71 << 224:
        return f"panic_error_{code:#04x}" if isinstance(code, int) and len(block.statements) == 2 else ""
    if block.end.op == "REVERT" and block.end.args == (0, 0) and not block.statements:
        return "revert_without_data"
    return ""
