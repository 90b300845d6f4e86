"""What the compiler knows about a contract's runtime code: selectors, entries of functions and their arity, storage, ABI.

Left out: names of local variables. Entries come from the source map (`srcmap`), for every version alike; helpers that the
compiler wrote itself (Yul) are known from 0.8.5 on (functionDebugData), storage layouts from 0.5.13 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whet.evm.keccak import keccak256
from whet.evm.solc.srcmap import calls, walk

OUTPUTS = [
    "abi",
    "storageLayout",
    "transientStorageLayout",
    "evm.methodIdentifiers",
    "evm.bytecode.object",
    "evm.bytecode.linkReferences",
    *(
        f"evm.deployedBytecode.{part}"
        for part in ("object", "sourceMap", "linkReferences", "immutableReferences", "functionDebugData")
    ),
]
"""What `truth` needs to be selected of a contract; the AST of all sources besides."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A function as the AST defines it. `parameters`, `returns`: the types as the compiler writes them; `words` and
    `return_words`: what they take on the stack; None where that cannot be told."""

    name: str
    contract: str
    kind: str
    visibility: str
    parameters: tuple[str, ...]
    returns: tuple[str, ...]
    words: int | None
    return_words: int | None


def definitions(asts: Mapping[str, Mapping[str, Any]]) -> dict[str, Definition]:
    """{source range: function} of all functions with a body. `asts`: the output's "sources"."""
    found = {}
    for source in asts.values():
        for node in walk(source["ast"]):
            if node["nodeType"] == "ContractDefinition":
                for part in node["nodes"]:
                    if part["nodeType"] == "FunctionDefinition" and part.get("body"):
                        found[part["src"]] = _definition(part, str(node["name"]))
            elif node["nodeType"] == "SourceUnit":
                for part in node["nodes"]:
                    if part["nodeType"] == "FunctionDefinition":
                        found[part["src"]] = _definition(part, "")
    return found


def used_variables(asts: Mapping[str, Mapping[str, Any]]) -> frozenset[int]:
    """The ids of state variables that have a getter or are named in any function that is no constructor."""
    used = set()
    for source in asts.values():
        for node in walk(source["ast"]):
            if node["nodeType"] == "VariableDeclaration":
                used |= (
                    {node["id"]} if node.get("stateVariable") and node["visibility"] == "public" else set()
                )
            elif node["nodeType"] == "ModifierDefinition" or (
                node["nodeType"] == "FunctionDefinition" and node.get("kind") != "constructor"
            ):
                used |= _named(node)
    return frozenset(used)


def _named(function: Mapping[str, Any]) -> set[int]:
    """What it refers to, in assembly too."""
    named = set()
    for node in walk(function):
        named.add(node.get("referencedDeclaration"))
        if node["nodeType"] == "InlineAssembly":
            named |= {part["declaration"] for part in externals(node)}
    return {one for one in named if isinstance(one, int)}


