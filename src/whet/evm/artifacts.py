"""Bytecode in what compilers and their tools write: one `Artifact` per contract.

Read are the standard JSON and `--combined-json` of solc (and Vyper's), what `solc --bin --bin-runtime` prints, Foundry's
out/X.sol/X.json, Hardhat's and Truffle's artifacts, build-info of Foundry and Hardhat, and a node's JSON-RPC answer.
Only names and bytecode are looked at; what else stands there is left. Memory: the text and its JSON values.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from whet.errors import CodeError
from whet.evm.hexadecimal import printable


@dataclass(frozen=True, slots=True)
class Artifact:
    """One contract. name: "Token" or "file.sol:Token"; "" where none is given. runtime, creation: hex text, "" if absent.
    immutables: {id: offsets} and libraries: {name: offsets} in the runtime code, in bytes. abi: JSON ABI entries."""

    name: str
    runtime: str = ""
    creation: str = ""
    immutables: dict[str, tuple[int, ...]] = field(default_factory=dict)
    libraries: dict[str, tuple[int, ...]] = field(default_factory=dict)
    abi: tuple[dict[str, Any], ...] = ()

    @property
    def has_code(self) -> bool:
        return any(code not in ("", "0x") for code in (self.runtime, self.creation))


def read_artifacts(text: str, where: str) -> list[Artifact]:
    """Every contract in the text of an artifact, those without code too. Raises CodeError if it holds no bytecode."""
    if "\n=======" in f"\n{text}":
        return _printed(text)
    values = parse_json(text, where)
    found = _contracts(values)
    if found:
        return found
    fix = "known are artifacts of solc, Vyper, Foundry, Hardhat and Truffle"
    if isinstance(values, dict) and "sources" in values and "language" in values:
        fix = "this is what a compiler is given (standard JSON input); give what it answers"
    elif isinstance(values, dict) and values.get("errors"):
        fix = "the compiler reports errors and no contracts; look at its `errors`"
    elif isinstance(values, dict) and "jsonrpc" in values:
        fix = "a node's answer without a result; look at its `error`"
    elif isinstance(values, list) and any("type" in entry for entry in abi_entries(values)):
        fix = "this is an ABI, which holds names and no code: --abi FILE, beside the code"
    raise CodeError("JSON without bytecode", where=where, fix=fix)


def parse_json(text: str, where: str, fix: str = "") -> Any:
    """JSON as plain values. Raises CodeError with the line and character for anything else."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise CodeError(
            f"not JSON: {error.msg} (line {error.lineno}, character {error.colno})", where=where, fix=fix
        ) from error
    except (RecursionError, ValueError) as error:
        raise CodeError(f"JSON that cannot be read: {error}", where=where, fix=fix) from error


def _contracts(values: Any) -> list[Artifact]:
    if isinstance(values, str):
        return [Artifact("", runtime=values)]
    if not isinstance(values, dict):
        return []
    if isinstance(values.get("output"), dict):  # build-info
        values = values["output"]
    if isinstance(values.get("contracts"), dict):
        return [found for name, inner in values["contracts"].items() for found in _of_file(name, inner)]
    if isinstance(values.get("result"), str):  # eth_getCode
        return [Artifact("", runtime=values["result"])]
    single = _single(str(values.get("contractName") or ""), values)
    if single:
        return [single]
    return [found for name, inner in values.items() if (found := _single(name, inner))]  # Vyper's combined


def _of_file(name: str, inner: Any) -> list[Artifact]:
    """combined JSON has contracts by "file:Name", standard JSON has files with contracts by name."""
    single = _single(name, inner)
    if single or not isinstance(inner, dict):
        return [single] if single else []
    return [found for key, value in inner.items() if (found := _single(f"{name}:{key}", value))]


def _single(name: str, values: Any) -> Artifact | None:
    if not isinstance(values, dict):
        return None
    evm = values["evm"] if isinstance(values.get("evm"), dict) else values
    runtime = next(
        (evm[k] for k in ("deployedBytecode", "bin-runtime", "bytecode_runtime") if k in evm), None
    )
    creation = next((evm[k] for k in ("bytecode", "bin") if k in evm), None)
    if runtime is None and creation is None:
        return None
    details = runtime if isinstance(runtime, dict) else values
    return Artifact(
        name=printable(name),
        runtime=_text(runtime),
        creation=_text(creation),
        immutables=_places(details.get("immutableReferences")),
        libraries=_libraries(
            details.get("linkReferences") if details is runtime else values.get("deployedLinkReferences")
        ),
        abi=abi_entries(values.get("abi")),
    )


def _text(code: Any) -> str:
    if isinstance(code, dict):
        code = code.get("object")
    return code if isinstance(code, str) else ""


def abi_entries(abi: Any) -> tuple[dict[str, Any], ...]:
    """The entries of a JSON ABI, which combined JSON of old versions holds as text; () for anything else."""
    if isinstance(abi, str):
        try:
            abi = json.loads(abi)
        except (ValueError, RecursionError):
            return ()
    return tuple(entry for entry in abi if isinstance(entry, dict)) if isinstance(abi, list) else ()


def _places(references: Any) -> dict[str, tuple[int, ...]]:
    """{id: offsets} from {id: [{"start", "length"}]}."""
    if not isinstance(references, dict):
        return {}
    places = {
        str(key): tuple(
            place["start"]
            for place in value
            if isinstance(place, dict) and isinstance(place.get("start"), int)
        )
        for key, value in references.items()
        if isinstance(value, list)
    }
    return {key: offsets for key, offsets in places.items() if offsets}


def _libraries(references: Any) -> dict[str, tuple[int, ...]]:
    """{"file:Name": offsets} from {file: {name: [{"start", "length"}]}}."""
    if not isinstance(references, dict):
        return {}
    return {
        printable(f"{file}:{name}"): offsets
        for file, inner in references.items()
        for name, offsets in _places(inner).items()
    }


_HEAD = re.compile(r"^======= (.+?) =======\s*$", re.MULTILINE)
_BINARY = re.compile(r"^Binary( of the runtime part)?:\s*\n([^\n]*)", re.MULTILINE)


def _printed(text: str) -> list[Artifact]:
    """From what `solc --bin --bin-runtime` prints."""
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found = []
    for head, end in zip(heads, ends, strict=True):
        codes = {bool(part[1]): part[2].strip() for part in _BINARY.finditer(text, head.end(), end)}
        found.append(Artifact(printable(head[1]), runtime=codes.get(True, ""), creation=codes.get(False, "")))
    return found
