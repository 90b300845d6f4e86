"""What the functions that a harness wrote to expose internal ones do not show of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from whet.evm.replay.vectors import methods_of
from whet.evm.solc.harness import Harness

UNSEEN = "what it returns in storage or writes in memory is not seen"


def exposing(harness: Harness, abi: Sequence[dict[str, Any]]) -> dict[int, str]:
    """{selector: name} of the functions that the harness wrote."""
    written = {one.by for one in harness.functions}
    named = [(one.selector, one.name.partition("(")[0]) for one in methods_of(list(abi))]
    return {selector: name for selector, name in named if selector is not None and name in written}


def hiding(harness: Harness, abi: Sequence[dict[str, Any]], selectors: Collection[int | None]) -> list[str]:
    """The names of all that answer these selectors, where one of them hides something of the function that it exposes."""
    called = [name for selector, name in exposing(harness, abi).items() if selector in selectors]
    return called if any(one.hides for one in harness.functions if one.by in called) else []
