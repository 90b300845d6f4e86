"""What `whet verify` prints: a table of verdicts, why, and the calls that show differences; or JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from whet.errors import WhetError
from whet.evm.keccak import selector as selector_of
from whet.evm.signatures import read_abi
from whet.evm.verify import verify
from whet.evm.verify.nouns import LEAST_CALLS, MOST_CALLS, SAME, Budget, Verdict, Verification, to_json
from whet.evm.verify.sides import read_side

MOST_REASON = 110
WIDTH = 48
"""Characters of a function's name and of a reason in the table."""


def show_verified(
    original: str,
    candidate: str,
    *,
    contract: str = "",
    candidate_contract: str = "",
    function: str = "",
    abi: Path | None = None,
    compiler: str = "",
    settings: Path | None = None,
    calls: int = MOST_CALLS,
    seed: int = 0,
    as_json: bool = False,
) -> int:
    """Verify and print; progress goes to standard error. Gives the exit code: 0, or `Verification.exit_code`.

    original, candidate: bytecode as `whet.lift` takes it, or paths of Solidity files (".sol"). contract,
    candidate_contract: which one of an artifact or file. function: a selector, a signature, or a name in the ABI; "" for
    all. abi: of the original, if neither side has one. compiler, settings: for Solidity (`whet.evm.verify.sides`).

    Raises CodeError for a side that cannot be read or compiled, WhetError for what is not installed.
    """
    sides = [
        read_side(given, contract=name, compiler=compiler, settings=settings)
        for given, name in (
            (original, contract),
            (candidate, candidate_contract or contract_of(candidate, contract)),
        )
    ]
    entries = list(read_abi(abi)) if abi else list(sides[0].abi or sides[1].abi)
    for name, side in zip(("original", "candidate"), sides, strict=True):
        _say("\n".join(f"# {name}: {line}" for line in (*side.facts(), *side.notes)))
    chosen = _selectors(function, entries) if function else None
    budget = Budget(calls=calls, least=min(calls, LEAST_CALLS))
    found = verify(
        sides[0].runtime,
        sides[1].runtime,
        entries,
        functions=chosen,
        budget=budget,
        seed=seed,
        told=_say,
        deployed=not sides[0].immutables,
    )
    found.notes += [
        f"{name}: {note}"
        for name, side in zip(("original", "candidate"), sides, strict=True)
        for note in side.notes
    ]
    print(json.dumps(to_json(found), indent=1) if as_json else table(found))
    return found.exit_code


def contract_of(given: str, contract: str) -> str:
    """The name that was given for the original holds for a candidate that is a Solidity file or an artifact too."""
    return contract if given.endswith((".sol", ".json")) else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _selectors(wanted: str, abi: list[dict[str, Any]]) -> list[int]:
    if wanted.endswith(")") and "(" in wanted:
        return [selector_of("".join(wanted.split()))]
    digits = wanted.removeprefix("0x")
    if len(digits) == 8 and all(letter in "0123456789abcdefABCDEF" for letter in digits):
        return [int(digits, 16)]
    from whet.evm.replay.vectors import methods_of

    methods = [m for m in methods_of(abi) if m.selector is not None]
    found = [m.selector for m in methods if m.name.partition("(")[0] == wanted and m.selector is not None]
    if not found:
        known = ", ".join(m.name for m in methods[:40]) or "no ABI is known: give a selector, or --abi"
        raise WhetError(f"no function is named {wanted!r}", where="--function", fix=known)
    return found


def table(found: Verification) -> str:
    """For a person: a line for each function, then the counterexamples, then the sums."""
    width = min(max((len(one.function) for one in found.verdicts), default=0), WIDTH)
    lines = [_line(one, width) for one in found.verdicts]
    for one in found.verdicts:
        if one.counterexample:
            lines += [
                "",
                f"{one.function}: {one.counterexample.what} differs",
                *_indented(one.counterexample.text),
            ]
    sums = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else [""]
    return "\n".join([*lines, f"{len(found.verdicts)} functions: {sums}"])


def _line(one: Verdict, width: int) -> str:
    evidence = one.evidence
    name = one.function if len(one.function) <= width else f"{one.function[: width - 3]}..."
    told = (
        f"{evidence.counted} calls, {evidence.coverage:.0%} of {evidence.branches} branches, "
        f"{evidence.killed} of {evidence.mutants - evidence.equivalent} mutants noticed"
    )
    reason = "; ".join([told, *one.notes]) if one.verdict == SAME else one.reason
    return f"{name:<{width}}  {one.verdict:<12}  {reason[:MOST_REASON]}"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
