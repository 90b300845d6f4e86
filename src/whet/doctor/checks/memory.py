"""Memory that ran out, or will: with the three changes that save most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whet.doctor.case import Case
from whet.doctor.finding import CannotLook, Check, Finding
from whet.errors import WhetError
from whet.plan.ahead import BEST_OF, stage_memory
from whet.progress import amount
from whet.recipe.schema import Stage

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
        ran_out = failure.get("out_of_memory") is True
        for stage in case.recipe.stages:
            where = f"stages.{stage.name}"
            if ran_out and (failure.get("where") or where) == where and not _finished(case, stage.name):
                yield _finding(where, f"{failure.get('what')}", _planned(case, stage))
                return
        if ran_out:
            yield _finding("evaluation", f"{failure.get('what')}", None)
        for stage in case.recipe.stages:
            if _passed(case, stage.name):
                continue
            memory = stage_memory(case.recipe, stage, case.outline)
            if memory["verdict"] == "too large":
                total = amount(memory["total_bytes"]["expected"], "B")
                there = amount(memory["memory_bytes"], "B")
                yield _finding(
                    f"stages.{stage.name}",
                    f"training is planned to take {total}, this machine has {there}",
                    memory,
                )


def _planned(case: Case, stage: Stage) -> dict[str, Any] | None:
    """None where nothing is known of the model; that memory ran out is told all the same."""
    assert case.recipe is not None
    try:
        return stage_memory(case.recipe, stage, case.outline)
    except (CannotLook, WhetError):
        return None


def _passed(case: Case, name: str) -> bool:
    """Whether its largest step was taken already: before that nothing is logged."""
    return case.folder is not None and (
        _finished(case, name) or (case.folder / "stages" / name / "log.jsonl").exists()
    )


def _finished(case: Case, name: str) -> bool:
    return case.folder is not None and (case.folder / "stages" / name / "model").exists()


def _finding(where: str, evidence: str, memory: dict[str, Any] | None) -> Finding:
    if memory is None:
        return Finding(
            name=OUT,
            where=where,
            evidence=evidence,
            cause="what it takes was not planned: other programs on the device, a long text, or a model too large for it",
            todo="smaller batch_size with more accumulation; gradient_checkpointing: true; a shorter sequence_length",
        )
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
