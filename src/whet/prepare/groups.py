"""Which groups stand on each side of the split, by name, where they are few enough to be read: families of contracts are,
files of a corpus are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from whet.prepare.split import SIDES
from whet.tokenstore import TokenStore
from whet.visible import visible

MOST_NAMED = 10
"""Groups of a side; of more than that none is named."""


def few_groups(store: TokenStore) -> dict[str, int] | None:
    """{group: its documents}, those with most first; None where there are too many. Reads no further than that takes."""
    found: Counter[str] = Counter()
    for about in store.origins():
        found[about["group"]] += 1
        if len(found) > MOST_NAMED:
            return None
    return dict(found.most_common())


def held_out(stages: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each stage of the record whose held-out groups are few."""
    for stage in stages:
        named = [
            f"{side}: {', '.join(map(visible, groups))}"
            for side in SIDES
            if side != "train" and (groups := stage["groups"][side])
        ]
        if named:
            yield f"held out of {stage['name']}: {'; '.join(named)}"
