"""Whether a candidate's function does what the original's does, seen from outside of the contract."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from whet.evm.call_graph import reach
from whet.evm.lifting import lift_code
from whet.evm.meaning.untangle import untangled
from whet.evm.metadata import metadata_at_end
from whet.evm.replay.vectors import methods_of
from whet.evm.tac import Contract
from whet.evm.verify import Budget, Verification, verify
from whet.evm.verify.nouns import DIFFERENT, INCONCLUSIVE, SAME, Verdict

MOST_WAYS = 8
"""Public functions through which an internal one is called at most."""

NO_WAY = "no function that can be called leads there"


def behaviour(
    original: bytes,
    candidate: bytes,
    abi: Sequence[dict[str, Any]],
    key: int | str,
    name: str,
    budget: Budget | None,
) -> tuple[str, str]:
    """Same, different or inconclusive; and why. key: of the original's function: a selector, "fallback", "receive", or "pc:" and
    the offset of an internal one, for which the public functions that lead there stand, those alone that were written to
    expose it, by its name, where there are any. Code that is equal but for its metadata is the same."""
    if bare(original) == bare(candidate):
        return SAME, "the same code"
    return replayed(original, candidate, abi, key, name, budget)


def replayed(
    original: bytes,
    candidate: bytes,
    abi: Sequence[dict[str, Any]],
    key: int | str,
    name: str,
    budget: Budget | None,
) -> tuple[str, str]:
    """As `behaviour`, by calls alone."""
    if isinstance(key, int):
        return _together(verify(original, candidate, abi, functions=[key], budget=budget))
    if not key.startswith("pc:"):
        return _together(verify(original, candidate, abi, functions=[None], budget=budget), f"({key})")
    return through(original, candidate, abi, ways(original, key, abi, name), budget)


def through(
    original: bytes,
    candidate: bytes,
    abi: Sequence[dict[str, Any]],
    wanted: Sequence[int | None],
    budget: Budget | None,
) -> tuple[str, str]:
    """As `replayed`, by calls of these selectors."""
    if not wanted:
        return INCONCLUSIVE, NO_WAY
    return _together(verify(original, candidate, abi, functions=wanted, budget=budget))


def bare(code: bytes) -> bytes:
    """Without the metadata at the end."""
    found = metadata_at_end(code)
    return code[: found.offset] if found else code


def ways(original: bytes, key: str, abi: Sequence[dict[str, Any]], name: str) -> list[int | None]:
    """Selectors that lead to the private function at "pc:" and an offset: those of its wrappers, else all, at most `MOST_WAYS`;
    None among them for what no selector reaches."""
    return ways_in(untangled(lift_code(original)), int(key[3:]), wrappers_of(abi, name))


def wrappers_of(abi: Sequence[dict[str, Any]], name: str) -> set[int | None]:
    """Selectors of what was written to expose internal functions of this name."""
    wrapper = re.compile(rf"{re.escape(name)}_\d+\(")
    return {one.selector for one in methods_of(list(abi)) if wrapper.match(one.name)}


def ways_in(contract: Contract, pc: int, wrappers: Collection[int | None]) -> list[int | None]:
    """As `ways`, of a contract that is lifted; by the selectors of the function's wrappers."""
    inside = {one.name for one in contract.functions.values() if one.kind == "private" and one.pc == pc}
    reached = reach(contract)
    selectors = [four for four, one in sorted(contract.public.items()) if inside & reached[one.name]]
    exposing = [four for four in selectors if four in wrappers]
    others = [one.name for one in contract.functions.values() if one.kind in ("fallback", "receive")]
    alone = [] if selectors or others else [contract.entry.name]
    without = [None for one in (*others, *alone) if inside & reached[one]]
    return [*exposing, *(() if exposing else (*selectors, *without[:1]))][:MOST_WAYS]


def _together(found: Verification, outside: str = "") -> tuple[str, str]:
    """The worst of all; `outside`: only the one of that name."""
    verdicts = [one for one in found.verdicts if outside in ("", one.function)]
    for label in (DIFFERENT, INCONCLUSIVE):
        for one in verdicts:
            if one.verdict == label:
                return label, _why(one)
    return (SAME, "") if verdicts else (INCONCLUSIVE, NO_WAY)


def _why(verdict: Verdict) -> str:
    shown = verdict.counterexample
    told = [verdict.reason]
    if verdict.verdict == DIFFERENT and shown is not None:
        told += [*shown.differences, *(call.text for call in shown.calls)]
    return f"{verdict.function}: {'; '.join(told)}"
