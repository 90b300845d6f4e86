"""A call with everything around it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.interpret import Result
from whet.evm.replay.mocks import FORWARDER, MOCKS, OWNER, TARGET

TIMES = (1, 1_700_000_000, 1_700_000_001, 1_731_536_000, (1 << 32) + 7, (1 << 40) - 1)
LATEST = 1 << 40
"""Seconds; no block of ours is later."""
MOST_WEI = 10**24
"""That a call brings."""
BALANCE = -1
"""Stands for an account's wei among its slots."""


@dataclass(slots=True)
class Case:
    """state: index of the state it starts from; slots: {(address, slot): word} put into it before the call.

    caller: who calls the target. origin: who calls the caller where that is a contract, such as the forwarder.
    """

    data: bytes
    caller: int = OWNER
    value: int = 0
    timestamp: int = TIMES[1]
    number: int = 20_000_000
    chain: int = 1
    state: int = 0
    slots: dict[tuple[int, int], int] = field(default_factory=dict)
    plain: bool = True
    """Its calldata came from the encoder and was not touched since."""
    odd: bool = False
    """Broken on purpose: no parent of others unless it succeeds."""
    origin: int = OWNER

    @property
    def begun_by(self) -> int:
        """Who begins the transaction (ORIGIN): the caller, unless that is a contract."""
        return self.origin if self.caller in (FORWARDER, TARGET, *MOCKS) else self.caller


@dataclass(slots=True)
class Tried:
    """A case and what the interpreter made of it."""

    case: Case
    result: Result
