"""Projects from folders of .sol files and from npm packages. Exports of other programs: `exports`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet import limits
from whet.errors import WhetError
from whet.evm.pairs.nouns import NO_CONTENT, NO_SETTINGS, NO_TEXT, Project
from whet.evm.solc.npm import Package, package
from whet.visible import visible

_FOUNDRY = "foundry.toml"
_IMPORTED = re.compile(r"""(\bimport\b[^;"']{0,3000}["'])([^"'\n]+)(["'][^;]{0,3000};)""")
_LINE_END = re.compile(r"\r\n?")
_TESTS = re.compile(r"(^|/)(test|tests|mocks?|scripts?)/|\.(t|s)\.sol$")


def from_npm(wanted: str, dependencies: Sequence[str] = (), *, tests: bool = False) -> Project:
    """ "name@version": its .sol files. dependencies: other packages that it imports from, "name@version" or
    "alias=name@version". tests: its tests, mocks and scripts too. Raises WhetError (see `npm`)."""
    name, _, version = wanted.rpartition("@")
    found = package(name, version)
    texts, unread = _package_texts(found, name)
    if not texts:
        raise WhetError(f"{wanted} holds no Solidity", fix="name another package")
    others, not_read = library(dependencies)
    project = Project(wanted, name, others | texts, tuple(texts), _licence(found), unread=not_read | unread)
    return project if tests else without_tests(project)


Unread = dict[str, tuple[str, str]]
"""{file: (reason, detail)}, as `Project` has it."""


def read(files: Mapping[str, object]) -> tuple[dict[str, str], Unread]:
    """The files as text, their lines ended by "\\n", and those that are none: neither bytes nor a string, or no UTF-8, which
    names can be too (JSON can hold halves of characters)."""
    texts: dict[str, str] = {}
    unread: Unread = {}
    for name, held in files.items():
        try:
            name.encode()
            text = held.decode() if isinstance(held, bytes) else held
            if isinstance(text, str):
                text.encode()
                texts[name] = _LINE_END.sub("\n", text)
            else:
                unread[name] = NO_CONTENT, ""
        except UnicodeError:
            unread[name] = NO_TEXT, ""
    return texts, unread


def without_tests(project: Project) -> Project:
    """With its tests, mocks and scripts to be imported only, by their folders and names."""
    left = tuple(file for file in project.own if _TESTS.search(file.removeprefix(f"{project.lineage}/")))
    return replace(project, own=tuple(file for file in project.own if file not in left), tests=left)


def from_folder(
    name: str, files: Mapping[str, bytes], dependencies: Sequence[str] = (), *, tests: bool = False
) -> Project:
    """The .sol files of a folder, {path inside it: bytes}; paths are what they are imported by. remappings.txt and
    foundry.toml among them are obeyed, as far as they can be read; the libraries of such a project (lib/) are there to be
    imported. Raises WhetError for what `dependencies` cannot give."""
    texts, unread = read(dict(sorted(files.items())))
    rules, why = _rules(texts)
    if why:
        unread[_FOUNDRY] = NO_SETTINGS, why
    sources = remapped({path: text for path, text in texts.items() if path.endswith(".sol")}, rules)
    libraries = rules or _FOUNDRY in texts
    own = tuple(path for path in sources if not (libraries and path.startswith("lib/")))
    others, not_read = library(dependencies)
    project = Project(name, name, others | sources, own, unread=not_read | unread)
    return project if tests else without_tests(project)


def _rules(texts: Mapping[str, str]) -> tuple[list[str], str]:
    """The remappings of a Foundry project: written ones, then what Foundry infers for each folder in lib/; and why those
    in foundry.toml cannot be read, or ""."""
    found = [line for line in texts.get("remappings.txt", "").splitlines() if "=" in line]
    why = ""
    if _FOUNDRY in texts:
        try:
            found += _told(texts[_FOUNDRY])
        except RecursionError:
            why = "nested too deeply"
        except ValueError as error:
            why = str(error)
        for name in sorted(
            {path.split("/")[1] for path in texts if path.startswith("lib/") and path.count("/") > 1}
        ):
            places = (f"lib/{name}/src/", f"lib/{name}/contracts/", f"lib/{name}/")
            found.append(
                f"{name}/={next(one for one in places if any(path.startswith(one) for path in texts))}"
            )
    return found, why


def _told(text: str) -> list[str]:
    """The remappings in a foundry.toml. Raises ValueError, RecursionError."""
    if len(text) > limits.FOUNDRY_BYTES:
        raise ValueError(f"more than {limits.FOUNDRY_BYTES:,} characters")
    if any(line.count(".") > limits.FOUNDRY_DOTS for line in text.split("\n")):
        raise ValueError(f"more than {limits.FOUNDRY_DOTS} dots on a line")
    found: Any = tomllib.loads(text)
    for key, nothing in (("profile", {}), ("default", {}), ("remappings", [])):
        if not isinstance(found, dict):
            raise ValueError(f"no table holds {key!r}")
        found = found.get(key, nothing)
    if not isinstance(found, list):
        raise ValueError("the remappings are no list")
    return [str(one) for one in found]


def library(wanted: Sequence[str]) -> tuple[dict[str, str], Unread]:
    """The sources of several packages by the names that imports use, and those that are no text. Raises WhetError (see
    `npm`)."""
    texts: dict[str, str] = {}
    unread: Unread = {}
    for one in wanted:
        alias, _, key = one.rpartition("=")
        name, _, version = key.rpartition("@")
        found, not_read = _package_texts(package(name, version), alias or name)
        texts |= found
        unread |= not_read
    return texts, unread


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


def _package_texts(found: Package, name: str) -> tuple[dict[str, str], Unread]:
    files = sorted(path for path in found.folder.rglob("*.sol") if path.is_file())
    return read({f"{name}/{path.relative_to(found.folder).as_posix()}": path.read_bytes() for path in files})


def _licence(found: Package) -> str:
    """What package.json says."""
    path = found.folder / "package.json"
    try:
        said = json.loads(path.read_bytes()[: limits.SETTINGS_BYTES]).get("license", "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return visible(said) if isinstance(said, str) else ""
