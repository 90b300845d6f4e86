"""Adapter targets that mean no layer of the model, and adapters whose layers the model does not have."""

from __future__ import annotations

from collections.abc import Iterator

from whet.doctor.case import Case
from whet.doctor.finding import CannotLook, Check, Finding
from whet.errors import WhetError
from whet.models.targets import distinct, resolve

WRONG = "wrong targets"
MOST_TOLD = 3


class Targets(Check):
    """Looks at the recipe's targets, and at those in an adapter's folder."""

    NAME = "targets"
    SUMMARY = "adapter targets that mean no layer of the model"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs the base's config.json."""
        if case.recipe is not None:
            adapter = case.tuned.adapter
            if adapter is None:
                raise CannotLook("every weight is trained, there is no adapter")
            yield from _unmet(case, adapter.targets, "model.adapter.targets")
        elif case.is_adapter:
            from whet.models.adapters import read

            yield from _unmet(case, read(case.result).targets, str(case.result))
        else:
            raise CannotLook("a whole model has no adapter")


def _unmet(case: Case, wanted: str | list[str], where: str) -> Iterator[Finding]:
    linears = case.outline.linears
    wrong = []
    for one in [wanted] if isinstance(wanted, str) else wanted:
        try:
            resolve(one, linears, case.family, where=where)
        except WhetError as error:
            wrong.append(error)
    if wrong:
        yield Finding(
            name=WRONG,
            where=where,
            evidence=_listed([error.what for error in wrong]),
            cause=f"the names are those of another architecture than {case.family.NAME}, or misspelt",
            todo=wrong[0].fix or f"take some of {', '.join(distinct(linears))}",
        )


def _listed(problems: list[str]) -> str:
    more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
    return "; ".join(problems[:MOST_TOLD]) + more
