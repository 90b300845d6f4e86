"""A contract's text with other functions in the places of some, and without those that are called no more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from whet.evm.solidity.nouns import SolidityFunction, Source

INDENT = "    "
_WORD = re.compile(r"[\w$]+")


def replaced(source: Source, texts: Mapping[str, Sequence[str]]) -> Source:
    """The contract with other lines for some functions, by their names in the three-address code; without those that
    get none."""
    lines = source.text.split("\n")
    out: list[str] = []
    functions: dict[str, SolidityFunction] = {}
    done = 0
    for one in sorted(source.functions, key=lambda one: one.first_line):
        out += lines[done : one.first_line - 1]
        first = len(out) + 1
        own = texts.get(one.of)
        body = lines[one.first_line - 1 : one.last_line]
        done = one.last_line
        if own is not None and not own:
            done += lines[done : done + 1] == [""]
            continue
        out += body if own is None else [INDENT + line if line else line for line in own]
        functions[one.of] = replace(one, first_line=first, last_line=len(out))
    text = "\n".join([*out, *lines[done:]])
    return replace(
        source, text=text, functions=[functions[one.of] for one in source.functions if one.of in functions]
    )


def uncalled(source: Source) -> set[str]:
    """Private functions, by their names in the three-address code, that no other function's text leads to."""
    lines = source.text.split("\n")
    words = {
        one.of: set(_WORD.findall("\n".join(lines[one.first_line - 1 : one.last_line])))
        for one in source.functions
    }
    private = {one.name: one.of for one in source.functions if one.kind == "private"}
    todo = [one.of for one in source.functions if one.kind != "private"]
    found = set(todo)
    while todo:
        new = {private[word] for word in words[todo.pop()] & private.keys()} - found
        found |= new
        todo += new
    return words.keys() - found
