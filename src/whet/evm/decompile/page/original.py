"""Functions of the Solidity that a contract was compiled from: by selector, else by name and number of parameters.

By words and brackets, not by a parser: inheritance is not followed, so every function that fits is shown, up to four; types
that are no words of Solidity (contracts, structs, enums) have no selector here. Getters of public variables are found as the
variable's declaration.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice

from whet.evm.keccak import selector
from whet.evm.solidity.nouns import SolidityFunction

_MOST = 4
_QUIET = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_HEADER = re.compile(r"\b(?:function(?:\s+([A-Za-z_$][\w$]*))?|(fallback|receive))\s*\(")
_NAME = re.compile(r"([A-Za-z_$][\w$]*)\s*$")
_ASSIGNED = re.compile(r"(?<![=!<>])=(?![=>])")
_FARTHEST = 200_000
"""Characters from a bracket to the one that closes it."""
_MOST_FUNCTIONS = 20_000


def originals(source: str, function: SolidityFunction) -> list[str]:
    """Texts of the functions that `function` may come from; [] if none is found."""
    name, _, types = function.signature.partition("(")
    if function.kind in ("fallback", "receive"):
        name, types = function.kind, ")"
    count = _count(types.removesuffix(")"))
    functions, variables = _all(source)
    if function.selector is not None and (known := functions.get(f"{function.selector:08x}")):
        return [text for _, text in known][:_MOST]
    found = [text for at, text in functions.get(name, ()) if at == count or function.kind == "fallback"]
    return (found or variables.get(name, []))[:_MOST]


@lru_cache(maxsize=4)
def _all(source: str) -> tuple[dict[str, list[tuple[int, str]]], dict[str, list[str]]]:
    """{name, and eight digits of a selector: (parameters, text)} of functions with a body, and `_variables`."""
    bare = _QUIET.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    functions: dict[str, list[tuple[int, str]]] = {}
    for header in islice(_HEADER.finditer(bare), _MOST_FUNCTIONS):
        closed = _closing(bare, header.end() - 1, "()")
        start = min((at for at in (bare.find(mark, closed) for mark in "{;") if at >= 0), default=-1)
        if start < 0 or bare[start] == ";":
            continue
        end = _closing(bare, start, "{}")
        name = header[1] or header[2] or "fallback"
        inside = bare[header.end() : closed]
        found = (_count(inside), _lines(source, header.start(), end + 1))
        functions.setdefault(name, []).append(found)
        functions.setdefault(f"{selector(f'{name}({_types(inside)})'):08x}", []).append(found)
    return functions, _variables(source, bare)


def _variables(source: str, bare: str) -> dict[str, list[str]]:
    """{name: declarations} of public variables: what stands between two of `;{}` and says public."""
    found: dict[str, list[str]] = {}
    start = 0
    for mark in re.finditer("[;{}]", bare):
        declared = _ASSIGNED.split(bare[start : mark.start()], maxsplit=1)[0]
        name = _NAME.search(declared.rstrip()[-200:])
        if mark[0] == ";" and name and re.search(r"\bpublic\b", declared) and "function" not in declared:
            begins = mark.start() - len(bare[start : mark.start()].lstrip())
            found.setdefault(name[1], []).append(source[begins : mark.end()])
        start = mark.end()
    return found


def _closing(text: str, start: int, pair: str) -> int:
    """Where the bracket at `start` is closed; where it was given up if it is not."""
    depth, last = 0, min(len(text), start + _FARTHEST)
    for found in re.compile(f"[{re.escape(pair)}]").finditer(text, start, last):
        depth += 1 if found[0] == pair[0] else -1
        if not depth:
            return found.start()
    return last


def _types(parameters: str) -> str:
    """ "address,uint256" of "address to, uint amount"."""
    words = [(one.split() or [""])[0] for one in parameters.split(",")]
    return ",".join(re.sub(r"^(u?int)(?=\[|$)", r"\g<1>256", word) for word in words)


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
