"""EVM bytecode to three-address code that means the same: lifted, read, drawn, executed. No torch.

    from whet.evm import execute, lift

    contract = lift("0x6080604052...")          # or a Path, bytes, or what read_code gave
    for function in contract.functions.values():
        print(function.name, len(function.blocks), function.notes)
    print(execute(contract, bytes.fromhex("18160ddd"), storage={2: 1000}).data.hex())

Importing this package imports nothing else of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.evm.bytecode import Code
    from whet.evm.interpret import Result
    from whet.evm.tac import Contract

INSTALL = "pip install 'whet[evm]'"
"""What comparing with an EVM (`whet.evm.replay`) and the compilers (`whet.evm.solc`) need; lifting and executing do not."""


def lift(code: str | bytes | Path | Code, *, contract: str = "", steps: int | None = None) -> Contract:
    """Three-address code of a contract's runtime code.

    code: hex digits, the text or path of a file or artifact, "-" for standard input; the code's bytes; a Path; or what
    `read_code` gave. contract: which one of an artifact. steps: how much work the analysis may do (None: its default),
    in instructions and joins, so that a result never depends on the machine.

    What was assumed of the code and what was cut off stands in `Contract.notes` and `Function.notes`. Raises CodeError
    for what cannot be read as bytecode, and for a delegated account (EIP-7702), which has no code of its own.
    """
    from whet.errors import CodeError
    from whet.evm.bytecode import read_code
    from whet.evm.lifting import DEFAULT_STEPS, lift_code

    read = read_code(code, contract=contract)
    if read.kind == "delegation":
        raise CodeError(
            f"an account without code of its own: {read.proxy}", fix="lift the code of that address"
        )
    lifted = lift_code(read.runtime, DEFAULT_STEPS if steps is None else steps)
    lifted.notes[:0] = read.notes
    return lifted


def execute(
    contract: Contract,
    calldata: bytes,
    *,
    storage: dict[int, int] | None = None,
    caller: int = 0,
    value: int = 0,
) -> Result:
    """One call of the contract's TAC, alone in a fresh world: what the EVM would do.

    storage: {slot: word} before the call. caller: an address as a number. value: wei. The result has status
    ("success", "revert", "halt"), data, logs, storage changes, blocks visited. Worlds of several accounts, blocks and
    budgets: `whet.evm.interpret`. Raises WhetError where the TAC was cut off or a budget is spent.
    """
    from whet.evm import interpret

    return interpret.execute(contract, calldata, storage=storage, caller=caller, value=value)
