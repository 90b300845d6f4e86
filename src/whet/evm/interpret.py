"""Executes TAC with the EVM's semantics: a transaction's call on a world of accounts, at the Prague fork.

`run` needs the contract's TAC only, never its bytecode; other accounts that have bytes are lifted when called. What it
keeps: words, memory, storage (transient too), logs, balances, nonces, calls and creations with their 1,024 levels and
the 63/64 rule, static calls, revert of the state, self-destruction (EIP-6780), the simple precompiles. What it leaves
out: the price of most instructions (`Frame`), so GAS gives a plausible number; endless loops end by `steps`, with
OutOfSteps. No recursion of Python's, whatever calls what. About a million statements a second.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from Crypto.Hash import RIPEMD160

from whet.errors import WhetError
from whet.evm.frame import Frame
from whet.evm.keccak import keccak256
from whet.evm.program import Malformed, Program
from whet.evm.state_ops import Halt
from whet.evm.tac import Contract
from whet.evm.words import ADDRESS
from whet.evm.world import Account, Log, World

STEPS = 1_000_000
"""Statements and block ends that one transaction may execute."""
GAS = 30_000_000
DEPTH = 1024
CODE_LIMIT = 24_576
"""Bytes of a contract's code (EIP-170); init code may have twice as many (EIP-3860)."""
PRECOMPILES = range(1, 18)
SHA256, RIPEMD, IDENTITY = 2, 3, 4


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

    def program(self, account: Account) -> Program:
        key = id(account.contract) if account.contract else account.code
        if key not in self.world.programs:
            contract = account.contract or self.world.lift(account.code)
            self.world.programs[key] = Program(contract)
        program: Program = self.world.programs[key]
        return program


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
        last = _drive(machine)
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


def _drive(machine: Machine) -> Frame:
    tx = machine.tx
    first = Frame(machine, tx.to, tx.to, tx.caller, tx.value, tx.data, tx.gas)
    _begin(machine, first, tx.value)
    while True:
        frame = machine.frames[-1]
        if not frame.status:
            _advance(machine, frame)
        if frame.status:
            machine.frames.pop()
            _end(machine, frame)
            if not machine.frames:
                return frame
            _resume(machine.frames[-1], frame)


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
            _message(machine, frame)
    except Halt as halt:
        frame.finish("halt", b"", str(halt))
    except TypeError as error:
        raise Malformed(f"a variable is read before it has a value ({error})", where=str(node.key)) from error


def _begin(machine: Machine, frame: Frame, wei: int) -> None:
    """A frame for a call: wei move to it, the code starts; without code it is over at once."""
    world = machine.world
    frame.mark = world.snapshot()
    machine.frames.append(frame)
    account = world.account(frame.code_address)
    world.transfer(frame.caller, frame.address, wei)
    if frame.code_address in PRECOMPILES and not account.has_code:
        _precompile(world, frame)
    elif account.has_code:
        frame.start(machine.program(world.account(frame.code_address)))
    else:
        frame.finish("success", b"")


def _precompile(world: World, frame: Frame) -> None:
    number, data = frame.code_address, frame.calldata
    output: bytes | None
    if number == SHA256:
        output = hashlib.sha256(data).digest()
    elif number == RIPEMD:
        output = RIPEMD160.new(data).digest().rjust(32, b"\0")
    elif number == IDENTITY:
        output = data
    elif world.precompile is None:
        raise WhetError(f"no precompile {number}", fix="give the world a `precompile` function")
    else:
        output = world.precompile(number, data)
    if output is None:
        frame.finish("halt", b"", "the precompile refuses its input")
    else:
        frame.finish("success", output)


def _end(machine: Machine, frame: Frame) -> None:
    machine.lowest_gas = min(machine.lowest_gas, frame.gas)
    if frame.create and frame.status == "success":
        _deposit(machine, frame)
    if frame.status != "success":
        machine.world.revert(frame.mark)


def _deposit(machine: Machine, frame: Frame) -> None:
    """The code that init code returned becomes the account's (EIP-170, EIP-3541)."""
    code = frame.output
    if len(code) > CODE_LIMIT or code[:1] == b"\xef" or 200 * len(code) > frame.gas:
        return frame.finish("halt", b"", "code that may not be deployed")
    machine.world.set_code(frame.address, code)
    return frame.finish("success", b"")


