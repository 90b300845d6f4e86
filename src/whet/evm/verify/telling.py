"""A difference told to a person: the calls decoded by the ABI, the state they start from, what each side did."""

from __future__ import annotations

from typing import Any

from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError

from whet.evm.replay.cases import BALANCE, Case
from whet.evm.replay.compare import compare_outcomes
from whet.evm.replay.mocks import ALICE, BOB, FORWARDER, MOCKS, OWNER, RECORDER, SCRIPTS, TARGET
from whet.evm.replay.reference import Outcome
from whet.evm.replay.run import Disagreement
from whet.evm.replay.vectors import Method, any_bytes
from whet.evm.verify.nouns import MOST_TEXT, Call, Counterexample
from whet.evm.verify.pair import NAMES, Pair
from whet.evm.world import Log, World

PEOPLE = {OWNER: "owner", ALICE: "alice", BOB: "bob", TARGET: "target", RECORDER: "recorder"}
PEOPLE |= {FORWARDER: "forwarder"}
PEOPLE |= {mock: f"mock{i}" for i, mock in enumerate(MOCKS)}

ERROR, PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


def counterexample(pair: Pair, found: Disagreement, method: Method, methods: list[Method]) -> Counterexample:
    """The sequence of a disagreement, run once more on both sides."""
    before = pair.world(found.case, found.state)
    ours, theirs = pair.outcomes(found.case, before)
    differences = compare_outcomes(ours, theirs, before, NAMES)
    known = {one.selector: one for one in methods}
    return Counterexample(
        what=found.cause,
        calls=[_call(case, known, method) for case in (*found.history, found.case)],
        state={place(at, slot): hex(word) for (at, slot), word in sorted(found.case.slots.items())},
        original=_did(ours, before),
        candidate=_did(theirs, before),
        differences=[cut(difference.text) for difference in differences],
    )


def address(number: int) -> str:
    """A name for those that we know, else hex."""
    return PEOPLE.get(number, f"0x{number:040x}")


def place(at: int, slot: int) -> str:
    """ "target[0x3]", "wei of target", "mock0's answer to 0x150b7a02, word 0"."""
    if slot == BALANCE:
        return f"wei of {address(at)}"
    if at in MOCKS and slot >= SCRIPTS:
        call, index = divmod(slot - SCRIPTS, 1 << 16)
        recorded, selector = divmod(call, 1 << 32)
        part = f"word {index - 1}" if index else "bytes + 1, and 0x10000 if it reverts"
        behind = f" behind {recorded} calls" if recorded else ""
        return f"{address(at)}'s answer to 0x{selector:08x}{behind}, {part}"
    return f"{address(at)}[{slot:#x}]"


def cut(text: str) -> str:
    """Not longer than `MOST_TEXT`, which is said."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}... ({len(text)} characters)"


def _call(case: Case, known: dict[int | None, Method], method: Method) -> Call:
    selector = int.from_bytes(case.data[:4], "big") if len(case.data) >= 4 else None
    callee = known.get(selector, method) if selector is not None else method
    return Call(
        text=cut(decoded(case.data, callee)),
        calldata=case.data.hex(),
        caller=_caller(case),
        value=case.value,
        timestamp=case.timestamp,
        number=case.number,
        chain=case.chain,
    )


def _caller(case: Case) -> str:
    name = address(case.caller)
    return (
        name if case.begun_by == case.caller else f"{name} (a contract, called by {address(case.begun_by)})"
    )


def decoded(data: bytes, method: Method) -> str:
    """ "transfer(alice, 5)"; raw where the types are not known or the calldata is not well-formed."""
    name = method.name.partition("(")[0] or method.name
    if method.selector is None or method.types is None or data[:4] != method.selector.to_bytes(4, "big"):
        return f"{method.name} with 0x{data.hex()}"
    try:
        try:
            values = eth_abi.decode(method.types, data[4:])
        except UnicodeDecodeError:
            values = eth_abi.decode(any_bytes(method.types), data[4:])
    except (DecodingError, OverflowError, ValueError):
        return f"{method.name} with calldata that is not well-formed"
    return f"{name}({', '.join(map(_value, values))})"


def _value(value: Any) -> str:
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return address(int(value, 16))
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return (
        repr(value)
        if isinstance(value, str)
        else str(value).lower()
        if value in (True, False)
        else str(value)
    )


def _did(outcome: Outcome, before: World) -> str:
    """What one side did, on one line."""
    parts = [f"{outcome.status}{' of ' + outcome.why if outcome.why else ''}"]
    parts += [_returned(outcome)] if outcome.data else []
    if outcome.status == "success":
        parts += [_log(log) for log in outcome.logs]
        changed = [
            f"{place(*key)} = {word:#x}"
            for key, word in sorted(outcome.storage.items())
            if word != before.account(key[0]).storage.get(key[1], 0)
        ]
        parts += changed
    return cut(", ".join(parts))


def _returned(outcome: Outcome) -> str:
    head, body = outcome.data[:4], outcome.data[4:]
    if outcome.status == "revert" and head == PANIC and len(body) == 32:
        return f"Panic(0x{int.from_bytes(body, 'big'):x})"
    if outcome.status == "revert" and head == ERROR:
        try:
            return f"Error({eth_abi.decode(['string'], body)[0]!r})"
        except (DecodingError, UnicodeDecodeError, OverflowError, ValueError):
            pass
    return f"data 0x{outcome.data.hex()}"


def _log(log: Log) -> str:
    if log.address == RECORDER and len(log.data) >= 96:
        words = [int.from_bytes(log.data[at : at + 32], "big") for at in (0, 32, 64)]
        return f"{address(words[0])} calls {address(words[1])} with {words[2]} wei, 0x{log.data[128:].hex()}"
    topics = ", ".join(f"{topic:#x}" for topic in log.topics)
    return f"log of {address(log.address)} [{topics}] 0x{log.data.hex()}"
