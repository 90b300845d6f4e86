"""Projects from what other programs write: standard-JSON inputs, build-info of Foundry and Hardhat, Etherscan, Sourcify.

Recognised by their keys, not their names. Settings that a file tells (version, optimiser, via-IR, EVM version) go with the
project; remappings are applied to the imports. All of it is what others wrote: plain JSON of bounded size and depth, whose
odd values mean "not told".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from whet import limits
from whet.errors import ArtefactError
from whet.evm.pairs.nouns import Project
from whet.evm.pairs.projects import remapped
from whet.untrusted import parse

NOT_EXPORT = "no export that is known here"
VYPER = "not Solidity"

_NO_LICENCE = ("None", "Unlicense", "UNLICENSED")


class NotRead(ValueError):
    """This JSON gives no project; says why."""


def from_json(raw: bytes, where: str) -> list[Project]:
    """The projects in one JSON file. Raises NotRead for anything else."""
    try:
        values = parse(raw, where, limits.EXPORT_DEPTH)
    except ArtefactError as error:
        raise NotRead(error.what) from error
    return projects(values, where)


def projects(values: Any, name: str) -> list[Project]:
    """The same of parsed JSON. Raises NotRead."""
    if isinstance(values, list):
        return [project for at, one in enumerate(values) for project in projects(one, f"{name}[{at}]")]
    if not isinstance(values, Mapping):
        raise NotRead(NOT_EXPORT)
    if isinstance(values.get("result"), list):  # the answer of Etherscan's API
        return projects(values["result"], name)
    if isinstance(values.get("input"), Mapping):  # build-info of Foundry, Hardhat 2 and 3
        return [_standard(values["input"], name, str(values.get("solcVersion") or ""))]
    if "SourceCode" in values:
        return [_etherscan(values, name)]
    if isinstance(values.get("compilation"), Mapping) and "sources" in values:
        return [_sourcify(values, name)]
    if isinstance(values.get("stdJsonInput"), Mapping):
        return [_standard(values["stdJsonInput"], name, _sourcify_version(values))]
    if isinstance(values.get("files"), list):  # Sourcify's first API
        return [_files(values["files"], name)]
    if isinstance(values.get("sources"), Mapping):
        return [_standard(values, name, _metadata_version(values))]
    raise NotRead(NOT_EXPORT)


def from_metadata(metadata: Mapping[str, Any], texts: Mapping[str, str], name: str) -> Project:
    """A contract's metadata.json, whose sources lie beside it. Raises NotRead if none of them does."""
    listed = metadata.get("sources")
    listed = listed if isinstance(listed, Mapping) else {}
    found = {one: texts[one] for one in map(str, listed) if one in texts}
    if not found:
        raise NotRead("metadata whose sources are not beside it")
    return _project(
        name, found, _told(metadata.get("settings"), _metadata_version(metadata)), metadata.get("settings")
    )


def _standard(given: Mapping[str, Any], name: str, version: str) -> Project:
    language = given.get("language", "Solidity")
    if language != "Solidity":
        raise NotRead(f"{VYPER}: {str(language)[:40]}")
    return _project(
        name, _contents(given.get("sources")), _told(given.get("settings"), version), given.get("settings")
    )


def _etherscan(values: Mapping[str, Any], name: str) -> Project:
    version, code = str(values.get("CompilerVersion") or ""), str(values.get("SourceCode") or "")
    called = str(values.get("ContractName") or "contract")[:200]
    name = f"{name}:{called}"
    if not code.strip() or version.startswith("vyper"):
        raise NotRead(f"{VYPER}: {version}" if code.strip() else "no verified source")
    licence = str(values.get("LicenseType") or "")
    licence = "" if licence in _NO_LICENCE else licence
    if code.lstrip().startswith("{"):
        code = code.strip()
        doubled = code.startswith("{{") and code.endswith("}}")
        try:
            inner = parse((code[1:-1] if doubled else code).encode("utf-8", "replace"), name)
        except ArtefactError as error:
            raise NotRead(error.what) from error
        if not isinstance(inner, Mapping):
            raise NotRead(NOT_EXPORT)
        given = inner if "sources" in inner else {"sources": inner}
        told = _told(given.get("settings"), version) or _flags(values, version)
        if "settings" not in given:
            told = _flags(values, version)
        return _project(name, _contents(given["sources"]), told, given.get("settings"), licence)
    return _project(name, {f"{_plain(called)}.sol": code}, _flags(values, version), None, licence)


