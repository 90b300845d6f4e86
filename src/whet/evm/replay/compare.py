"""Two outcomes of one call, compared: what differs, in words, and what kind of difference it is. Gas is not compared."""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.interpret import Result
from whet.evm.replay.reference import Outcome
from whet.evm.world import Log, World

Names = tuple[str, str]
"""What the two sides are called in texts."""


@dataclass(frozen=True, slots=True)
class Difference:
    """what: "status", "data", "logs", "storage", "transient", "balances", "nonces" or "destroyed"; text: both values."""

    what: str
    text: str


def compare(result: Result, world: World, outcome: Outcome) -> list[Difference]:
    """Everything observable in which the interpreter's result and world (as the call left it) are not revm's.

    A slot that revm did not touch must be as it was before.
    """
    accounts = {
        address: (world.account(address).balance, world.account(address).nonce)
        for address in outcome.accounts
    }
    touched = {key: world.account(key[0]).storage.get(key[1], 0) for key in outcome.storage}
    ours = Outcome(
        result.status,
        result.data,
        result.why,
        result.logs,
        touched | world.changes(),
        world.transient,
        accounts,
        set(world.destroyed),
        0,
    )
    return compare_outcomes(ours, outcome, None, ("TAC", "EVM"))


def compare_outcomes(ours: Outcome, theirs: Outcome, before: World | None, names: Names) -> list[Difference]:
    """Everything observable in which two outcomes of the same call differ.

    before: the accounts as both sides found them: what one side did not touch is as it was. None: one side has
    everything that the other touched, and a slot that only one changed differs.
    """
    one, other = names
    found = []
    if ours.status != theirs.status:
        found.append(Difference("status", f"{one} {_ended(ours)}; {other} {_ended(theirs)}"))
    elif ours.data != theirs.data:
        found.append(Difference("data", f"{one} {_short(ours.data)}; {other} {_short(theirs.data)}"))
    if ours.status == theirs.status == "success" and ours.logs != theirs.logs:
        found.append(_logs(ours.logs, theirs.logs, names))
    if ours.gone != theirs.gone:
        found.append(
            Difference("destroyed", f"{one} {_addresses(ours.gone)}; {other} {_addresses(theirs.gone)}")
        )
    gone = ours.gone | theirs.gone
    return found + _slots(ours, theirs, before, gone, names) + _accounts(ours, theirs, before, gone, names)


def _ended(side: Outcome) -> str:
    return " ".join(part for part in (side.status, side.why, _short(side.data)) if part)


def _short(data: bytes) -> str:
    return f"{data[:100].hex()}{'...' if len(data) > 100 else ''} ({len(data)} bytes)"


def _addresses(found: set[int]) -> str:
    return ", ".join(f"{address:#x}" for address in sorted(found)) or "none"


def _logs(ours: list[Log], theirs: list[Log], names: Names) -> Difference:
    one, other = names
    if len(ours) != len(theirs):
        return Difference("logs", f"{one} {len(ours)} logs; {other} {len(theirs)}")
    index = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return Difference("logs", f"log {index}: {one} {_log(ours[index])}; {other} {_log(theirs[index])}")


def _log(log: Log) -> str:
    topics = ", ".join(f"{topic:#x}" for topic in log.topics)
    return f"{log.address:#x} [{topics}] {_short(log.data)}"


def _slots(
    ours: Outcome, theirs: Outcome, before: World | None, gone: set[int], names: Names
) -> list[Difference]:
    found = []
    for key in sorted(set(ours.storage) | set(theirs.storage)):
        address, slot = key
        was = before.account(address).storage.get(slot, 0) if before else None
        mine, yours = ours.storage.get(key, was), theirs.storage.get(key, was)
        if mine != yours and address not in gone:
            found.append(_differ("storage", f"{address:#x}[{slot:#x}]", mine, yours, names))
    for key in sorted(set(ours.transient) | set(theirs.transient)):
        mine, yours = ours.transient.get(key, 0), theirs.transient.get(key, 0)
        if mine != yours:
            found.append(_differ("transient", f"{key[0]:#x}[{key[1]:#x}]", mine, yours, names))
    return found


def _accounts(
    ours: Outcome, theirs: Outcome, before: World | None, gone: set[int], names: Names
) -> list[Difference]:
    found = []
    for address in sorted((set(ours.accounts) | set(theirs.accounts)) - gone):
        account = before.account(address) if before else None
        was = (account.balance, account.nonce) if account else (None, None)
        mine, yours = ours.accounts.get(address, was), theirs.accounts.get(address, was)
        for what, a, b in zip(("balances", "nonces"), mine, yours, strict=True):
            if a != b:
                found.append(_differ(what, f"{address:#x}", a, b, names))
    return found


def _differ(what: str, where: str, mine: int | None, yours: int | None, names: Names) -> Difference:
    one, other = ("untouched" if word is None else hex(word) for word in (mine, yours))
    return Difference(what, f"{where}: {names[0]} {one}; {names[1]} {other}")
