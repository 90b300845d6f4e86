"""What is known between two rounds of `settle`: what to write again, what to compare, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from whet.errors import mistake
from whet.evm.call_graph import reach
from whet.evm.decompile.compiling import Compiled
from whet.evm.decompile.nouns import DIFFERENT, NOT_COMPILED, NOT_VERIFIED, Judged, Retry
from whet.evm.decompile.reach import with_private
from whet.evm.meaning.base import Meaning
from whet.evm.solidity.nouns import LAST_LEVEL, Source
from whet.evm.tac import Contract

ROUNDS = 12


class Emit(Protocol):
    """Writes a contract. levels: {function's name in the TAC: how literally, at least}."""

    def __call__(self, contract: Contract, meaning: Meaning, *, levels: dict[str, int]) -> Source: ...


Verify = Callable[[bytes, bytes, Source, Collection[str] | None], dict[str, Judged]]
"""(code given, code compiled, text, names in the TAC or None for all that can be called) -> {name: what came out}."""


@dataclass(slots=True)
class Settled:
    """The last text and what is known of it, by the functions' names in the TAC."""

    source: Source
    judged: dict[str, Judged]
    compiled: Compiled | None
    retries: list[Retry] = field(default_factory=list)
    rounds: int = 1
    notes: list[str] = field(default_factory=list)


class Rounds:
    """What is known between two rounds. levels: asked for so far. moved: what was written anew in this round; None: all."""

    source: Source
    compiled: Compiled

    def __init__(
        self,
        contract: Contract,
        meaning: Meaning,
        code: bytes,
        emit: Emit,
        verify: Verify | None,
    ) -> None:
        self.contract, self.meaning, self.code, self.emit, self.verify = contract, meaning, code, emit, verify
        self.levels: dict[str, int] = {}
        self.retries: list[Retry] = []
        self.rounds = 0
        self.called = reach(contract)
        self.judged: dict[str, Judged] = {}
        self.compared: set[str] = set()
        """The functions whose verdict is of the text as it is."""
        self.moved: set[str] | None = None
        self.given_up: set[str] = set()

    def write(self) -> None:
        """Ask the emitter; where it fails, which is a mistake of whet, all functions go up a level, and that is said."""
        while True:
            try:
                self.source = self.emit(self.contract, self.meaning, levels=dict(self.levels))
                return
            except Exception as error:
                names = [name for name, f in self.contract.functions.items() if f.kind != "entry"]
                why = mistake(error)[:200]
                higher = [
                    Retry(name, self.level(name) + 1, why) for name in names if self.level(name) < LAST_LEVEL
                ]
                if not higher:
                    raise
                self.retries += higher
                self.levels |= {retry.function: retry.level for retry in higher}
                self.moved = None

    def level(self, name: str) -> int:
        """What was asked for, which the emitter may have gone beyond."""
        return self.levels.get(name, 0)

    def judge(self) -> list[Retry]:
        """Compare what was written anew, then, if nothing of it differs, the rest; what is to be written again."""
        compiled = self.compiled
        if not compiled.runtime:
            other = f"the contract does not compile: {compiled.why}"
            self.judged = {
                f.of: Judged(NOT_COMPILED, reason=compiled.refused.get(f.of, other))
                for f in self.source.functions
            }
            self.moved = None
            return [] if compiled.no_compiler else self._refused()
        if self.verify is None:
            self.judged = everywhere(self.source, Judged(NOT_VERIFIED, evidence="compiles"))
            return []
        self.compared = set()
        for names in self._turns():
            found = self._compare(self.verify, names)
            if again := self._differing(found):
                return again
        return []

    def _turns(self) -> list[set[str]]:
        """What is compared one after the other, as long as nothing differs: what was written anew for that, what else was
        written anew, the rest."""
        everything = self._callable()
        anew = self._affected(everything)
        differed = {name for name, judged in self.judged.items() if judged.label == DIFFERENT} & anew
        return [names for names in (differed, anew - differed, everything - anew) if names]

    def _compare(self, verify: Verify, names: set[str]) -> dict[str, Judged]:
        everything = names == self._callable()
        found = verify(self.code, self.compiled.runtime, self.source, None if everything else names)
        self.compared |= names
        known = {f.of for f in self.source.functions}
        self.judged = {name: judged for name, judged in (self.judged | found).items() if name in known}
        return found

    def _callable(self) -> set[str]:
        return {f.of for f in self.source.functions if f.kind != "private"}

    def _affected(self, callable_: set[str]) -> set[str]:
        """The functions that can be called whose text, or that of one that they call, is new."""
        if self.moved is None or NOT_COMPILED in {judged.label for judged in self.judged.values()}:
            return callable_
        moved = self.moved
        return {name for name in callable_ if name in moved or moved & self.called.get(name, set())}

    def _refused(self) -> list[Retry]:
        wrong = {name: f"does not compile: {why}" for name, why in self.compiled.refused.items()}
        everything = dict.fromkeys(
            (f.of for f in self.source.functions), f"the contract does not compile: {self.compiled.why}"
        )
        return self._up(wrong) or self._up(everything)

    def back(self) -> list[Retry]:
        """Functions to be written as they were: being literal helped none of those that they were written again for."""
        lost = {name for name, judged in self.judged.items() if judged.label == DIFFERENT} - self.given_up
        causes: dict[str, set[str]] = {}
        for retry in self.retries:
            causes.setdefault(retry.function, set()).add(retry.because)
        self.given_up |= lost
        why = "taken back: written literally it differs no less"
        return [Retry(name, 0, why) for name, because in causes.items() if because <= lost]

    def _differing(self, found: dict[str, Judged]) -> list[Retry]:
        moved: dict[str, Retry] = {}
        for name, judged in found.items():
            if judged.label == DIFFERENT and name not in self.given_up:
                private = dict.fromkeys(sorted(self.called.get(name, ())), f"called by {name}, which differs")
                again = self._up({name: f"differs: {judged.reason}"}, name) or self._up(private, name)
                moved = {retry.function: retry for retry in again} | moved
        return list(moved.values())

    def _up(self, wrong: dict[str, str], because: str = "") -> list[Retry]:
        written = {f.of: f.level for f in self.source.functions}
        return [
            Retry(name, max(self.level(name), written[name]) + 1, why, because)
            for name, why in wrong.items()
            if name in written and max(self.level(name), written[name]) < LAST_LEVEL
        ]

    def settled(self, again: list[Retry]) -> Settled:
        """The end; `again`: what is left undone, with which some may not have been compared in this text."""
        left_out = self._callable() - self.compared
        if again and left_out and self.verify and self.compiled.runtime:
            self._compare(self.verify, left_out)
        judged = with_private(self.source, self.judged, self.called)
        left = ", ".join(retry.function for retry in again)
        notes = [f"not written again after {ROUNDS} rounds: {left}"] if again else []
        return Settled(self.source, judged, self.compiled, self.retries, self.rounds, notes)


def everywhere(source: Source, judged: Judged) -> dict[str, Judged]:
    """The same of all functions."""
    return {function.of: judged for function in source.functions}