def _flags(values: Mapping[str, Any], version: str) -> dict[str, Any]:
    runs = str(values.get("Runs") or "")
    used = str(values.get("OptimizationUsed") or "0") == "1"
    settings = {
        "optimizer": {"enabled": used, "runs": int(runs) if runs.isdecimal() and len(runs) < 10 else 200},
        "evmVersion": str(values.get("EVMVersion") or ""),
    }
    return _told(settings, version)


def _sourcify(values: Mapping[str, Any], name: str) -> Project:
    about = values["compilation"]
    if str(about.get("language", "Solidity")) != "Solidity":
        raise NotRead(f"{VYPER}: {str(about['language'])[:40]}")
    settings = about.get("compilerSettings")
    told = _told(settings, _sourcify_version(values))
    name = f"{name}:{str(about.get('fullyQualifiedName') or 'contract')[:200]}"
    return _project(name, _contents(values["sources"]), told, settings)


def _sourcify_version(values: Mapping[str, Any]) -> str:
    about = values.get("compilation")
    return str(about.get("compilerVersion") or "") if isinstance(about, Mapping) else ""


def _files(files: Sequence[Any], name: str) -> Project:
    """[{"name", "path", "content"}]: one of them is the metadata."""
    texts, metadata = {}, None
    for one in files:
        content = one.get("content") if isinstance(one, Mapping) else None
        if not isinstance(content, str):
            continue
        if one.get("name") == "metadata.json":
            try:
                metadata = parse(content.encode("utf-8", "replace"), name)
            except ArtefactError as error:
                raise NotRead(error.what) from error
        else:
            path = str(one.get("path") or one.get("name"))
            texts[path.rpartition("/sources/")[2]] = content
    if isinstance(metadata, Mapping):
        return from_metadata(metadata, texts, name)
    return _project(name, texts, {}, None)


def _metadata_version(values: Mapping[str, Any]) -> str:
    compiler = values.get("compiler")
    return str(compiler.get("version") or "") if isinstance(compiler, Mapping) else ""


def _contents(sources: Any) -> dict[str, str]:
    if not isinstance(sources, Mapping):
        return {}
    found = {str(file): one.get("content") for file, one in sources.items() if isinstance(one, Mapping)}
    return {file: text for file, text in found.items() if isinstance(text, str)}


def _told(settings: Any, version: str) -> dict[str, Any]:
    """What the project says of its compiler, as keys of `Settings`."""
    match = re.search(r"\d+\.\d+\.\d+", version)
    told: dict[str, Any] = {"version": match[0]} if match else {}
    if not isinstance(settings, Mapping):
        return told
    optimiser = settings.get("optimizer")
    if isinstance(optimiser, Mapping):
        runs = optimiser.get("runs", 200)
        known = isinstance(runs, int) and not isinstance(runs, bool) and 0 <= runs < 2**32
        told["runs"] = (runs if known else 200) if optimiser.get("enabled") is True else None
    told["via_ir"] = settings.get("viaIR") is True
    evm_version = settings.get("evmVersion")
    if isinstance(evm_version, str) and evm_version.lower() not in ("", "default"):
        told["evm_version"] = evm_version
    return told


def _project(
    name: str, texts: Mapping[str, str], told: Mapping[str, Any], settings: Any, licence: str = ""
) -> Project:
    if not texts:
        raise NotRead("no sources within")
    mapped = settings.get("remappings") if isinstance(settings, Mapping) else None
    rules = [str(one) for one in mapped] if isinstance(mapped, list) else []
    sources = remapped(texts, rules)
    return Project(name, name, sources, tuple(sorted(sources)), licence, told)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)
