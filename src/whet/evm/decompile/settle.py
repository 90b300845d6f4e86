"""One contract: written, compiled, compared; what fails is written again more literally, until nothing does.

A function that does not compile or that differs goes to the next level of `solidity.nouns`; an error that is of no
function, or of one that has no further level, moves all of them. Where a public function differs at the last level, the
private ones that it calls move too; where even that does not help, all of them go back to what can be read. A round
compares what it changed, first what differed before; the one that ends it all of the last text. Ends after at most
`ROUNDS`, which is said. Of the functions that moved because something differed, those that had not to are then found by
halving, in at most `TRIALS`, and written readably again.
Costs a compilation and a comparison per round; most contracts take one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whet.evm.decompile.compiling import Compiled, compile_source
from whet.evm.decompile.nouns import DIFFERENT, NOT_VERIFIED, Judged, Retry, Seconds
from whet.evm.decompile.rounds import ROUNDS, Emit, Rounds, Settled, Verify, everywhere
from whet.evm.meaning.base import Meaning
from whet.evm.solidity.nouns import Source
from whet.evm.tac import Contract

TRIALS = 12


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
    work = Rounds(contract, meaning, code, emit, verify)
    while True:
        with seconds.clock("emit"):
            work.write()
        if not compiling:
            return Settled(work.source, everywhere(work.source, Judged(NOT_VERIFIED)), None)
        with seconds.clock("compile"):
            work.compiled = compile_(work.source)
        with seconds.clock("verify"):
            again = work.judge()
        work.rounds += 1
        again = again or work.back()
        if not again or work.rounds == ROUNDS:
            break
        work.retries += again
        work.levels |= {retry.function: retry.level for retry in again}
        work.moved = {retry.function for retry in again}
    done = work.settled(again)
    if again or verify is None:
        return done
    return _Restoring(work, verify, compile_, seconds).done() or done


class _Restoring:
    """Finds the functions that had not to move. `work` is settled."""

    def __init__(
        self, work: Rounds, verify: Verify, compile_: Callable[[Source], Compiled], seconds: Seconds
    ) -> None:
        self.work, self.verify, self.compile_, self.seconds = work, verify, compile_, seconds
        because = {r.function for r in work.retries if r.because}
        self.moved = {name: level for name, level in work.levels.items() if level and name in because}
        self.others = {name: level for name, level in work.levels.items() if name not in self.moved}
        self.differed = {r.because for r in work.retries if r.because} - work.given_up
        self.trials = 0

    def done(self) -> Settled | None:
        """The contract with fewer functions moved; None where all of them had to."""
        private = {f.of for f in self.work.source.functions if f.kind == "private"}
        suspects = sorted(self.moved, key=lambda name: (name not in private, name))
        if len(suspects) < 2 or not self.differed:
            return None
        had_to = set(self._had_to([], suspects))
        free = [name for name in suspects if name not in had_to]
        if not free:
            return None
        work, judged = self.work, self.work.judged
        if not self._written(had_to):
            return None
        work.judged, work.moved = judged, set(free)
        with self.seconds.clock("verify"):
            again = work.judge()
        if again:
            return None
        work.retries += [Retry(name, 0, "written as it was: it was another that differed") for name in free]
        return work.settled([])

    def _had_to(self, must: Sequence[str], suspects: Sequence[str]) -> Sequence[str]:
        """Of `suspects`, which suffice together with `must`, a part that does; `must` alone does not."""
        if len(suspects) < 2:
            return suspects
        half = len(suspects) // 2
        for part in (suspects[:half], suspects[half:]):
            if self._agrees({*must, *part}):
                return self._had_to(must, part)
        first = self._had_to([*must, *suspects[half:]], suspects[:half])
        return [*first, *self._had_to([*must, *first], suspects[half:])]

    def _agrees(self, moved: set[str]) -> bool:
        """Whether what differed does not, where only these are written literally."""
        if self.trials == TRIALS:
            return False
        self.trials += 1
        if not self._written(moved):
            return False
        work = self.work
        with self.seconds.clock("verify"):
            found = self.verify(work.code, work.compiled.runtime, work.source, self.differed)
        return all(judged.label != DIFFERENT for judged in found.values())

    def _written(self, moved: set[str]) -> bool:
        """Writes and compiles it with these moved; whether it compiles."""
        work = self.work
        work.levels = self.others | {name: level for name, level in self.moved.items() if name in moved}
        with self.seconds.clock("emit"):
            work.write()
        with self.seconds.clock("compile"):
            work.compiled = self.compile_(work.source)
        work.rounds += 1
        return bool(work.compiled.runtime)
