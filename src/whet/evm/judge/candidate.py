"""The author's contract with another text in the place of one of its functions, compiled as the author's was."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.evm.pairs.headers import Header, header
from whet.evm.pairs.inventory import TOKEN, functions
from whet.evm.pairs.label import LABELS, Key, Labels, indexed
from whet.evm.solc.compiler import CompileError, Settings, compile_sources
from whet.evm.solc.harness import Harness, Output, Reader, compile_harnesses
from whet.evm.solc.worker import CompilerFailure


@dataclass(frozen=True, slots=True)
class Candidate:
    """runtime: hexadecimal, "" where it does not compile. parses, why: what the compiler says. header: of the text's. labels: of
    the contract."""

    parses: bool
    runtime: str = ""
    header: Header | None = None
    why: str = ""
    labels: Labels | None = None


def candidate(
    harness: Harness,
    texts: Mapping[str, str],
    settings: Settings,
    at: Key,
    length: int,
    text: str,
    names: Collection[str] = (),
) -> Candidate:
    """at, length: which bytes `text` stands for. names: of the author's, that the text may use although they are private in
    another contract, since its prompt shows them: these are opened where the text does not compile without. Raises WhetError
    if the compiler cannot be had."""
    made = _compiled(harness, texts, settings, at, length, text)
    used = {name for name in names if re.search(rf"\b{re.escape(name)}\b", text)}
    if made.runtime or not made.parses or not used:
        return made
    private = _private(texts, settings, at, used)
    if not private:
        return made
    opened = {
        file: _opened(one, [start for name, start in private if name == file]) for file, one in texts.items()
    }
    file, start = at
    before = sum(name == file and one < start for name, one in private)
    start += before * (len(_OPENED) - len(_PRIVATE))
    return _compiled(harness, opened, settings, (file, start), length, text)


def _compiled(
    harness: Harness, texts: Mapping[str, str], settings: Settings, at: Key, length: int, text: str
) -> Candidate:
    file, start = at
    whole = texts[file].encode()
    before, after = _without_documentation(whole[:start]).decode(), whole[start + length :].decode()
    changed = {**texts, file: before + text + after}
    reader = Reader(LABELS.outputs, _reads(at, len(text.encode())))
    try:
        found = compile_harnesses([harness], changed, settings, reader)
    except CompileError as error:
        return Candidate(error.parsed, why=_said(error))
    except CompilerFailure as error:
        return Candidate(parses=False, why=error.what)
    if not found:
        return Candidate(parses=True, why="the contract has no code any more")
    read = found[0][1]
    if read["header"] is None:
        return Candidate(parses=False, why="the compiler takes it as something else than one function")
    labels: Labels = read["labels"]
    return Candidate(True, labels.runtime, read["header"], labels=labels)


_PRIVATE, _OPENED = b"private", b"internal"


def _private(texts: Mapping[str, str], settings: Settings, at: Key, names: Collection[str]) -> list[Key]:
    """Where the declarations of these names say `private` that the contract of the function there would see if they did not:
    those of its bases, but for what it sees by itself, and of libraries. Without functions that others would then override."""
    try:
        asts = compile_sources(settings, texts, {"*": {"": ["ast"]}})["sources"]
    except (CompileError, CompilerFailure):
        return []
    contracts = {
        top["id"]: (file, top)
        for file, source in asts.items()
        for top in source["ast"]["nodes"]
        if top["nodeType"] == "ContractDefinition"
    }
    own = next((top for file, top in contracts.values() if file == at[0] and _within(at[1], top)), None)
    line = own["linearizedBaseContracts"] if own else []
    seen = {
        _declared(part)
        for one in line
        for part in contracts[one][1]["nodes"]
        if one == line[0] or part.get("visibility") != "private"
    }
    found = []
    for one, (file, top) in contracts.items():
        if one in line[:1] or (one not in line and top["contractKind"] != "library"):
            continue
        below = [other for _, other in contracts.values() if one in other["linearizedBaseContracts"][1:]]
        for part in top["nodes"]:
            if part.get("visibility") != "private" or part["name"] not in names:
                continue
            key = _declared(part)
            others = {_declared(part) for other in below for part in other["nodes"]}
            overridden = settings.number < (0, 6, 0) and len(key) > 1 and key in others
            if not overridden and not (one in line and key in seen):
                found.append((file, _word(texts[file].encode(), part)))
    return found


def _declared(part: Mapping[str, Any]) -> tuple[str, ...]:
    """What may stand once in a contract: a name, of a function with its types."""
    if part["nodeType"] != "FunctionDefinition":
        return (str(part.get("name")),)
    types = [str(one["typeDescriptions"]["typeString"]) for one in part["parameters"]["parameters"]]
    return str(part["name"]), "function", *types


def _within(at: int, node: Mapping[str, Any]) -> bool:
    start, length, _ = map(int, node["src"].split(":"))
    return start <= at < start + length


def _word(raw: bytes, part: Mapping[str, Any]) -> int:
    """The place of `private` in a declaration: behind the parameters of a function, behind the type of a variable."""
    behind = part["parameters"] if part["nodeType"] == "FunctionDefinition" else part["typeName"]
    start, length, _ = map(int, behind["src"].split(":"))
    tokens = TOKEN.finditer(raw.decode("latin-1"), start + length)
    return next(match.start() for match in tokens if match[0] == _PRIVATE.decode())


def _opened(text: str, places: Sequence[int]) -> str:
    """With `internal` in the place of `private` at these bytes; no code depends on it."""
    raw = text.encode()
    for start in sorted(places, reverse=True):
        raw = raw[:start] + _OPENED + raw[start + len(_PRIVATE) :]
    return raw.decode()


def _without_documentation(before: bytes) -> bytes:
    """Without the comments at its end, which document the author's parameters; of the same length."""
    text = before.decode()
    end = 0
    for match in TOKEN.finditer(text):
        if not match[0].startswith(("//", "/*")):
            end = match.end()
    kept = text[:end].encode()
    return kept + re.sub(rb"[^\n]", b" ", before[len(kept) :])


def _reads(at: Key, length: int) -> Callable[[Output], Callable[[str, str], dict[str, Any]]]:
    """The labels, and the header of the function that has exactly these bytes, None if none has."""

    def reading(output: Output) -> Callable[[str, str], dict[str, Any]]:
        labels = LABELS.read(output)
        whole = f"{at[1]}:{length}:"
        nodes = [node for _, node in functions(output["sources"][at[0]]["ast"])]
        index = indexed(output)
        there = next((header(node, index) for node in nodes if node["src"].startswith(whole)), None)
        return lambda file, name: {**labels(file, name), "header": there}

    return reading


def _said(error: CompileError) -> str:
    """The first message, without the place, which is none of the text's."""
    return re.sub(r"^\S+?:(\d+:)? ", "", error.messages[0])
