"""What is known of private functions by those that lead there."""

from __future__ import annotations

from whet.evm.decompile.nouns import INCONCLUSIVE, NOT_COMPILED, NOT_VERIFIED, SAME, Judged
from whet.evm.solidity.nouns import Source


def with_private(source: Source, judged: dict[str, Judged], called: dict[str, set[str]]) -> dict[str, Judged]:
    """`judged` with the functions that nobody can call from outside: as good as the worst of those that lead there.

    A contract compiles as a whole: where some functions did, what says of others that they did not is of an earlier text.
    """
    if any(one.label != NOT_COMPILED for one in judged.values()):
        judged = {name: one for name, one in judged.items() if one.label != NOT_COMPILED}
    whole = dict(judged)
    for function in source.functions:
        if function.of not in whole:
            callers = [name for name in judged if function.of in called.get(name, ())]
            whole[function.of] = _of_callers(callers, judged)
    return whole


def _of_callers(callers: list[str], judged: dict[str, Judged]) -> Judged:
    if not callers:
        return Judged(INCONCLUSIVE, reason="no function that can be called leads here")
    labels = {judged[name].label for name in callers}
    told = ", ".join(callers[:8]) + (f" and {len(callers) - 8} more" if len(callers) > 8 else "")
    for label in (NOT_VERIFIED, NOT_COMPILED):
        if label in labels:
            return Judged(label, reason=f"as {told}")
    if labels == {SAME}:
        return Judged(SAME, evidence=f"through {told}")
    bad = [name for name in callers if judged[name].label != SAME]
    return Judged(INCONCLUSIVE, reason=f"reached through {', '.join(bad[:8])}: {judged[bad[0]].label}")
