"""Getters of strings: public functions without arguments that give back a string in storage, shown by running them.

Copying a string out of storage takes a loop, two ways of encoding and memory, which every compiler writes its own way.
A function is one if it reads the slots of one variable and nothing else of the world, and for each of some strings,
short and long, gives back that string. Like the names of helpers this is no proof for all strings.
"""

from __future__ import annotations

from whet.errors import WhetError
from whet.evm.interpret import Transaction, run
from whet.evm.keccak import keccak256
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.slots import place
from whet.evm.tac import Contract, Function
from whet.evm.world import Account, World

_STEPS = 20_000
_LENGTHS = (0, 1, 31, 32, 33, 64, 95, 200)
_ADDRESS, _CALLER = 0xC0DE, 0xCA11E5
_ALLOWED = frozenset({"SLOAD", "KECCAK256", "MCOPY", "CODECOPY", "RETURN", "REVERT"})
_WORLD = frozenset(
    {"CALLDATALOAD", "CALLER", "ORIGIN", "TIMESTAMP", "NUMBER", "CHAINID", "GASPRICE", "COINBASE", "ADDRESS"}
    | {
        "PREVRANDAO",
        "GASLIMIT",
        "BASEFEE",
        "BLOBHASH",
        "BLOBBASEFEE",
        "SELFBALANCE",
        "BALANCE",
        "GAS",
        "CODE",
    }
)


def string_getter(contract: Contract, function: Function, uses: Uses) -> int | None:
    """The slot of the string that a public function without arguments gives back."""
    walk = uses.walk
    if walk.cut or function.selector is None or any(e.op not in _ALLOWED for e in walk.effects):
        return None
    if any(node.op in _WORLD for node in walk.symbols.nodes):
        return None
    places = [place(effect.args[0]) for effect in walk.effects if effect.op == "SLOAD"]
    roots = {found.path[0] for found in places if found is not None}
    is_long = any(found is not None and found.path[1:2] == ("data",) for found in places)
    if None in places or len(roots) != 1 or not is_long:
        return None
    (slot,) = roots
    assert isinstance(slot, int)
    return slot if _gives(contract, function.selector, slot) else None


def _gives(contract: Contract, selector: int, slot: int) -> bool:
    account = Account(contract=contract)
    world = World({_ADDRESS: account, _CALLER: Account()})
    call = Transaction(_CALLER, _ADDRESS, selector.to_bytes(4, "big"))
    for length in _LENGTHS:
        text = bytes(1 + (7 * i + length) % 255 for i in range(length))
        account.storage = _stored(text, slot)
        try:
            result = run(None, world, call, steps=_STEPS)
        except WhetError:
            return False
        if result.status != "success" or result.data != _encoded(text):
            return False
    return True


def _stored(text: bytes, slot: int) -> dict[int, int]:
    """{slot: word} of a string, after Solidity's "Layout of State Variables in Storage"."""
    if len(text) < 32:
        return {slot: int.from_bytes(text.ljust(32, b"\0"), "big") | 2 * len(text)}
    first = int.from_bytes(keccak256(slot.to_bytes(32, "big")), "big")
    parts = [text[at : at + 32].ljust(32, b"\0") for at in range(0, len(text), 32)]
    words = {first + i: int.from_bytes(part, "big") for i, part in enumerate(parts)}
    return {slot: 2 * len(text) + 1} | words


def _encoded(text: bytes) -> bytes:
    """As the ABI gives back one string."""
    padded = text.ljust(-(-len(text) // 32) * 32, b"\0")
    return (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + padded
