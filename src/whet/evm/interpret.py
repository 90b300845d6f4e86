"""Executes TAC with the EVM's semantics: a transaction's call on a world of accounts, at the Prague fork.

`run` needs the contract's TAC only, never its bytecode; other accounts that have bytes are lifted when called. What it
keeps: words, memory, storage (transient too), logs, balances, nonces, calls and creations with their 1,024 levels and
the 63/64 rule, static calls, revert of the state, self-destruction (EIP-6780), the simple precompiles. What it leaves
out: the price of most instructions (`Frame`), so GAS gives a plausible number; endless loops end by `steps`, with
OutOfSteps. No recursion of Python's, whatever calls what. About a million statements a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.errors import WhetError
from whet.evm.frame import Frame
from whet.evm.keccak import keccak256
from whet.evm.messages import begin, end, message, resume
from whet.evm.program import Malformed, Program
from whet.evm.state_ops import Halt
from whet.evm.tac import Contract
from whet.evm.world import Account, Log, World

STEPS = 1_000_000
"""Statements and block ends that one transaction may execute."""
GAS = 30_000_000


class OutOfSteps(WhetError):
    """The budget of statements is spent; the call has no result."""


@dataclass(slots=True)
class Block:
    """The block a transaction stands in. Numbers as the instructions of the same names give them."""

    number: int = 20_000_000
    timestamp: int = 1_700_000_000
    coinbase: int = 0
    prevrandao: int = 0
    gas_limit: int = GAS
    chain_id: int = 1
    base_fee: int = 0
    blob_base_fee: int = 1

    def hash_of(self, number: int) -> int:
        """A hash for one of the last 256 blocks: that of its number in decimal digits."""
        return int.from_bytes(keccak256(str(number).encode()), "big")


@dataclass(slots=True)
class Transaction:
    """A call from outside. value in wei."""

    caller: int
    to: int
    data: bytes = b""
    value: int = 0
    gas: int = GAS
    gas_price: int = 0
    blob_hashes: tuple[int, ...] = ()


@dataclass(slots=True)
class Result:
    """What a transaction did. status: "success", "revert", or "halt" (`why` says of what).

    storage: {(address, slot): new word} of slots whose word changed. transfers: (from, to, wei) in order.
    visited: (code address, function, block id). reads: {(address, slot): word} of slots that were read.
    compared: pairs of unequal words that were compared, in order, for the one who searches inputs.
    lowest_gas: of any frame, in our rough count; near 0 the EVM's own count may have ended otherwise.
    private_depth: the most private calls within one another.
    """

    status: str
    data: bytes
    why: str
    logs: list[Log]
    storage: dict[tuple[int, int], int]
    transfers: list[tuple[int, int, int]]
    statements: int
    visited: set[tuple[int, str, str]]
    reads: dict[tuple[int, int], int]
    compared: list[tuple[int, int]]
    lowest_gas: int
    private_depth: int


@dataclass(slots=True)
class Machine:
    """One transaction under way."""

    world: World
    tx: Transaction
    block: Block
    steps: int
    frames: list[Frame] = field(default_factory=list)
    compared: dict[tuple[int, int], bool] = field(default_factory=dict)
    visited: set[tuple[int, str, str]] = field(default_factory=set)
    init_code: dict[int, bytes] = field(default_factory=dict)
    lowest_gas: int = GAS
    private_depth: int = 0

    def program(self, account: Account) -> Program:
        key = id(account.contract) if account.contract else account.code
        if key not in self.world.programs:
            contract = account.contract or self.world.lift(account.code)
            self.world.programs[key] = Program(contract)
        program: Program = self.world.programs[key]
        return program

    def first(self) -> Frame:
        """The frame of the transaction's own call."""
        tx = self.tx
        return Frame(self, tx.to, tx.to, tx.caller, tx.value, tx.data, tx.gas)

    def message(self, frame: Frame) -> None:
        """Begin the call or creation that the frame asks for, or fail at once."""
        message(self, frame)

    def resume(self, caller: Frame, done: Frame) -> None:
        """Back in the caller of a frame that has ended."""
        resume(caller, done)


def run(
    contract: Contract | None, world: World, tx: Transaction, block: Block | None = None, steps: int = STEPS
) -> Result:
    """Execute one transaction; its changes stay in the world where it succeeds and are undone where not.

    contract: TAC that stands at `tx.to` from now on; None leaves what the world has there. The sender's nonce and gas
    are not touched. Raises OutOfSteps, Unresolved, Malformed, MissingCode, and what the world's `lift` raises; the
    world is then as it was before.
    """
    if contract is not None:
        world.accounts.setdefault(tx.to, Account()).contract = contract
    world.begin()
    machine = Machine(world, tx, block or Block(), steps)
    try:
        last = drive(machine)
    except WhetError:
        world.revert((0, 0, 0))
        raise
    result = Result(
        last.status,
        last.output,
        last.why,
        list(world.logs),
        world.changes(),
        list(world.transfers),
        steps - machine.steps,
        machine.visited,
        dict(world.reads),
        list(machine.compared),
        machine.lowest_gas,
        machine.private_depth,
    )
    world.finish()
    return result


def execute(
    contract: Contract,
    calldata: bytes,
    *,
    storage: dict[int, int] | None = None,
    caller: int = 0xCA11E5,
    value: int = 0,
    steps: int = STEPS,
) -> Result:
    """One call of a contract alone in a fresh world, with this storage ({slot: word}). Raises as `run` does."""
    to = 0xC0DE
    world = World({to: Account(storage=dict(storage or {})), caller: Account(balance=1 << 96)})
    return run(contract, world, Transaction(caller, to, calldata, value), steps=steps)


def drive(machine: Machine) -> Frame:
    """Execute the machine's transaction; the frame of its own call as it ended. Raises as `run` does."""
    begin(machine, machine.first(), machine.tx.value)
    while True:
        frame = machine.frames[-1]
        if not frame.status:
            _advance(machine, frame)
        if frame.status:
            machine.frames.pop()
            end(machine, frame)
            if not machine.frames:
                return frame
            machine.resume(machine.frames[-1], frame)


def _advance(machine: Machine, frame: Frame) -> None:
    """Up to the frame's end, or its next message."""
    visited, where = machine.visited, frame.code_address
    node = frame.node
    assert node
    try:
        while True:
            machine.steps -= node.cost
            if machine.steps < 0:
                raise OutOfSteps("the budget of statements is spent", fix="give a larger `steps`")
            visited.add((where, *node.key))
            values = frame.values
            for step in node.steps:
                step(values, frame)
            following = node.end(values, frame)
            if following is None:
                break
            node = following
        if frame.request:
            machine.message(frame)
    except Halt as halt:
        frame.finish("halt", b"", str(halt))
    except TypeError as error:
        raise Malformed(f"a variable is read before it has a value ({error})", where=str(node.key)) from error
