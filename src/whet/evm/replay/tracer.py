"""The machine of a traced call (`whet.evm.replay.trace`): frames whose memory knows which words were stored, calldata and
return data that carry them from call to call, and what mocks and precompiles answer as inputs anew.

What is stored in memory is found again by its offset, and believed only if the bytes there are the word's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from whet.evm.frame import Frame
from whet.evm.interpret import Machine
from whet.evm.program import Program
from whet.evm.replay.mocks import (
    MOCKS,
    RECORDER,
    TARGET,
    calling_code,
    forwarding_code,
    mock_code,
    recorder_code,
    self_calling_code,
    when,
)
from whet.evm.replay.provenance import Bytes, Span, bytes_of, known, of_calldata, shifted, word_at
from whet.evm.replay.symbols import Leaf, Word, leaf, made
from whet.evm.tac import Contract
from whet.evm.world import Account

Place = tuple[str, str]
"""(function, block)."""
Answers = dict[tuple[int, int], tuple[bool, bytes]]
"""{(mock, `when` it was called): whether it succeeded, what it answered last}."""
MOST_DECISIONS = 1_000
MOST_COPIED = 6
"""Calls that bytes are followed through."""
SPANS = 24
"""Copies into memory, the last ones, that are looked through for a word."""
STIPEND = 2300
_HELPERS = frozenset({self_calling_code()}) | frozenset(
    {
        recorder_code(),
        *map(forwarding_code, (TARGET, *MOCKS)),
        *map(mock_code, MOCKS),
        *map(calling_code, MOCKS),
    }
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


@dataclass
class Tracer(Machine):
    """A transaction that is traced."""

    decode: Callable[[Contract], Program] = Program
    programs: dict[int | bytes, Program] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    answers: Answers = field(default_factory=dict)
    written: set[tuple[int, int]] = field(default_factory=set)
    drift: dict[Leaf, int] = field(default_factory=dict)
    stipend: bool = False
    """The target called itself with no more gas than `transfer` and `send` give."""
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
            self.programs[key] = self.decode(account.contract or self.world.lift(account.code))
        return self.programs[key]

    def first(self) -> Frame:
        tx = self.tx
        return TracedFrame(self, tx.to, tx.to, tx.caller, tx.value, tx.data, tx.gas)

    def message(self, frame: Frame) -> None:
        assert isinstance(frame, TracedFrame)
        assert frame.request
        assert frame.resume
        (op, args), result, depth = frame.request, frame.resume[0], len(self.frames)
        self.stipend |= op == "CALL" and args[0] <= STIPEND and args[1] == frame.address == TARGET
        super().message(frame)
        if len(self.frames) == depth and op == "CALL" and type(args[2]) is Word:  # for want of wei
            wei = frame.balance_of(frame.address, self.world.account(frame.address).balance)
            frame.values[result] = made(0, "ISZERO", (made(1, "GT", (args[2], wei)),))

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
        assert isinstance(done, TracedFrame)
        call, data, success = (
            when(word_at(done.calldata, 0) >> 224, done.recorded),
            done.output,
            done.status == "success",
        )
        self.answers[mock, call] = success, bytes(data)

        def word(at: int) -> int:
            name, value = ("word", mock, call, at // 32), word_at(data, at)
            if at % 32 == 0:
                return leaf(value, name)
            if success or at % 32 != 4:
                return value
            second = leaf(word_at(data, at + 28), (*name[:3], at // 32 + 1))
            # Arguments of an error, behind its selector.
            return shifted(leaf(word_at(data, at - 4), name), second, 4)

        done.output = bytes_of(data, word)
        size = leaf(len(data), ("answered", mock, call))
        return _Flag(size, leaf(int(success), ("success", mock, call)))


@dataclass(slots=True)
class _Flag:
    """What a message gave beside its output: the size of that, its success, and who signed."""

    size: int
    success: int | None = None
    signer: int | None = None


def _signer(done: Frame, given: Bytes) -> _Flag:
    """Of a call of ecrecover."""
    signer = made(word_at(done.output, 0), "ECRECOVER", tuple(given.word(at) for at in (0, 32, 64, 96)))
    done.output = bytes_of(done.output, lambda at: signer if at == 0 else word_at(done.output, at))
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
        self.recorded = self.world.transient.get((RECORDER, 0), 0)
        tracer, tx = self.tracer, self.machine.tx
        if (
            not tracer.begun
            and self.code_address == tracer.home
            and self.address == TARGET
            and self.calldata == tx.data
        ):
            tracer.begun = self.outside = True
            data = self.calldata
            self.calldata = bytes_of(data, lambda at: of_calldata(data, at))
            self.caller, self.value = leaf(self.caller, ("caller",)), leaf(self.value, ("value",))

    @property
    def tracer(self) -> Tracer:
        assert isinstance(self.machine, Tracer)
        return self.machine

    def known(self, at: int, value: int) -> int:
        """The word that stands at that offset, as what was stored and copied there makes it."""
        return known(at, value, self.words, self.spans[-SPANS:])

    def forget(self, to: int, size: int) -> None:
        """Words that began where other bytes were written."""
        for at in [at for at in self.words if to <= at < to + size]:
            del self.words[at]

    def copied(self, to: int, size: int, source: bytes, begin: int) -> None:
        """Bytes that came into memory."""
        self.forget(to, size)
        if isinstance(source, Bytes) and size and source.level < MOST_COPIED:
            self.spans.append((to, size, source, begin))

    def balance_of(self, account: int, wei: int) -> int:
        """An account's wei, as an input where the account was there before the call."""
        name, before = ("balance", account), self.tracer.wei
        if account not in before:
            return wei
        self.tracer.drift[name] = wei - before[account]
        return leaf(wei, name)

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        words = {at: word for at, word in self.words.items() if offset <= at < offset + size}
        spans = [
            span for span in self.spans[-SPANS:] if span[0] < offset + size and offset < span[0] + span[1]
        ]
        level = 1 + max((source.level for _, _, source, _ in spans), default=0)
        return bytes_of(data, lambda at: known(offset + at, word_at(data, at), words, spans), level)
