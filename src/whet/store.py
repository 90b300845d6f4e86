"""The only code that writes artefacts: staged, fsynced, hashed, renamed; read back only if the hashes agree.

An artefact is a folder with a `MANIFEST.json`: the schema version, the kind, the key (hash of everything
it was made from), a record, and size and SHA-256 of every file. The manifest is written last and the
folder appears under its name in one rename, so an artefact either exists whole or not at all. What a
crash leaves behind is named `.staging-*` or `.replaced-*` and the number of the process; the next write
beside it tidies up. Two machines must not write beside one another on a shared disk: neither sees whether
the other's processes live.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from whet import limits
from whet.errors import ArtefactError, NewerSchema
from whet.records import SCHEMA_VERSION

MANIFEST = "MANIFEST.json"
STAGING = ".staging-"
REPLACED = ".replaced-"

_in_progress: set[Path] = set()
"""What this process is staging now. Others may carry our number too: containers count from 1 each time."""


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
    """SHA-256 of a plain value in canonical JSON; equal values have equal hashes on every machine.

    Raises TypeError for what has no canonical form (a set, an object) and ValueError for NaN and infinity.
    """
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_plain_path,
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain_path(value: Any) -> str:
    if isinstance(value, PurePath):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")


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
    work = path.with_name(f"{STAGING}{path.name}-{os.getpid()}").absolute()
    _in_progress.add(work)
    try:
        with work.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except BaseException:
        _remove(work)
        raise
    finally:
        _in_progress.discard(work)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace one JSON file atomically; NaN and infinity are refused."""
    write_text(path, _json_text(value))


def _json_text(value: Any) -> str:
    """Readable JSON; what UTF-8 cannot hold (lone surrogates, from odd file names) stands as an escape."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours. Raises ArtefactError if it is missing, too large or damaged."""
    return _parsed(path, _read(path))


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ArtefactError("is no regular file", where=str(path))
        if path.stat().st_size > limits.MANIFEST_BYTES:
            raise ArtefactError("larger than any file of this kind", where=str(path))
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix=_AGAIN) from error


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix=_AGAIN) from error


_AGAIN = "run with --force to make it again"


def read_json_lines(path: Path) -> list[Any]:
    """Every whole line of a JSON-lines file of ours; a line torn by a crash ends it.

    Empty if there is no file.
    """
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

    `record` (plain JSON values) may be filled until the block ends. On an exception nothing changes and
    nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    work = (folder.parent / f"{STAGING}{folder.name}-{os.getpid()}").absolute()
    work.mkdir()
    _in_progress.add(work)
    try:
        yield work
        _seal(work, kind, key, record)
        _replace(work, folder)
    finally:
        _in_progress.discard(work)
        _remove(work)


def _seal(work: Path, kind: str, key: str, record: dict[str, Any]) -> None:
    files = {}
    for path in sorted(item for item in work.rglob("*") if item.is_file()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.relative_to(work).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    for inner in (item for item in work.rglob("*") if item.is_dir()):
        _sync_folder(inner)
    body = {"schema": SCHEMA_VERSION, "kind": kind, "key": key, "record": record, "files": files}
    body = json.loads(_json_text(body))  # as a reader will see it: tuples are lists, keys are strings
    write_json(work / MANIFEST, {**body, "sha256": content_hash(body)})


def _replace(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`; an older one stands aside until the new one is in place."""
    aside = folder.parent / f"{REPLACED}{folder.name}-{os.getpid()}"
    try:
        if folder.exists():
            folder.rename(aside)
        work.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        _put_back(work, folder, aside)
        raise
    _remove(aside)


def _put_back(work: Path, folder: Path, aside: Path) -> None:
    """Undo a replacement at whatever point it stopped; what cannot be undone now, the next sweep does."""
    with suppress(OSError):
        if not work.exists():
            folder.rename(work)
    with suppress(OSError):
        if aside.exists() and not folder.exists():
            aside.rename(folder)


def sweep(parent: Path) -> None:
    """Tidy up after a crash in `parent`: finish replacements, remove what dead processes were staging."""
    for item in sorted(parent.iterdir()) if parent.is_dir() else ():
        name, _, process = item.name.rpartition("-")
        if (
            not name.startswith((STAGING, REPLACED))
            or not process.isdecimal()
            or _at_work(item, int(process))
        ):
            continue
        original = parent / name.removeprefix(REPLACED)
        if name.startswith(REPLACED) and not original.exists():
            with suppress(FileNotFoundError):  # another process sweeps here too
                item.rename(original)
        else:
            _remove(item)


def _at_work(item: Path, process: int) -> bool:
    """Whether the process that made `item` still lives (and, where that is ourselves, still needs it)."""
    if process == os.getpid():
        own = item.name.replace(REPLACED, STAGING, 1)
        return item.with_name(own).absolute() in _in_progress
    import psutil

    return process < 2**31 and psutil.pid_exists(process)


def _remove(item: Path) -> None:
    """Remove a file, a link or a folder, as far as the system lets us."""
    if item.is_dir() and not item.is_symlink():
        shutil.rmtree(item, ignore_errors=True)
    else:
        with suppress(OSError):
            item.unlink()


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
    body = _manifest(folder)
    if body["kind"] != kind:
        raise ArtefactError(f"this is a {body['kind']}, not a {kind}", where=str(folder))
    for name, entry in body["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise ArtefactError("a file is missing or cut short", where=str(path), fix=_REMOVE)
        if verify and file_hash(path) != entry["sha256"]:
            raise ArtefactError(
                "the contents have changed since they were written", where=str(path), fix=_REMOVE
            )
    return Artefact(folder, kind, body["key"], body["record"], body["files"])


_REMOVE = "remove the folder and make it again"


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, if it is byte for byte what was written."""
    path = folder / MANIFEST
    text = _read(path)
    body = _parsed(path, text)
    schema = body.get("schema") if isinstance(body, dict) else None
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise NewerSchema(f"written by a newer whet (schema {schema})", where=str(folder), fix="upgrade whet")
    if not isinstance(body, dict) or not _as_written(body, text) or not _is_manifest(body):
        raise ArtefactError("the manifest is damaged", where=str(path), fix=_REMOVE)
    return body


def _is_manifest(body: dict[str, Any]) -> bool:
    """Whether it has the shape of a manifest, and names files below its folder only."""
    kinds = {"schema": int, "kind": str, "key": str, "record": dict, "files": dict}
    if not all(isinstance(body.get(name), kind) for name, kind in kinds.items()):
        return False
    return all(
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
        and name
        and not PurePath(name).is_absolute()
        and ".." not in PurePath(name).parts
        and "\0" not in name
        for name, entry in body["files"].items()
    )


def _as_written(body: dict[str, Any], text: str) -> bool:
    content = {key: value for key, value in body.items() if key != "sha256"}
    try:
        return _json_text(body) == text and body.get("sha256") == content_hash(content)
    except ValueError:  # a damaged number can read as infinity
        return False


def fresh(folder: Path, kind: str, key: str, notice: Callable[[str], None]) -> Artefact | None:
    """The artefact if it is there, whole, and made from exactly this key; otherwise None.

    `notice` is told of a damaged one. Raises NewerSchema if a newer whet wrote it.
    """
    if not folder.exists():
        return None
    try:
        artefact = open_artefact(folder, kind)
    except NewerSchema:
        raise
    except ArtefactError as error:
        notice(f"{error.where}: {error.what}; it is made again")
        return None
    return artefact if artefact.key == key else None
