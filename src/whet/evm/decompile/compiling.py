"""Compiles what the emitter wrote, and says which functions the compiler's errors are about."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from whet.errors import WhetError
from whet.evm.solc.compiler import compile_standard, errors
from whet.evm.solidity.nouns import SolidityFunction, Source

FILE = "Decompiled.sol"
_LINE = re.compile(rf"{re.escape(FILE)}:(\d+): ")


@dataclass(slots=True)
class Compiled:
    """runtime: the code that runs, b"" where there is none. refused: {function's name: why}. elsewhere: errors that are of
    no function. why: one line if there is no code. no_compiler: it cannot be had, or did not answer."""

    runtime: bytes = b""
    refused: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    why: str = ""
    no_compiler: bool = False

    @property
    def errors(self) -> list[str]:
        """All of them, those of functions first."""
        return [*self.refused.values(), *self.elsewhere]


def compile_source(source: Source) -> Compiled:
    """Never raises for what is wrong with the text or the compiler; that is said in what comes back."""
    request = {
        "language": "Solidity",
        "sources": {FILE: {"content": source.text}},
        "settings": source.settings
        | {"outputSelection": {FILE: {source.contract: ["evm.deployedBytecode.object"]}}},
    }
    try:
        output = compile_standard(source.compiler, request)
    except WhetError as error:
        told = " ".join(str(error).split())
        return Compiled(elsewhere=[told], why=told, no_compiler=True)
    said = errors(output, {FILE: source.text})
    if said:
        return _refused(said, source.functions)
    made = output.get("contracts", {}).get(FILE, {}).get(source.contract)
    digits = made["evm"]["deployedBytecode"]["object"] if made else ""
    if not digits or "_" in digits:
        why = f"the compiler gives no code for {source.contract}" + (
            ": libraries are not linked" if digits else ""
        )
        return Compiled(elsewhere=[why], why=why)
    return Compiled(bytes.fromhex(digits))


def _refused(said: list[str], functions: list[SolidityFunction]) -> Compiled:
    compiled = Compiled(why=said[0])
    for error in said:
        found = _LINE.match(error)
        line = int(found[1]) if found else 0
        name = next((f.of for f in functions if f.first_line <= line <= f.last_line), None)
        if name is None:
            compiled.elsewhere.append(error)
        else:
            compiled.refused.setdefault(name, error)
    return compiled
