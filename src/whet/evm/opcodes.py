"""Every EVM instruction, to the newest fork: name, stack words taken and given, and whether it only computes.

Source: the Yellow Paper, appendix H, and the EIPs named in `SINCE`. A byte that no fork defines is `INVALID` when
executed; it may well stand in data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opcode:
    """value: the byte. pops, pushes: stack words. immediate: bytes of data that follow the byte in the code."""

    value: int
    name: str
    pops: int
    pushes: int
    immediate: int = 0


_PURE = """
ADD MUL SUB DIV SDIV MOD SMOD ADDMOD MULMOD EXP SIGNEXTEND LT GT SLT SGT EQ ISZERO AND OR XOR NOT BYTE SHL SHR SAR CLZ
ADDRESS ORIGIN CALLER CALLVALUE CALLDATALOAD CALLDATASIZE CODESIZE GASPRICE COINBASE TIMESTAMP NUMBER PREVRANDAO
GASLIMIT CHAINID BASEFEE BLOBHASH BLOBBASEFEE BLOCKHASH
"""
PURE = frozenset(_PURE.split())
"""Same arguments, same result for the whole of one call, and no effect: may be moved, repeated or removed."""

HALTS = frozenset({"STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"})

SINCE = {
    "DELEGATECALL": "Homestead, EIP-7",
    "RETURNDATASIZE": "Byzantium, EIP-211",
    "RETURNDATACOPY": "Byzantium, EIP-211",
    "STATICCALL": "Byzantium, EIP-214",
    "REVERT": "Byzantium, EIP-140",
    "SHL": "Constantinople, EIP-145",
    "SHR": "Constantinople, EIP-145",
    "SAR": "Constantinople, EIP-145",
    "CREATE2": "Constantinople, EIP-1014",
    "EXTCODEHASH": "Constantinople, EIP-1052",
    "CHAINID": "Istanbul, EIP-1344",
    "SELFBALANCE": "Istanbul, EIP-1884",
    "BASEFEE": "London, EIP-3198",
    "PREVRANDAO": "Paris, EIP-4399 (DIFFICULTY before)",
    "PUSH0": "Shanghai, EIP-3855",
    "TLOAD": "Cancun, EIP-1153",
    "TSTORE": "Cancun, EIP-1153",
    "MCOPY": "Cancun, EIP-5656",
    "BLOBHASH": "Cancun, EIP-4844",
    "BLOBBASEFEE": "Cancun, EIP-7516",
    "CLZ": "Osaka, EIP-7939",
}
"""The fork that brought an instruction; all others are as old as the chain."""

_TABLE = """
00 STOP 0 0|01 ADD 2 1|02 MUL 2 1|03 SUB 2 1|04 DIV 2 1|05 SDIV 2 1|06 MOD 2 1|07 SMOD 2 1|08 ADDMOD 3 1|09 MULMOD 3 1
0a EXP 2 1|0b SIGNEXTEND 2 1|10 LT 2 1|11 GT 2 1|12 SLT 2 1|13 SGT 2 1|14 EQ 2 1|15 ISZERO 1 1|16 AND 2 1|17 OR 2 1
18 XOR 2 1|19 NOT 1 1|1a BYTE 2 1|1b SHL 2 1|1c SHR 2 1|1d SAR 2 1|1e CLZ 1 1|20 KECCAK256 2 1|30 ADDRESS 0 1
31 BALANCE 1 1|32 ORIGIN 0 1|33 CALLER 0 1|34 CALLVALUE 0 1|35 CALLDATALOAD 1 1|36 CALLDATASIZE 0 1
37 CALLDATACOPY 3 0|38 CODESIZE 0 1|39 CODECOPY 3 0|3a GASPRICE 0 1|3b EXTCODESIZE 1 1|3c EXTCODECOPY 4 0
3d RETURNDATASIZE 0 1|3e RETURNDATACOPY 3 0|3f EXTCODEHASH 1 1|40 BLOCKHASH 1 1|41 COINBASE 0 1|42 TIMESTAMP 0 1
43 NUMBER 0 1|44 PREVRANDAO 0 1|45 GASLIMIT 0 1|46 CHAINID 0 1|47 SELFBALANCE 0 1|48 BASEFEE 0 1|49 BLOBHASH 1 1
4a BLOBBASEFEE 0 1|50 POP 1 0|51 MLOAD 1 1|52 MSTORE 2 0|53 MSTORE8 2 0|54 SLOAD 1 1|55 SSTORE 2 0|56 JUMP 1 0
57 JUMPI 2 0|58 PC 0 1|59 MSIZE 0 1|5a GAS 0 1|5b JUMPDEST 0 0|5c TLOAD 1 1|5d TSTORE 2 0|5e MCOPY 3 0
f0 CREATE 3 1|f1 CALL 7 1|f2 CALLCODE 7 1|f3 RETURN 2 0|f4 DELEGATECALL 6 1|f5 CREATE2 4 1|fa STATICCALL 6 1
fd REVERT 2 0|fe INVALID 0 0|ff SELFDESTRUCT 1 0
"""


def _opcodes() -> dict[int, Opcode]:
    rows = [row.split() for line in _TABLE.split("\n") for row in line.split("|") if row]
    table = {
        int(value, 16): Opcode(int(value, 16), name, int(pops), int(pushes))
        for value, name, pops, pushes in rows
    }
    for size in range(33):
        table[0x5F + size] = Opcode(0x5F + size, f"PUSH{size}", 0, 1, immediate=size)
    for depth in range(1, 17):
        table[0x7F + depth] = Opcode(0x7F + depth, f"DUP{depth}", depth, depth + 1)
        table[0x8F + depth] = Opcode(0x8F + depth, f"SWAP{depth}", depth + 1, depth + 1)
    for topics in range(5):
        table[0xA0 + topics] = Opcode(0xA0 + topics, f"LOG{topics}", topics + 2, 0)
    return table


OPCODES = _opcodes()
"""{byte: Opcode}; a byte that is not here is undefined and halts like INVALID."""

BY_NAME = {opcode.name: opcode for opcode in OPCODES.values()}
