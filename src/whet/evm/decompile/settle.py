"""One contract: written, compiled, compared; what fails is written again more literally, until nothing does.

A function that does not compile or that differs goes to the next level of `solidity.nouns`; an error that is of no
function, to whom it cannot be given, moves all of them. Where a public function differs at the last level, the private ones
that it calls move too. What is compared is always all of the last text. Ends after at most `ROUNDS`, which is said.
Costs a compilation and a comparison per round; most contracts take one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from whet.evm.decompile.compiling import Compiled, compile_source
from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    NOT_COMPILED,
    NOT_VERIFIED,
    SAME,
    Judged,
    Retry,
    Seconds,
)
from whet.evm.meaning.base import Meaning
from whet.evm.solidity.nouns import LAST_LEVEL, SolidityFunction, Source
from whet.evm.tac import Contract

ROUNDS = 6


class Emit(Protocol):
    """Writes a contract. levels: {function's name in the TAC: how literally, at least}."""

    def __call__(self, contract: Contract, meaning: Meaning, *, levels: dict[str, int]) -> Source: ...


Verify = Callable[[bytes, bytes, Source], dict[str, Judged]]
"""(code given, code compiled, text) -> {name in the TAC of each function that can be called: what came out}."""


@dataclass(slots=True)
class Settled:
    """The last text and what is known of it, by the functions' names in the TAC."""

    source: Source
    judged: dict[str, Judged]
    compiled: Compiled | None
    retries: list[Retry] = field(default_factory=list)
    rounds: int = 1
    notes: list[str] = field(default_factory=list)


def settle(
    contract: Contract,
    meaning: Meaning,
    code: bytes,
    emit: Emit,
    verify: Verify | None,
    seconds: Seconds,
    *,
    compiling: bool = True,
    compile_: Callable[[Source], Compiled] = compile_source,
) -> Settled:
    """Write `contract` until it compiles and agrees with `code`. verify: None to stop after compiling."""
    levels: dict[str, int] = {}
    retries: list[Retry] = []
    called = callees(contract)
    for number in range(1, ROUNDS + 1):
        with _clock(seconds, "emit"):
            source = _written(contract, meaning, emit, levels, retries)
        if not compiling:
            return Settled(source, _everywhere(source, Judged(NOT_VERIFIED)), None)
        with _clock(seconds, "compile"):
            compiled = compile_(source)
        with _clock(seconds, "verify"):
            judged = _judged(code, compiled, source, verify)
        settled = Settled(source, with_private(source, judged, called), compiled, retries, number)
        again = _again(source, compiled, judged, called)
        if not again:
            return settled
        if number < ROUNDS:
            retries += again
            levels |= {retry.function: retry.level for retry in again}
    settled.notes.append(f"not written again after {ROUNDS} rounds: {', '.join(r.function for r in again)}")
    return settled


def _written(
    contract: Contract, meaning: Meaning, emit: Emit, levels: dict[str, int], retries: list[Retry]
) -> Source:
    """What the emitter writes; where it fails, which is a mistake of whet, all functions go up a level, and that is said."""
    while True:
        try:
            return emit(contract, meaning, levels=dict(levels))
        except Exception as error:
            names = [name for name, f in contract.functions.items() if f.kind != "entry"]
            higher = {name: min(levels.get(name, 0) + 1, LAST_LEVEL) for name in names}
            if all(levels.get(name) == level for name, level in higher.items()):
                raise
            why = f"a mistake of whet: {type(error).__name__}: {error}"[:200]
            retries += [
                Retry(name, level, why) for name, level in higher.items() if levels.get(name) != level
            ]
            levels |= higher


def _judged(code: bytes, compiled: Compiled, source: Source, verify: Verify | None) -> dict[str, Judged]:
    if not compiled.runtime:
        other = f"the contract does not compile: {compiled.why}"
        return {
            f.of: Judged(NOT_COMPILED, reason=compiled.refused.get(f.of, other)) for f in source.functions
        }
    if verify is None:
        return _everywhere(source, Judged(NOT_VERIFIED, evidence="compiles"))
    return verify(code, compiled.runtime, source)


def _everywhere(source: Source, judged: Judged) -> dict[str, Judged]:
    return {function.of: judged for function in source.functions}


def _again(
    source: Source, compiled: Compiled, judged: dict[str, Judged], called: dict[str, set[str]]
) -> list[Retry]:
    """The functions to be written again, each one level up."""
    if compiled.no_compiler:
        return []
    by_name = {function.of: function for function in source.functions}
    if not compiled.runtime:
        wrong = {name: f"does not compile: {why}" for name, why in compiled.refused.items()}
        moved = _up(wrong, by_name)
        return moved or _up(dict.fromkeys(by_name, f"the contract does not compile: {compiled.why}"), by_name)
    moved = []
    for name, found in judged.items():
        if found.label == DIFFERENT:
            moved += _up({name: f"differs: {found.reason}"}, by_name) or _up(
                dict.fromkeys(sorted(called.get(name, ())), f"called by {name}, which differs"), by_name
            )
    return list({retry.function: retry for retry in moved}.values())


def _up(wrong: dict[str, str], by_name: dict[str, SolidityFunction]) -> list[Retry]:
    return [
        Retry(name, by_name[name].level + 1, why)
        for name, why in wrong.items()
        if name in by_name and by_name[name].level < LAST_LEVEL
    ]


def callees(contract: Contract) -> dict[str, set[str]]:
    """{function: all private functions that a call of it can reach}."""
    direct = {
        name: {s.function for s in f.statements() if s.op == "CALLPRIVATE"}
        for name, f in contract.functions.items()
    }
    found: dict[str, set[str]] = {}
    for name in direct:
        reached: set[str] = set()
        todo = [name]
        while todo:
            new = direct.get(todo.pop(), set()) - reached
            reached |= new
            todo += new
        found[name] = reached
    return found


def with_private(source: Source, judged: dict[str, Judged], called: dict[str, set[str]]) -> dict[str, Judged]:
    """`judged` with the functions that nobody can call from outside: as good as the worst of those that lead there."""
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


class _clock:
    """Adds the time spent inside to a field of `Seconds`."""

    def __init__(self, seconds: Seconds, name: str) -> None:
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self.began
        setattr(self.seconds, self.name, getattr(self.seconds, self.name) + spent)
