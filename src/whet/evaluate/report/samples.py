"""What the model writes: held-out beginnings, its continuation, and how the text really went on.

A text longer than `MOST_CHARACTERS` is cut on the page and says so; the first samples are open, the rest
unfold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.fields import parts, text
from whet.evaluate.report.wording import whole

MOST_CHARACTERS = 4000
OPEN = 4


@dataclass(frozen=True, slots=True)
class Passage:
    text: str
    unshown: str
    """How many characters are not on the page, or nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    domain: str
    origin: str
    prompt: Passage
    outputs: list[tuple[str, Passage]]
    reference: Passage
    unfolded: bool


def samples(data: Mapping[str, Any]) -> list[Sample]:
    """Every sample of the evaluation, in its order."""
    return [
        Sample(
            domain=text(sample, "domain"),
            origin=text(sample, "origin"),
            prompt=passage(text(sample, "prompt"), tail=True),
            outputs=[
                (text(output, "decoding"), passage(text(output, "text")))
                for output in parts(sample, "outputs")
            ],
            reference=passage(text(sample, "reference")),
            unfolded=index < OPEN,
        )
        for index, sample in enumerate(parts(data, "evaluation", "samples"))
    ]


def passage(raw: str, *, tail: bool = False) -> Passage:
    """At most `MOST_CHARACTERS`: of a prompt its end, which is where the model goes on."""
    shown = raw[-MOST_CHARACTERS:] if tail else raw[:MOST_CHARACTERS]
    unshown = len(raw) - len(shown)
    return Passage(shown, whole(unshown) if unshown else "")
