"""`whet decompile`: bytecode to Solidity that was compiled and compared, each function with what came out of that.

`settle` makes the text of one contract and changes it until it compiles and nothing differs, or no way is left;
`rewrite` asks a model for its functions; `kept` keeps the result, `annotate`, `serial` and `page` show it; `given`,
`endpoint`, `chain` find the code; `many` does several at once. The text itself is written by `whet.evm.solidity`, compared
by `whet.evm.verify`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.evm.bytecode import Code
    from whet.evm.decompile.asking import Writer
    from whet.evm.decompile.nouns import Decompiled


def decompile(
    code: str | bytes | Path | Code,
    *,
    contract: str = "",
    abi: Path | str | None = None,
    compiling: bool = True,
    verify: bool = True,
    calls: int = 0,
    model: Writer | None = None,
) -> Decompiled:
    """A contract as Solidity, each function with what is known of its behaviour.

    code, contract: as `whet.lift` has them. abi: a file with an ABI, for names. compiling: False to write only; verify: False
    not to compare what was compiled. calls: most calls of a function when it is compared; 0: the verification's own.
    model: one that is asked for each function (`whet.open_writer`); what it writes stands where it is the same.

    `Decompiled.source.text` is one file; `Decompiled.functions` have their label, evidence and three-address code. Raises
    CodeError for what cannot be read as bytecode, WhetError where what comparing needs is not installed, and for a model
    without comparing. A compiler that cannot be had is said in the result. Nothing is kept.
    """
    import json

    from whet.errors import WhetError
    from whet.evm.bytecode import read_code
    from whet.evm.decompile import run
    from whet.evm.decompile.rewrite import rewrite
    from whet.evm.signatures import read_abi

    if model and not (verify and compiling):
        raise WhetError(
            "nothing that a model writes would be checked", where="model", fix="compile and verify"
        )
    entries = json.dumps(read_abi(Path(abi))) if abi else ""
    given, options = (
        read_code(code, contract=contract),
        run.Options(compiling, verify and compiling, entries, calls),
    )
    result = run.decompile(given, options)
    return rewrite(given, options, result, model) if model else result