def _resume(caller: Frame, done: Frame) -> None:
    """Back in the caller: success flag or address, return data, output into memory."""
    success = done.status == "success"
    caller.gas += done.gas if done.status != "halt" else 0
    caller.returndata = done.output
    _give(caller, (done.address if done.create else 1) if success else 0)
    offset, size = done.out
    caller.write(offset, done.output[:size])


def _give(frame: Frame, value: int) -> None:
    """The result of a message; the frame goes on after it."""
    assert frame.resume
    result, frame.node = frame.resume
    frame.values[result] = value
    frame.request = frame.resume = None


def _fail(frame: Frame) -> None:
    """A message that does not begin: too deep, or no balance for its value."""
    frame.returndata = b""
    _give(frame, 0)


def _message(machine: Machine, frame: Frame) -> None:
    assert frame.request
    op, args = frame.request
    if op in ("CREATE", "CREATE2"):
        _create(machine, frame, *args)
    else:
        _call(machine, frame, op, args)


def _call(machine: Machine, frame: Frame, op: str, args: list[int]) -> None:
    gas, to = args[0], args[1] & ADDRESS
    value = args[2] if op in ("CALL", "CALLCODE") else 0
    offset, size, out, out_size = args[-4:]
    if op == "CALL" and value:
        frame.forbid_static()
    data = frame.read(offset, size)
    frame.expand(out, out_size)
    frame.charge(100 + (9000 if value else 0))
    given = min(gas, frame.gas - frame.gas // 64)  # EIP-150
    if value > machine.world.account(frame.address).balance or frame.depth >= DEPTH:
        return _fail(frame)
    frame.gas -= given
    child = _child(machine, frame, op, to, value, data)
    child.gas, child.out = given + (2300 if value else 0), (out, out_size)
    return _begin(machine, child, value if op == "CALL" else 0)


def _child(machine: Machine, frame: Frame, op: str, to: int, value: int, data: bytes) -> Frame:
    own = op in ("CALLCODE", "DELEGATECALL")
    caller = frame.caller if op == "DELEGATECALL" else frame.address
    shown = frame.value if op == "DELEGATECALL" else value
    child = Frame(machine, to, frame.address if own else to, caller, shown, data, 0)
    child.depth = frame.depth + 1
    child.static = frame.static or op == "STATICCALL"
    return child


def _create(
    machine: Machine, frame: Frame, value: int, offset: int, size: int, salt: int | None = None
) -> None:
    world, sender = machine.world, frame.address
    frame.forbid_static()
    if size > 2 * CODE_LIMIT:
        raise Halt("init code is too long")  # EIP-3860
    init = frame.read(offset, size)
    frame.charge(32_000)
    if value > world.account(sender).balance or frame.depth >= DEPTH:
        return _fail(frame)
    address = created_address(sender, world.account(sender).nonce, init, salt)
    world.raise_nonce(sender)
    given = frame.gas - frame.gas // 64
    frame.gas -= given
    old = world.account(address)
    if old.has_code or old.nonce:
        return _fail(frame)  # EIP-684: a collision; the gas is gone
    child = Frame(machine, address, address, sender, value, b"", given, frame.depth + 1, create=True)
    return _construct(machine, child, init)


def _construct(machine: Machine, child: Frame, init: bytes) -> None:
    child.mark = machine.world.snapshot()
    machine.frames.append(child)
    machine.init_code[child.address] = init
    machine.world.create(child.address)
    machine.world.transfer(child.caller, child.address, child.value)
    if init:
        child.start(machine.program(Account(code=init)))
    else:
        child.finish("success", b"")


def created_address(sender: int, nonce: int, init: bytes, salt: int | None) -> int:
    """Of CREATE (Yellow Paper, 7) or, with a salt, CREATE2 (EIP-1014)."""
    who = sender.to_bytes(20, "big")
    if salt is not None:
        body = b"\xff" + who + salt.to_bytes(32, "big") + keccak256(init)
        return int.from_bytes(keccak256(body)[12:], "big")
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    last = digits if nonce and nonce < 0x80 else bytes([0x80 + len(digits)]) + digits
    body = b"\x94" + who + last
    return int.from_bytes(keccak256(bytes([0xC0 + len(body)]) + body)[12:], "big")
