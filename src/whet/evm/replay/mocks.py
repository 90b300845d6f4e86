"""Accounts that answer the calls of the contract under test, and the people who call it.

A mock tells every call to a recorder, whose log (who called, which mock, wei, calldata) puts all outgoing calls in the
transaction's logs, in order; in a static call the recorder cannot log, and that fails unseen. Then the mock answers
what is written down for the selector it is called with after so many recorded calls, or for the selector at any time
(`script`): a balance may be another behind a transfer. Else it answers as its slot 0 says (`ANSWERS`; 1 is the first),
or, where that is zero, by a hash of caller, value, call index (0 in static calls), calldata and its slot `SALT`: mostly
words of 1, which many types can be read from, or an address. Called with little gas (a stipend) it accepts and stays
silent.
"""

from __future__ import annotations

from collections.abc import Callable

from whet.evm.keccak import keccak256
from whet.evm.replay.assemble import assemble
from whet.evm.replay.signing import address_of
from whet.evm.world import Account


def named(name: str) -> int:
    """An address that belongs to the name alone."""
    return int.from_bytes(keccak256(name.encode())[12:], "big")


TARGET, RECORDER, FORWARDER, REFUSER = map(named, ("target", "recorder", "forwarder", "refuser"))
INSIDE = named("inside")
"""Where the target's code stands when the target calls itself (`self_calling_code`)."""
KEYS = {address_of(key): key for key in (1, 2, 3)}
"""Of the people: what they sign with."""
OWNER, ALICE, BOB = PEOPLE = tuple(KEYS)
MOCKS = tuple(named(f"mock {i}") for i in range(3))
CODED = frozenset({TARGET, RECORDER, FORWARDER, REFUSER, *MOCKS})
"""Who has code."""

MODE, WORD, ADDRESS, REENTRY, SALT = 0, 1, 2, 3, 6
"""Slots of a mock: which answer, the word and the address it gives, and from 3 on three words of calldata (the first
four bytes of the first, then two whole words) with which it calls back."""

SCRIPTS = 1 << 64
"""From this slot on: answers that are written down, by `when`."""
MOST_ANSWERED = 1024
"""Bytes of such an answer."""

QUIET_GAS = 20_000
RECORDED = 128
"""Bytes of a record before the calldata: caller, mock, wei, and a word for the index."""


def _word(text: str) -> str:
    return f"{text} PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"


def _words(*texts: str) -> str:
    stores = " ".join(f"{text} PUSH {32 * i} MSTORE" for i, text in enumerate(texts))
    return f"{stores} PUSH {32 * len(texts)} PUSH 0 RETURN"


