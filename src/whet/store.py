"""The only code that writes artefacts: staged, fsynced, hashed, renamed; read back only if the hashes agree.

An artefact is a folder with a `MANIFEST.json`: the schema version, the kind, the key (hash of everything
it was made from), a record, and size and SHA-256 of every file. The manifest is written last and the
folder appears under its name in one rename, so an artefact either exists whole or not at all. What a
crash leaves behind is named `.staging-*` or `.replaced-*` and the number of the process; the next start
tidies up. Two machines must not write beside one another on a shared disk: neither sees whether the
other's processes live. What the system says against writing leaves as a CannotWrite.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from whet import limits
from whet.errors import ArtefactError, NewerSchema, NotOurs, UnlistedFile
from whet.records import SCHEMA_VERSION
from whet.staging import REPLACED, STAGING, remove, replace, staging, sweep, sync_folder, write_file, writing

__all__ = [
    "REPLACED",
    "STAGING",
    "Artefact",
    "code_hash",
    "content_hash",
    "file_hash",
    "fresh",
    "open_artefact",
    "read_json",
    "read_json_lines",
    "read_sealed",
    "remove",
    "staged",
    "sweep",
    "versions",
    "write_json",
    "write_sealed",
    "write_text",
    "writing",
]

_CODE = (".py", ".js", ".json", ".txt", ".jinja")
"""What decides a result: code, and the tables and templates that it reads."""
MANIFEST = "MANIFEST.json"


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
    """SHA-256 over the code, tables and chat templates of the named modules or packages of whet, for the keys of results."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for part in sorted(parts):
        place = root / part
        files = (
            sorted(file for file in place.rglob("*") if file.suffix in _CODE)
            if place.is_dir()
            else [place.with_suffix(".py")]
        )
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def versions(*libraries: str) -> dict[str, str]:
    """Installed versions by distribution name, for the keys of results and the report."""
    from importlib.metadata import version

    return {name: version(name) for name in libraries}


def write_text(path: Path, text: str) -> None:
    """Replace one file atomically; parents are made."""
    with writing(path.parent):
        write_file(path, text)


def write_json(path: Path, value: Any) -> None:
    """Replace one JSON file atomically; NaN and infinity are refused."""
    write_text(path, _json_text(value))


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Replace one JSON file that carries its own hash as `sha256`."""
    plain = json.loads(_json_text(value))
    write_json(path, {**plain, "sha256": content_hash(plain)})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote, without the hash. Raises ArtefactError if a single byte differs."""
    text = _read(path)
    body = _parsed(path, text)
    if not isinstance(body, dict) or not _as_written(body, text):
        raise ArtefactError("damaged, or written by an earlier whet", where=str(path), fix=_ANEW)
    return {name: value for name, value in body.items() if name != "sha256"}


_ANEW = "remove the file; the room that wrote it makes it again"


def _json_text(value: Any) -> str:
    """Readable JSON; what UTF-8 cannot hold (lone surrogates, from odd file names) stands as an escape."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ArtefactError("is no regular file", where=str(path))
        if path.stat().st_size > limits.MANIFEST_BYTES:
            raise ArtefactError("larger than any file of this kind", where=str(path))
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix=_ANEW) from error


def read_json(path: Path) -> Any:
    """Read a JSON file of ours. Raises ArtefactError if it is missing, too large or damaged."""
    return _parsed(path, _read(path))


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), fix=_ANEW) from error


def read_json_lines(path: Path, notice: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every whole object of a JSON-lines file of ours that has a `step`; none if there is no file.

    `notice` is told of lines that are torn (by a crash) or damaged and therefore left out.
    """
    records, damaged = [], []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError
            records.append(record)
        except (ValueError, TypeError, LookupError, RecursionError):
            damaged.append(number)
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (" ..." if len(damaged) > 5 else "")
        notice(f"{path}: {len(damaged)} torn or damaged lines are left out (line {shown})")
    return records


@contextmanager
def staged(folder: Path, *, kind: str, key: str, record: dict[str, Any]) -> Iterator[Path]:
    """Give a temporary folder to fill; on a clean exit it becomes `folder`, whole, replacing what was there.

    `record` (plain JSON values) may be filled until the block ends. On an exception nothing changes and
    nothing is left behind.
    """
    with writing(folder.parent), staging(folder) as work:
        yield work
        _seal(work, kind, key, record)
        replace(work, folder)


