"""Both sides of one call, compared: what differs, in words, and what kind of difference it is."""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.interpret import Result
from whet.evm.replay.reference import Outcome
from whet.evm.world import Log, World


@dataclass(frozen=True, slots=True)
class Difference:
    """what: "status", "data", "logs", "storage", "transient", "balances", "nonces" or "destroyed"; text: both values."""

    what: str
    text: str


def compare(result: Result, world: World, outcome: Outcome) -> list[Difference]:
    """Everything observable in which the interpreter's result and world are not revm's. Gas is not compared."""
    found = []
    if result.status != outcome.status:
        text = f"{result.status} {result.why} {_short(result.data)}"
        found.append(
            Difference("status", f"TAC {text}; EVM {outcome.status} {outcome.why} {_short(outcome.data)}")
        )
    elif result.data != outcome.data:
        found.append(Difference("data", f"TAC {_short(result.data)}; EVM {_short(outcome.data)}"))
    if result.status == outcome.status == "success" and result.logs != outcome.logs:
        found.append(_logs(result.logs, outcome.logs))
    return found + _state(world, outcome)


def _short(data: bytes) -> str:
    return f"{data[:100].hex()}{'...' if len(data) > 100 else ''} ({len(data)} bytes)"


def _logs(ours: list[Log], theirs: list[Log]) -> Difference:
    if len(ours) != len(theirs):
        return Difference("logs", f"TAC {len(ours)} logs; EVM {len(theirs)}")
    index = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return Difference("logs", f"log {index}: TAC {_log(ours[index])}; EVM {_log(theirs[index])}")


def _log(log: Log) -> str:
    topics = ", ".join(f"{topic:#x}" for topic in log.topics)
    return f"{log.address:#x} [{topics}] {_short(log.data)}"


def _state(world: World, outcome: Outcome) -> list[Difference]:
    """Every slot and account that revm touched or our world has; a slot that revm did not touch must be as before."""
    found = []
    if set(world.destroyed) != outcome.gone:
        found.append(Difference("destroyed", f"TAC {sorted(world.destroyed)}; EVM {sorted(outcome.gone)}"))
    ours = world.changes()
    for address, slot in sorted(set(ours) | set(outcome.storage)):
        if address in outcome.gone:
            continue
        mine = world.account(address).storage.get(slot, 0)
        theirs = outcome.storage.get((address, slot))
        if mine != theirs:
            found.append(_differ("storage", f"{address:#x}[{slot:#x}]", mine, theirs))
    for key in sorted(set(world.transient) | set(outcome.transient)):
        mine, theirs = world.transient.get(key, 0), outcome.transient.get(key, 0)
        if mine != theirs:
            found.append(_differ("transient", f"{key[0]:#x}[{key[1]:#x}]", mine, theirs))
    return found + _accounts(world, outcome)


def _accounts(world: World, outcome: Outcome) -> list[Difference]:
    found = []
    for address, (balance, nonce) in sorted(outcome.accounts.items()):
        mine = world.account(address)
        if address in outcome.gone:
            continue
        if mine.balance != balance:
            found.append(_differ("balances", f"{address:#x}", mine.balance, balance))
        if mine.nonce != nonce:
            found.append(_differ("nonces", f"{address:#x}", mine.nonce, nonce))
    return found


def _differ(what: str, where: str, mine: int, theirs: int | None) -> Difference:
    return Difference(what, f"{where}: TAC {mine:#x}; EVM {'untouched' if theirs is None else hex(theirs)}")
