"""The only code that writes artefacts: staged, fsynced, hashed, renamed; read back only if the hashes agree.

An artefact is a folder with a `MANIFEST.json`: the schema version, the kind, the key (hash of everything
it was made from), a record, and size and SHA-256 of every file. The manifest is written last and the
folder appears under its name in one rename, so an artefact either exists whole or not at all. What a
crash leaves behind is a folder named `.staging-*`, swept at the next write beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet import limits
from whet.errors import ArtefactError
from whet.records import SCHEMA_VERSION

MANIFEST = "MANIFEST.json"
STAGING = ".staging-"
REPLACED = ".replaced-"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A verified folder and what its manifest says."""

    folder: Path
    kind: str
    key: str
    record: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @property
    def size_bytes(self) -> int:
        """Of all files, without the manifest."""
        return sum(int(entry["bytes"]) for entry in self.files.values())


def content_hash(value: Any) -> str:
    """SHA-256 of a plain value in canonical JSON; equal values have equal hashes on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hash(*parts: str) -> str:
    """SHA-256 over the Python files of the named modules or packages of whet, for the keys of results."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for part in sorted(parts):
        place = root / part
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def versions(*libraries: str) -> dict[str, str]:
    """Installed versions by distribution name, for the keys of results and the report."""
    from importlib.metadata import version

    return {name: version(name) for name in libraries}


def write_text(path: Path, text: str) -> None:
    """Replace one file atomically; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged_file = path.with_name(f"{STAGING}{path.name}-{os.getpid()}")
    try:
        with staged_file.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged_file.replace(path)
    except BaseException:
        staged_file.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace one JSON file atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours. Raises ArtefactError if it is missing, too large or damaged."""
    try:
        if path.stat().st_size > limits.MANIFEST_BYTES:
            raise ArtefactError("larger than any file of this kind", where=str(path))
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix="run with --force to make it again") from error


def read_json_lines(path: Path) -> list[Any]:
    """Every whole line of a JSON-lines file of ours; a line torn by a crash ends it. Empty if there is no file."""
    records = []
    for line in path.read_text("utf-8").split("\n") if path.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


@contextmanager
def staged(folder: Path, *, kind: str, key: str, record: dict[str, Any]) -> Iterator[Path]:
    """Give a temporary folder to fill; on a clean exit it becomes `folder`, whole, replacing what was there.

    `record` may be filled until the block ends. On an exception nothing changes and nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    work = folder.parent / f"{STAGING}{folder.name}-{os.getpid()}"
    work.mkdir()
    try:
        yield work
        _seal(work, kind, key, record)
        _replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _seal(work: Path, kind: str, key: str, record: dict[str, Any]) -> None:
    files = {}
    for path in sorted(item for item in work.rglob("*") if item.is_file()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.relative_to(work).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    body = {"schema": SCHEMA_VERSION, "kind": kind, "key": key, "record": record, "files": files}
    write_json(work / MANIFEST, {**body, "sha256": content_hash(body)})
    for inner in (item for item in work.rglob("*") if item.is_dir()):
        _sync_folder(inner)


def _replace(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`; an older one stands aside until the new one is in place."""
    aside = folder.parent / f"{REPLACED}{folder.name}-{os.getpid()}"
    if folder.exists():
        folder.rename(aside)
    work.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Tidy up after a crash in `parent`: finish an interrupted replacement, remove staged leftovers of dead processes."""
    for item in parent.iterdir() if parent.is_dir() else ():
        if not item.name.startswith((STAGING, REPLACED)) or _alive(item.name.rpartition("-")[2]):
            continue
        original = parent / item.name.removeprefix(REPLACED).rpartition("-")[0]
        if item.name.startswith(REPLACED) and not original.exists():
            item.rename(original)
        elif item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_artefact(folder: Path, kind: str, *, verify: bool = True) -> Artefact:
    """Read an artefact's manifest and (with `verify`) compare every file's size and hash.

    Raises ArtefactError that names the damaged or missing file.
    """
    body = read_json(folder / MANIFEST)
    if not isinstance(body, dict) or body.get("sha256") != content_hash({k: v for k, v in body.items() if k != "sha256"}):
        raise ArtefactError("the manifest is damaged", where=str(folder / MANIFEST), fix="remove the folder and make it again")
    if body["schema"] > SCHEMA_VERSION:
        raise ArtefactError(f"written by a newer whet (schema {body['schema']})", where=str(folder), fix="upgrade whet")
    if body["kind"] != kind:
        raise ArtefactError(f"this is a {body['kind']}, not a {kind}", where=str(folder))
    for name, entry in body["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise ArtefactError("a file is missing or cut short", where=str(path), fix="remove the folder and make it again")
        if verify and file_hash(path) != entry["sha256"]:
            raise ArtefactError("the contents have changed since they were written", where=str(path), fix="remove the folder and make it again")
    return Artefact(folder, kind, body["key"], body["record"], body["files"])


def fresh(folder: Path, kind: str, key: str) -> Artefact | None:
    """The artefact if it is there, whole, and made from exactly this key; otherwise None."""
    try:
        artefact = open_artefact(folder, kind)
    except ArtefactError:
        return None
    return artefact if artefact.key == key else None