ERROR = 0x08C379A0 << 224
TEXT = int.from_bytes(b"mock".ljust(32, b"\0"), "big")
_REENTER = (
    f"PUSH 96 MLOAD PUSH 1 EQ ISZERO @one JUMPI PUSH {REENTRY} SLOAD PUSH 256 MSTORE PUSH {REENTRY + 1} SLOAD PUSH 260 "
    f"MSTORE PUSH {REENTRY + 2} SLOAD PUSH 292 MSTORE PUSH 32 PUSH 0 PUSH 68 PUSH 256 PUSH 0 CALLER GAS CALL "
    "PUSH 32 MSTORE PUSH 64 PUSH 0 RETURN"
)
ANSWERS: dict[str, str] = {
    "word": _word(f"PUSH {WORD} SLOAD"),
    "one": _word("PUSH 1"),
    "small": _word("PUSH 8 SHR PUSH 0xff AND"),
    "address": _word(f"PUSH {ADDRESS} SLOAD"),
    "ether": _word(f"PUSH 8 SHR PUSH 15 AND PUSH 1 ADD PUSH {10**18} MUL"),
    "bytes": _words("PUSH 32", "PUSH 32", "PUSH 1"),
    "ones": _words(*["PUSH 1"] * 32),
    "zero": _word("PUSH 0"),
    "most": _word("PUSH 0 NOT"),
    "nothing": "STOP",
    "error": f"PUSH {ERROR} PUSH 0 MSTORE PUSH 32 PUSH 4 MSTORE PUSH 4 PUSH 36 MSTORE PUSH {TEXT} PUSH 68 MSTORE "
    "PUSH 100 PUSH 0 REVERT",
    "revert": "PUSH 0 PUSH 0 REVERT",
    "reenter": _REENTER,
    "text": _words("PUSH 32", "PUSH 4", f"PUSH {TEXT}"),
    "echo": _word("PUSH 4 CALLDATALOAD"),
    "mixed": _words("PUSH 64", "PUSH 128", "PUSH 4", f"PUSH {TEXT}", "PUSH 2", "PUSH 1", "PUSH 7"),
    "panic": f"PUSH {0x4E487B71 << 224} PUSH 0 MSTORE PUSH 0x11 PUSH 4 MSTORE PUSH 36 PUSH 0 REVERT",
    "custom": f"PUSH {0xDEADBEEF << 224} PUSH 0 MSTORE PUSH 4 PUSH 0 REVERT",
    "array": _words("PUSH 32", "PUSH 2", "CALLER", f"PUSH {ADDRESS} SLOAD"),
}
"""Name -> code that answers; the hash is on the stack."""
_RECORDS = f"PUSH 32 PUSH 0 PUSH 0 PUSH 0 PUSH {RECORDER} GAS STATICCALL POP PUSH 0 MLOAD"
"""How many calls were recorded."""
_SCRIPT = (
    f"PUSH 0 CALLDATALOAD PUSH 224 SHR PUSH 16 SHL PUSH {SCRIPTS} OR DUP1 DUP3 PUSH 48 SHL OR DUP1 SLOAD @late JUMPI POP "
    "@found JUMP :late SWAP1 POP :found SWAP1 POP DUP1 SLOAD DUP1 ISZERO @unwritten JUMPI "
    "DUP1 PUSH 0xffff AND PUSH 1 SWAP1 SUB PUSH 0 :next DUP2 DUP2 LT ISZERO @written JUMPI "
    "DUP1 PUSH 5 SHR PUSH 1 ADD DUP5 ADD SLOAD DUP2 MSTORE PUSH 32 ADD @next JUMP "
    ":written POP SWAP1 PUSH 16 SHR @fail JUMPI PUSH 0 RETURN :fail PUSH 0 REVERT :unwritten POP POP "
)


def when(selector: int, recorded: int) -> int:
    """Of a call of a mock: its selector (0 where the calldata is empty), and the calls that were recorded before it."""
    return min(recorded, 0xFFFF) << 32 | selector


