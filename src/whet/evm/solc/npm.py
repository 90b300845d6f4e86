"""npm packages by exact version, verified and kept: compilers (`solc`) and Solidity libraries.

A package's tarball is fetched by npm itself (no script of it runs, no dependency is installed), compared with the
SHA-512 in `pins.json`, or, for a version that is not there, with what was recorded when it was first installed here
(which is said: `Package.pinned`). Of its files only Solidity, `soljson.js`, package.json and licences are kept. A package
appears in the cache whole or not at all; once it is there, no network is needed. Cost: seconds and some 10 MB a compiler.

    python -m whet.evm.solc.npm solc@0.8.30 solmate@6.8.0       # now, while there is a network
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from whet import limits, staging
from whet.errors import ArtefactError, WhetError
from whet.evm.solc.cache import cache_folder
from whet.evm.solc.node import npm

RECORD = "whet.json"
_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_LICENCE = re.compile(r"(?i)licen[cs]e[^/]*")


@dataclass(frozen=True, slots=True)
class Package:
    """A package in the cache. `integrity`: "sha512-" and the base64 of its tarball's hash, as npm writes it.
    `pinned`: whether whet knew it beforehand; else it is what came at the first installation."""

    name: str
    version: str
    folder: Path
    integrity: str
    pinned: bool


@cache
def pins() -> dict[str, str]:
    """{"name@version": integrity} of what whet was tried with."""
    loaded: dict[str, str] = json.loads(Path(__file__).with_name("pins.json").read_text("utf-8"))
    return loaded


def package(name: str, version: str) -> Package:
    """The package, installed if it is not there yet.

    Raises WhetError for a name or version that cannot be one, if npm cannot get it, or if it is not what was recorded.
    """
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise WhetError(
            f"{name}@{version} is no package by exact version", fix="such as solc@0.8.30 or solmate@6.8.0"
        )
    key = f"{name}@{version}"
    folder = cache_folder() / "npm" / key.replace("/", "+")
    if not (folder / RECORD).is_file():
        _install(key, folder)
    integrity = _record(folder)["integrity"]
    pinned = pins().get(key)
    if pinned not in (None, integrity):
        raise _changed(key, str(integrity), str(pinned))
    return Package(name, version, folder, integrity, pinned is not None)


def read_verified(package: Package, name: str) -> bytes:
    """A file of the package, compared with its hash at the installation. Raises ArtefactError if it changed since."""
    recorded = _record(package.folder)["files"].get(name)
    try:
        raw = (package.folder / name).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"cannot be read: {error.strerror}", where=str(package.folder / name), fix=_again(package.folder)
        ) from error
    if hashlib.sha256(raw).hexdigest() != recorded:
        raise ArtefactError(
            "is not what was installed", where=str(package.folder / name), fix=_again(package.folder)
        )
    return raw


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text("utf-8"))
        return {"integrity": str(record["integrity"]), "files": dict(record["files"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError("is damaged", where=str(path), fix=_again(folder)) from error


def _again(folder: Path) -> str:
    return f"remove {folder}; it is installed again when it is needed"


def _install(key: str, folder: Path) -> None:
    with staging.writing(folder.parent), staging.staging(folder) as work:
        raw = _fetched(key, work)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode()
        expected = _expected(key, folder.parent)
        if expected not in (None, integrity):
            raise _changed(key, integrity, str(expected))
        files = _unpack(raw, work, key)
        record = {"integrity": integrity, "files": files}
        (work / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")
        if expected is None:
            staging.write_file(_seen(key, folder.parent), integrity + "\n")
        if not (folder / RECORD).is_file():  # another process may have been quicker
            staging.replace(work, folder)


def _expected(key: str, parent: Path) -> str | None:
    seen = _seen(key, parent)
    return pins().get(key) or (seen.read_text("utf-8").strip() if seen.is_file() else None)


def _seen(key: str, parent: Path) -> Path:
    """Where the hash of a version without a pin is kept; it outlives the package's folder."""
    return parent / "seen" / key.replace("/", "+")


def _changed(key: str, integrity: str, expected: str) -> ArtefactError:
    return ArtefactError(
        f"npm's {key} is not what was recorded: {integrity} instead of {expected}",
        fix="do not use it; ask who runs your npm registry",
    )


def _fetched(key: str, work: Path) -> bytes:
    """The tarball."""
    try:
        said = json.loads(npm(["pack", key, "--json", "--ignore-scripts", "--fetch-retries=1"], work))
        path = work / Path(said[0]["filename"]).name
        if path.stat().st_size > limits.NPM_PACKAGE_BYTES:
            raise WhetError(f"{key} has more than {limits.NPM_PACKAGE_BYTES:,} bytes")
        raw = path.read_bytes()
        path.unlink()
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise WhetError(f"npm's answer for {key} is not understood ({error})") from error
    except WhetError as error:
        raise WhetError(
            f"{key} is not in {cache_folder()} and cannot be installed: {error.what}",
            fix="once with a network, later without; a company's mirror is set in npm's own settings (npmrc)",
        ) from error
    return raw


def _unpack(raw: bytes, work: Path, key: str) -> dict[str, str]:
    """Write the files that are kept; their SHA-256 by name. Links, devices and names that lead elsewhere are no files."""
    files: dict[str, str] = {}
    budget = limits.NPM_UNPACKED_BYTES
    try:
        with tarfile.open(fileobj=BytesIO(raw), mode="r:gz") as tar:
            for member in tar:
                name = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                if not member.isfile() or not _kept(name):
                    continue
                budget -= member.size
                if budget < 0:
                    raise WhetError(f"{key} unpacks to more than {limits.NPM_UNPACKED_BYTES:,} bytes")
                stream = tar.extractfile(member)
                content = stream.read() if stream else b""
                path = work / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                files[str(name)] = hashlib.sha256(content).hexdigest()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise WhetError(f"{key} is no package of npm: {error}") from error
    return dict(sorted(files.items()))


def _kept(name: PurePosixPath) -> bool:
    if name.is_absolute() or ".." in name.parts or not name.parts or name.name == RECORD:
        return False
    top = str(name) in ("soljson.js", "package.json") or _LICENCE.fullmatch(str(name))
    return name.suffix == ".sol" or bool(top)


def main(keys: Sequence[str]) -> int:
    """Have these packages ("name@version") in the cache. The exit code."""
    try:
        for key in keys:
            name, _, version = key.rpartition("@")
            print(f"{key}: in {package(name, version).folder.parent}")
    except WhetError as error:
        print(f"whet: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
