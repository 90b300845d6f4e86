"""Where the functions of a source are in a contract's runtime code: public ones by selector, internal ones by source map.

A jump that the source map tags as a call goes to a place whose source range is a function's (`whet.evm.solc.srcmap`). Where
the compiler keeps data on functions (0.8.5 and newer), each such label is compared with it, and one that it denies is none.
Which function answers a selector follows from the inheritance; where the code that the dispatcher jumps to has a function's
range in the source map, that must be the same one. Works on one compiler output; knows nothing of the lifter.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from whet.evm.keccak import keccak256, selector
from whet.evm.pairs.headers import Header, canonical, header
from whet.evm.pairs.inventory import functions, kind_of
from whet.evm.pairs.layout import stored
from whet.evm.pairs.names import Known, mentions
from whet.evm.solc.harness import HARNESSES, Output, Reader
from whet.evm.solc.srcmap import calls, instructions, places, walk
from whet.evm.solc.truth import linked

Key = tuple[str, int]
"""A function's place: file and byte offset."""

_INNER = "_inner"
"""Behind the name of what holds a function's body without its modifiers, compiled through Yul: it has the function's range."""


@dataclass(slots=True)
class Labels:
    """What is known of one contract. runtime: its code, libraries' addresses filled in.

    selectors: {selector: the function that answers}. entries: {offset in the code: function}. special: {"fallback" or
    "receive": function}. seen, built: functions of which there is any code, at run time and during construction.
    checked: labels compared with the compiler's own data; denied: those it denies, which are no entries; unresolved: calls
    of which the source map's reader does not know where they go. abi: as the compiler gives it. known: the author's names.
    headers: of every function that has a place.
    """

    runtime: str
    selectors: dict[int, Key] = field(default_factory=dict)
    entries: dict[int, Key] = field(default_factory=dict)
    special: dict[str, Key] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)
    built: set[Key] = field(default_factory=set)
    checked: int = 0
    denied: list[Key] = field(default_factory=list)
    unresolved: int = 0
    abi: list[dict[str, Any]] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    headers: dict[Key, Header] = field(default_factory=dict)


def _read(output: Output) -> Callable[[str, str], dict[str, Any]]:
    """What finds the labels of one contract of an output; {"labels": Labels}."""
    asts = output["sources"]
    index = indexed(output)
    files = {source["id"]: file for file, source in asts.items()}
    homes = {
        node["id"]: (file, int(node["src"].split(":")[0]))
        for file, source in asts.items()
        for _, node in functions(source["ast"])
    }
    nodes = {home: index[one] for one, home in homes.items()}
    names = _Names(asts, index, nodes)
    ranges = _Ranges(asts)

    def read(file: str, name: str) -> dict[str, Any]:
        contract = output["contracts"][file][name]
        node = next(
            top for top in asts[file]["ast"]["nodes"] if top.get("name") == name and _is_contract(top)
        )
        labels = _entries(contract["evm"], index, files, ranges)
        for key, one in _implementing(node, index, contract["evm"]["methodIdentifiers"]):
            if (home := homes.get(one)) is not None:
                if isinstance(key, int):
                    labels.selectors[key] = home
                else:
                    labels.special[key] = home
        _check_selectors(labels, contract["evm"]["deployedBytecode"].get("sourceMap", ""), ranges)
        labels.abi = contract["abi"]
        labels.known = names.known(labels, contract, node)
        labels.headers = {key: header(nodes[key], index) for key in labels.known.mentions}
        return {"labels": labels}

    return read


def indexed(output: Output) -> dict[int, Mapping[str, Any]]:
    """{id: node} of all syntax trees."""
    sources = output["sources"].values()
    return {node["id"]: node for source in sources for node in walk(source["ast"]) if "id" in node}


