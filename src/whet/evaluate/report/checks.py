"""What a reader must be warned of: contradictions in the run's own figures, said on the page.

Nothing is corrected here and nothing is refused; a report with a warning is worth more than no report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from whet.evaluate.report.fields import estimate, number, part, parts, text, texts
from whet.evaluate.report.wording import decimal, difference, whole

TOLERANCE_BITS = 0.01
"""A paired difference may differ from the difference of two rounded figures by this much."""


def notices(data: Mapping[str, Any]) -> list[str]:
    """The run's own notices first, then what this page found by itself."""
    return [*texts(data, "notices"), *_uncounted(data), *_crooked(data), *_not_finite(data)]


def _uncounted(data: Mapping[str, Any]) -> Iterator[str]:
    """Documents that neither stayed nor left with a reason."""
    for stage in parts(data, "prepare", "stages"):
        tally = part(stage, "tally")
        came, stayed = number(tally, "documents_in"), number(tally, "documents_kept")
        left = sum(number(row, "documents") or 0 for row in parts(tally, "dropped"))
        if came is not None and stayed is not None and came != stayed + left:
            yield (
                f"{text(stage, 'name')}: {whole(came)} documents came in, but {whole(stayed)} stayed and "
                f"{whole(left)} left with a reason; {whole(abs(came - stayed - left))} are unaccounted for."
            )


def _crooked(data: Mapping[str, Any]) -> Iterator[str]:
    """Paired differences that are not the final model minus the floor."""
    evaluation = part(data, "evaluation")
    for domain in texts(evaluation, "domains"):
        model = estimate(evaluation, "matrix", "bits_per_byte", final_model(evaluation), domain)
        for row in parts(evaluation, "floors", domain):
            floor, paired = estimate(row, "bits_per_byte"), estimate(row, "difference")
            if not (model and floor and paired):
                continue
            expected = model.value - floor.value
            if abs(expected - paired.value) > TOLERANCE_BITS:
                yield (
                    f"{domain}, {text(row, 'name')}: the paired difference reads "
                    f"{difference(paired.value)}, but {decimal(model.value, 3)} minus "
                    f"{decimal(floor.value, 3)} is {difference(expected)}."
                )


def _not_finite(data: Mapping[str, Any]) -> Iterator[str]:
    found = list(_infinite_paths(data, ""))
    if found:
        yield (
            f"{len(found)} figures of this run are not finite numbers and are shown as absent; "
            f"the first is {found[0]}."
        )


def _infinite_paths(value: object, where: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _infinite_paths(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _infinite_paths(inner, f"{where}[{index}]")


def final_model(evaluation: Mapping[str, Any]) -> str:
    """The model after the last stage; the rows of the matrix are in the order of training."""
    names = texts(evaluation, "models")
    return names[-1] if names else ""
