"""The author's contract with another text in the place of one of its functions, compiled as the author's was."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.evm.pairs.headers import Header, header
from whet.evm.pairs.inventory import TOKEN, functions
from whet.evm.pairs.label import LABELS, Key, Labels, indexed
from whet.evm.solc.compiler import CompileError, Settings
from whet.evm.solc.harness import Harness, Output, Reader, compile_harnesses
from whet.evm.solc.worker import CompilerFailure


@dataclass(frozen=True, slots=True)
class Candidate:
    """runtime: hexadecimal, "" where it does not compile. parses, why: what the compiler says. header: of the text's."""

    parses: bool
    runtime: str = ""
    header: Header | None = None
    why: str = ""


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
    another contract, since its prompt shows them. Raises WhetError if the compiler cannot be had."""
    file, start = at
    private = _declared_private([name for name in names if re.search(rf"\b{re.escape(name)}\b", text)])
    whole = texts[file].encode()
    before = private(_without_documentation(whole[:start]).decode())
    after = private(whole[start + length :].decode())
    changed = {name: private(one) for name, one in texts.items()} | {file: before + text + after}
    at = file, len(before.encode())
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
    return Candidate(True, labels.runtime, read["header"])


def _declared_private(names: Sequence[str]) -> Callable[[str], str]:
    """What opens the declarations of these names to contracts that inherit them; no code depends on it."""
    if not names:
        return lambda text: text
    named = "|".join(map(re.escape, names))
    variable = re.compile(rf"\bprivate(\s+(?:{named})\s*[;=])")
    function = re.compile(rf"(\bfunction\s+(?:{named})\s*\([^)]*\)[^{{;]*?)\bprivate\b")
    return lambda text: function.sub(r"\1internal", variable.sub(r"internal\1", text))


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
