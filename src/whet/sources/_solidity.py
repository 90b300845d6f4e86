"""What the source `solidity` reads: folders, single files, exports, packages of npm, each as a project."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from whet import limits
from whet.errors import ArtefactError, WhetError
from whet.evm.pairs import exports
from whet.evm.pairs.exports import NotRead
from whet.evm.pairs.nouns import TEST, UNREAD, Project
from whet.evm.pairs.projects import from_folder, from_npm, without_tests
from whet.records import Dropped
from whet.sources import _walk
from whet.sources._walk import Found, find, folder_above
from whet.text import open as opening
from whet.text.open import open_bytes, plain_name
from whet.text.refused import Refused
from whet.untrusted import parse
from whet.visible import visible

TOO_LARGE = "file too large"
NO_EXPORT = "JSON that is no export of Solidity"
OTHER_FILE = "neither .sol nor .json"
PACKAGE = "the package cannot be had"
TWICE = "the same name as another file's, but for its compression"
REASONS = (TOO_LARGE, NO_EXPORT, OTHER_FILE, PACKAGE, TWICE, TEST, *UNREAD, *_walk.REASONS, *opening.REASONS)

_CONFIGURING = ("remappings.txt", "foundry.toml")
_METADATA = "metadata.json"


def projects_at(
    paths: Sequence[str], dependencies: Sequence[str], *, tests: bool
) -> Iterator[Project | Dropped]:
    """What lies at paths or globs: each export a project, all .sol files of a path together one, and what is neither. Their
    names start below the folder that holds all paths, so each has its own."""
    above = folder_above(paths) if paths else ""
    for path in dict.fromkeys(map(os.path.normpath, paths)):
        yield from _at(path, above, dependencies, tests=tests)


def _at(path: str, above: str, dependencies: Sequence[str], *, tests: bool) -> Iterator[Project | Dropped]:
    plain: dict[str, bytes] = {}
    metadata: dict[str, tuple[str, bytes]] = {}
    for item in find([path], above):
        if isinstance(item, Dropped):
            yield item
            continue
        raw = _read(item)
        name, inside = plain_name(os.path.basename(item.path)), "/".join(item.parts) or item.label
        if isinstance(raw, Dropped):
            yield raw
        elif name == _METADATA:
            metadata[inside] = item.label, raw
        elif name.endswith(".json"):
            yield from _exported(raw, item.label, tests=tests)
        elif plain_name(inside) in plain:
            yield Dropped(origin=item.label, reason=TWICE, size_bytes=item.size_bytes)
        else:
            plain[plain_name(inside)] = raw
    root = plain_name(os.path.relpath(path, above))
    for place, (label, raw) in metadata.items():
        yield from _beside(place, label, raw, plain, tests=tests)
    if any(name.endswith(".sol") for name in plain):
        yield from _folder(root, plain, dependencies, tests=tests)


def packages(
    wanted: Sequence[str], dependencies: Sequence[str], *, tests: bool
) -> Iterator[Project | Dropped]:
    """Packages of npm by exact version."""
    for one in wanted:
        try:
            yield from _whole(from_npm(one, dependencies, tests=tests))
        except WhetError as error:
            yield Dropped(origin=one, reason=PACKAGE, detail=error.what)


def _folder(
    root: str, plain: dict[str, bytes], dependencies: Sequence[str], *, tests: bool
) -> Iterator[Project | Dropped]:
    try:
        yield from _whole(from_folder(root, plain, dependencies, tests=tests))
    except WhetError as error:
        yield Dropped(origin=root, reason=PACKAGE, detail=error.what)


def _whole(project: Project) -> Iterator[Project | Dropped]:
    yield project
    for file, (reason, detail) in project.unread.items():
        yield Dropped(origin=f"{project.name}:{visible(file)}", reason=reason, detail=visible(detail))
    for file in project.tests:
        yield Dropped(origin=f"{project.name}:{visible(file)}", reason=TEST)


def _exported(raw: bytes, label: str, *, tests: bool) -> Iterator[Project | Dropped]:
    """Each entry is a project or a drop of its own; what others make of it is nothing to it."""
    try:
        entries = exports.entries(raw, label)
    except NotRead as why:
        yield _no_export(label, why, raw)
        return
    for name, values in entries:
        try:
            project = exports.project(values, name)
        except NotRead as why:
            yield _no_export(name, why, raw if name == label else b"")
        else:
            yield from _whole(project if tests else without_tests(project))


def _no_export(origin: str, why: Exception, raw: bytes) -> Dropped:
    return Dropped(origin=origin, reason=NO_EXPORT, detail=visible(str(why)), size_bytes=len(raw))


def _beside(
    place: str, label: str, raw: bytes, plain: dict[str, bytes], *, tests: bool
) -> Iterator[Project | Dropped]:
    """A contract of Sourcify's repository: its sources lie in sources/; those that it lists are taken out of `plain`."""
    home = f"{place.rpartition('/')[0]}/sources/".lstrip("/")
    files = {name[len(home) :]: name for name in plain if name.startswith(home)}
    try:
        values = parse(raw, label, limits.EXPORT_DEPTH)
        beside = {name: plain[at] for name, at in files.items()}
        project = exports.from_metadata(values if isinstance(values, dict) else {}, beside, label)
    except (NotRead, ArtefactError) as why:
        yield _no_export(label, why, raw)
        return
    yield from _whole(project if tests else without_tests(project))
    for name in (*project.texts, *project.unread):
        plain.pop(files.get(name, ""), None)


def _read(item: Found) -> bytes | Dropped:
    name = plain_name(os.path.basename(item.path))
    if not name.endswith((".sol", ".json")) and name not in _CONFIGURING:
        return Dropped(origin=item.label, reason=OTHER_FILE, size_bytes=item.size_bytes)
    most = limits.EXPORT_BYTES if name.endswith(".json") else limits.SOURCE_FILE_BYTES
    try:
        with open_bytes(item.path) as stream:
            raw = stream.read(most + 1)
    except Refused as why:
        return Dropped(origin=item.label, reason=why.reason, detail=why.detail, size_bytes=item.size_bytes)
    except OSError as error:
        said = error.strerror or str(error)
        return Dropped(origin=item.label, reason=opening.UNREADABLE, detail=said, size_bytes=item.size_bytes)
    if len(raw) > most:
        return Dropped(origin=item.label, reason=TOO_LARGE, size_bytes=item.size_bytes)
    return raw
