"""The verdicts: how long a function is called, and when it may be called the same.

*Same* needs all of: no difference; at least `ENOUGH_CALLS` calls past the decoding of their arguments, of which those
that revert count at most as often as those that succeed; at least `COVERAGE` of the branches that a call can take
executed; at least `KILLED` of the candidate's mutants that are not equivalent noticed. A difference is *different*.
Anything less is *inconclusive*, and the reasons say what was missing. Calldata that no encoder makes (dirty bits, cut off)
is tried too, but decides nothing: compilers do not agree on it. A difference there is counted, and the call is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whet.evm.replay.explore import Explorer
from whet.evm.replay.mocks import FORWARDER, TARGET
from whet.evm.replay.run import ENOUGH_CALLS, Disagreement, MethodReport, reachable
from whet.evm.replay.search import Search
from whet.evm.replay.vectors import Method, soiled
from whet.evm.verify.branches import Place, branches, root
from whet.evm.verify.impossible import entries, has_good_end, possible
from whet.evm.verify.methods import methods
from whet.evm.verify.mutation import Kept, Mutants
from whet.evm.verify.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    SAME,
    Budget,
    Evidence,
    Verdict,
    Verification,
)
from whet.evm.verify.orders import Env
from whet.evm.verify.pair import MALFORMED, NARROW, UNDECIDED, Pair
from whet.evm.verify.shapes import Shapes
from whet.evm.verify.telling import counterexample

COVERAGE = 0.8
KILLED = 0.9
ROUNDS = 2
"""Of the first calls: those of the second start from states that other functions left."""
STALE, STALE_BELOW, STALE_FAILING = 60, 120, 200
"""Calls without anything new after which a function is left: where the coverage is enough, where it is not, and where
too few calls succeed."""
AGAIN, MORE_CALLS = 3, 50
"""Rounds of further calls for the sake of mutants that are alive, and the calls of each."""
THROUGH = 4
"""Calls that are tried through a contract in between, twice at most."""
SOILED = 3
"""Calls that are tried with dirty arguments."""
MORE_MUTANTS = 3
"""Times as many mutants of a function where of the first too many are alive."""
MOST_FUNCTIONS = 1_000


@dataclass(slots=True)
class Trial:
    """One function under way. root: the function of the original that it begins in; needed: branches that a call can
    take; impossible: the others; ends: whether some way comes to an end that is no revert; kept: its calls on which both
    sides agreed."""

    report: MethodReport
    search: Search
    root: str | None
    needed: set[Place]
    impossible: set[Place]
    ends: bool
    statements: int
    gas: int
    kept: list[Kept] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        """The budget of its calls is."""
        return self.statements <= 0 or self.gas <= 0

    @property
    def seen(self) -> set[Place]:
        return {(name, block) for at, name, block in self.search.seen if at == TARGET}

    @property
    def taken(self) -> set[Place]:
        return self.needed & self.seen

    @property
    def coverage(self) -> float:
        return len(self.taken) / len(self.needed) if self.needed else 1.0


def judge(
    original: bytes,
    candidate: bytes,
    abi: list[dict[str, Any]],
    functions: Sequence[int | None] | None,
    libraries: dict[int, bytes],
    budget: Budget,
    seed: int,
    told: Callable[[str], None],
    *,
    deployed: bool,
) -> Verification:
    """See `whet.evm.verify.verify`."""
    pair = Pair(original, candidate, seed, libraries, budget)
    everything = methods(abi, *pair.lifted)
    chosen = [m for m in everything if functions is None or m.selector in functions][:MOST_FUNCTIONS]
    shapes = Shapes(pair.contract)
    known = entries(pair.contract, shapes)
    trials = [_trial(pair, method, budget, known, shapes, deployed=deployed) for method in chosen]
    for _ in range(ROUNDS):
        for trial in trials:
            _call(pair, trial, budget.least // ROUNDS)
    verdicts = []
    for trial in trials:
        _more(pair, trial, budget)
        _through(pair, trial)
        _soil(pair, trial)
        verdicts.append(_verdict(pair, trial, everything, budget))
        told(f"{verdicts[-1].function}: {verdicts[-1].verdict} {verdicts[-1].reason}".strip())
    return Verification(verdicts, seed, _notes(pair, len(chosen)))


def _trial(
    pair: Pair, method: Method, budget: Budget, known: dict[str, Env], shapes: Shapes, *, deployed: bool
) -> Trial:
    begin = root(pair.contract, method.selector, method.name)
    search = Search(method, pair.rng, pair.mined, 1)
    ways = possible(pair.contract, begin, known.get(begin or ""), shapes, deployed=deployed)
    search.explorers[TARGET] = Explorer(pair.contract, ways.branches, pair.start, pair.charge)
    impossible = branches(pair.contract, begin) - ways.branches
    return Trial(
        MethodReport(method),
        search,
        begin,
        ways.branches,
        impossible,
        ways.ends,
        budget.statements,
        budget.gas,
    )


def _call(pair: Pair, trial: Trial, calls: int) -> None:
    """So many calls, fewer where one differs or the budget ends."""
    trial.search.states = len(pair.states)
    pair.give(trial.statements, trial.gas)
    pair.method = trial.report.method
    for _ in range(calls):
        if trial.report.differing or pair.spent:
            break
        mark = len(pair.agreed)
        pair.one(trial.report, trial.search)
        trial.kept += pair.agreed[mark:]
    trial.statements, trial.gas = pair.statements_left, pair.gas_left


def _more(pair: Pair, trial: Trial, budget: Budget) -> None:
    """Further calls, as long as they may bring something that is missing."""
    while (
        trial.report.calls < budget.calls
        and not trial.report.differing
        and not trial.spent
        and not pair.exhausted
    ):
        coverage, stale = trial.coverage, trial.search.stale
        enough = _counted(trial) >= ENOUGH_CALLS
        patience = STALE_FAILING if not enough else STALE if coverage >= COVERAGE else STALE_BELOW
        if (enough and coverage == 1) or stale >= patience:
            return
        _call(pair, trial, 1)


def _through(pair: Pair, trial: Trial) -> None:
    """Calls that succeeded in new ways once more, through a contract in between: who calls is not who began."""
    ways = [one for one in trial.search.parents if one.result.status == "success"]
    for winner in ways[-THROUGH:]:
        if winner.case.caller != FORWARDER:
            trial.search.through(winner)
            _call(pair, trial, 2)


def _soil(pair: Pair, trial: Trial) -> None:
    """Some calls that succeeded once more, with bits in their arguments that the types do not have: types that are too
    narrow show."""
    pair.method = trial.report.method
    kept = [case for case, _, _, outcome in trial.kept if outcome.status == "success"]
    for case in kept[:SOILED]:
        for data in soiled(trial.report.method, case.data):
            _, _, reason = pair.attempt(replace(case, data=data, plain=False, odd=True), keep=False)
            if reason == NARROW:
                trial.report.inconclusive[reason] += 1


def _counted(trial: Trial) -> int:
    """Calls that a verdict may count: at least half of them succeed, where the function can."""
    report = trial.report
    if not trial.ends and not report.succeeded:
        return report.passed
    return min(report.passed, 2 * report.succeeded)


def _verdict(pair: Pair, trial: Trial, everything: list[Method], budget: Budget) -> Verdict:
    report, method = trial.report, trial.report.method
    shown = _mutants(pair, trial, budget)
    disproved = trial.impossible & trial.seen
    if disproved:  # what was taken for granted does not hold here, so none of them is left out
        trial.needed, trial.impossible = trial.needed | trial.impossible, set()
        trial.ends = True
    evidence = Evidence(
        calls=report.calls,
        past_decoding=report.passed,
        succeeded=report.succeeded,
        counted=_counted(trial),
        branches=len(trial.needed),
        executed=len(trial.taken),
        unreachable=len(trial.impossible),
        set_aside=report.inconclusive,
    )
    shown.tell(evidence)
    found = Verdict(method.name, method.selector, SAME, [], evidence)
    if report.differing:
        found.verdict = DIFFERENT
        found.counterexample = counterexample(pair, report.disagreements[0], method, everything)
        found.reasons = [_difference(pair, method, found.counterexample.what)]
        return found
    found.reasons = _reasons(pair, trial, evidence)
    found.verdict = INCONCLUSIVE if found.reasons else SAME
    if method.selector in pair.malformed:
        case = pair.malformed[method.selector]
        told = Disagreement(MALFORMED, "", case, pair.states[case.state], pair.histories[case.state])
        found.counterexample = counterexample(pair, told, method, everything)
    found.notes += [f"{evidence.set_aside[why]} calls: {why}" for why in UNDECIDED if evidence.set_aside[why]]
    if not trial.ends and trial.root and has_good_end(pair.contract, reachable(pair.contract, trial.root)):
        found.notes.append("no call succeeded, and by the constants in the code none can")
    if disproved:
        found.notes.append("a branch was executed that was thought to be impossible: all of them are counted")
    return found


def _mutants(pair: Pair, trial: Trial, budget: Budget) -> Mutants:
    """Made, and shown further calls where too many are alive; then more of them, so that no verdict hangs on one of a few."""
    method = trial.report.method
    begin = None if trial.report.differing else root(pair.other, method.selector, method.name)
    pair.give(budget.statements, budget.gas)
    mutants = Mutants(pair, begin, trial.kept, budget.mutants)
    for _ in range(AGAIN):
        if mutants.rate >= KILLED or trial.report.differing or trial.report.calls >= budget.calls:
            break
        left = pair.statements_left
        _call(pair, trial, MORE_CALLS)
        pair.give(left, budget.gas)
        mutants.show()
    if mutants.rate < KILLED and not trial.report.differing:
        mutants.make(MORE_MUTANTS * budget.mutants)
    return mutants


def _difference(pair: Pair, method: Method, what: str) -> str:
    if method.selector is not None and method.selector not in pair.other.public:
        return f"the candidate has no such function; {what} differs"
    if method.selector is not None and method.selector not in pair.contract.public:
        return f"the original has no such function; {what} differs"
    return f"{what} differs"


def _reasons(pair: Pair, trial: Trial, evidence: Evidence) -> list[str]:
    """Everything that is missing for *same*."""
    reasons = [
        f"{count} calls set aside: {why}"
        for why, count in sorted(evidence.set_aside.items())
        if why not in UNDECIDED
    ]
    if trial.root is None and trial.report.method.selector is not None and evidence.succeeded:
        reasons.append("its code was not found in the original, so its branches are not known")
    if trial.ends and not evidence.succeeded:
        reasons.append("no call succeeded")
    elif evidence.counted < ENOUGH_CALLS:
        reasons.append(f"{evidence.counted} calls past decoding count, {ENOUGH_CALLS} are needed")
    if evidence.coverage < COVERAGE:
        reasons.append(
            f"coverage {evidence.coverage:.0%}: {evidence.executed} of {evidence.branches} branches executed"
        )
    if evidence.kill_rate < KILLED:
        judged = evidence.mutants - evidence.equivalent
        reasons.append(f"mutants: {evidence.killed} of {judged} noticed")
    if reasons and pair.exhausted:
        reasons.append("the budget of work for this contract was spent")
    elif reasons and (trial.spent or pair.spent):
        reasons.append("the budget of work for this function was spent")
    return reasons


def _notes(pair: Pair, chosen: int) -> list[str]:
    notes = [f"original: {note}" for note in pair.contract.notes]
    notes += [f"candidate: {note}" for note in pair.other.notes]
    if pair.answering:
        notes.append("a mock answers at " + ", ".join(f"0x{at:040x}" for at in pair.answering))
    if pair.misread:
        notes.append(f"in {pair.misread} calls the three-address code could not be followed as the EVM went")
    if chosen == MOST_FUNCTIONS:
        notes.append(f"only the first {MOST_FUNCTIONS} functions were looked at")
    return notes
