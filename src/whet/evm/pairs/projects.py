"""Projects from folders of .sol files and from npm packages. Exports of other programs: `exports`."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from whet import limits
from whet.errors import WhetError
from whet.evm.pairs.nouns import Project
from whet.evm.solc.npm import Package, package
from whet.evm.solc.sources import imports

_IMPORTED = re.compile(r"""(\bimport\b[^;"']*["'])([^"'\n]+)(["'][^;]*;)""")
_TESTS = re.compile(r"(^|/)(test|tests|mocks?|scripts?)/|\.(t|s)\.sol$")


def from_npm(wanted: str, dependencies: Sequence[str] = (), *, tests: bool = False) -> Project:
    """ "name@version": its .sol files. dependencies: other packages that it imports from, "name@version" or
    "alias=name@version". tests: its tests, mocks and scripts too. Raises WhetError (see `npm`)."""
    name, _, version = wanted.rpartition("@")
    found = package(name, version)
    texts, unread = _package_texts(found, name)
    own = tuple(one for one in texts if tests or not _TESTS.search(one.removeprefix(f"{name}/")))
    if not own:
        raise WhetError(f"{wanted} holds no Solidity", fix="name another package")
    return Project(wanted, name, texts | library(dependencies), own, _licence(found), unread=tuple(unread))


def from_folder(
    folder: Path, files: Mapping[str, bytes], dependencies: Sequence[str] = (), *, lineage: str = ""
) -> Project:
    """The .sol files of a folder, {path inside it: bytes}; paths are what they are imported by. A remappings.txt among
    them is obeyed. Raises WhetError for what `dependencies` cannot give."""
    texts, unread = {}, []
    for path, raw in sorted(files.items()):
        try:
            texts[path] = raw.decode("utf-8")
        except UnicodeDecodeError:
            unread.append(path)
    mapped = [
        line for path in files if posixpath.basename(path) == "remappings.txt" for line in _lines(files[path])
    ]
    own = tuple(path for path in texts if path.endswith(".sol"))
    sources = remapped({path: texts[path] for path in own}, mapped)
    name = lineage or folder.name
    return Project(name, name, sources | library(dependencies), own, unread=tuple(unread))


def library(wanted: Sequence[str]) -> dict[str, str]:
    """The sources of several packages by the names that imports use. Raises WhetError (see `npm`)."""
    texts: dict[str, str] = {}
    for one in wanted:
        alias, _, key = one.rpartition("=")
        name, _, version = key.rpartition("@")
        texts |= _package_texts(package(name, version), alias or name)[0]
    return texts


def remapped(texts: Mapping[str, str], mapped: Sequence[str]) -> dict[str, str]:
    """With the imports as the compiler would resolve them: "context:prefix=target", the longest prefix wins."""
    rules = sorted(
        (rule for one in mapped if (rule := _rule(one))), key=lambda rule: (-len(rule[0]), -len(rule[1]))
    )
    if not rules:
        return dict(texts)

    def changed(file: str, text: str) -> str:
        return _IMPORTED.sub(lambda match: f"{match[1]}{_target(file, match[2], rules)}{match[3]}", text)

    return {file: changed(file, text) for file, text in texts.items()}


def missing(texts: Mapping[str, str], files: Sequence[str]) -> list[str]:
    """What these files import that is not there."""
    return sorted({one for file in files for one in imports(file, texts[file]) if one not in texts})


def _rule(text: str) -> tuple[str, str, str] | None:
    left, equals, target = text.strip().partition("=")
    context, _, prefix = left.rpartition(":")
    return (context, prefix, target) if equals and prefix else None


def _target(file: str, path: str, rules: Sequence[tuple[str, str, str]]) -> str:
    if path.startswith("."):
        return path
    for context, prefix, target in rules:
        if file.startswith(context) and path.startswith(prefix):
            return target + path[len(prefix) :]
    return path


def _package_texts(found: Package, name: str) -> tuple[dict[str, str], list[str]]:
    texts, unread = {}, []
    for path in sorted(found.folder.rglob("*.sol")):
        inside = f"{name}/{path.relative_to(found.folder).as_posix()}"
        try:
            texts[inside] = path.read_text("utf-8")
        except UnicodeDecodeError:
            unread.append(inside)
    return texts, unread


def _licence(found: Package) -> str:
    """What package.json says."""
    path = found.folder / "package.json"
    try:
        said = json.loads(path.read_bytes()[: limits.SETTINGS_BYTES]).get("license", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return said if isinstance(said, str) else ""


def _lines(raw: bytes) -> list[str]:
    return raw.decode("utf-8", "replace").splitlines()