def _seal(work: Path, kind: str, key: str, record: dict[str, Any]) -> None:
    files = {}
    for path in sorted(item for item in work.rglob("*") if item.is_file()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.relative_to(work).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    for inner in (item for item in work.rglob("*") if item.is_dir()):
        sync_folder(inner)
    body = {"schema": SCHEMA_VERSION, "kind": kind, "key": key, "record": record, "files": files}
    body = json.loads(_json_text(body))  # as a reader will see it: tuples are lists, keys are strings
    write_json(work / MANIFEST, {**body, "sha256": content_hash(body)})


def open_artefact(folder: Path, kind: str, *, verify: bool = True) -> Artefact:
    """Read an artefact's manifest and (with `verify`) compare every file's size and hash.

    Raises ArtefactError that names the damaged or missing file, UnlistedFile for one that whet did not
    write: transformers reads a model's folder by what lies there. Hidden files (.DS_Store) do not count.
    """
    body = _manifest(folder)
    if body["kind"] != kind:
        raise ArtefactError(f"this is a {body['kind']}, not a {kind}", where=str(folder))
    for name, entry in body["files"].items():
        _check_file(folder / name, entry, verify=verify)
    _check_nothing_else(folder, {MANIFEST, *body["files"]})
    return Artefact(folder, kind, body["key"], body["record"], body["files"])


def record_of(folder: Path, kind: str) -> dict[str, Any]:
    """What an artefact's manifest says of it, whatever became of its files. Raises ArtefactError."""
    body = _manifest(folder)
    if body["kind"] != kind:
        raise ArtefactError(f"this is a {body['kind']}, not a {kind}", where=str(folder))
    record: dict[str, Any] = body["record"]
    return record


def _check_file(path: Path, entry: dict[str, Any], *, verify: bool) -> None:
    if path.is_symlink():  # what it points to may change, and is not ours
        raise ArtefactError(_LINK, where=str(path), fix=_REMOVE)
    if not path.is_file() or path.stat().st_size != entry["bytes"]:
        raise ArtefactError("a file is missing or cut short", where=str(path), fix=_REMOVE)
    if verify and file_hash(path) != entry["sha256"]:
        raise ArtefactError("the contents have changed since they were written", where=str(path), fix=_REMOVE)


def _check_nothing_else(folder: Path, known: set[str]) -> None:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        inner = path.is_dir() and not path.is_symlink()
        if not inner and name.as_posix() not in known and not any(part[0] == "." for part in name.parts):
            raise UnlistedFile("whet did not write this file", where=str(path), fix="move it elsewhere")


_REMOVE = "remove the folder and make it again"
_LINK = "a link stands where a file was written"


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, if it is byte for byte what was written."""
    path = folder / MANIFEST
    if path.is_symlink():
        raise ArtefactError(_LINK, where=str(path), fix=_REMOVE)
    text = _read(path)
    body = _parsed(path, text)
    if isinstance(body, dict) and _is_newer(body):
        schema = body["schema"]
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


def _is_newer(body: dict[str, Any]) -> bool:
    """Whether a newer whet wrote this. If our own number makes the hash right, it is our digit, damaged."""
    schema = body.get("schema")
    if not isinstance(schema, int) or schema <= SCHEMA_VERSION:
        return False
    content = {name: value for name, value in body.items() if name != "sha256"}
    try:
        return body.get("sha256") != content_hash({**content, "schema": SCHEMA_VERSION})
    except ValueError:  # a damaged number can read as infinity
        return False


def _as_written(body: dict[str, Any], text: str) -> bool:
    content = {key: value for key, value in body.items() if key != "sha256"}
    try:
        return _json_text(body) == text and body.get("sha256") == content_hash(content)
    except ValueError:  # a damaged number can read as infinity
        return False


def fresh(folder: Path, kind: str, key: str, notice: Callable[[str], None]) -> Artefact | None:
    """The artefact if it is there, whole, and made from exactly this key; otherwise None.

    `notice` is told of a damaged one. Raises NotOurs for what must not be replaced.
    """
    if not folder.exists():
        return None
    try:
        artefact = open_artefact(folder, kind)
    except NotOurs:
        raise
    except ArtefactError as error:
        notice(f"{error.where}: {error.what}; it is made again")
        return None
    return artefact if artefact.key == key else None
