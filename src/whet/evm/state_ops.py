"""Instructions that read or change the state of a call: memory, storage, calldata, environment, logs, other accounts.

Each is a factory: the slots of its result and arguments in, a step `(values, frame) -> None` out. Left out: arithmetic
(`whet.evm.words`), calls and creation (`whet.evm.messages`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from whet.evm.keccak import keccak256
from whet.evm.words import ADDRESS

if TYPE_CHECKING:
    from whet.evm.frame import Frame

Values = list[Any]
Step = Callable[[Values, "Frame"], None]


class Halt(Exception):
    """An exceptional halt of one call: its changes are undone, its gas is gone."""


FREE: dict[str, Callable[[Frame], int]] = {
    "ADDRESS": lambda f: f.address,
    "ORIGIN": lambda f: f.machine.tx.caller,
    "CALLER": lambda f: f.caller,
    "CALLVALUE": lambda f: f.value,
    "CALLDATASIZE": lambda f: len(f.calldata),
    "CODESIZE": lambda f: f.code_size,
    "GASPRICE": lambda f: f.machine.tx.gas_price,
    "COINBASE": lambda f: f.machine.block.coinbase,
    "TIMESTAMP": lambda f: f.machine.block.timestamp,
    "NUMBER": lambda f: f.machine.block.number,
    "PREVRANDAO": lambda f: f.machine.block.prevrandao,
    "GASLIMIT": lambda f: f.machine.block.gas_limit,
    "CHAINID": lambda f: f.machine.block.chain_id,
    "SELFBALANCE": lambda f: f.world.account(f.address).balance,
    "BASEFEE": lambda f: f.machine.block.base_fee,
    "BLOBBASEFEE": lambda f: f.machine.block.blob_base_fee,
    "RETURNDATASIZE": lambda f: len(f.returndata),
    "MSIZE": lambda f: len(f.memory),
    "GAS": lambda f: f.gas,
}
"""Instructions without arguments: what they give in a frame."""


def _calldataload(result: int, offset: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        at = values[offset]
        word = frame.calldata[at : at + 32]
        values[result] = int.from_bytes(word, "big") << 8 * (32 - len(word))

    return step


def _mload(result: int, offset: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        at = values[offset]
        if at + 32 > len(frame.memory):
            frame.expand(at, 32)
        values[result] = int.from_bytes(frame.memory[at : at + 32], "big")

    return step


def _mstore(offset: int, value: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        at = values[offset]
        if at + 32 > len(frame.memory):
            frame.expand(at, 32)
        frame.memory[at : at + 32] = values[value].to_bytes(32, "big")

    return step


def _mstore8(offset: int, value: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        at = values[offset]
        frame.expand(at, 1)
        frame.memory[at] = values[value] & 0xFF

    return step


def _mcopy(to: int, source: int, size: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        frame.expand(values[to], values[size])
        frame.write(values[to], frame.read(values[source], values[size]))

    return step


def _copier(read: Callable[[Frame, int, int], bytes]) -> Callable[[int, int, int], Step]:
    """Of an instruction (memory offset, source offset, size)."""

    def factory(to: int, source: int, size: int) -> Step:
        def step(values: Values, frame: Frame) -> None:
            frame.expand(values[to], values[size])
            frame.charge(3 * (values[size] // 32))
            frame.write(values[to], read(frame, values[source], values[size]))

        return step

    return factory


def _calldata(frame: Frame, source: int, size: int) -> bytes:
    return frame.calldata[source : source + size].ljust(size, b"\0")


def _returndata(frame: Frame, source: int, size: int) -> bytes:
    if source + size > len(frame.returndata):
        raise Halt("RETURNDATACOPY past the end")  # EIP-211; even of no bytes
    return frame.returndata[source : source + size]


def _code(frame: Frame, source: int, size: int) -> bytes:
    return frame.read_code(source, size)


def _extcodecopy(account: int, to: int, source: int, size: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        frame.expand(values[to], values[size])
        code = frame.world.account(values[account] & ADDRESS).read_code(values[source], values[size])
        frame.write(values[to], code)

    return step


def _keccak(result: int, offset: int, size: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = int.from_bytes(keccak256(frame.read(values[offset], values[size])), "big")

    return step


def _of_account(f: Callable[[Frame, int], int]) -> Callable[[int, int], Step]:
    def factory(result: int, account: int) -> Step:
        def step(values: Values, frame: Frame) -> None:
            values[result] = f(frame, values[account])

        return step

    return factory


def _sload(result: int, slot: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = frame.world.load(frame.address, values[slot])

    return step


def _sstore(slot: int, value: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        frame.forbid_static()
        if frame.gas <= 2300:
            raise Halt("SSTORE with the gas stipend alone")  # EIP-2200
        frame.charge(5000)
        frame.world.store(frame.address, values[slot], values[value])

    return step


def _tload(result: int, slot: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        values[result] = frame.world.transient.get((frame.address, values[slot]), 0)

    return step


def _tstore(slot: int, value: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        frame.forbid_static()
        frame.world.store_transient(frame.address, values[slot], values[value])

    return step


def _log(offset: int, size: int, *topics: int) -> Step:
    def step(values: Values, frame: Frame) -> None:
        frame.forbid_static()
        data = frame.read(values[offset], values[size])
        frame.charge(375 * (1 + len(topics)) + 8 * len(data))
        frame.log(tuple(values[topic] for topic in topics), data)

    return step


def _blobhash(frame: Frame, index: int) -> int:
    hashes = frame.machine.tx.blob_hashes
    return hashes[index] if index < len(hashes) else 0


def _blockhash(frame: Frame, number: int) -> int:
    block = frame.machine.block
    return block.hash_of(number) if block.number - 256 <= number < block.number else 0


STATEFUL: dict[str, Callable[..., Step]] = {
    "CALLDATALOAD": _calldataload,
    "CALLDATACOPY": _copier(_calldata),
    "RETURNDATACOPY": _copier(_returndata),
    "CODECOPY": _copier(_code),
    "EXTCODECOPY": _extcodecopy,
    "EXTCODESIZE": _of_account(lambda f, who: f.world.account(who & ADDRESS).code_size),
    "EXTCODEHASH": _of_account(lambda f, who: f.world.account(who & ADDRESS).hash()),
    "BALANCE": _of_account(lambda f, who: f.world.account(who & ADDRESS).balance),
    "BLOBHASH": _of_account(_blobhash),
    "BLOCKHASH": _of_account(_blockhash),
    "KECCAK256": _keccak,
    "MLOAD": _mload,
    "MSTORE": _mstore,
    "MSTORE8": _mstore8,
    "MCOPY": _mcopy,
    "SLOAD": _sload,
    "SSTORE": _sstore,
    "TLOAD": _tload,
    "TSTORE": _tstore,
    **{f"LOG{n}": _log for n in range(5)},
}
"""Instruction -> factory of its step: slots of the result, then of the arguments."""
