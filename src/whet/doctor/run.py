"""Every check over one case: what is wrong, what was looked at, and what could not be, each with a reason.

    examine(case) -> Diagnosis

A finding that follows from another one is told with it: a tokenizer of another model makes the loss, the template and
the output wrong too, and only the tokenizer is to be mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from whet.doctor.case import Case
from whet.doctor.finding import CHECKS, CannotLook, Finding
from whet.errors import WhetError

MOST_TOLD = 200
"""Characters of an exception's text."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found in a case. `follows`: by the name of a finding, those that it explains."""

    name: str
    findings: list[Finding]
    follows: dict[str, list[Finding]] = field(default_factory=dict)
    looked: list[str] = field(default_factory=list)
    not_looked: dict[str, str] = field(default_factory=dict)
    """By check: why it could not look."""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "examined": self.name,
            "findings": [
                {
                    **finding.as_dict(),
                    "followed_by": [one.as_dict() for one in self.follows.get(finding.name, [])],
                }
                for finding in self.findings
            ],
            "looked": self.looked,
            "not_looked": self.not_looked,
        }

    def told(self, *, whole: bool = True) -> list[str]:
        """As lines for a person; `whole` also tells what was looked at and what was not."""
        lines = [line for finding in self.findings for line in self._told(finding)]
        if whole and self.healthy:
            lines.append(f"{self.name}: nothing wrong was found")
        if whole:
            lines.append(f"looked at: {', '.join(self.looked) or 'nothing'}")
            by_reason: dict[str, list[str]] = {}
            for name, why in self.not_looked.items():
                by_reason.setdefault(why, []).append(name)
            lines += [f"not looked at: {', '.join(names)}: {why}" for why, names in by_reason.items()]
        return lines

    def _told(self, finding: Finding) -> Iterator[str]:
        yield f"{finding.name.upper()} in {finding.where}"
        yield f"  seen: {finding.evidence}"
        yield f"  likely cause: {finding.cause}"
        yield f"  what to do: {finding.todo}"
        for one in self.follows.get(finding.name, []):
            yield f"  follows from it: {one.name} in {one.where}: {one.evidence}"


def examine(case: Case) -> Diagnosis:
    """Run every check. Never raises: what cannot be read, or what a check fails at, is told as not looked at."""
    found: list[Finding] = []
    looked: list[str] = []
    not_looked: dict[str, str] = {}
    for check in CHECKS:
        try:
            for finding in check.findings(case):
                found.append(finding)
            looked.append(check.NAME)
        except CannotLook as why:
            not_looked[check.NAME] = str(why)
        except WhetError as error:
            not_looked[check.NAME] = f"{error.where}: {error.what}" if error.where else error.what
        except Exception as error:  # noqa: BLE001, records can hold anything, and a run must not end by being looked at
            not_looked[check.NAME] = f"the check failed: {type(error).__name__}: {str(error)[:MOST_TOLD]}"
    explained = {name for finding in found for name in finding.explains}
    roots = [finding for finding in found if finding.name not in explained]
    follows = {
        root.name: [one for one in found if one.name in _reached(root, found) and one is not root]
        for root in roots
    }
    return Diagnosis(case.name, roots, follows, looked, not_looked)


def _reached(root: Finding, found: list[Finding]) -> set[str]:
    """Names of all that follows from a finding, also through others."""
    reached, grown = set(root.explains), True
    while grown:
        more = {name for one in found if one.name in reached for name in one.explains} - reached
        reached, grown = reached | more, bool(more)
    return reached
