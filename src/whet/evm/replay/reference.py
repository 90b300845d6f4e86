"""The EVM that replay compares with: revm, through pyrevm (the extra `evm`), a fresh one for each call.

The state of a `World` is copied in, one transaction runs, and everything observable is read out of revm's journal.
Left out: CLZ (EIP-7939), which pyrevm 0.3.7 does not know. About 100 us a call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whet.errors import WhetError
from whet.evm import INSTALL
from whet.evm.interpret import Block, Transaction
from whet.evm.world import Account, Log, World

try:
    from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env
except ImportError as error:
    raise WhetError("the EVM to compare with, pyrevm, is not installed", fix=INSTALL) from error

PRECOMPILE_GAS = 100_000_000
_ACCOUNT = re.compile(
    r"(0x[0-9a-f]{40}): Account \{ info: AccountInfo \{ balance: (\d+), nonce: (\d+), "
    r".*?storage: \{(.*?)\}, status: AccountStatus\(([^)]*)\)"
)
_CODE = re.compile(r"0x[0-9a-f]{65,}")
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+) \}")
_TRANSIENT = re.compile(r"\((0x[0-9a-f]{40}), (\d+)\): (\d+)")
_OUTPUT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")
_REASON = re.compile(r"Halt \{ reason: (.*), gas_used")


@dataclass(slots=True)
class Outcome:
    """What revm did. accounts: {address: (balance, nonce)} of all it touched, as they are at the end.

    storage, transient: {(address, slot): word} of every slot it touched, as they are at the end. gone: destroyed.
    """

    status: str
    data: bytes
    why: str
    logs: list[Log]
    storage: dict[tuple[int, int], int]
    transient: dict[tuple[int, int], int]
    accounts: dict[int, tuple[int, int]]
    gone: set[int]
    gas_used: int


def run_reference(world: World, code: dict[int, bytes], tx: Transaction, block: Block) -> Outcome:
    """One transaction on a copy of the world's accounts; `code` gives the bytes of those that have TAC only."""
    evm = _evm(world, code, block)
    status, data, why = "success", b"", ""
    try:
        data = evm.message_call(
            _hex(tx.caller),
            _hex(tx.to),
            calldata=tx.data,
            value=tx.value,
            gas=tx.gas,
            gas_price=tx.gas_price,
        )
    except RuntimeError as error:
        status, data, why = _failure(str(error))
    return _outcome(evm, status, bytes(data), why)


def _evm(world: World, code: dict[int, bytes], block: Block) -> EVM:
    env = BlockEnv(
        number=block.number,
        timestamp=block.timestamp,
        coinbase=_hex(block.coinbase),
        prevrandao=block.prevrandao.to_bytes(32, "big"),
        basefee=block.base_fee,
        gas_limit=block.gas_limit,
        excess_blob_gas=0,
    )
    evm = EVM(
        env=Env(cfg=CfgEnv(chain_id=block.chain_id), block=env),
        gas_limit=block.gas_limit,
        spec_id="LATEST",
    )
    for address, account in world.accounts.items():
        _insert(evm, address, account, code.get(address, account.code))
    return evm


def _insert(evm: EVM, address: int, account: Account, code: bytes) -> None:
    name = _hex(address)
    make: Any = AccountInfo  # its stub knows no balance
    info = make(balance=account.balance, nonce=account.nonce, code=code or None)
    evm.insert_account_info(name, info)
    for slot, value in account.storage.items():
        evm.insert_account_storage(name, slot, value)


def _hex(address: int) -> str:
    return f"0x{address:040x}"


def _failure(text: str) -> tuple[str, bytes, str]:
    if found := _OUTPUT.search(text):
        return "revert", bytes.fromhex(found[1]), ""
    if found := _REASON.search(text):
        return "halt", b"", found[1]
    raise AssertionError(f"pyrevm: {text}")


def _outcome(evm: EVM, status: str, data: bytes, why: str) -> Outcome:
    journal, result = evm.journal_str, evm.result
    assert result
    state, rest = journal.split(", transient_storage: {", 1)
    state = _CODE.sub("", state)  # long, and slow to search through
    storage: dict[tuple[int, int], int] = {}
    accounts: dict[int, tuple[int, int]] = {}
    gone: set[int] = set()
    for name, balance, nonce, slots, flags in _ACCOUNT.findall(state):
        address = int(name, 16)
        accounts[address] = (int(balance), int(nonce))
        gone |= {address} if "SelfDestructed" in flags else set()
        storage |= {(address, int(slot)): int(value) for slot, value in _SLOT.findall(slots)}
    transient = {(int(a, 16), int(slot)): int(v) for a, slot, v in _TRANSIENT.findall(rest.split("}", 1)[0])}
    logs = [
        Log(
            int(log.address, 16),
            tuple(int.from_bytes(topic, "big") for topic in log.data[0]),
            bytes(log.data[1]),
        )
        for log in result.logs
    ]
    return Outcome(status, data, why, logs, storage, transient, accounts, gone, result.gas_used)


@lru_cache(maxsize=4096)
def precompile(number: int, data: bytes) -> bytes | None:
    """What the precompile answers; None where it refuses. For `World.precompile`."""
    evm = EVM(env=Env(cfg=CfgEnv(), block=BlockEnv()), spec_id="LATEST")
    try:
        return bytes(evm.message_call(_hex(0xCA11), _hex(number), calldata=data, gas=PRECOMPILE_GAS))
    except RuntimeError:
        return None
