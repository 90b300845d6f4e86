"""The author's contract with another text in the place of one of its functions, compiled as the author's was."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whet.evm.pairs.inventory import TOKEN, functions
from whet.evm.pairs.label import LABELS, Header, Key, Labels, header
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
    harness: Harness, texts: Mapping[str, str], settings: Settings, at: Key, length: int, text: str
) -> Candidate:
    """at, length: which bytes `text` stands for. Raises WhetError if the compiler cannot be had."""
    file, start = at
    placed = texts[file].encode()
    placed = _without_documentation(placed[:start]) + text.encode() + placed[start + length :]
    changed = {**texts, file: placed.decode()}
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
        there = next((header(node) for node in nodes if node["src"].startswith(whole)), None)
        return lambda file, name: {**labels(file, name), "header": there}

    return reading


def _said(error: CompileError) -> str:
    """The first message, without the place, which is none of the text's."""
    return re.sub(r"^\S+?:(\d+:)? ", "", error.messages[0])
