"""Does a candidate behave as the original contract does? A verdict for each function, with its evidence.

    from whet.evm.verify import verify

    found = verify(original, candidate, abi)            # runtime bytecode of both
    for one in found.verdicts:
        print(one.function, one.verdict, one.reason)
        if one.counterexample:
            print(one.counterexample.text)

docs/verify.md says what a verdict means. Importing this package imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whet.evm.verify.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    NOT_COMPILED,
    SAME,
    Budget,
    Call,
    Counterexample,
    Evidence,
    Verdict,
    Verification,
    to_json,
)

__all__ = [
    "DIFFERENT",
    "INCONCLUSIVE",
    "NOT_COMPILED",
    "SAME",
    "Budget",
    "Call",
    "Counterexample",
    "Evidence",
    "Verdict",
    "Verification",
    "to_json",
    "verify",
]


def verify(
    original: bytes,
    candidate: bytes,
    abi: Sequence[dict[str, Any]] = (),
    *,
    functions: Sequence[int | None] | None = None,
    libraries: dict[int, bytes] | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    told: Callable[[str], None] = lambda line: None,
    deployed: bool = False,
) -> Verification:
    """Compare two runtime codes, call by call, in an EVM.

    abi: of the original; functions that only the code has are called with words at random. functions: selectors to look
    at, None among them for fallback and receive; None: all of either side. libraries: {address: code} that either side
    calls there. told: gets a line for each function as it is done. deployed: the original is code as it stands on a chain,
    immutables and all; a function that by its constants cannot succeed need not succeed then, which is noted.

    The same input and seed give the same verdicts. Raises WhetError where pyrevm or eth-abi is not installed.
    """
    from whet.evm.verify.judge import judge

    return judge(
        original,
        candidate,
        list(abi),
        functions,
        libraries or {},
        budget or Budget(),
        seed,
        told,
        deployed=deployed,
    )
