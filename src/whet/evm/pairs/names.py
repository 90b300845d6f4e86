"""What the author called the things that a prompt shows, wherever the compiler proves it.

A prompt's names come from the code: `stor_3`, `owner` (a known getter's), `p_35d`. A state variable is the author's where the
compiler's layout has it at the same place with the same kind of type, a private function where its code begins. Left out:
members of structs, and names that are not one to one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.evm.meaning.base import StateVariable
from whet.evm.pairs.layout import Stored
from whet.evm.pairs.nouns import PLACE
from whet.evm.solc.srcmap import walk
from whet.evm.solc.truth import externals
from whet.evm.tac import Function

_VALUE = re.compile(r"|u?int\d*|bytes\d+|bool|address( payable)?")


@dataclass(slots=True)
class Known:
    """Of one contract. functions: {offset in the code: (name, id) of the function that begins there}, "Library.name" where it
    is a library's. mentions: {(file, start) of a function: {id: where its text names that, bytes from its start}}, SELF
    for itself."""

    functions: dict[int, tuple[str, int]] = field(default_factory=dict)
    variables: list[Stored] = field(default_factory=list)
    mentions: dict[tuple[str, int], dict[int, list[int]]] = field(default_factory=dict)


NOTHING = Known()

SELF = 0
"""Stands for the function's own id among its mentions."""


def mentions(function: Mapping[str, Any], wanted: Collection[int]) -> dict[int, list[int]]:
    """Where a function's text names itself and what is `wanted` (ids), bytes from its start; not what assembly names too.
    Members (`Library.name`, `value.name`) are no names."""
    start, own = int(function["src"].split(":")[0]), function["id"]
    found: dict[int, list[int]] = defaultdict(list)
    assembly: set[object] = set()
    for node in walk(function):
        declared = int(node.get("referencedDeclaration") or -1)
        if node["nodeType"] == "Identifier" and (declared == own or declared in wanted):
            found[SELF if declared == own else declared].append(int(node["src"].split(":")[0]) - start)
        elif node["nodeType"] == "InlineAssembly":
            assembly |= {part["declaration"] for part in externals(node)}
    return {one: sorted(places) for one, places in found.items() if one not in assembly}


def named(
    text: str, functions: Iterable[Function], variables: Sequence[StateVariable], known: Known
) -> dict[str, tuple[str, int]]:
    """{name in a prompt's text: (the author's, id)}, one to one, in the order of the prompt's names."""
    words = set(re.findall(r"\w+", text))
    found = {
        one.name: known.functions[one.pc]
        for one in functions
        if one.name in words
        and one.kind == "private"
        and PLACE.fullmatch(one.name)
        and one.pc in known.functions
    }
    for one in variables:
        if one.name in words and (theirs := _same(one, known.variables)):
            found[one.name] = (theirs.name, theirs.id)
    times = Counter(name for name, _ in found.values())
    return {name: told for name, told in sorted(found.items()) if times[told[0]] == 1}


def _same(ours: StateVariable, variables: Sequence[Stored]) -> Stored | None:
    """The only variable that has any of these bytes, if it begins where ours does and is of its kind."""
    there = [one for one in variables if one.transient == ours.transient and _touch(one, ours)]
    if len(there) != 1 or (there[0].slot, there[0].offset) != (ours.slot, ours.offset):
        return None
    return there[0] if there[0].kind == _written(ours.type) else None


def _touch(one: Stored, ours: StateVariable) -> bool:
    begin, ours_begin = 32 * one.slot + one.offset, 32 * ours.slot + ours.offset
    return begin < ours_begin + ours.size and ours_begin < begin + one.size


def _written(type_: str) -> str:
    """The kind of a type as the prompt writes it."""
    if type_.startswith("mapping("):
        return "mapping"
    if type_.endswith("]"):
        return "array" if type_.endswith("[]") else "fixed"
    if type_ in ("bytes", "string"):
        return "bytes"
    return "value" if _VALUE.fullmatch(type_) else "struct"
