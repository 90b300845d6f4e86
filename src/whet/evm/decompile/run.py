"""`decompile(code)`: one contract's code to the result, by the emitter and the verification of this package's siblings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter

from whet.evm import lift
from whet.evm.bytecode import Code
from whet.evm.decompile.nouns import Decompiled, Function, Seconds
from whet.evm.decompile.rounds import Emit, Verify
from whet.evm.decompile.settle import settle
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.untangle import untangled
from whet.evm.signatures import Signatures
from whet.evm.tac import Contract
from whet.evm.text import flat_function


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for, all of it part of a result's identity.

    compiling, verifying: whether these steps are taken. abi: JSON text of entries that name functions, events, errors.
    calls: most calls of a function when it is compared; 0: the verification's own.
    """

    compiling: bool = True
    verifying: bool = True
    abi: str = ""
    calls: int = 0


def decompile(
    code: Code, options: Options = Options(), *, emit: Emit | None = None, verify: Verify | None = None
) -> Decompiled:
    """The contract as Solidity. emit, verify: others than whet's own.

    Raises CodeError for an account without code of its own, WhetError where what comparing needs is not installed.
    """
    seconds = Seconds()
    began = perf_counter()
    contract = untangled(lift(code))
    meaning = analyse(contract, names_of(code, options))
    seconds.lift = perf_counter() - began
    checker = (
        (verify or verifier(options, deployed=not code.immutables))
        if options.verifying and options.compiling
        else None
    )
    settled = settle(
        contract, meaning, code.runtime, emit or _emitter(), checker, seconds, compiling=options.compiling
    )
    source, compiled = settled.source, settled.compiled
    return Decompiled(
        name=code.name,
        code=code.runtime,
        facts=code.facts(),
        notes=[*contract.notes, *source.notes, *settled.notes],
        source=source,
        functions=[
            Function(text, settled.judged[text.of], _tac(contract, text.of)) for text in source.functions
        ],
        compiled=None if compiled is None else bool(compiled.runtime),
        no_compiler=bool(compiled and compiled.no_compiler),
        errors=compiled.errors if compiled else [],
        retries=settled.retries,
        rounds=settled.rounds,
        storage=[asdict(variable) for variable in meaning.storage],
        declarations=list(meaning.declarations),
        seconds=seconds,
    )


def names_of(code: Code, options: Options) -> Signatures:
    """The table of whet's, with the names that the artifact and the user give."""
    names = Signatures.builtin().with_abi(code.abi)
    return names.with_abi(json.loads(options.abi)) if options.abi else names


def _tac(contract: Contract, name: str) -> str:
    return flat_function(contract.functions[name]) if name in contract.functions else ""


def _emitter() -> Emit:
    from whet.evm.solidity.emit import emit

    return emit


def verifier(options: Options, *, deployed: bool = False) -> Verify:
    """Compares by `whet.evm.verify`, with as many calls as are asked for. deployed: the code has its immutables."""
    from whet.evm.decompile.comparing import compare
    from whet.evm.verify import Budget

    budget = Budget(calls=options.calls) if options.calls else None
    return partial(compare, budget=budget, deployed=deployed)
