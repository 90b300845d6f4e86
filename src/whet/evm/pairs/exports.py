"""Projects from what other programs write: standard-JSON inputs, build-info of Foundry and Hardhat, Etherscan, Sourcify.

Recognised by their keys, not their names. Settings that a file tells (version, optimiser, via-IR, EVM version) go with the
project, and whether it tells others that change code; remappings are applied to the imports. All of it is what others wrote:
plain JSON of bounded size and depth, whose odd values mean "not told".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet import limits
from whet.errors import ArtefactError
from whet.evm.pairs.nouns import NOT_LISTED, Project
from whet.evm.pairs.projects import read, remapped
from whet.untrusted import parse
from whet.visible import visible

NOT_EXPORT = "no export that is known here"
VYPER = "not Solidity"

_VERSION = re.compile(r"(?<!\d)\d{1,9}\.\d{1,9}\.\d{1,9}(?!\d)")
_NO_LICENCE = ("None", "Unlicense", "UNLICENSED")


class NotRead(ValueError):
    """This JSON, or this entry of it, gives no project; says why."""


def entries(raw: bytes, where: str) -> Iterator[tuple[str, Any]]:
    """What stands in one JSON file, each with its name: the file itself, or every entry of a list. Raises NotRead for what
    is no JSON."""
    try:
        return listed(parse(raw, where, limits.EXPORT_DEPTH), where)
    except ArtefactError as error:
        raise NotRead(error.what) from error


def listed(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The same of parsed JSON; the answer of Etherscan's API has its list in `result`."""
    if isinstance(values, Mapping) and isinstance(values.get("result"), list):
        values = values["result"]
    if isinstance(values, list) and values:
        for at, one in enumerate(values):
            yield from listed(one, f"{name}[{at}]")
    else:
        yield name, values


def project(values: Any, name: str) -> Project:
    """The project that one entry is. Raises NotRead."""
    if not isinstance(values, Mapping):
        raise NotRead(NOT_EXPORT)
    if isinstance(values.get("input"), Mapping):  # build-info of Foundry, Hardhat 2 and 3
        return _standard(values["input"], name, str(values.get("solcVersion") or ""))
    if "SourceCode" in values:
        return _etherscan(values, name)
    if isinstance(values.get("compilation"), Mapping) and "sources" in values:
        return _sourcify(values, name)
    if isinstance(values.get("stdJsonInput"), Mapping):
        return _standard(values["stdJsonInput"], name, _sourcify_version(values))
    if isinstance(values.get("files"), list):  # Sourcify's first API
        return _files(values["files"], name)
    if isinstance(values.get("sources"), Mapping):
        return _standard(values, name, _metadata_version(values))
    raise NotRead(NOT_EXPORT)


def from_metadata(metadata: Mapping[str, Any], beside: Mapping[str, object], name: str) -> Project:
    """A contract's metadata.json, whose sources lie beside it or stand in it; those that do neither are unread. beside: as
    `projects.read` takes them. Raises NotRead if there is no source at all."""
    _of_solidity(metadata)
    sources = _contents(metadata.get("sources"))
    sources |= {one: beside[one] for one in sources if one in beside}
    if all(held is None for held in sources.values()):
        raise NotRead("metadata whose sources are not beside it")
    return _project(
        name, sources, _told(metadata.get("settings"), _metadata_version(metadata)), metadata.get("settings")
    )


def _of_solidity(given: Mapping[str, Any]) -> None:
    language = given.get("language", "Solidity")
    if language != "Solidity":
        raise NotRead(f"{VYPER}: {str(language)[:40]}")


def _standard(given: Mapping[str, Any], name: str, version: str) -> Project:
    _of_solidity(given)
    settings = given.get("settings")
    told = _told({} if settings is None else settings, version)
    return _project(name, _contents(given.get("sources")), told, settings)