class _Names:
    """What the author called what a contract of the output has in its code and its storage."""

    def __init__(
        self,
        asts: Mapping[str, Any],
        index: Mapping[int, Mapping[str, Any]],
        nodes: Mapping[Key, Mapping[str, Any]],
    ) -> None:
        self.index, self.nodes = index, nodes
        self.harnesses = {str(source["id"]) for file, source in asts.items() if file.startswith(HARNESSES)}
        tops = [top for source in asts.values() for top in source["ast"]["nodes"]]
        self.libraries = {
            part["id"]: f"{top['name']}."
            for top in tops
            if top.get("contractKind") == "library"
            for part in top["nodes"]
        }

    def known(self, labels: Labels, contract: Mapping[str, Any], node: Mapping[str, Any]) -> Known:
        """Functions that have a place of their own, and variables; those that a harness declares are nobody's."""
        variables = [
            one
            for one in stored(contract, node, self.index)
            if self.index[one.id]["src"].split(":")[2] not in self.harnesses
        ]
        places = {pc: key for pc, key in labels.entries.items() if not key[0].startswith(HARNESSES)}
        known = Known({pc: self._called(self.nodes[key]) for pc, key in places.items()}, variables)
        wanted = {one.id for one in variables} | {one for _, one in known.functions.values()}
        for key in {*labels.entries.values(), *labels.selectors.values(), *labels.special.values()}:
            known.mentions[key] = mentions(self.nodes[key], wanted)
        return known

    def _called(self, node: Mapping[str, Any]) -> tuple[str, int]:
        return f"{self.libraries.get(node['id'], '')}{node['name']}", node["id"]


def _is_contract(node: Mapping[str, Any]) -> bool:
    return bool(node["nodeType"] == "ContractDefinition")


def _entries(
    evm: Mapping[str, Any], index: Mapping[int, Mapping[str, Any]], files: Mapping[int, str], ranges: _Ranges
) -> Labels:
    deployed = evm["deployedBytecode"]
    labels = Labels(_filled(linked(deployed)[0], deployed.get("immutableReferences") or {}, index))
    code = bytes.fromhex(labels.runtime)
    found = calls(code, deployed.get("sourceMap", ""))
    labels.unresolved = len(found.unresolved)
    debug: dict[int, int | None] = {}
    inner = set()
    for name, data in (deployed.get("functionDebugData") or {}).items():
        if data.get("entryPoint") is not None:
            debug[data["entryPoint"]] = data.get("id")
            if name.endswith(_INNER):
                inner.add(data["entryPoint"])
    for pc, src in found.entered.items():
        key = ranges.exact.get(src)
        if key is None:
            continue
        told = debug.get(pc)
        labels.checked += told is not None or pc in inner
        if pc in inner or (told is not None and index.get(told, {}).get("src") != src):
            labels.denied.append(key)
        else:
            labels.entries[pc] = key
    labels.seen = set(ranges.within(deployed.get("sourceMap", "")))
    labels.built = set(ranges.within(evm["bytecode"].get("sourceMap", "")))
    return labels


LABELS = Reader(
    (
        "abi",
        "storageLayout",
        "transientStorageLayout",
        "evm.methodIdentifiers",
        "evm.bytecode.sourceMap",
        *(
            f"evm.deployedBytecode.{part}"
            for part in ("object", "sourceMap", "linkReferences", "immutableReferences", "functionDebugData")
        ),
    ),
    _read,
)
"""The labels of a contract, under "labels"."""


def _check_selectors(labels: Labels, source_map: str, ranges: _Ranges) -> None:
    """Against the source map, where the dispatcher compares and jumps as solc's old pipeline writes it. Code that several
    selectors lead to has the range of one of them and proves nothing."""
    listed = list(zip(instructions(bytes.fromhex(labels.runtime)), places(source_map), strict=False))
    at = {instruction.pc: place.src for instruction, place in listed if instruction.name == "JUMPDEST"}
    names = [instruction.name for instruction, _ in listed]
    found = {
        listed[index][0].value: listed[index + 2][0].value
        for index in range(len(listed) - 3)
        if names[index] == "PUSH4" and names[index + 1] == "EQ" and names[index + 3] == "JUMPI"
    }
    times = Counter(found.values())
    for four, pc in found.items():
        said = ranges.exact.get(at.get(pc or 0, ""))
        if four in labels.selectors and said is not None and times[pc] == 1:
            labels.checked += 1
            if labels.selectors[four] != said:
                labels.denied.append(labels.selectors.pop(four))


