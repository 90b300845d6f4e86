"""One side of a verification as `Code`: bytecode as `whet lift` takes it, or a Solidity file, compiled.

The compiler's version is the one asked for, else the newest known one that all pragmas of the sources allow. Imports are
read beside the file, and in a node_modules folder above it. Left out: constructors (immutables are zero), remappings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.errors import CodeError, WhetError
from whet.evm.bytecode import Code, read_code
from whet.evm.solc.compiler import CompileError, Settings, compile_standard, errors
from whet.evm.solc.npm import pins
from whet.evm.solc.sources import imports, pragmas

MOST_FILES = 2_000
SOURCE_BYTES = 8 * 2**20
SELECTION = {"*": {"*": ["abi", "evm.bytecode", "evm.deployedBytecode"]}}

Version = tuple[int, int, int]


def read_side(given: str, *, contract: str = "", compiler: str = "", settings: Path | None = None) -> Code:
    """given: a path that ends in .sol, or what `read_code` takes. contract: which one, where there are several.

    compiler, settings: for Solidity: the exact version, and a JSON file with what stands under "settings" in solc's
    standard JSON. Raises CodeError for what cannot be read or compiled, WhetError if the compiler cannot be had.
    """
    if not given.endswith(".sol"):
        return read_code(given, contract=contract)
    sources = _sources(Path(given))
    try:
        version = compiler or _version(sources, given)
        chosen = _settings(settings) if settings else Settings(version).standard()
        return compiled(sources, version, chosen, contract)
    except CompileError as error:
        raise CodeError(str(error), where=given) from error


def compiled(
    sources: Mapping[str, str], version: str, settings: Mapping[str, Any], contract: str = ""
) -> Code:
    """The runtime code of a contract in the first of the sources. settings: of the standard JSON.

    contract: its name; "" where the file has only one with code. Raises CompileError, CodeError, WhetError.
    """
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**settings, "outputSelection": SELECTION},
    }
    output = compile_standard(version, request)
    if wrong := errors(output, sources):
        raise CompileError(version, wrong)
    main = next(iter(sources))
    found = {
        name: one
        for name, one in output["contracts"].get(main, {}).items()
        if one["evm"]["deployedBytecode"]["object"]
    }
    if not found:
        raise CodeError(
            "no contract in it has code", where=main, fix="interfaces and abstract contracts have none"
        )
    return read_code(json.dumps({"contracts": {main: found}}), contract=contract)


def _sources(path: Path) -> dict[str, str]:
    """{name: text} of the file and all it imports, the file first."""
    texts = {path.name: _read(path, path.name)}
    work = [path.name]
    while work:
        name = work.pop()
        for wanted in imports(name, texts[name]):
            if wanted in texts:
                continue
            if len(texts) >= MOST_FILES:
                raise CodeError(f"more than {MOST_FILES:,} files are imported", where=str(path))
            texts[wanted] = _read(_found(path.parent, wanted, name), name)
            work.append(wanted)
    return texts


def _found(base: Path, wanted: str, importer: str) -> Path:
    places = [
        base / wanted,
        *(folder / "node_modules" / wanted for folder in (base, *base.resolve().parents)),
    ]
    for place in places:
        if place.is_file():
            return place
    raise CodeError(
        f"{wanted} is imported and nowhere to be found",
        where=importer,
        fix="put it beside the file or into node_modules, or give the compiler's artifact instead",
    )


def _read(path: Path, importer: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SOURCE_BYTES + 1)
    except OSError as error:
        raise CodeError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(raw) > SOURCE_BYTES:
        raise CodeError(f"larger than {SOURCE_BYTES:,} bytes", where=str(path))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodeError("is no UTF-8 text", where=str(path)) from error


def _settings(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(_read(path, str(path)))
    except (ValueError, RecursionError) as error:
        raise CodeError(
            f"not JSON: {error}", where=str(path), fix="give the compiler's settings as JSON"
        ) from error
    if not isinstance(loaded, dict):
        raise CodeError(
            "holds no settings of a compiler", where=str(path), fix='such as {"optimizer": {...}}'
        )
    inner = loaded.get("settings", loaded)
    return dict(inner) if isinstance(inner, dict) else {}


# Versions.

_PART = re.compile(r"(\^|~|>=|<=|>|<|=)?\s*v?(\d+)\.(\d+)(?:\.(\d+))?")


def _version(sources: Mapping[str, str], where: str) -> str:
    """The newest known compiler that all pragmas allow; else one that a pragma names."""
    wanted = [text for source in sources.values() for text in pragmas(source)]
    known = sorted((_number(key[5:]) for key in pins() if key.startswith("solc@")), reverse=True)
    named = [(int(a), int(b), int(c)) for text in wanted for _, a, b, c in _PART.findall(text) if c]
    for number in (*known, *sorted(set(named), reverse=True)):
        if number >= (0, 4, 11) and all(allows(text, number) for text in wanted):
            return ".".join(map(str, number))
    raise WhetError(
        f"no known compiler is allowed by {' and '.join(sorted(set(wanted)))}",
        where=where,
        fix="name one: --compiler",
    )


def _number(text: str) -> Version:
    major, minor, patch = text.split(".")
    return int(major), int(minor), int(patch)


def allows(pragma: str, version: Version) -> bool:
    """Whether "^0.8.0", ">=0.7 <0.9", "0.8.19 || 0.8.20" takes that version."""
    return any(
        all(_holds(*part, version=version) for part in _PART.findall(choice)) for choice in pragma.split("||")
    )


def _holds(sign: str, a: str, b: str, c: str, *, version: Version) -> bool:
    low = int(a), int(b), int(c or 0)
    if sign == "^":
        return (
            version >= low and version[:2] == low[:2]
            if low[0] == 0
            else version[0] == low[0] and version >= low
        )
    if sign == "~" or (sign in ("", "=") and not c):
        return version >= low and version[:2] == low[:2]
    checks = {">=": version >= low, "<=": version <= low, ">": version > low, "<": version < low}
    return checks.get(sign, version == low)
