"""What a verification says: a verdict for each function, what it rests on, and the call that shows a difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "whet.verification/1"
SAME, DIFFERENT, INCONCLUSIVE, NOT_COMPILED = "same", "different", "inconclusive", "not compiled"
VERDICTS = (SAME, DIFFERENT, INCONCLUSIVE, NOT_COMPILED)
"""`NOT_COMPILED` is set by a caller who has no code of a candidate; nothing here gives it."""

MOST_CALLS, LEAST_CALLS = 400, 80
CONTRACT_STATEMENTS, CONTRACT_GAS = 60_000_000, 60_000_000_000
"""For all functions of a contract together."""
MOST_TEXT = 2_000
"""Characters of one value in a text."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is tried; all in units of work, so that the same input gives the same verdict on any machine.

    calls: most calls of one function. least: calls of each, where no difference ends it. statements: of the interpreter
    for the calls of one function, and as many again for its mutants; gas: of both sides in the EVM, for the calls of one
    function. contract_statements, contract_gas: the same for all functions together. mutants: made of each function.
    """

    calls: int = MOST_CALLS
    least: int = LEAST_CALLS
    statements: int = 3_000_000
    gas: int = 6_000_000_000
    contract_statements: int = CONTRACT_STATEMENTS
    contract_gas: int = CONTRACT_GAS
    mutants: int = 16


@dataclass(slots=True)
class Evidence:
    """What stands behind a verdict.

    calls: run on both sides. past_decoding: of these, got past the decoding of arguments; succeeded: did not revert in
    the original. counted: the calls that a verdict may count: at most as many that revert as succeed.
    branches: ways out of conditions in the original that a call of this function can take; executed: of these, taken.
    unreachable: left out of `branches`, because no input takes them.
    mutants: wrong variants of the candidate that the calls were shown; killed and equivalent of these; unreached:
    further ones, changed where no call came, which count in none of them.
    set_aside: {reason: calls} that gave no verdict.
    """

    calls: int = 0
    past_decoding: int = 0
    succeeded: int = 0
    counted: int = 0
    branches: int = 0
    executed: int = 0
    unreachable: int = 0
    mutants: int = 0
    killed: int = 0
    equivalent: int = 0
    unreached: int = 0
    survivors: list[str] = field(default_factory=list)
    set_aside: Counter[str] = field(default_factory=Counter)

    @property
    def coverage(self) -> float:
        """Share of the reachable branches that were executed; 1 where there are none."""
        return self.executed / self.branches if self.branches else 1.0

    @property
    def kill_rate(self) -> float:
        """Share of the mutants, without the equivalent ones, that were killed; 1 where there are none."""
        judged = self.mutants - self.equivalent
        return self.killed / judged if judged else 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call. text: decoded by the ABI. caller: "owner", "alice" or an address; value in wei, timestamp in seconds."""

    text: str
    calldata: str
    caller: str
    value: int
    timestamp: int
    number: int
    chain: int = 1


@dataclass(slots=True)
class Counterexample:
    """The smallest sequence found whose last call shows the difference.

    what: "status", "data", "logs", "storage", ... state: {"target[0x3]": "0x1"} put there before the calls.
    original, candidate: what each did in the last call. differences: each in words.
    """

    what: str
    calls: list[Call]
    state: dict[str, str]
    original: str
    candidate: str
    differences: list[str]

    @property
    def text(self) -> str:
        """Several lines for a person."""
        lines = [f"before: {place} = {word}" for place, word in self.state.items()]
        for call in self.calls:
            wei = f" with {call.value} wei" if call.value else ""
            chain = f", chain {call.chain}" if call.chain != 1 else ""
            when = f"(block {call.number}, time {call.timestamp}{chain})"
            lines.append(f"{call.caller} calls {call.text}{wei} {when}")
        lines.append(f"calldata: 0x{self.calls[-1].calldata[:MOST_TEXT]}")
        lines += [f"original:  {self.original}", f"candidate: {self.candidate}"]
        return "\n".join([*lines, *(f"differs: {line}" for line in self.differences)])


@dataclass(slots=True)
class Verdict:
    """Of one function. function: its signature, "(fallback)" or "(receive)". reasons: why it is not *same*."""

    function: str
    selector: int | None
    verdict: str
    reasons: list[str]
    evidence: Evidence
    counterexample: Counterexample | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


@dataclass(slots=True)
class Verification:
    """All verdicts of a contract, in the order of the ABI; functions outside of it follow by selector."""

    verdicts: list[Verdict]
    seed: int
    notes: list[str] = field(default_factory=list)

    @property
    def perfect(self) -> bool:
        """Every function is the same."""
        return all(verdict.verdict == SAME for verdict in self.verdicts)

    @property
    def counts(self) -> dict[str, int]:
        """{verdict: functions}."""
        found = Counter(verdict.verdict for verdict in self.verdicts)
        return {name: found[name] for name in VERDICTS if found[name]}

    @property
    def exit_code(self) -> int:
        """0: all are the same; 8: something differs; 9: nothing differs, but not all is known. (1 to 7 mean other things.)"""
        return 0 if self.perfect else 8 if DIFFERENT in self.counts else 9

    def of(self, selector: int | None, name: str = "") -> Verdict | None:
        """The verdict of that selector; for None, of that name."""
        for verdict in self.verdicts:
            if verdict.selector == selector and (selector is not None or verdict.function == name):
                return verdict
        return None


def to_json(found: Verification) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "schema": SCHEMA,
        "seed": found.seed,
        "counts": found.counts,
        "perfect": found.perfect,
        "notes": list(found.notes),
        "functions": [_verdict(one) for one in found.verdicts],
    }


def _verdict(one: Verdict) -> dict[str, Any]:
    evidence = asdict(one.evidence) | {
        "set_aside": dict(one.evidence.set_aside),  # asdict makes a Counter of its items
        "coverage": round(one.evidence.coverage, 4),
        "kill_rate": round(one.evidence.kill_rate, 4),
    }
    shown = one.counterexample
    return {
        "function": one.function,
        "selector": None if one.selector is None else f"0x{one.selector:08x}",
        "verdict": one.verdict,
        "reasons": list(one.reasons),
        "notes": list(one.notes),
        "evidence": evidence,
        "counterexample": asdict(shown) | {"text": shown.text} if shown else None,
    }
