"""One call in the interpreter with words that know their inputs (`whet.evm.replay.symbols`), and the conditions it met.

Words flow through variables, memory, storage and into calls; what is stored in memory is found again by its offset, and
believed only if the bytes there are the word's. Mocks and the forwarder run as they are; what a mock answers are inputs
anew. Costs about four times as much as a call that is not traced.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from whet.errors import WhetError
from whet.evm.frame import Frame
from whet.evm.interpret import Block, Machine, Transaction, drive
from whet.evm.program import ENDS, Jump, Node, Program, Routine, Step, Values
from whet.evm.replay.mocks import (
    INSIDE,
    MOCKS,
    TARGET,
    calling_code,
    forwarder_code,
    mock_code,
    recorder_code,
    self_calling_code,
)
from whet.evm.replay.symbols import Leaf, Word, leaf, made
from whet.evm.state_ops import STATEFUL
from whet.evm.tac import Block as Place_
from whet.evm.tac import Contract, Function, Statement
from whet.evm.words import ADDRESS, ONE, THREE, TWO
from whet.evm.world import Account, World

Place = tuple[str, str]
"""(function, block)."""
Answers = dict[tuple[int, int], tuple[bool, bytes]]
"""{(mock, selector): whether it succeeded, what it answered last}."""
MOST_DECISIONS = 1_000
MOST_COPIED = 6
"""Calls that bytes are followed through."""
SPANS = 24
"""Copies into memory, the last ones, that are looked through for a word."""
_HELPERS = frozenset({self_calling_code()}) | frozenset(
    {recorder_code(), forwarder_code(), *map(mock_code, MOCKS), *map(calling_code, MOCKS)}
)


@dataclass(slots=True)
class Decision:
    """A condition that depends on inputs: at the end of the block `at` it was true (`taken`) or not; control went on in
    `to` and not in `other`."""

    at: Place
    word: Word
    taken: bool
    to: Place
    other: Place


@dataclass(slots=True)
class Trace:
    """decisions: in order, those of the target alone. drift: by how much a balance had changed when it was read."""

    decisions: list[Decision]
    visited: set[Place]
    answers: Answers
    drift: dict[Leaf, int]
    statements: int


class Bytes(bytes):
    """Calldata or return data; `word(offset)` is the word there, a Word where it is known to be one. level: how many times
    it was copied from call to call."""

    word: Callable[[int], int]
    level: int


def _bytes(data: bytes, word: Callable[[int], int], level: int = 0) -> Bytes:
    made_of = Bytes(data)
    made_of.word, made_of.level = word, level
    return made_of


Span = tuple[int, int, Bytes, int]
"""Bytes in memory: offset, size, what they were copied from, offset there."""


def word_at(data: bytes, at: int) -> int:
    """32 bytes of it, with zeros behind its end."""
    return int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big")


@dataclass
class Tracer(Machine):
    """A transaction that is traced."""

    programs: dict[int | bytes, Program] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    answers: Answers = field(default_factory=dict)
    written: set[tuple[int, int]] = field(default_factory=set)
    drift: dict[Leaf, int] = field(default_factory=dict)
    wei: dict[int, int] = field(default_factory=dict)
    home: int = TARGET
    """Where the target's code stands."""
    begun: bool = False
    """The call of the target from outside, whose calldata, caller and wei are inputs."""

    def program(self, account: Account) -> Program:
        if account.contract is None and account.code in _HELPERS:
            return super().program(account)
        key = id(account.contract) if account.contract else account.code
        if key not in self.programs:
            self.programs[key] = TracedProgram(account.contract or self.world.lift(account.code))
        return self.programs[key]

    def first(self) -> Frame:
        tx = self.tx
        return TracedFrame(self, tx.to, tx.to, tx.caller, tx.value, tx.data, tx.gas)

    def resume(self, caller: Frame, done: Frame) -> None:
        assert isinstance(caller, TracedFrame)
        assert caller.resume
        result, (offset, size) = caller.resume[0], done.out
        flag = self._answer(done, caller.request)
        super().resume(caller, done)
        caller.returned = flag.size if flag else None
        if isinstance(done.output, Bytes):
            caller.copied(offset, min(size, len(done.output)), done.output, 0)
        if flag and flag.success is not None:
            caller.values[result] = flag.success
        if flag and flag.signer is not None and size >= 32:
            caller.words[offset] = flag.signer

    def _answer(self, done: Frame, request: tuple[str, list[int]] | None) -> _Flag | None:
        if done.code_address == 1 and isinstance(done.calldata, Bytes):
            return _signer(done, done.calldata)
        mock = done.code_address
        if mock not in MOCKS or done.address != mock:
            to = request[1][1] if request and request[0].endswith("CALL") else 0
            if type(to) is not Word:
                return None
            returned = made(len(done.output), "RETURNED", (to,))
            return _Flag(returned, made(int(done.status == "success"), "CALLED", (to,)))
        selector, data, success = word_at(done.calldata, 0) >> 224, done.output, done.status == "success"
        self.answers[mock, selector] = success, bytes(data)

        def word(at: int) -> int:
            value = word_at(data, at)
            return leaf(value, ("word", mock, selector, at // 32)) if at % 32 == 0 else value

        done.output = _bytes(data, word)
        size = leaf(len(data), ("answered", mock, selector))
        return _Flag(size, leaf(int(success), ("success", mock, selector)))


@dataclass(slots=True)
class _Flag:
    """What a message gave beside its output: the size of that, its success, and who signed."""

    size: int
    success: int | None = None
    signer: int | None = None


def _signer(done: Frame, given: Bytes) -> _Flag:
    """Of a call of ecrecover."""
    signer = made(word_at(done.output, 0), "ECRECOVER", tuple(given.word(at) for at in (0, 32, 64, 96)))
    done.output = _bytes(done.output, lambda at: signer if at == 0 else word_at(done.output, at))
    signed = made(int(signer != 0), "ISZERO", (made(int(signer == 0), "ISZERO", (signer,)),))
    return _Flag(made(len(done.output), "SHL", (5, signed)), signer=signer)


class TracedFrame(Frame):
    """A call whose memory knows which words were stored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.words: dict[int, int] = {}
        self.spans: list[Span] = []
        self.returned: int | None = None
        self.outside = False
        tracer, tx = self.tracer, self.machine.tx
        if (
            not tracer.begun
            and self.code_address == tracer.home
            and self.address == TARGET
            and self.calldata == tx.data
        ):
            tracer.begun = self.outside = True
            data = self.calldata
            self.calldata = _bytes(data, lambda at: leaf(word_at(data, at), ("data", at)))
            self.caller, self.value = leaf(self.caller, ("caller",)), leaf(self.value, ("value",))

    @property
    def tracer(self) -> Tracer:
        assert isinstance(self.machine, Tracer)
        return self.machine

    def known(self, at: int, value: int) -> int:
        """The word that was stored at that offset, if it is still there."""
        return _known(at, value, self.words, self.spans[-SPANS:])

    def copied(self, to: int, size: int, source: bytes, begin: int) -> None:
        """Bytes that came into memory."""
        if isinstance(source, Bytes) and size and source.level < MOST_COPIED:
            self.spans.append((to, size, source, begin))

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        words = {at: word for at, word in self.words.items() if offset <= at < offset + size}
        spans = [
            span for span in self.spans[-SPANS:] if span[0] < offset + size and offset < span[0] + span[1]
        ]
        level = 1 + max((source.level for _, _, source, _ in spans), default=0)
        return _bytes(data, lambda at: _known(offset + at, word_at(data, at), words, spans), level)


def _known(at: int, value: int, words: dict[int, int], spans: list[Span]) -> int:
    found = words.get(at)
    if found is not None and found == value:
        return found
    for to, size, source, begin in reversed(spans):
        if to <= at < to + size:
            found = source.word(begin + at - to)
            if found == value:
                return found
    return value


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
    if isinstance(frame.calldata, Bytes) and at < len(frame.calldata) + 32:
        values[result] = frame.calldata.word(at)


def _mload(values: Values, frame: TracedFrame, result: int, offset: int) -> None:
    values[result] = frame.known(int(values[offset]), values[result])


def _mstore(values: Values, frame: TracedFrame, offset: int, value: int) -> None:
    at, word = int(values[offset]), values[value]
    if type(word) is Word:
        frame.words[at] = word
    else:
        frame.words.pop(at, None)


def _calldatacopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    frame.copied(int(values[to]), int(values[size]), frame.calldata, int(values[source]))


def _returndatacopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    frame.copied(int(values[to]), int(values[size]), frame.returndata, int(values[source]))


def _mcopy(values: Values, frame: TracedFrame, to: int, source: int, size: int) -> None:
    begin, end = int(values[source]), int(values[source]) + int(values[size])
    shift = int(values[to]) - begin
    moved = {at + shift: word for at, word in frame.words.items() if begin <= at < end}
    spans = [span for span in frame.spans if span[0] < end and begin < span[0] + span[1]]
    frame.words |= moved
    frame.spans += [(max(to + shift, 0), size, text, at) for to, size, text, at in spans]


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
    _balance_of(values, frame, result, int(values[account]) & ADDRESS)


def _selfbalance(values: Values, frame: TracedFrame, result: int) -> None:
    _balance_of(values, frame, result, frame.address)


def _balance_of(values: Values, frame: TracedFrame, result: int, account: int) -> None:
    name = ("balance", account)
    if account in frame.tracer.wei:
        frame.tracer.drift[name] = values[result] - frame.tracer.wei[account]
        values[result] = leaf(values[result], name)


AFTER: dict[str, Callable[..., None]] = {
    "CALLDATALOAD": _calldataload,
    "CALLDATACOPY": _calldatacopy,
    "CALLDATASIZE": _calldatasize,
    "RETURNDATACOPY": _returndatacopy,
    "RETURNDATASIZE": _returndatasize,
    "EXTCODEHASH": _extcodehash,
    "EXTCODESIZE": _extcodesize,
    "BALANCE": _balance,
    "SELFBALANCE": _selfbalance,
    "MLOAD": _mload,
    "MSTORE": _mstore,
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
    tracer = Tracer(world, tx, times, steps, programs=programs, wei=wei, home=home)
    with suppress(WhetError):  # it ends there, and what it met before is worth knowing
        drive(tracer)
    visited = {(function, name) for at, function, name in tracer.visited if at == home}
    return Trace(tracer.decisions, visited, tracer.answers, tracer.drift, steps - tracer.steps)
