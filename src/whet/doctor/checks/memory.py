"""Memory that ran out, or will: with the three changes that save most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whet.doctor.case import Case
from whet.doctor.finding import CannotLook, Check, Finding
from whet.plan.ahead import BEST_OF, stage_memory
from whet.progress import amount

OUT = "out of memory"


class Memory(Check):
    """Looks at how the last training ended, and at the plan of what is not trained yet."""

    NAME = "memory"
    SUMMARY = "out of memory, with the three best changes and what they save"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a recipe."""
        if case.recipe is None:
            raise CannotLook("a model's folder alone says nothing of its training")
        failure = case.failure or {}
        for stage in case.recipe.stages:
            where = f"stages.{stage.name}"
            ran_out = failure.get("out_of_memory") is True and failure.get("where") == where
            if not ran_out and _finished(case, stage.name):
                continue
            memory = stage_memory(case.recipe, stage, case.outline)
            if ran_out:
                yield _finding(where, f"{failure.get('what')}", memory)
            elif memory["verdict"] == "too large":
                total = amount(memory["total_bytes"]["expected"], "B")
                there = amount(memory["memory_bytes"], "B")
                yield _finding(
                    where, f"training is planned to take {total}, this machine has {there}", memory
                )


def _finished(case: Case, name: str) -> bool:
    return case.folder is not None and (case.folder / "stages" / name / "model").exists()


def _finding(where: str, evidence: str, memory: dict[str, Any]) -> Finding:
    parts = sorted(memory["parts"], key=lambda part: -int(part["expected"]))[:2]
    largest = " and ".join(f"{part['name']} ({amount(part['expected'], 'B')})" for part in parts)
    changes = "; ".join(
        f"{change['setting']} saves {amount(change['saves_bytes'], 'B')}"
        + (" and makes it fit" if change["makes_it_fit"] else "")
        for change in memory["changes"][:BEST_OF]
    )
    return Finding(
        name=OUT,
        where=where,
        evidence=evidence,
        cause=f"the largest parts are {largest}",
        todo=changes or "no single change saves much: a smaller base, or a card with more memory",
    )
