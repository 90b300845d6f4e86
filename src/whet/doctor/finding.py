"""What a check promises: findings with evidence, a likely cause and what to do; or the reason why it could not look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from whet.registry import Registry

if TYPE_CHECKING:
    from whet.doctor.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. `where` names the stage, file or key it was seen in."""

    name: str
    where: str
    evidence: str
    cause: str
    todo: str
    explains: tuple[str, ...] = ()
    """Names of findings that follow from this one: they are told with it, not beside it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class CannotLook(Exception):
    """What a check needs is not there; says what, and how to get it."""


class Check(ABC):
    """One condition, looked for in a case. NAME is what findings and reports call it, SUMMARY one line for lists."""

    NAME: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""

    @staticmethod
    @abstractmethod
    def findings(case: Case) -> Iterator[Finding]:
        """What is wrong. Raises CannotLook where there is nothing to judge by, WhetError for what cannot be read."""


CHECKS: Registry[Check] = Registry(Check, "whet.doctor.checks", ())
