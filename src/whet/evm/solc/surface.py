"""What of a file's contracts can be called from outside, and the Solidity that makes the rest callable.

Works on the compiler's AST, of any version from 0.4.26 on. The text it writes is checked by the compiler only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.evm.solc.srcmap import walk

Version = tuple[int, int, int]
Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exposed:
    """An internal function made callable: its name and the public function's text (with variables it needs).

    by: the public function's name. hides: what the internal one returns in storage, or may write into its arguments in memory,
    is not among the results. showing: a text with the same name and parameters whose results have it, a reference to storage
    as its slot; "" where there is no such. needs: (file, name) of what `showing` names.
    """

    name: str
    text: str
    by: str = ""
    hides: bool = False
    showing: str = ""
    needs: frozenset[tuple[str, str]] = frozenset()


@dataclass(slots=True)
class Surface:
    """A contract, library, interface, or ("" as name, kind "free") the free functions of a file.

    concrete: it has code of its own. preamble: what a subclass needs (constructor, bodies). old_coder: ABI coder v2 has
    to be asked for. imports: (file, name) of what the texts name. left_out: (function, reason).
    """

    file: str
    name: str
    kind: str
    concrete: bool = False
    preamble: str = ""
    old_coder: bool = False
    imports: set[tuple[str, str]] = field(default_factory=set)
    exposed: list[Exposed] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def surface(asts: Mapping[str, Any], version: Version, whole: bool = False) -> Iterator[Surface]:
    """Every contract of the sources, by file and place. `whole`: of concrete contracts too the internal functions they
    define are exposed, so that these have a preamble; and bodies written here return what nothing else is known of (a
    variable's value), not zeros."""
    index: dict[int, Node] = {
        node["id"]: node for source in asts.values() for node in walk(source["ast"]) if "id" in node
    }
    homes = _homes(asts)
    for file in sorted(asts):
        parts = asts[file]["ast"]["nodes"]
        for node in parts:
            if node["nodeType"] == "ContractDefinition":
                yield _contract(node, file, _Types(index, homes, version), whole)
        free = [node for node in parts if node["nodeType"] == "FunctionDefinition"]
        if free:
            types = _Types(index, homes, version)
            found = Surface(file, "", "free", old_coder=version < (0, 8, 0), imports=types.imports)
            _expose(found, free, "", types)
            yield found


def _homes(asts: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """{id of anything declared: (its file, the name at the file's top level under which it is found)}."""
    found: dict[int, tuple[str, str]] = {}
    for file in sorted(asts):
        for top in asts[file]["ast"]["nodes"]:
            if top.get("name"):
                found |= {node["id"]: (file, top["name"]) for node in (top, *top.get("nodes", ()))}
    return found


def _contract(node: Node, file: str, types: _Types, whole: bool) -> Surface:
    found = Surface(
        file, node["name"], node["contractKind"], old_coder=types.version < (0, 8, 0), imports=types.imports
    )
    bases = [types.index[base] for base in node["linearizedBaseContracts"]]
    if found.kind == "interface":
        return found
    if found.kind == "library":
        own = [part for part in node["nodes"] if part["nodeType"] == "FunctionDefinition"]
        found.concrete = any(part["visibility"] in ("public", "external") for part in own)
        _expose(found, own, f"{found.name}.", types)
        return found
    found.concrete = bool(node["fullyImplemented"]) and not node.get("abstract") and not _hidden(node)
    if not found.concrete or whole:
        types.imports |= {types.homes[base["id"]] for base in bases}
        found.preamble = _constructor(bases, types) + "".join(_bodies(node, bases, types, whole))
        _expose(found, _functions(node) if found.concrete else _most_derived(bases), "", types)
    return found


def _hidden(node: Node) -> bool:
    """An internal constructor: 0.4 to 0.6 make no code of such a contract."""
    return any(
        part["nodeType"] == "FunctionDefinition"
        and _is_constructor(part, node)
        and part["visibility"] == "internal"
        for part in node["nodes"]
    )


def _is_constructor(part: Node, contract: Node) -> bool:
    named = part["name"] == contract["name"] != ""
    return part.get("kind") == "constructor" or bool(part.get("isConstructor")) or named


def _functions(contract: Node) -> Iterator[Node]:
    """Ordinary functions: constructors, fallbacks and modifiers are none."""
    for part in contract["nodes"]:
        if part["nodeType"] == "FunctionDefinition" and part["name"] and not _is_constructor(part, contract):
            yield part


def _key(function: Node) -> tuple[str, str]:
    types = [_bare(part["typeDescriptions"]["typeString"]) for part in function["parameters"]["parameters"]]
    return function["name"], ",".join(types)


def _most_derived(bases: Sequence[Node]) -> list[Node]:
    found: dict[tuple[str, str], Node] = {}
    for base in bases:
        for function in _functions(base):
            found.setdefault(_key(function), function)
    return list(found.values())


# Making internal functions callable.


def _expose(found: Surface, functions: Iterable[Node], prefix: str, types: _Types) -> None:
    names: dict[str, int] = {}
    for function in functions:
        internal = function["visibility"] == "internal" or found.kind == "free"
        if not internal or not function.get("body") or not function["name"]:
            continue
        count = names[function["name"]] = names.get(function["name"], -1) + 1
        try:
            name = f"{function['name']}_{count}"
            text = _wrapper(function, name, prefix, types)
        except _NoWay as why:
            found.left_out.append((function["name"], str(why)))
            continue
        found.exposed.append(_exposed(function, text, name, prefix, types))


class _NoWay(Exception):
    """This cannot be written; says why."""


def _exposed(function: Node, text: str, name: str, prefix: str, types: _Types) -> Exposed:
    stored = any(part["storageLocation"] == "storage" for part in function["returnParameters"]["parameters"])
    if not stored and not any(types.in_memory(part) for part in function["parameters"]["parameters"]):
        return Exposed(function["name"], text, name)
    own = _Types(types.index, types.homes, types.version)
    try:
        showing = _showing(function, name, prefix, own)
    except _NoWay:
        return Exposed(function["name"], text, name, hides=True)
    return Exposed(function["name"], text, name, hides=True, showing=showing, needs=frozenset(own.imports))


def _wrapper(function: Node, name: str, prefix: str, types: _Types) -> str:
    variables, parameters, call = _called(function, name, prefix, types)
    returned = function["returnParameters"]["parameters"]
    if not returned or any(part["storageLocation"] == "storage" for part in returned):
        return f"{variables}function {name}({parameters}) public {{ {call}; }}"
    results = ", ".join(types.public(part, result=True) for part in returned)
    return f"{variables}function {name}({parameters}) public returns ({results}) {{ return {call}; }}"


def _showing(function: Node, name: str, prefix: str, types: _Types) -> str:
    """Returns all results, a reference to storage as its slot, and behind them the arguments in memory as the call left them."""
    variables, parameters, call = _called(function, name, prefix, types)
    results, targets, before, after = [], [], "", ""
    for place, part in enumerate(function["returnParameters"]["parameters"]):
        if part["storageLocation"] == "storage":
            slot = f"s{place}.slot" if types.version >= (0, 7, 0) else f"s{place}_slot"
            results.append(f"uint256 r{place}")
            before += f"{types.written(part)} storage s{place}; "
            after += f" assembly {{ r{place} := {slot} }}"
        else:
            results.append(f"{types.public(part, result=True)} r{place}")
        targets.append(f"{'s' if part['storageLocation'] == 'storage' else 'r'}{place}")
    for place, part in enumerate(function["parameters"]["parameters"]):
        if types.in_memory(part):
            results.append(f"{types.public(part, result=True)} m{place}")
            after += f" m{place} = a{place};"
    given = f"({', '.join(targets)}) = " if targets else ""
    head = f"function {name}({parameters}) public returns ({', '.join(results)})"
    return f"{variables}{head} {{ {before}{given}{call};{after} }}"


def _called(function: Node, name: str, prefix: str, types: _Types) -> tuple[str, str, str]:
    """Variables for the parameters in storage; the others; the call."""
    variables, parameters, arguments = "", [], []
    for place, part in enumerate(function["parameters"]["parameters"]):
        if part["storageLocation"] == "storage":
            variable = f"stored_{name}_{place}"
            variables += f"{types.written(part)} {variable};\n"
            arguments.append(variable)
        else:
            parameters.append(f"{types.public(part)} a{place}")
            arguments.append(f"a{place}")
    return variables, ", ".join(parameters), f"{prefix}{function['name']}({', '.join(arguments)})"


# Making abstract contracts concrete.


def _constructor(bases: Sequence[Node], types: _Types) -> str:
    """Hands every base the arguments that no contract gives it: literals, or parameters of its own."""
    given = {base["id"] for base in bases if not _parameters_of_constructor(base)}
    for contract in bases:
        given |= _given_by(contract)
    parameters: list[str] = []
    calls = []
    for base in bases:
        if base["id"] in given:
            continue
        arguments = []
        for part in _parameters_of_constructor(base):
            try:
                arguments.append(types.literal(part))
            except _NoWay:
                parameters.append(f"{types.memory(part)} a{len(parameters)}")
                arguments.append(f"a{len(parameters) - 1}")
        calls.append(f"{base['name']}({', '.join(arguments)})")
    if not calls:
        return ""
    return f"constructor({', '.join(parameters)}) {' '.join(calls)} public {{}}\n"


def _parameters_of_constructor(contract: Node) -> list[Node]:
    for part in contract["nodes"]:
        if part["nodeType"] == "FunctionDefinition" and _is_constructor(part, contract):
            return list(part["parameters"]["parameters"])
    return []


def _given_by(contract: Node) -> set[int]:
    """The bases that this contract hands arguments: in its head, or at its constructor."""
    given = {
        one["baseName"]["referencedDeclaration"] for one in contract["baseContracts"] if one.get("arguments")
    }
    for part in contract["nodes"]:
        if part["nodeType"] == "FunctionDefinition" and _is_constructor(part, contract):
            given |= {
                one["modifierName"].get("referencedDeclaration")
                for one in part["modifiers"]
                if one.get("arguments")
            }
    return given


def _bodies(node: Node, bases: Sequence[Node], types: _Types, whole: bool) -> Iterator[str]:
    """A body for every function that has none."""
    answered = 0
    variables = {
        part["name"] for base in bases for part in base["nodes"] if part["nodeType"] == "VariableDeclaration"
    }
    for function in _most_derived(bases):
        if function.get("implemented", bool(function.get("body"))) or function["name"] in variables:
            continue
        answer = _answer(function, answered, types) if whole else None
        answered += bool(answer)
        yield _body(function, _definers(node, _key(function), types.index), types, answer or ("", ""))


def _answer(function: Node, number: int, types: _Types) -> tuple[str, str] | None:
    """Variables, and the statement that returns their values; a pure function returns literals."""
    parts = function["returnParameters"]["parameters"]
    if not parts or any(part["storageLocation"] in ("storage", "calldata") for part in parts):
        return None
    try:
        if function["stateMutability"] == "pure":
            return "", f"return ({', '.join(types.literal(part) for part in parts)});"
        names = [f"answer_{number}_{place}" for place in range(len(parts))]
        written = [f"{types.written(part)} {name};\n" for part, name in zip(parts, names, strict=True)]
    except _NoWay:
        return None
    return "".join(written), f"return ({', '.join(names)});"


def _body(function: Node, definers: Sequence[str], types: _Types, answer: tuple[str, str]) -> str:
    external = function["visibility"] == "external"
    write = types.external if external else types.memory
    parameters = ", ".join(write(part) for part in function["parameters"]["parameters"])
    returned = ", ".join(types.memory(part) for part in function["returnParameters"]["parameters"])
    words = [function["visibility"]]
    if function["stateMutability"] != "nonpayable":
        words.append(function["stateMutability"])
    if types.version >= (0, 6, 0):
        words.append("override" if len(definers) == 1 else f"override({', '.join(definers)})")
    if returned:
        words.append(f"returns ({returned})")
    return f"{answer[0]}function {function['name']}({parameters}) {' '.join(words)} {{{answer[1]}}}\n"


def _definers(contract: Node, key: tuple[str, str], index: Mapping[int, Node]) -> list[str]:
    """The contracts that an override has to name: the nearest ones above (or `contract`) that define the function."""
    if any(_key(function) == key for function in _functions(contract)):
        return [str(contract["name"])]
    found: list[str] = []
    for base in contract["baseContracts"]:
        for name in _definers(index[base["baseName"]["referencedDeclaration"]], key, index):
            if name not in found:
                found.append(name)
    return found


# Types as text.


def _bare(type_string: str) -> str:
    """Without location and kind."""
    text = re.sub(r" (storage|memory|calldata)( ref| pointer| slice)?\b", "", type_string)
    return re.sub(r"\b(struct|enum|contract) ", "", text)


def _declared(node: Node) -> int:
    """The id of what a name refers to; -1 if it is none."""
    return int(node.get("referencedDeclaration") or -1)


class _Types:
    """How a variable's type is written, and a value for it."""

    def __init__(
        self, index: Mapping[int, Node], homes: Mapping[int, tuple[str, str]], version: Version
    ) -> None:
        self.index, self.homes, self.version = index, homes, version
        self.imports: set[tuple[str, str]] = set()

    def written(self, part: Node) -> str:
        text = str(part["typeDescriptions"]["typeString"])
        if text.startswith("function "):
            raise _NoWay("a pointer to a function among its types")
        for node in walk(part.get("typeName")):
            home = self.homes.get(_declared(node))
            self.imports |= {home} if home else set()
        return _bare(text)

    def memory(self, part: Node) -> str:
        """With its location as a parameter of an internal function or a constructor."""
        text = self.written(part)
        if not self._reference(part, text):
            return text
        location = part["storageLocation"]
        return f"{text} {location if location in ('storage', 'calldata') else 'memory'}"

    def external(self, part: Node) -> str:
        """With its location in an external function: 0.5 to 0.6.8 know calldata only, 0.4 wants no word."""
        text = self.written(part)
        if not self._reference(part, text) or self.version < (0, 5, 0):
            return text
        calldata = part["storageLocation"] == "calldata" or self.version < (0, 6, 9)
        return f"{text} {'calldata' if calldata else 'memory'}"

    def public(self, part: Node, result: bool = False) -> str:
        """With its location in a public function. Raises _NoWay for a type that no ABI carries."""
        text = self.written(part)
        if self._carries_no_abi(part):
            raise _NoWay("a type that no ABI carries")
        if not self._reference(part, text):
            return text
        return f"{text} {'calldata' if part['storageLocation'] == 'calldata' and not result else 'memory'}"

    def literal(self, part: Node) -> str:
        text = self.written(part)
        if text == "bool":
            return "true"
        if text in ("string", "bytes"):
            return '"whet"'
        if re.fullmatch(r"u?int\d+", text):
            return "1"
        if match := re.fullmatch(r"bytes(\d+)", text):
            return f"{text}(uint{8 * int(match[1])}(1))"
        if text.endswith("[]"):
            return f"new {text}(1)"
        address = "address(uint160(1))" if self.version >= (0, 5, 0) else "address(1)"
        if self.version >= (0, 8, 0):
            address = f"payable({address})"
        if text in ("address", "address payable"):
            return address
        raw = part["typeDescriptions"]["typeString"]
        if raw.startswith("contract "):
            return f"{text}({address})"
        if raw.startswith("enum "):
            return f"{text}(0)"
        raise _NoWay("no literal")

    def in_memory(self, part: Node) -> bool:
        """A parameter of an internal function that refers to memory, as 0.4 takes it to where no word says otherwise."""
        return part["storageLocation"] not in ("storage", "calldata") and self._reference(
            part, _bare(str(part["typeDescriptions"]["typeString"]))
        )

    def _reference(self, part: Node, text: str) -> bool:
        raw = part["typeDescriptions"]["typeString"]
        return text in ("string", "bytes") or text.endswith("]") or raw.startswith("struct ")

    def _carries_no_abi(self, part: Node) -> bool:
        return self._holds_mapping(part.get("typeName"), 0)

    def _holds_mapping(self, name: Node | None, depth: int) -> bool:
        """Also within structs and arrays; a type nested deeper than eight levels is taken to (it may be recursive)."""
        if name is None:
            return False
        if name["nodeType"] in ("Mapping", "FunctionTypeName") or depth > 8:
            return True
        if name["nodeType"] == "ArrayTypeName":
            return self._holds_mapping(name["baseType"], depth + 1)
        if name["nodeType"] == "UserDefinedTypeName":
            target = self.index.get(_declared(name), {})
            if target.get("nodeType") == "StructDefinition":
                return any(self._holds_mapping(member["typeName"], depth + 1) for member in target["members"])
        return False