def script(mock: int, call: int, success: bool, answer: bytes) -> dict[tuple[int, int], int]:
    """Slots that make the mock give that answer, of at most `MOST_ANSWERED` bytes, to calls of which `when` is that; what is
    written for no call recorded before is for all."""
    first = SCRIPTS | call << 16
    slots = {(mock, first): len(answer) + 1 | (not success) << 16}
    for at in range(0, len(answer), 32):
        slots[mock, first + 1 + at // 32] = int.from_bytes(answer[at : at + 32].ljust(32, b"\0"), "big")
    return slots


def _forward(to: int) -> str:
    return (
        f"CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY PUSH 0 PUSH 0 CALLDATASIZE PUSH 0 CALLVALUE PUSH {to} GAS CALL "
        "RETURNDATASIZE PUSH 0 PUSH 0 RETURNDATACOPY @good JUMPI RETURNDATASIZE PUSH 0 REVERT :good RETURNDATASIZE "
        "PUSH 0 RETURN"
    )


def mock_code(address: int) -> bytes:
    """The runtime code of the mock that stands there. Called by DELEGATECALL it answers with 1."""
    return assemble(_mock(address))


def _mock(address: int) -> str:
    record = (
        f"GAS PUSH {QUIET_GAS} GT @quiet JUMPI {_RECORDS} CALLDATASIZE PUSH 0 PUSH {RECORDED} CALLDATACOPY "
        f"CALLER PUSH 0 MSTORE PUSH {address} PUSH 32 MSTORE CALLVALUE PUSH 64 MSTORE "
        f"PUSH 32 PUSH 96 PUSH {RECORDED} CALLDATASIZE ADD PUSH 0 PUSH 0 PUSH {RECORDER} PUSH 2 GAS DIV CALL POP "
        f"PUSH {address} ADDRESS EQ ISZERO @one JUMPI {_SCRIPT} PUSH {RECORDED} CALLDATASIZE ADD PUSH 0 KECCAK256 "
        f"PUSH 64 MSTORE PUSH {SALT} SLOAD PUSH 32 MSTORE PUSH 64 PUSH 32 KECCAK256 "
    )
    mode = f"PUSH {MODE} SLOAD DUP1 @fixed JUMPI POP DUP1 PUSH 63 AND "
    kinds = " ".join(f"DUP1 PUSH {i} EQ @{name} JUMPI" for i, name in enumerate(ANSWERS))
    usual = "DUP1 PUSH 48 GT @ones JUMPI DUP1 PUSH 56 GT @one JUMPI @address JUMP"
    fixed = ":fixed PUSH 1 SWAP1 SUB @choose JUMP"
    answers = " ".join(f":{name} {'POP ' if name != 'one' else ''}{body}" for name, body in ANSWERS.items())
    return f"{record}{mode}:choose {kinds} {usual} {fixed} :quiet STOP {answers}"


def recorder_code() -> bytes:
    """Logs its calldata, if there is any, and answers how many calls it has logged in this transaction, this one included."""
    return assemble(
        "CALLDATASIZE @log JUMPI PUSH 0 TLOAD PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN "
        ":log CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY CALLDATASIZE PUSH 0 LOG0 "
        "PUSH 0 TLOAD PUSH 1 ADD DUP1 PUSH 0 TSTORE PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
    )


def forwarding_code(to: int = TARGET) -> bytes:
    """Calls that address with its own calldata and wei, and ends as that call does: of a caller that is a contract, and
    of what stands in for a mock."""
    return assemble(_forward(to))


def calling_code(address: int) -> bytes:
    """Of a mock through which a person calls the target, as through the forwarder; called by others it is as it was."""
    return assemble(
        f"CALLER ORIGIN EQ ISZERO PUSH {address} ADDRESS EQ ISZERO OR @mock JUMPI {_forward(TARGET)} :mock {_mock(address)}"
    )


_DELEGATE = (
    f"CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY PUSH 0 PUSH 0 CALLDATASIZE PUSH 0 PUSH {INSIDE} GAS DELEGATECALL "
    "RETURNDATASIZE PUSH 0 PUSH 0 RETURNDATACOPY @fine JUMPI RETURNDATASIZE PUSH 0 REVERT :fine RETURNDATASIZE "
    "PUSH 0 RETURN"
)


def self_calling_code() -> bytes:
    """Of the target: a person's call becomes its call of itself, and all others run the code at `INSIDE` as its own."""
    return assemble(f"CALLER ORIGIN EQ ISZERO @inside JUMPI {_forward(TARGET)} :inside {_DELEGATE}")


def proxy_code() -> bytes:
    """Of the target: runs the code at `INSIDE` as its own."""
    return assemble(_DELEGATE)


def people_and_mocks(storage: Callable[[int], int] = lambda i: 0) -> dict[int, Account]:
    """Fresh accounts. storage: slot 0 (the mode) of mock i."""
    accounts = {person: Account(balance=10**24) for person in PEOPLE}
    accounts[RECORDER] = Account(nonce=1, code=recorder_code())
    accounts[FORWARDER] = Account(nonce=1, code=forwarding_code())
    accounts[REFUSER] = Account(nonce=1, code=assemble("PUSH 0 PUSH 0 REVERT"))
    for i, address in enumerate(MOCKS):
        slots = {MODE: storage(i), WORD: 1, ADDRESS: MOCKS[(i + 1) % len(MOCKS)]}
        accounts[address] = Account(10**21, 1, mock_code(address), slots)
    return accounts
