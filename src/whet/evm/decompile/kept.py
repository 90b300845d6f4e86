"""Results kept in whet's cache folder, by the code and all that they depend on: the same question is answered once.

A key holds the code's bytes, what an artifact adds to them, the options, a model's identity, and this package's own files:
a whet that would decompile otherwise finds nothing of another one's. An entry that is damaged counts as missing. Safe to delete.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import zstandard

from whet import staging
from whet.evm.bytecode import Code
from whet.evm.decompile.nouns import Decompiled
from whet.evm.decompile.run import Options
from whet.evm.decompile.serial import from_json, to_json
from whet.evm.solc.cache import cache_folder

_BESIDE = ("pyrevm", "eth-abi", "cbor2")
"""Packages that what comes out depends on."""


def key(code: Code, options: Options, model: str = "") -> str:
    """Hex digits, the same for the same question to the same whet. model: identity of one that was asked."""
    said = [code.facts(), list(code.notes), code.name, list(code.abi), asdict(options), fingerprint(), model]
    digest = hashlib.sha256(code.runtime + b"\0" + json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


def remembered(name: str) -> Decompiled | None:
    """What was kept under a key."""
    try:
        with _place(name).open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            return from_json(json.loads(stream.read()))
    except (OSError, ValueError, KeyError, TypeError, zstandard.ZstdError):
        return None


def keep(name: str, result: Decompiled) -> None:
    """Raises CannotWrite."""
    kept = _place(name)
    raw = zstandard.ZstdCompressor(level=6).compress(json.dumps(to_json(result)).encode())
    with staging.writing(kept.parent), staging.staging(kept) as work:
        (work / "result").write_bytes(raw)
        (work / "result").replace(kept)


@cache
def fingerprint() -> str:
    """Of the files that decide what a result is: everything of `whet.evm`, and the versions of what it calls."""
    home = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*")):
        if path.suffix in (".py", ".txt", ".js", ".json") and path.is_file():
            digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for name in _BESIDE:
        digest.update(f"{name} {_version(name)}\n".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _place(name: str) -> Path:
    return cache_folder() / "decompiled" / name[:2] / f"{name}.json.zst"
