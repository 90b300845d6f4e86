"""Finds files: a file, a folder, or a glob, in a fixed order, and says what it passed over.

Links are never followed below the path the user named, so nothing outside it is read and no loop is
entered; version control, caches and hidden folders are not entered. Each of these, and each thing that is
no regular file, is one counted record. Files that a glob does not match are not part of the input.

Cost: one `lstat` a file; holds the names of the folders on the way, never the whole tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import ValidationInfo

from whet.records import Dropped
from whet.sources.base import resolve
from whet.text.open import LINK, NOT_REGULAR, UNREADABLE

CACHE = "version control or cache folder"
HIDDEN = "hidden folder"
REASONS = (CACHE, HIDDEN, LINK, NOT_REGULAR, UNREADABLE)

_CACHES = frozenset(
    {".git", ".hg", ".svn", ".bzr", ".jj", "CVS"}
    | {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
    | {".cache", ".eggs", ".gradle", ".nox", ".tox", ".venv", "node_modules"}
)


@dataclass(frozen=True, slots=True)
class Found:
    """One regular file. `parts` is its place below the named path, `label` how a person is shown it."""

    path: str
    label: str
    parts: tuple[str, ...]
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of `path:`: where to start, and the glob below it by component (empty: everything)."""

    root: str
    glob: tuple[str, ...]

    @classmethod
    def at(cls, path: str) -> Place:
        """A path that exists is taken literally, so that a file may be called `notes[1].txt`."""
        path = os.path.abspath(path)
        if os.path.lexists(path):
            return cls(path, ())
        parts = path.split(os.sep)
        first = next((at for at, part in enumerate(parts) if _is_magic(part)), len(parts))
        return cls(os.sep.join(parts[:first]) or os.sep, tuple(parts[first:]))

    def wants(self, parts: Sequence[str]) -> bool:
        """Whether the glob matches a file."""
        return not self.glob or matches(parts, self.glob)

    def may_hold(self, parts: Sequence[str]) -> bool:
        """Whether a file that the glob matches can lie in this folder."""
        for part, wanted in zip(parts, self.glob, strict=False):
            if wanted == "**":
                return True
            if not fnmatchcase(part, wanted):
                return False
        return not self.glob or len(parts) < len(self.glob)


def matches(parts: Sequence[str], glob: Sequence[str]) -> bool:
    """Whether a path matches a glob, both by component; `**` stands for any number of folders."""
    if not glob:
        return not parts
    if glob[0] == "**":
        rest = glob[1:] if glob[1:] else ("*",)
        return any(matches(parts[at:], rest) for at in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], glob[0]) and matches(parts[1:], glob[1:])


def shown(path: str) -> str:
    """A path as printable text: bytes that are no UTF-8 and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def existing(path: str | list[str], info: ValidationInfo) -> str | list[str]:
    """What `path:` names, as absolute paths. Raises ValueError where nothing lies."""
    given = [path] if isinstance(path, str) else path
    if not given:
        raise ValueError("an empty list names nothing to read")
    absolute = [_existing(entry, info) for entry in given]
    return absolute[0] if isinstance(path, str) else absolute


def _existing(path: str, info: ValidationInfo) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL byte")
    absolute = str(resolve(path, info))
    if not os.path.exists(Place.at(absolute).root):
        raise ValueError(f"there is nothing at {absolute}")
    if next(find([absolute]), None) is None:
        raise ValueError(f"there are no files at {absolute}")
    return absolute


def fingerprint(files: Iterable[Found | Dropped], settings: dict[str, object]) -> str:
    """A hash over settings and the path, size, time of change and readability of every file; no content is read."""
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for item in files:
        total.update(json.dumps(_traits(item)).encode() + b"\n")
    return total.hexdigest()


def _traits(item: Found | Dropped) -> list[object]:
    """What the fingerprint knows of one record of the walk."""
    if isinstance(item, Dropped):
        return [item.origin, item.reason]
    return [item.label, item.size_bytes, item.mtime_ns, os.access(item.path, os.R_OK)]


def folder_above(paths: Sequence[str]) -> str:
    """The deepest folder that holds all of these absolute paths or globs."""
    return os.path.commonpath([os.path.dirname(Place.at(path).root) for path in paths])


def find(paths: Sequence[str], above: str = "") -> Iterator[Found | Dropped]:
    """Every file under absolute paths or globs, sorted within each; a file that two of them name comes once.

    Labels start below `above`, else below the deepest folder that holds all of them, so they do not change when the
    whole tree moves.
    """
    places = [Place.at(path) for path in paths]
    above = above or folder_above(paths)
    seen: set[str] = set()
    for place in places:
        for item in _walk(place, above):
            key = item.path if isinstance(item, Found) else item.origin
            if key not in seen:
                yield item
            if len(places) > 1:
                seen.add(key)


def _walk(place: Place, above: str) -> Iterator[Found | Dropped]:
    """Depth first with a stack of its own: a hostile tree can be deeper than Python's recursion."""
    root, named = os.path.realpath(place.root), os.path.relpath(place.root, above)
    stack: list[tuple[str, ...]] = [()]
    while stack:
        parts = stack.pop()
        path = os.path.join(root, *parts)
        status, why = _status(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            closed = _why_closed(parts)
            if not place.may_hold(parts):
                continue
            if closed:
                yield Dropped(origin=_label(named, parts), reason=closed, detail="not entered")
                continue
            names, why = _names(path)
            stack.extend((*parts, name) for name in reversed(names))
            if why:
                yield Dropped(origin=_label(named, parts), reason=UNREADABLE, detail=why)
        elif place.wants(parts) or (os.path.isdir(path) and place.may_hold(parts)):
            yield _judge(path, parts, _label(named, parts), status, why)


def _judge(
    path: str, parts: tuple[str, ...], label: str, status: os.stat_result | None, why: str
) -> Found | Dropped:
    """What is made of a thing that is no folder, without opening it."""
    if status is None:
        return Dropped(origin=label, reason=UNREADABLE, detail=why)
    if stat.S_ISLNK(status.st_mode):
        return Dropped(origin=label, reason=LINK, detail="not followed")
    if not stat.S_ISREG(status.st_mode):
        return Dropped(origin=label, reason=NOT_REGULAR)
    return Found(path, label, parts, status.st_size, status.st_mtime_ns)


def _status(path: str) -> tuple[os.stat_result | None, str]:
    """What lies at a path, a link itself rather than its target; or why that cannot be said."""
    try:
        return os.lstat(path), ""
    except OSError as error:
        return None, error.strerror or str(error)


def _names(folder: str) -> tuple[list[str], str]:
    """The sorted names in a folder; or why they cannot be read."""
    try:
        return sorted(os.listdir(folder)), ""
    except OSError as error:
        return [], error.strerror or str(error)


def _why_closed(parts: tuple[str, ...]) -> str:
    """The reason not to enter a folder; one that the user named is always entered."""
    if not parts:
        return ""
    return CACHE if parts[-1] in _CACHES else HIDDEN if parts[-1].startswith(".") else ""


def _label(named: str, parts: tuple[str, ...]) -> str:
    return shown(os.path.join(named, *parts))


def _is_magic(part: str) -> bool:
    return any(sign in part for sign in "*?[")
