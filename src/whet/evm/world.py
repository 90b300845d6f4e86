"""Accounts and their state, with a journal: what a failed call did is undone.

Addresses are ints below 2**160; storage is {slot: word}, absent slots are zero. An account's code is bytes, lifted when
first executed, or TAC alone (`Account.contract`, the bytecode deleted), or none. Left out: gas, accounts' proofs, tries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from whet.errors import WhetError
from whet.evm.keccak import keccak256
from whet.evm.tac import Contract

EMPTY_HASH = int.from_bytes(keccak256(b""), "big")


class MissingCode(WhetError):
    """A contract without its bytecode reads a part of its own code that `Contract.data` does not hold."""


@dataclass(slots=True)
class Account:
    """balance in wei. contract: TAC that stands in for `code`, whose hash (EXTCODEHASH) is then `code_hash`."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: dict[int, int] = field(default_factory=dict)
    contract: Contract | None = None
    code_hash: int = 0

    @property
    def empty(self) -> bool:
        """EIP-161: no code, no nonce, no balance."""
        return not (self.balance or self.nonce or self.has_code)

    @property
    def has_code(self) -> bool:
        return self.contract is not None or bool(self.code)

    @property
    def code_size(self) -> int:
        return self.contract.code_size if self.contract else len(self.code)

    def hash(self) -> int:
        """EXTCODEHASH (EIP-1052)."""
        if self.contract:
            return self.code_hash
        return int.from_bytes(keccak256(self.code), "big") if self.code else 0 if self.empty else EMPTY_HASH

    def read_code(self, offset: int, size: int) -> bytes:
        """That part of the code, with zeros past its end. Raises MissingCode."""
        if self.contract is None:
            return self.code[offset : offset + size].ljust(size, b"\0")
        return read_data(self.contract, offset, size)


def read_data(contract: Contract, offset: int, size: int) -> bytes:
    """`size` bytes of the code from `offset`, from `contract.data`, zeros past the end of the code.

    Raises MissingCode where the parts have a hole.
    """
    end = min(offset + size, contract.code_size)
    out, at = bytearray(), offset
    for start, part in sorted(contract.data.items()):
        if start <= at < min(end, start + len(part)):
            piece = part[at - start : end - start]
            out += piece
            at += len(piece)
    if at < end:
        raise MissingCode(
            f"the code reads its own bytes {at:#x} to {end:#x}, which the contract's data does not hold",
            fix="lift the bytecode again",
        )
    return bytes(out).ljust(size, b"\0")


@dataclass(slots=True)
class Log:
    """An event: who emitted it, up to four topics (words), its data."""

    address: int
    topics: tuple[int, ...]
    data: bytes


def no_lifter(code: bytes) -> Contract:
    """Stands where no lifter was given. Raises WhetError."""
    raise WhetError("code is called that no TAC is known for", fix="give the world a `lift` function")


class World:
    """All accounts, and everything one transaction changes.

    lift: code bytes -> TAC, for accounts that have bytes. block_hash: number -> word, of the last 256 blocks.
    precompile: (address, input) -> output, or None where it fails, for those that `whet.evm.interpret` leaves out.
    """

    def __init__(
        self,
        accounts: dict[int, Account] | None = None,
        lift: Callable[[bytes], Contract] = no_lifter,
        precompile: Callable[[int, bytes], bytes | None] | None = None,
    ) -> None:
        self.accounts = accounts or {}
        self.lift = lift
        self.precompile = precompile
        self.programs: dict[bytes | int, Any] = {}
        """Decoded code, by its bytes (or the identity of its TAC); kept from call to call."""
        self.begin()

    def begin(self) -> None:
        """A new transaction: nothing to undo, no logs, transient storage empty (EIP-1153)."""
        self.transient: dict[tuple[int, int], int] = {}
        self.logs: list[Log] = []
        self.transfers: list[tuple[int, int, int]] = []
        self.created: dict[int, bool] = {}
        self.destroyed: dict[int, bool] = {}
        self.reads: dict[tuple[int, int], int] = {}
        """{(address, slot): value first read} in this transaction, undone calls included."""
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []

    def account(self, address: int) -> Account:
        """The account there; an empty one that is not kept where there is none."""
        return self.accounts.get(address) or Account()

    def code(self, address: int) -> Contract:
        """The TAC of the account's code. Raises what `lift` raises."""
        account = self.accounts[address]
        return account.contract or self.lift(account.code)

    # Changes. Each notes what was there before; absent and None are the same in every table.

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((table, key, table.get(key)))
        table[key] = value

    def _change(self, address: int, **changes: Any) -> None:
        old = self.account(address)
        fields = {name: getattr(old, name) for name in Account.__slots__}
        self._set(self.accounts, address, Account(**(fields | changes)))

    def snapshot(self) -> tuple[int, int, int]:
        """A mark for `revert`."""
        return len(self._journal), len(self.logs), len(self.transfers)

    def revert(self, mark: tuple[int, int, int]) -> None:
        """Undo everything since the mark."""
        entries, logs, transfers = mark
        while len(self._journal) > entries:
            table, key, old = self._journal.pop()
            if old is None:
                del table[key]
            else:
                table[key] = old
        del self.logs[logs:]
        del self.transfers[transfers:]

    def load(self, address: int, slot: int) -> int:
        value = self.accounts[address].storage.get(slot, 0) if address in self.accounts else 0
        self.reads.setdefault((address, slot), value)
        return value

    def store(self, address: int, slot: int, value: int) -> None:
        if address not in self.accounts:
            self._change(address)
        self._set(self.accounts[address].storage, slot, value)

    def store_transient(self, address: int, slot: int, value: int) -> None:
        self._set(self.transient, (address, slot), value)

    def transfer(self, sender: int, to: int, value: int) -> None:
        """Move wei; the sender must have it."""
        if value:
            self.transfers.append((sender, to, value))
            self._change(sender, balance=self.account(sender).balance - value)
            self._change(to, balance=self.account(to).balance + value)

    def raise_nonce(self, address: int) -> None:
        self._change(address, nonce=self.account(address).nonce + 1)

    def create(self, address: int) -> None:
        """An account that init code is going to run in (nonce 1, EIP-161)."""
        self._change(address, nonce=1, storage={})
        self._set(self.created, address, True)

    def set_code(self, address: int, code: bytes) -> None:
        self._change(address, code=code)

    def destroy(self, address: int, beneficiary: int) -> None:
        """SELFDESTRUCT after EIP-6780: the wei moves; the account goes only where this transaction made it."""
        balance = self.account(address).balance
        if address in self.created:
            self._set(self.destroyed, address, True)
            if beneficiary == address:
                return self._change(address, balance=0)
        if beneficiary != address:
            self.transfer(address, beneficiary, balance)
        return None

    def changes(self) -> dict[tuple[int, int], int]:
        """{(address, slot): word} of every slot whose word is not what it was when the transaction began."""
        owners = {id(account.storage): address for address, account in self.accounts.items()}
        before: dict[tuple[int, int], int] = {}
        for table, slot, old in self._journal:
            if id(table) in owners:
                before.setdefault((owners[id(table)], slot), old or 0)
        now = {key: self.accounts[key[0]].storage.get(key[1], 0) for key in before}
        return {key: value for key, value in now.items() if value != before[key]}

    def finish(self) -> None:
        """Remove what was destroyed."""
        for address in self.destroyed:
            self.accounts.pop(address, None)