def _filled(
    runtime: str, places: Mapping[str, list[Mapping[str, int]]], index: Mapping[int, Mapping[str, Any]]
) -> str:
    """The code with a value for each immutable, as deployed code has: made of its name, within its type. With zeros, as the
    compiler leaves them, branches would be dead that are not."""
    for number, spots in places.items():
        node = index.get(int(number), {}) if number.isdecimal() else {}
        word = _value(
            str(node.get("name", number)), str(node.get("typeDescriptions", {}).get("typeString", ""))
        )
        for spot in spots:
            start, size = 2 * spot["start"], 2 * spot["length"]
            runtime = runtime[:start] + word[:size].zfill(size) + runtime[start + size :]
    return runtime


def _value(name: str, type_string: str) -> str:
    """64 hex digits: a clean word of the type."""
    digits = keccak256(name.encode()).hex()
    if type_string == "bool":
        return f"{1:064x}"
    if match := re.fullmatch(r"u?int(\d+)", type_string):
        return digits[: int(match[1]) // 4 - 2].zfill(64) if match[1] != "8" else f"{18:064x}"
    if match := re.fullmatch(r"bytes(\d+)", type_string):
        return digits[: 2 * int(match[1])].ljust(64, "0")
    return f"{1:064x}" if type_string.startswith("enum ") else digits[:40].zfill(64)


class _Ranges:
    """Which function a source range is of. `exact`: {"start:length:file": function}."""

    def __init__(self, asts: Mapping[str, Any]) -> None:
        self.exact: dict[str, Key] = {}
        self._starts: dict[str, list[int]] = {}
        self._ends: dict[str, list[tuple[int, Key]]] = {}
        for file, source in asts.items():
            found = sorted(
                (*map(int, node["src"].split(":")), node["src"]) for _, node in functions(source["ast"])
            )
            number = str(source["id"])
            self._starts[number] = [start for start, *_ in found]
            self._ends[number] = [(start + length, (file, start)) for start, length, *_ in found]
            self.exact |= {src: (file, start) for start, _, _, src in found}

    def within(self, source_map: str) -> Iterator[Key]:
        """The functions of which the map names any part."""
        for src in {place.src for place in places(source_map)}:
            start, length, number = src.split(":")
            at = bisect_right(self._starts.get(number, []), int(start or 0)) - 1
            if at >= 0:
                end, key = self._ends[number][at]
                if int(start or 0) + int(length or 0) <= end:
                    yield key


def _implementing(
    contract: Mapping[str, Any], index: Mapping[int, Mapping[str, Any]], methods: Mapping[str, str]
) -> Iterator[tuple[int | str, int]]:
    """(selector, or "fallback" and "receive"; id of the function that answers), the most derived first and alone."""
    wanted = {int(four, 16): name for name, four in methods.items()}
    done: set[int | str] = set()
    for base in contract["linearizedBaseContracts"]:
        for part in index[base]["nodes"]:
            if part["nodeType"] == "VariableDeclaration" and part["visibility"] == "public":
                done |= {four for four, name in wanted.items() if name.startswith(f"{part['name']}(")}
            if part["nodeType"] != "FunctionDefinition" or not part.get("body"):
                continue
            key = _key(part, str(index[base]["name"]), wanted)
            if key is not None and key not in done:
                done.add(key)
                yield key, part["id"]


def _key(node: Mapping[str, Any], contract: str, wanted: Mapping[int, str]) -> int | str | None:
    kind = kind_of(node, contract)
    if kind in ("fallback", "receive"):
        return kind
    if kind == "constructor" or node.get("visibility") not in ("public", "external"):
        return None
    if "functionSelector" in node:
        four = int(node["functionSelector"], 16)
        return four if four in wanted else None
    types = [canonical(part["typeDescriptions"]["typeString"]) for part in node["parameters"]["parameters"]]
    four = selector(f"{node['name']}({','.join(types)})")
    if four in wanted:
        return four
    alike = [key for key, name in wanted.items() if name.split("(")[0] == node["name"]]
    same = [key for key in alike if wanted[key].count(",") + 1 == len(types) or wanted[key].endswith("()")]
    return alike[0] if len(alike) == 1 == len(same) else None
