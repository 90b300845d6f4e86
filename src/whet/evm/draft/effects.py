"""What reading order must respect: which parts of the machine an instruction reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm import opcodes

_ALL = frozenset({"memory", "storage", "transient", "returndata", "world", "log", "halt"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Effect:
    """Parts of the machine: memory, storage, transient, returndata, world (balances and code), log.

    halt: read by what may revert. A revert undoes what came before, so its place matters beside calls only."""

    reads: frozenset[str] = _NONE
    writes: frozenset[str] = _NONE

    def __or__(self, other: Effect) -> Effect:
        return Effect(self.reads | other.reads, self.writes | other.writes)

    def commutes(self, other: Effect) -> bool:
        """Whether the order of the two makes no difference."""
        return not (self.writes & (other.reads | other.writes) or other.writes & self.reads)

    @property
    def pure(self) -> bool:
        return not self.reads and not self.writes


PURE = Effect()
HALTS = Effect(frozenset({"halt"}))
STORED = Effect(frozenset({"storage"}))
MADE = Effect(frozenset({"memory"}), frozenset({"memory"}))
EVERYTHING = Effect(_ALL, _ALL)

_READS = {
    "KECCAK256": "memory",
    "MLOAD": "memory",
    "MSIZE": "memory",
    "SLOAD": "storage",
    "TLOAD": "transient",
    "RETURNDATASIZE": "returndata",
    "BALANCE": "world",
    "SELFBALANCE": "world",
    "EXTCODESIZE": "world",
    "EXTCODEHASH": "world",
    "LOG": "memory",
    "RETURN": "memory",
    "REVERT": "memory",
    "MCOPY": "memory",
    "RETURNDATACOPY": "returndata",
    "EXTCODECOPY": "world",
}
_WRITES = {
    "MSTORE": "memory",
    "MSTORE8": "memory",
    "MCOPY": "memory",
    "CALLDATACOPY": "memory",
    "CODECOPY": "memory",
    "EXTCODECOPY": "memory",
    "RETURNDATACOPY": "memory",
    "SSTORE": "storage",
    "TSTORE": "transient",
    "LOG": "log",
}


def effect_of(op: str) -> Effect:
    """Of an instruction by name; of one that is not in the tables, everything."""
    if op in opcodes.PURE or op == "GAS":
        return PURE
    op = "LOG" if op.startswith("LOG") else op
    if op == "STATICCALL":
        return Effect(_ALL, frozenset({"memory", "returndata", "halt"}))
    if op not in _READS and op not in _WRITES:
        return EVERYTHING
    return Effect(_set(_READS.get(op)), _set(_WRITES.get(op)))


def _set(part: str | None) -> frozenset[str]:
    return _NONE if part is None else frozenset({part})
