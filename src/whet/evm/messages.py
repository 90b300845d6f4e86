"""Calls and creations: a frame begins, ends, and gives its caller what it is owed.

Value moves, the state is marked and undone, 63/64 of the gas go along (EIP-150), 1,024 levels deep at most; created
contracts stand at their real addresses. Precompiles 2 to 4 are computed here, the others by `World.precompile`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from Crypto.Hash import RIPEMD160

from whet.errors import WhetError
from whet.evm.frame import Frame
from whet.evm.keccak import keccak256
from whet.evm.state_ops import Halt
from whet.evm.words import ADDRESS
from whet.evm.world import Account, World

if TYPE_CHECKING:
    from whet.evm.interpret import Machine

DEPTH = 1024
CODE_LIMIT = 24_576
"""Bytes of a contract's code (EIP-170); init code may have twice as many (EIP-3860)."""
PRECOMPILES = range(1, 18)
SHA256, RIPEMD, IDENTITY = 2, 3, 4


def begin(machine: Machine, frame: Frame, wei: int) -> None:
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


def end(machine: Machine, frame: Frame) -> None:
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


def resume(caller: Frame, done: Frame) -> None:
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


def message(machine: Machine, frame: Frame) -> None:
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
    return begin(machine, child, value if op == "CALL" else 0)


def _child(machine: Machine, frame: Frame, op: str, to: int, value: int, data: bytes) -> Frame:
    own = op in ("CALLCODE", "DELEGATECALL")
    caller = frame.caller if op == "DELEGATECALL" else frame.address
    shown = frame.value if op == "DELEGATECALL" else value
    child = type(frame)(machine, to, frame.address if own else to, caller, shown, data, 0)
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
    child = type(frame)(machine, address, address, sender, value, b"", given, frame.depth + 1, create=True)
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
