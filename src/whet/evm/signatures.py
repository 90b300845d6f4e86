"""Names of functions, errors and events by the hash that stands for them: a table that comes along, and the user's ABIs.

The table, signatures.txt, holds signatures of public standards and of much-used contracts, one a line behind its hash. Four
bytes are few: unrelated signatures share a selector, so every name that fits is given, those of ABIs first. A name
found here is a guess until an ABI of the contract itself says it. Nothing is looked up in a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from whet import limits
from whet.errors import CodeError
from whet.evm.artifacts import abi_entries, parse_json
from whet.evm.keccak import keccak256

_KINDS = ("function", "error", "event")
_DEEPEST = 32
_GIVE = "--abi takes a JSON ABI, or an artifact that has one"


@dataclass(frozen=True, slots=True)
class Signatures:
    """Names by hash: {first four bytes: names} of functions and errors, {topic: names} of events."""

    _functions: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _errors: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _events: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @staticmethod
    def builtin() -> Signatures:
        """The table that comes along."""
        return _builtin()

    def with_abi(self, abi: Path | str | list[Any] | tuple[Any, ...]) -> Signatures:
        """These and, before them, those of an ABI: its entries, or a file that is one or an artifact with some.

        Raises CodeError for a file without any ABI.
        """
        entries = abi if isinstance(abi, list | tuple) else read_abi(Path(abi))
        named: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        for entry in entries:
            if isinstance(entry, dict) and entry.get("type") in _KINDS and isinstance(entry.get("name"), str):
                named[entry["type"]].append(entry_signature(entry))
        return Signatures(
            _merged(named["function"], self._functions, 4),
            _merged(named["error"], self._errors, 4),
            _merged(named["event"], self._events, 32),
        )

    def without_functions(self, selectors: Iterable[int]) -> Signatures:
        """These, as if no function of these selectors were known."""
        left = set(selectors)
        functions = {key: names for key, names in self._functions.items() if key not in left}
        return Signatures(functions, self._errors, self._events)

    def functions(self, selector: int) -> tuple[str, ...]:
        """("transfer(address,uint256)",) for 0xa9059cbb; () where none is known."""
        return self._functions.get(selector, ())

    def errors(self, selector: int) -> tuple[str, ...]:
        """("Panic(uint256)",) for 0x4e487b71."""
        return self._errors.get(selector, ())

    def events(self, topic: int) -> tuple[str, ...]:
        """("Transfer(address,address,uint256)",) for the first topic of such a log."""
        return self._events.get(topic, ())


def _merged(names: list[str], known: dict[int, tuple[str, ...]], size: int) -> dict[int, tuple[str, ...]]:
    """`known`, with `names` before those of the same hash."""
    merged = dict(known)
    for name in reversed(names):
        key = int.from_bytes(keccak256(name.encode())[:size], "big")
        merged[key] = tuple(dict.fromkeys((name, *merged.get(key, ()))))
    return merged


@lru_cache(maxsize=1)
def _builtin() -> Signatures:
    """The table has the hashes in it, since 2,000 of them take a tenth of a second; a test compares them."""
    named: dict[str, dict[int, tuple[str, ...]]] = {kind: {} for kind in _KINDS}
    known = named[_KINDS[0]]
    for line in files("whet.evm").joinpath("signatures.txt").read_text("utf-8").splitlines():
        digits, _, name = line.partition(" ")
        if digits == "#":
            known = named[name]
        else:
            key = int(digits, 16)
            known[key] = (*known.get(key, ()), name)
    return Signatures(*named.values())


def entry_signature(entry: dict[str, Any]) -> str:
    """ "Transfer(address,address,uint256)" of an entry of a JSON ABI. Raises CodeError for a name that cannot be shown."""
    signature = f"{entry['name']}({_types(entry.get('inputs'))})"
    if not signature.isprintable():
        raise CodeError(f"a name that cannot be shown: {signature!a:.100}", where="the ABI")
    return signature


def _types(inputs: Any, depth: int = 0) -> str:
    """The types of a list of ABI parameters; a struct is its fields in brackets."""
    if not isinstance(inputs, list):
        return ""
    return ",".join(_type(one, depth) for one in inputs if isinstance(one, dict))


def _type(parameter: dict[str, Any], depth: int) -> str:
    named = str(parameter.get("type", ""))
    if not named.startswith("tuple"):
        return named
    if depth == _DEEPEST:
        raise CodeError(f"structs nested deeper than {_DEEPEST} levels", where="the ABI")
    return f"({_types(parameter.get('components'), depth + 1)}){named[5:]}"


def read_abi(path: Path) -> tuple[dict[str, Any], ...]:
    """The entries of a JSON ABI, or of the ABIs in an artifact. Raises CodeError where there are none."""
    try:
        with path.open("rb") as file:
            raw = file.read(limits.ARTIFACT_BYTES + 1)
    except OSError as error:
        raise CodeError(f"cannot be read: {error.strerror}", where=str(path), fix=_GIVE) from error
    if len(raw) > limits.ARTIFACT_BYTES:
        raise CodeError(f"larger than {limits.ARTIFACT_BYTES:,} bytes", where=str(path))
    values = parse_json(raw.decode("utf-8", errors="replace"), str(path), fix=_GIVE)
    entries = _all_entries(values)
    if not entries:
        raise CodeError("holds no ABI", where=str(path), fix=_GIVE)
    return entries


def _all_entries(values: Any, depth: int = 0) -> tuple[dict[str, Any], ...]:
    """Of an ABI, of an artifact, or of every contract in one with several."""
    if isinstance(values, list):
        return abi_entries(values)
    if not isinstance(values, dict) or depth > 4:  # output, contracts, file, name, abi
        return ()
    if "abi" in values:
        return abi_entries(values["abi"])
    inner = [values[key] for key in ("output", "contracts") if isinstance(values.get(key), dict)]
    return tuple(entry for value in inner or values.values() for entry in _all_entries(value, depth + 1))