def _etherscan(values: Mapping[str, Any], name: str) -> Project:
    version, code = str(values.get("CompilerVersion") or ""), values["SourceCode"] or ""
    if not isinstance(code, str):
        raise NotRead(NOT_EXPORT)
    called = visible(str(values.get("ContractName") or "contract")[:200])
    name = f"{name}:{called}"
    if not code.strip() or version.startswith("vyper"):
        raise NotRead(f"{VYPER}: {version[:40]}" if code.strip() else "no verified source")
    licence = visible(str(values.get("LicenseType") or "")[:200])
    licence = "" if licence in _NO_LICENCE else licence
    if code.lstrip().startswith("{"):
        code = code.strip()
        doubled = code.startswith("{{") and code.endswith("}}")
        try:
            inner = parse((code[1:-1] if doubled else code).encode("utf-8", "surrogatepass"), name)
        except ArtefactError as error:
            raise NotRead(error.what) from error
        if not isinstance(inner, Mapping):
            raise NotRead(NOT_EXPORT)
        given = inner if "sources" in inner else {"sources": inner}
        settings = _fields(values)
        if isinstance(given.get("settings"), Mapping):
            settings = {"optimizer": settings["optimizer"], **given["settings"]}
        return _project(name, _contents(given["sources"]), _told(settings, version), settings, licence)
    told = _told(_fields(values), version)
    return _project(name, {f"{_plain(called)}.sol": code}, told, None, licence)


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that Etherscan has in fields of their own, as standard JSON has them; an input in `SourceCode` tells more."""
    runs = str(values.get("Runs") or "")
    used = str(values.get("OptimizationUsed") or "0") == "1"
    return {
        "optimizer": {"enabled": used, "runs": int(runs) if runs.isdecimal() and len(runs) < 10 else 200},
        "evmVersion": str(values.get("EVMVersion") or ""),
        "libraries": str(values.get("Library") or ""),
    }


def _sourcify(values: Mapping[str, Any], name: str) -> Project:
    about = values["compilation"]
    _of_solidity(about)
    settings = about.get("compilerSettings")
    told = _told(settings, _sourcify_version(values))
    name = f"{name}:{visible(str(about.get('fullyQualifiedName') or 'contract')[:200])}"
    return _project(name, _contents(values["sources"]), told, settings)


def _sourcify_version(values: Mapping[str, Any]) -> str:
    about = values.get("compilation")
    return str(about.get("compilerVersion") or "") if isinstance(about, Mapping) else ""


def _files(files: Sequence[Any], name: str) -> Project:
    """[{"name", "path", "content"}]: one of them is the metadata."""
    sources: dict[str, object] = {}
    metadata = None
    for at, one in enumerate(files):
        one = one if isinstance(one, Mapping) else {"name": f"[{at}]"}
        content = one.get("content")
        if one.get("name") == "metadata.json" and isinstance(content, str):
            try:
                metadata = parse(content.encode("utf-8", "surrogatepass"), name)
            except ArtefactError as error:
                raise NotRead(error.what) from error
        else:
            sources[str(one.get("path") or one.get("name"))] = content
    listed = metadata.get("sources") if isinstance(metadata, Mapping) else None
    there = listed if isinstance(listed, Mapping) else {}
    sources = {_tail(path, there): content for path, content in sources.items()}
    if not isinstance(metadata, Mapping):
        return _project(name, sources, {}, None)
    found = from_metadata(metadata, sources, name)
    known = {*found.texts, *found.unread}
    others = {one: (NOT_LISTED, "") for one in sources if one.endswith(".sol") and one not in known}
    return replace(found, unread={**found.unread, **others})


_MOST_SOURCES = 16


def _tail(path: str, listed: Mapping[str, Any]) -> str:
    """What stands behind the service's own folders: the longest that the metadata lists, else behind the first "/sources/"."""
    parts = path.split("/sources/", _MOST_SOURCES)[1:]
    tails = ["/sources/".join(parts[at:]) for at in range(len(parts))] or [path]
    return next((tail for tail in tails if tail in listed), tails[0])


