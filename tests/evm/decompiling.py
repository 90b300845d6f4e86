"""Stand-ins for the emitter, the compiler and the verification: what surrounds them is tested without any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.evm.fixtures import fixtures
from whet.evm.bytecode import read_code
from whet.evm.decompile.nouns import DIFFERENT, INCONCLUSIVE, SAME, Decompiled, Judged, Seconds
from whet.evm.decompile.run import Options, decompile
from whet.evm.meaning.base import Meaning
from whet.evm.solidity.nouns import SolidityFunction, Source
from whet.evm.tac import Contract

TOKEN = next(fixture for fixture in fixtures("Token") if fixture.name == "Token-0.8.30-runs200")
EVENT = {
    "type": "event",
    "name": "Transfer",
    "inputs": [{"name": "from", "type": "address", "indexed": True}, {"name": "value", "type": "uint256"}],
}
DENIED = {"type": "error", "name": "Denied", "inputs": [{"name": "who", "type": "address"}]}


def emit(contract: Contract, meaning: Meaning, *, levels: Mapping[str, int]) -> Source:
    """Three lines for each function, the middle one its level."""
    lines = ["pragma solidity 0.8.30;", "contract Decompiled {"]
    functions = []
    for one in contract.functions.values():
        if one.kind == "entry":
            continue
        name = meaning.of(one.name).name or one.name
        level = levels.get(one.name, 0)
        first = len(lines) + 1
        lines += [f"    function {name}() public {{", f"        level({level});", "    }"]
        types = ",".join(variable.type for variable in meaning.of(one.name).parameters or ())
        made = SolidityFunction(
            name,
            one.name,
            one.kind,
            one.selector,
            f"{name}({types})",
            (),
            "view",
            level,
            3,
            level,
            first,
            first + 2,
        )
        functions.append(made)
    text = "\n".join([*lines, "}"]) + "\n"
    return Source(text, "Decompiled", "0.8.30", {"viaIR": True}, [EVENT, DENIED], functions)


def code_of(hex_or_bytes: str | bytes = TOKEN.runtime) -> Any:
    return read_code(hex_or_bytes)


def example() -> Decompiled:
    """The token, not compiled, with one function of every label that a reader may meet."""
    result = decompile(code_of(), Options(compiling=False), emit=emit)
    result.name, result.compiled, result.seconds = "Token", True, Seconds(0.3, 0.1, 2.0, 1.5)
    said = [
        Judged(
            SAME, "400 calls, 390 past decoding, 210 succeeded; 12 of 12 branches; 11 of 11 mutants noticed"
        ),
        Judged(
            DIFFERENT,
            "37 calls, 37 past decoding, 20 succeeded",
            "storage differs",
            "before: target[0x3] = 0x1\nalice calls transfer(0x1111, 5) (block 7, time 9)\n"
            "original:  success, returns true\ncandidate: success, returns true\n"
            "differs: storage[0x3] is 0x6 in the original, 0x5 in the candidate",
        ),
        Judged(
            INCONCLUSIVE,
            "400 calls, 12 past decoding, 0 succeeded",
            "63 % of the branches; at least 80 % are needed",
        ),
    ]
    for at, function in enumerate(result.functions):
        function.judged = said[at] if at < 3 else said[0]
    result.functions[2].text.assembly, result.functions[2].text.level = 2, 1
    return result
