"""`compile_standard`: standard JSON in, standard JSON out, by exact version of solc, remembered.

An output is kept under the hash of version and input: the same question is answered without node, and without the
compiler. Nothing is read but what the input holds; there is no import callback. Cost: what the compiler takes, once.
Source: https://docs.soliditylang.org/en/latest/using-the-compiler.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zstandard

from whet import staging
from whet.errors import WhetError
from whet.evm.solc.cache import cache_folder
from whet.evm.solc.node import node
from whet.evm.solc.npm import package, read_verified
from whet.evm.solc.worker import SCRIPT, Worker

_workers: dict[str, Worker] = {}


class CompileError(WhetError):
    """The sources do not compile. `messages`: every error as the compiler put it, "file:line: text". `parsed`: none of them
    is the parser's."""

    def __init__(self, version: str, messages: list[str], *, parsed: bool = True) -> None:
        self.messages, self.parsed = messages, parsed
        super().__init__(f"solc {version} refuses the sources:\n  " + "\n  ".join(messages[:10]))


EVM_VERSIONS = {
    "homestead": (0, 4, 21),
    "tangerineWhistle": (0, 4, 21),
    "spuriousDragon": (0, 4, 21),
    "byzantium": (0, 4, 21),
    "constantinople": (0, 4, 21),
    "petersburg": (0, 5, 5),
    "istanbul": (0, 5, 9),
    "berlin": (0, 5, 14),
    "london": (0, 8, 7),
    "paris": (0, 8, 18),
    "shanghai": (0, 8, 20),
    "cancun": (0, 8, 24),
    "prague": (0, 8, 27),
}
"""Those that something here executes, and the first compiler that takes each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a contract is compiled. `runs`: the optimiser's; None: it is off. `evm_version`: "" is the compiler's own,
    but never one that nothing here executes (newer than prague). `inliner`: of the optimiser; only 0.8.2 and newer have
    one that can be switched off."""

    version: str
    runs: int | None = 200
    via_ir: bool = False
    evm_version: str = ""
    inliner: bool = True

    @property
    def number(self) -> tuple[int, int, int]:
        """The version, to compare."""
        major, minor, patch = self.version.split("-")[0].split(".")
        return int(major), int(minor), int(patch)

    @property
    def name(self) -> str:
        """Short and unique, such as "0.8.30-runs200-ir"."""
        runs = "off" if self.runs is None else f"runs{self.runs}"
        ir, inliner = "ir" if self.via_ir else "", "" if self.inliner else "noinline"
        parts = [self.version, runs, ir, inliner, self.evm_version]
        return "-".join(part for part in parts if part)

    def standard(self) -> dict[str, Any]:
        """The part `settings` of standard JSON, without outputSelection."""
        settings: dict[str, Any] = {
            "optimizer": {"enabled": self.runs is not None, "runs": 200 if self.runs is None else self.runs}
        }
        if not self.inliner:
            settings["optimizer"]["details"] = {"inliner": False}
        if self.via_ir:
            settings["viaIR"] = True
        evm_version = self.evm_version or ("prague" if self.number > (0, 8, 30) else "")
        if evm_version:
            settings["evmVersion"] = evm_version
        return settings

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compile_standard(version: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What solc `version` answers to `request`, whose sources all have `content`. Errors are in its "errors".

    Raises WhetError if the compiler is neither in the cache nor to be had, CompilerFailure if it crashes or takes too
    much time or memory.
    """
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(f"{version}\n{text}".encode()).hexdigest()
    kept = cache_folder() / "solc" / key[:2] / f"{key}.json.zst"
    if (output := _remembered(kept)) is not None:
        return output
    output = _worker(version).ask(text)
    raw = zstandard.ZstdCompressor(level=6).compress(json.dumps(output, separators=(",", ":")).encode())
    _keep(kept, raw)
    return output


def errors(output: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """The errors (no warnings) of an output as "file:line: text"."""
    said = [error for error in output.get("errors", ()) if error.get("severity") == "error"]
    return [_located(error, sources) for error in said]


def compile_sources(
    settings: Settings, sources: Mapping[str, str], selection: Mapping[str, Mapping[str, list[str]]]
) -> dict[str, Any]:
    """The output for {name: text} and an outputSelection. Raises CompileError if anything is wrong with the sources."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": settings.standard() | {"outputSelection": selection},
    }
    output = compile_standard(settings.version, request)
    if wrong := errors(output, sources):
        parsed = all(error.get("type") != "ParserError" for error in output["errors"])
        raise CompileError(settings.version, wrong, parsed=parsed)
    return output


def close_compilers() -> None:
    """End the processes that were started."""
    while _workers:
        _workers.popitem()[1].close()


def _worker(version: str) -> Worker:
    if version not in _workers:
        home = package("solc", version)
        read_verified(home, "soljson.js")
        command = [str(node()), str(SCRIPT), str(home.folder / "soljson.js")]
        _workers[version] = Worker(command, f"solc {version}")
    return _workers[version]


def _located(error: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    place = error.get("sourceLocation") or {}
    said = str(error.get("message") or error.get("formattedMessage") or "error without words")
    file, start = str(place.get("file", "")), place.get("start", -1)
    if file not in sources or not isinstance(start, int) or start < 0:
        return f"{file}: {said}" if file else said
    line = sources[file].encode()[:start].count(b"\n") + 1
    return f"{file}:{line}: {said}"


def _remembered(kept: Path) -> dict[str, Any] | None:
    """None if it is not there or damaged; then it is compiled again."""
    try:
        with kept.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            loaded = json.loads(stream.read())
    except (OSError, ValueError, zstandard.ZstdError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _keep(kept: Path, raw: bytes) -> None:
    with staging.writing(kept.parent), staging.staging(kept) as work:
        (work / "output").write_bytes(raw)
        (work / "output").replace(kept)
