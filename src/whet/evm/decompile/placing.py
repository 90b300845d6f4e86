"""A contract's text with other functions in the places of some, and without those that are called no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from whet.evm.solidity.nouns import SolidityFunction, Source

INDENT = "    "
_CALL = re.compile(r"(?<![.\w$])(?<!function )([A-Za-z_$][\w$]*)\s*\(")
_EXTERNAL = re.compile(r"\) external\b")


def replaced(source: Source, texts: Mapping[str, Sequence[str]]) -> Source:
    """The contract with other lines for some functions, by their names in the three-address code; without those that
    get none. External functions that these lines call become public, which is the same from outside."""
    lines = source.text.split("\n")
    opened = _calls(line for text in texts.values() for line in text)
    out: list[str] = []
    functions: dict[str, SolidityFunction] = {}
    done = 0
    for one in sorted(source.functions, key=lambda one: one.first_line):
        out += lines[done : one.first_line - 1]
        own = texts.get(one.of)
        body = lines[one.first_line - 1 : one.last_line]
        done = one.last_line
        if own is not None and not own:
            done += lines[done : done + 1] == [""]
            continue
        first = len(out)
        out += body if own is None else [INDENT + line if line else line for line in own]
        if one.name in opened and one.kind == "public":
            out[first] = _EXTERNAL.sub(") public", out[first], count=1)
        functions[one.of] = replace(one, first_line=first + 1, last_line=len(out))
    text = "\n".join([*out, *lines[done:]])
    return replace(
        source, text=text, functions=[functions[one.of] for one in source.functions if one.of in functions]
    )


def reached(source: Source) -> dict[str, set[str]]:
    """{function: all others that a call of it can reach, itself where it recurses}, by what the texts call."""
    lines = source.text.split("\n")
    named: dict[str, set[str]] = {}
    for one in source.functions:
        named.setdefault(one.name, set()).add(one.of)
    direct: dict[str, set[str]] = {}
    for one in source.functions:
        calls = _calls(lines[one.first_line - 1 : one.last_line]) & named.keys()
        direct[one.of] = {other for name in calls for other in named[name]}
    return {name: _closure(name, direct) for name in direct}


def uncalled(source: Source) -> set[str]:
    """Private functions, by their names in the three-address code, that no other function's text leads to."""
    leads = reached(source)
    private = {one.of for one in source.functions if one.kind == "private"}
    return private.difference(*(leads[one.of] for one in source.functions if one.kind != "private"))


def _calls(lines: Iterable[str]) -> set[str]:
    return set(_CALL.findall("\n".join(lines)))


def _closure(name: str, direct: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    work = [name]
    while work:
        new = direct[work.pop()] - found
        found |= new
        work += new
    return found
