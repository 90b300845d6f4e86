"""Held-out text that also stands in the training text: figures that flatter."""

from __future__ import annotations

from collections.abc import Iterator

from whet.doctor.case import Case
from whet.doctor.finding import Check, Finding
from whet.prepare.notices import LEAK_SHARE


class Leakage(Check):
    """Looks at what preparing measured."""

    NAME = "leakage"
    SUMMARY = "held-out text that also stands in the training text"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs prepared data."""
        for stage, record in case.prepared_stages():
            shared = {
                side: share
                for side, share in record["shared_13_token_runs"].items()
                if share is not None and share > LEAK_SHARE
            }
            if shared:
                told = " and ".join(f"{share:.0%} of the {side} split's" for side, share in shared.items())
                yield Finding(
                    name="leakage",
                    where=f"stage {stage.name}",
                    evidence=f"{told} runs of 13 tokens also stand in the training text (at most {LEAK_SHARE:.0%} is usual)",
                    cause="copies under other names or with small changes, or boilerplate that most texts share",
                    todo="lower prepare.near_duplicate_similarity, drop exact duplicates, group what belongs together; "
                    "do not trust the held-out figures before",
                )
