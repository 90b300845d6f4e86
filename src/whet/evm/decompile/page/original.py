"""Functions of the Solidity that a contract was compiled from, found by name and number of parameters.

By words and brackets, not by a parser: inheritance is not followed, so every function of that name and number is shown,
up to four. Getters of public variables are found as the variable's declaration.
"""

from __future__ import annotations

import re
from functools import lru_cache

from whet.evm.solidity.nouns import SolidityFunction

_MOST = 4
_QUIET = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_HEADER = re.compile(r"\b(?:function(?:\s+([A-Za-z_$][\w$]*))?|(fallback|receive))\s*\(")
_VARIABLE = re.compile(r"^[^\n;{}()=]*(?:\([^\n;{}]*\))?[^\n;{}()=]*\bpublic\b[^;{}=()]*?\b([A-Za-z_$][\w$]*)\s*[;=]", re.MULTILINE)


def originals(source: str, function: SolidityFunction) -> list[str]:
    """Texts of the functions that `function` may come from; [] if none is found."""
    name, _, types = function.signature.partition("(")
    if function.kind in ("fallback", "receive"):
        name, types = function.kind, ")"
    count = _count(types.removesuffix(")"))
    functions, variables = _all(source)
    found = [text for at, text in functions.get(name, ()) if at == count or function.kind == "fallback"]
    return (found or variables.get(name, []))[:_MOST]


@lru_cache(maxsize=4)
def _all(source: str) -> tuple[dict[str, list[tuple[int, str]]], dict[str, list[str]]]:
    """{name: (parameters, text)} of functions with a body, {name: declarations} of public variables."""
    bare = _QUIET.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    functions: dict[str, list[tuple[int, str]]] = {}
    for header in _HEADER.finditer(bare):
        closed = _closing(bare, header.end() - 1, "()")
        start = min((at for at in (bare.find(mark, closed) for mark in "{;") if at >= 0), default=-1)
        if start < 0 or bare[start] == ";":
            continue
        end = _closing(bare, start, "{}")
        name = header[1] or header[2] or "fallback"
        count = _count(bare[header.end() : closed])
        functions.setdefault(name, []).append((count, _lines(source, header.start(), end + 1)))
    variables: dict[str, list[str]] = {}
    for found in _VARIABLE.finditer(bare):
        end = bare.find(";", found.start())
        variables.setdefault(found[1], []).append(source[found.start() : end + 1].strip())
    return functions, variables


def _closing(text: str, start: int, pair: str) -> int:
    """Where the bracket at `start` is closed; the end of the text if it is not."""
    depth = 0
    for found in re.compile(f"[{re.escape(pair)}]").finditer(text, start):
        depth += 1 if found[0] == pair[0] else -1
        if not depth:
            return found.start()
    return len(text)


def _count(parameters: str) -> int:
    """How many parameters are named between brackets; those of tuples and mappings count as one."""
    depth, count = 0, 1 if parameters.strip() else 0
    for char in parameters:
        depth += (char in "([") - (char in ")]")
        count += char == "," and not depth
    return count


def _lines(source: str, start: int, end: int) -> str:
    """The text with its first line's indentation taken from all."""
    indent = start - source.rfind("\n", 0, start) - 1
    return re.sub(rf"(?m)^[ \t]{{0,{indent}}}", "", source[start:end])