def externals(assembly: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What an assembly block names that is declared outside of it, each with its "declaration"."""
    for one in assembly["externalReferences"]:  # up to 0.5 under the name
        yield from (part for part in (one, *one.values()) if _declares(part))


def _declares(part: object) -> bool:
    return isinstance(part, dict) and "declaration" in part


def truth(
    contract: Mapping[str, Any], functions: Mapping[str, Definition], used: frozenset[int]
) -> dict[str, Any]:
    """Everything known of one contract of an output, as plain values.

    `runtime` and `creation` are hexadecimal; places of libraries hold the addresses in `libraries`; immutables are 0.
    `entries`: {pc, name, contract, kind, visibility, parameters, returns, words, return_words, sites}, words from the
    compiler's debug data where there are any, sites: how many jumps call it. `entered`: what else jumps call, by pc.
    `storage_used`: those of `used` (see `used_variables`) that storage_layout holds, by astId.
    `untagged`: bodies of public functions and helpers, where the jumps there have no tag (up to 0.4.26).
    """
    evm = contract["evm"]
    deployed = evm["deployedBytecode"]
    runtime, libraries = linked(deployed)
    creation, more = linked(evm["bytecode"])
    debug = {
        data["entryPoint"]: data
        for data in (deployed.get("functionDebugData") or {}).values()
        if data.get("entryPoint") is not None
    }
    found = calls(bytes.fromhex(runtime), deployed.get("sourceMap", ""))
    entries = [
        _entry(pc, functions[src], debug.get(pc)) | {"sites": found.sites[pc]}
        for pc, src in found.entered.items()
        if src in functions
    ]
    return {
        "runtime": runtime,
        "creation": creation,
        "abi": contract["abi"],
        "methods": {f"0x{four}": name for name, four in sorted(evm["methodIdentifiers"].items())},
        "entries": entries,
        "helpers": _helpers(deployed),
        "entered": [pc for pc, src in found.entered.items() if src not in functions],
        "untagged": [pc for pc, src in found.untagged.items() if src in functions or src.endswith(":-1")],
        "unresolved_calls": len(found.unresolved),
        "storage_layout": contract.get("storageLayout"),
        "storage_used": _stored(contract.get("storageLayout"), used),
        "transient_layout": contract.get("transientStorageLayout"),
        "immutables": deployed.get("immutableReferences") or {},
        "libraries": libraries | more,
    }


def _stored(layout: Mapping[str, Any] | None, used: frozenset[int]) -> list[int]:
    return sorted({one["astId"] for one in (layout or {}).get("storage", ())} & used)


def linked(bytecode: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The code with an address in each library's place, and {library: address}; an address is made of the name."""
    code = bytecode["object"]
    libraries = {}
    for file, places in (bytecode.get("linkReferences") or {}).items():
        for name, spots in places.items():
            address = keccak256(f"{file}:{name}".encode())[:20].hex()
            libraries[f"{file}:{name}"] = "0x" + address
            for spot in spots:
                start = 2 * spot["start"]
                code = code[:start] + address + code[start + 40 :]
    return code, libraries


def stack_words(type_string: str, location: str) -> int | None:
    """What a variable of this type takes on the stack: one word, but two for a dynamic array in calldata and a pointer
    to an external function; None for what is no variable's type. `location`: "calldata", "memory", "storage", other."""
    text = type_string.removesuffix(" pointer").removesuffix(" ref").removesuffix(f" {location}")
    if text.startswith("function "):
        return 2 if " external" in text else 1
    if location == "calldata":
        return 2 if text in ("bytes", "string") or text.endswith("[]") else 1
    return None if text.startswith(("tuple(", "type(", "module ")) else 1


def _definition(node: Any, contract: str) -> Definition:
    """Reference types among the parameters of external functions lie in calldata, also where 0.4 does not say so."""
    default = "calldata" if node.get("visibility") == "external" else "default"
    kind = node.get("kind") or ("constructor" if node.get("isConstructor") else "function")
    return Definition(
        name=node["name"],
        contract=contract,
        kind=kind,
        visibility=node.get("visibility", ""),
        parameters=_types(node["parameters"]),
        returns=_types(node["returnParameters"]),
        words=_total(node["parameters"], default),
        return_words=_total(node["returnParameters"], "default"),
    )


def _types(parameters: Any) -> tuple[str, ...]:
    return tuple(part["typeDescriptions"]["typeString"] for part in parameters["parameters"])


def _total(parameters: Any, default: str) -> int | None:
    words = []
    for part in parameters["parameters"]:
        said = part.get("storageLocation", "default")
        words.append(
            stack_words(part["typeDescriptions"]["typeString"], default if said == "default" else said)
        )
    return None if None in words else sum(word or 0 for word in words)


def _entry(pc: int, function: Definition, debug: Mapping[str, Any] | None) -> dict[str, Any]:
    known = debug or {}
    return {
        "pc": pc,
        "name": function.name,
        "contract": function.contract,
        "kind": function.kind,
        "visibility": function.visibility,
        "parameters": list(function.parameters),
        "returns": list(function.returns),
        "words": known.get("parameterSlots", function.words),
        "return_words": known.get("returnSlots", function.return_words),
    }


def _helpers(deployed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Functions that the compiler wrote: no node of the AST is theirs."""
    found = [
        {
            "pc": data["entryPoint"],
            "name": name.removeprefix("@"),
            "words": data.get("parameterSlots"),
            "return_words": data.get("returnSlots"),
        }
        for name, data in (deployed.get("functionDebugData") or {}).items()
        if data.get("entryPoint") is not None and data.get("id") is None
    ]
    return sorted(found, key=lambda helper: helper["pc"])
