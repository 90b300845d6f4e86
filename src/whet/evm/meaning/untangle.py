"""The same program without what a compiler does to it to save bytes: what is analysed, shown and written begins with it."""

from __future__ import annotations

from whet.evm.meaning.constants import in_place
from whet.evm.meaning.exits import apart
from whet.evm.tac import Contract


def untangled(contract: Contract) -> Contract:
    """Constants are where they are used, each way has its own end."""
    return apart(in_place(contract))
