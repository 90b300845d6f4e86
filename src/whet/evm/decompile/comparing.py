"""Compares the compiled text with the bytecode by `whet.evm.verify`, and says it of the functions of the text."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from whet.evm.decompile.nouns import INCONCLUSIVE, Judged
from whet.evm.solidity.nouns import Source
from whet.evm.verify import Budget, Verdict, to_json, verify

_OUTSIDE = {"fallback": "(fallback)", "receive": "(receive)"}


def compare(
    original: bytes,
    candidate: bytes,
    source: Source,
    names: Collection[str] | None = None,
    budget: Budget | None = None,
    libraries: dict[int, bytes] | None = None,
    deployed: bool = False,
) -> dict[str, Judged]:
    """{name in the TAC: what came out} of the functions `names`; None: of every one that can be called.

    libraries: {address: code} that it needs. deployed: see `whet.evm.verify.verify`.
    """
    wanted = [f for f in source.functions if names is None or f.of in names]
    selectors = None if names is None else [f.selector for f in wanted]
    found = verify(
        original,
        candidate,
        source.abi,
        functions=selectors,
        budget=budget,
        libraries=libraries,
        deployed=deployed,
    )
    details = dict(zip(map(id, found.verdicts), to_json(found)["functions"], strict=True))
    judged = {}
    for function in wanted:
        if function.selector is None and function.kind not in _OUTSIDE:
            continue
        verdict = found.of(function.selector, _OUTSIDE.get(function.kind, ""))
        judged[function.of] = _judged(verdict, details)
    return judged


def _judged(verdict: Verdict | None, details: dict[int, dict[str, Any]]) -> Judged:
    if verdict is None:
        return Judged(INCONCLUSIVE, reason="it was not compared")
    shown = verdict.counterexample
    return Judged(
        verdict.verdict,
        evidence(verdict),
        verdict.reason,
        shown.text if shown else "",
        details[id(verdict)],
    )


def evidence(verdict: Verdict) -> str:
    """One line: what was run."""
    said = verdict.evidence
    parts = [f"{said.calls} calls, {said.past_decoding} past decoding, {said.succeeded} succeeded"]
    if said.branches:
        parts.append(f"{said.executed} of {said.branches} branches")
    if said.mutants - said.equivalent:
        parts.append(f"{said.killed} of {said.mutants - said.equivalent} mutants noticed")
    parts += verdict.notes
    return "; ".join(parts)
