"""One call in the interpreter with words that know their inputs (`whet.evm.replay.symbols`), and the conditions it met.

Words flow through variables, memory, storage and into calls (`whet.evm.replay.tracer`). Mocks and the forwarder run as
they are. Costs about four times as much as a call that is not traced.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from whet.errors import WhetError
from whet.evm.frame import Frame
from whet.evm.interpret import Block, Transaction, drive
from whet.evm.program import ENDS, Jump, Node, Program, Routine, Step, Values
from whet.evm.replay.mocks import (
    INSIDE,
    TARGET,
)
from whet.evm.replay.provenance import Bytes
from whet.evm.replay.symbols import Leaf, Word, leaf, made
from whet.evm.replay.tracer import MOST_DECISIONS, Answers, Decision, Place, TracedFrame, Tracer
from whet.evm.state_ops import STATEFUL
from whet.evm.tac import Block as Place_
from whet.evm.tac import Contract, Function, Statement
from whet.evm.words import ADDRESS, ONE, THREE, TWO
from whet.evm.world import World

MOST_HASHED = 256
"""Bytes that are followed through a hash."""


@dataclass(slots=True)
class Trace:
    """decisions: in order, those of the target alone. drift: by how much a balance had changed when it was read. stipend:
    the target called itself with no more gas than `transfer` and `send` give."""

    decisions: list[Decision]
    visited: set[Place]
    answers: Answers
    drift: dict[Leaf, int]
    statements: int
    stipend: bool = False


class TracedProgram(Program):
    """A contract decoded for tracing."""

    def decoded(self, function: Function) -> Routine:
        return TracedRoutine(function, self)


class TracedRoutine(Routine):
    """A function decoded for tracing."""

    def step(self, statement: Statement) -> Step:
        op, args = statement.op, self.slots(statement.args)
        results = self.slots(statement.results)
        if op in ONE:
            return _one(ONE[op], op, results[0], *args)
        if op in TWO:
            return _two(TWO[op], op, results[0], *args)
        if op in THREE:
            return _three(THREE[op], op, results[0], *args)
        if op in AFTER:
            usual = STATEFUL[op](*results, *args) if op in STATEFUL else super().step(statement)
            return _then(usual, AFTER[op], (*results, *args))
        return super().step(statement)

    def end(self, block: Place_) -> Jump:
        usual = ENDS[block.end.op](self, block)
        return self._decided(block, usual) if block.end.op == "BRANCH" else usual

    def _decided(self, block: Place_, usual: Jump) -> Jump:
        condition, (yes, no) = self.slot(block.end.args[0]), ((self.name, to) for to in block.end.targets)
        at = (self.name, block.id)

        def end(values: Values, frame: Frame) -> Node | None:
            word = values[condition]
            if (
                type(word) is Word
                and isinstance(frame, TracedFrame)
                and frame.code_address == frame.tracer.home
            ):
                taken, decisions = bool(word), frame.tracer.decisions
                if len(decisions) < MOST_DECISIONS:
                    decisions.append(Decision(at, word, taken, *((yes, no) if taken else (no, yes))))
            return usual(values, frame)

        return end


def _one(f: Callable[[int], int], op: str, result: int, a: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        x = values[a]
        values[result] = made(f(x), op, (x,)) if type(x) is Word else f(x)

    return step


def _two(f: Callable[[int, int], int], op: str, result: int, a: int, b: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        x, y = values[a], values[b]
        value = f(x, y)
        values[result] = made(value, op, (x, y)) if type(x) is Word or type(y) is Word else value

    return step


def _three(f: Callable[[int, int, int], int], op: str, result: int, *args: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        x, y, z = (values[arg] for arg in args)
        values[result] = made(f(x, y, z), op, (x, y, z))

    return step


def _then(usual: Step, after: Callable[..., None], slots: tuple[int, ...]) -> Step:
    def step(values: Values, frame: Frame) -> None:
        usual(values, frame)
        after(values, frame, *slots)

    return step


# What is noted after an instruction: (values, frame, slots of its results and arguments).


def _calldataload(values: Values, frame: TracedFrame, result: int, offset: int) -> None:
    at = int(values[offset])
    if at == 0 and frame.outside:
        values[result] = leaf(values[result], ("data", 0))  # the selector, which stays what it is
    elif isinstance(frame.calldata, Bytes) and at < len(frame.calldata) + 32:
        values[result] = frame.calldata.word(at)


def _mload(values: Values, frame: TracedFrame, result: int, offset: int) -> None:
    values[result] = frame.known(int(values[offset]), values[result])


def _mstore(values: Values, frame: TracedFrame, offset: int, value: int) -> None:
    at, word = int(values[offset]), values[value]
    if type(word) is Word:
        frame.words[at] = word
    else:
        frame.words.pop(at, None)


def _keccak(values: Values, frame: TracedFrame, result: int, offset: int, size: int) -> None:
    length = int(values[size])
    if 0 < length <= MOST_HASHED:
        data = frame.read(int(values[offset]), length)
        assert isinstance(data, Bytes)
        words = [data.word(at) for at in range(0, length, 32)]
        values[result] = made(values[result], "KECCAK256", (values[size], *words))


def _mstore8(values: Values, frame: TracedFrame, offset: int, value: int) -> None:
    frame.forget(int(values[offset]), 1)


def _codecopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    frame.forget(int(values[to]), int(values[size]))


def _calldatacopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    frame.copied(int(values[to]), int(values[size]), frame.calldata, int(values[source]))


def _returndatacopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    frame.copied(int(values[to]), int(values[size]), frame.returndata, int(values[source]))


def _mcopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    begin, end = int(values[source]), int(values[source]) + int(values[size])
    shift = int(values[to]) - begin
    moved = {at + shift: word for at, word in frame.words.items() if begin <= at < end}
    spans = [span for span in frame.spans if span[0] < end and begin < span[0] + span[1]]
    frame.forget(int(values[to]), int(values[size]))
    frame.words |= moved
    frame.spans += [(max(at + shift, 0), length, text, start) for at, length, text, start in spans]


def _sload(values: Values, frame: TracedFrame, result: int, slot: int) -> None:
    key, value = (frame.address, int(values[slot])), values[result]
    if type(value) is not Word and key not in frame.tracer.written:
        values[result] = leaf(value, ("slot", *key))


def _sstore(values: Values, frame: TracedFrame, slot: int, value: int) -> None:
    frame.tracer.written.add((frame.address, int(values[slot])))


def _calldatasize(values: Values, frame: TracedFrame, result: int) -> None:
    if frame.outside:
        values[result] = leaf(values[result], ("size",))


def _returndatasize(values: Values, frame: TracedFrame, result: int) -> None:
    if frame.returned is not None:
        values[result] = frame.returned


def _extcodesize(values: Values, frame: TracedFrame, result: int, account: int) -> None:
    values[result] = made(values[result], "EXTCODESIZE", (values[account],))


def _extcodehash(values: Values, frame: TracedFrame, result: int, account: int) -> None:
    values[result] = made(values[result], "EXTCODEHASH", (values[account],))


def _balance(values: Values, frame: TracedFrame, result: int, account: int) -> None:
    values[result] = frame.balance_of(int(values[account]) & ADDRESS, values[result])


def _selfbalance(values: Values, frame: TracedFrame, result: int) -> None:
    values[result] = frame.balance_of(frame.address, values[result])


AFTER: dict[str, Callable[..., None]] = {
    "CALLDATALOAD": _calldataload,
    "CALLDATACOPY": _calldatacopy,
    "CALLDATASIZE": _calldatasize,
    "RETURNDATACOPY": _returndatacopy,
    "RETURNDATASIZE": _returndatasize,
    "KECCAK256": _keccak,
    "EXTCODEHASH": _extcodehash,
    "EXTCODESIZE": _extcodesize,
    "BALANCE": _balance,
    "SELFBALANCE": _selfbalance,
    "MLOAD": _mload,
    "MSTORE": _mstore,
    "MSTORE8": _mstore8,
    "CODECOPY": _codecopy,
    "MCOPY": _mcopy,
    "SLOAD": _sload,
    "SSTORE": _sstore,
}


def trace(
    contract: Contract,
    world: World,
    tx: Transaction,
    block: Block,
    steps: int,
    programs: dict[int | bytes, Program],
) -> Trace:
    """The call of a contract at `TARGET`, as far as `steps` statements; the world is not to be used any more.

    programs: kept from call to call, for the same contract.
    """
    home = INSIDE if INSIDE in world.accounts else TARGET
    world.accounts[home].contract = contract
    wei = {address: account.balance for address, account in world.accounts.items()}
    times = Block(
        leaf(block.number, ("number",)),
        leaf(block.timestamp, ("timestamp",)),
        prevrandao=block.prevrandao,
        chain_id=leaf(block.chain_id, ("chain",)),
    )
    world.begin()
    tracer = Tracer(world, tx, times, steps, decode=TracedProgram, programs=programs, wei=wei, home=home)
    with suppress(WhetError):  # it ends there, and what it met before is worth knowing
        drive(tracer)
    visited = {(function, name) for at, function, name in tracer.visited if at == home}
    return Trace(
        tracer.decisions, visited, tracer.answers, tracer.drift, steps - tracer.steps, tracer.stipend
    )