def _metadata_version(values: Mapping[str, Any]) -> str:
    compiler = values.get("compiler")
    return str(compiler.get("version") or "") if isinstance(compiler, Mapping) else ""


def _contents(sources: Any) -> dict[str, object]:
    """{file: its text, or whatever stands there instead}."""
    if not isinstance(sources, Mapping):
        return {}
    return {file: one.get("content") if isinstance(one, Mapping) else None for file, one in sources.items()}


def _told(settings: Any, version: str) -> dict[str, Any]:
    """What the project says of its compiler, as keys of `Settings`."""
    match = _VERSION.search(version)
    told: dict[str, Any] = {"version": match[0]} if match else {}
    if not isinstance(settings, Mapping):
        return told
    optimiser = settings.get("optimizer")
    if isinstance(optimiser, Mapping):
        runs = optimiser.get("runs", 200)
        known = isinstance(runs, int) and not isinstance(runs, bool) and 0 <= runs < 2**32
        told["runs"] = (runs if known else 200) if _optimised(optimiser) else None
    elif optimiser is None:  # so it is for the compiler
        told["runs"] = None
    told["via_ir"] = settings.get("viaIR") is True
    evm_version = settings.get("evmVersion")
    if isinstance(evm_version, str) and evm_version.lower() not in ("", "default"):
        told["evm_version"] = evm_version
    if _unmet(settings, optimiser, told):
        told["unmet"] = True
    return told


_OBEYED = ("optimizer", "viaIR", "evmVersion", "remappings")
_HARMLESS = (
    "outputSelection",
    "compilationTarget",
    "metadata",
    "modelChecker",
    "stopAfter",
    "parserErrorRecovery",
)
"""Settings that change no code but what stands behind it."""
_WITH_YUL = (0, 6, 0)
"""The first compiler whose optimiser also takes Yul, if not told otherwise."""


def _optimised(optimiser: Mapping[str, Any]) -> bool:
    """Metadata has details instead of `enabled`, of which this one is on where the optimiser is."""
    details = optimiser.get("details")
    if "enabled" in optimiser or not isinstance(details, Mapping):
        return optimiser.get("enabled") is True
    return details.get("deduplicate") is True


def _unmet(settings: Mapping[str, Any], optimiser: Any, told: Mapping[str, Any]) -> bool:
    """Whether something that changes code is asked for in other settings than those of `Settings`."""
    debug = settings.get("debug")
    strings = debug.get("revertStrings") if isinstance(debug, Mapping) else None
    others = settings.keys() - {*_OBEYED, *_HARMLESS, "debug"}
    return (
        strings not in (None, "default")
        or any(bool(settings[one]) for one in others)
        or (isinstance(optimiser, Mapping) and _detailed(optimiser, told))
    )


def _detailed(optimiser: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether the optimiser is neither on nor off as a whole. Switched on, each of its parts is on anyhow."""
    details = optimiser.get("details")
    if not isinstance(optimiser.get("enabled"), bool):
        return True
    if not isinstance(details, Mapping) or not details:
        return False
    parts = dict(details)
    if parts.get("yulDetails") in ({}, {"stackAllocation": True}):
        parts["yulDetails"] = True
    with_yul = "version" in told and tuple(map(int, told["version"].split("."))) >= _WITH_YUL
    return not optimiser["enabled"] or any(
        value is not True or (name.startswith("yul") and not with_yul) for name, value in parts.items()
    )


def _project(
    name: str, sources: Mapping[str, object], told: Mapping[str, Any], settings: Any, licence: str = ""
) -> Project:
    texts, unread = read(sources)
    if not texts:
        raise NotRead("no sources within")
    mapped = settings.get("remappings") if isinstance(settings, Mapping) else None
    rules = map(str, mapped) if isinstance(mapped, list) else ()
    texts = remapped(texts, [one.encode("utf-8", "replace").decode() for one in rules])
    return Project(name, name, texts, tuple(sorted(texts)), licence, told, unread)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)
