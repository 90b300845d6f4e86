"""Builds: how sources are compiled, by short names, and which files go to which compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from whet.evm.pairs import nouns
from whet.evm.pairs.nouns import DEFAULT, Project
from whet.evm.pairs.pragma import Unreadable, Version, allowed, choose, number, supported, written
from whet.evm.solc.compiler import EVM_VERSIONS, Settings
from whet.evm.solc.sources import closure, pragmas

TOGETHER = 300
"""Files that are analysed in one run of the compiler, with what they import."""

_NEVER: Version = (1 << 30, 0, 0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Files for one compiler. texts: these files and all that they import."""

    settings: Settings
    files: tuple[str, ...]
    texts: Mapping[str, str]


@dataclass(slots=True)
class Chunks:
    """chunks: what can be compiled. refused: {file: (reason, detail)}. otherwise: {file: [how it is compiled otherwise than
    it asks for]}, each one of nouns.OTHERWISE."""

    chunks: list[Chunk]
    refused: dict[str, tuple[str, str]]
    otherwise: dict[str, list[str]]


def chunks(project: Project, build: str, solc: str = "") -> Chunks:
    """The project's own files by compiler. `solc`: one version for all; "" goes by what an export says, else by pragma."""
    found = Chunks([], {}, {})
    asked: dict[str, _Asked] = {}
    for file in project.own:
        needed, missing = closure([file], project.texts)
        if missing:
            found.refused[file] = (nouns.IMPORT, missing[0])
        else:
            others = [one for name, text in needed.items() if name != file for one in pragmas(text)]
            asked[file] = _Asked(pragmas(project.texts[file]), others)
    given = solc or str(project.compiled.get("version", ""))
    popular = Counter(version for one in asked.values() for version in one.allowed)
    by_settings: dict[Settings, list[str]] = {}
    for file, one in asked.items():
        version = number(solc) if solc else _version(file, one, given, popular, found)
        if version is None:
            continue
        settings = _settings(build, version, project.compiled)
        if settings.evm_version and EVM_VERSIONS.get(settings.evm_version, _NEVER) > version:
            settings = replace(settings, evm_version="")
            found.otherwise.setdefault(file, []).append(nouns.OWN_EVM)
        if build == DEFAULT and project.compiled.get("unmet"):
            found.otherwise.setdefault(file, []).append(nouns.OWN_SETTINGS)
        if why := _impossible(settings):
            found.refused[file] = (nouns.NO_SETTING, why)
        else:
            by_settings.setdefault(settings, []).append(file)
    for settings, files in sorted(by_settings.items(), key=lambda item: item[0].name):
        for start in range(0, len(files), TOGETHER):
            part = tuple(files[start : start + TOGETHER])
            found.chunks.append(Chunk(settings, part, closure(part, project.texts)[0]))
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """The pragmas of a file, and those of all that it imports."""

    own: list[str]
    others: list[str]

    @property
    def allowed(self) -> list[Version]:
        """The supported versions that all of them allow; none if one cannot be read."""
        try:
            return allowed([*self.own, *self.others], supported())
        except Unreadable:
            return []


def _version(
    file: str, asked: _Asked, given: str, popular: Mapping[Version, int], found: Chunks
) -> Version | None:
    """given: what an export says, or "". popular: how many of the project's files allow each version."""
    try:
        own = [f"={written(number(given))}"] if given else asked.own
        version, good = choose(own if given else [*own, *asked.others], supported(), popular)
        if not good and asked.others and not given:
            version, good = choose(own, supported(), popular)
    except Unreadable as error:
        found.refused[file] = (nouns.PRAGMA, str(error))
        return None
    if version is None:
        found.refused[file] = (nouns.NO_COMPILER, " ".join(own))
    elif not good:
        found.otherwise.setdefault(file, []).append(nouns.NEAREST)
    return version


def _settings(build: str, version: Version, compiled: Mapping[str, Any]) -> Settings:
    if build == DEFAULT:
        chosen = {key: compiled[key] for key in ("runs", "via_ir", "evm_version") if key in compiled}
        return Settings(written(version), **chosen)
    optimiser, *rest = build.split("-")
    runs = None if optimiser == "off" else int(optimiser.removeprefix("runs"))
    return Settings(written(version), runs, "ir" in rest, inliner="noinline" not in rest)


def _impossible(settings: Settings) -> str:
    if settings.via_ir and settings.number < (0, 8, 13):
        return f"{settings.version} has no pipeline through Yul that can be relied on"
    if not settings.inliner and settings.number < (0, 8, 2):
        return f"{settings.version} has no inliner"
    return ""


def described(settings: Settings) -> str:
    """The build's name without the version, such as "runs200-ir"."""
    return settings.name.removeprefix(f"{settings.version}-")
