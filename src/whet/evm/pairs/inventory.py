"""The functions of a project: by the compiler's AST, and, for files that no compiler takes, by their brackets alone.

A function is known by its tokens without comments: two with the same are one. Left out: constructors, and what has no body.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|0[xX][0-9a-fA-F]+|[\w$]+"
    r"|>>>=|>>=|<<=|>>>|=>|->|\+\+|--|&&|\|\||\*\*|<<|>>|[-+*/%&|^!<>=]=|:=|[^\s\w]",
    re.DOTALL,
)
"""Comments and strings that do not end go on to the end of the text, or of the line: so no place is looked at twice."""
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([^\s*]+(?:\s+(?:AND|OR|WITH)\s+[^\s*]+)*)")
_VISIBLE = ("public", "external", "internal", "private")
_MUTABLE = ("pure", "view", "payable", "constant")


@dataclass(frozen=True, slots=True)
class Defined:
    """A function with a body. `source`: its text. `hash`: of its tokens. `start`: byte offset in the file, `line` from 1."""

    file: str
    contract: str
    name: str
    kind: str
    visibility: str
    mutability: str
    source: str
    hash: str
    start: int
    line: int
    parameters: tuple[str, ...] = ()
    """Types as the compiler writes them, without where they lie."""

    @property
    def signature(self) -> str:
        """Such as "transfer(address,uint256)"; structs, contracts and enums by their names."""
        return f"{self.name}({','.join(self.parameters)})"


def tokens(text: str) -> list[str]:
    """The tokens of Solidity, without comments."""
    return [token for token in TOKEN.findall(text) if not token.startswith(("//", "/*"))]


def normalised(text: str) -> str:
    """Tokens with a space between."""
    return " ".join(tokens(text))


def digest(text: str) -> str:
    """32 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def licence(text: str) -> str:
    """What the file's SPDX line says; "" without one."""
    match = _SPDX.search(text)
    return match[1] if match else ""


def defined(asts: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[Defined]:
    """All functions of the files in `texts`, by file and place. `asts`: an output's "sources"."""
    for file in sorted(asts):
        if file in texts:
            raw = texts[file].encode()
            ends = [match.start() for match in re.finditer(b"\n", raw)]
            for contract, node in functions(asts[file]["ast"]):
                yield _from_node(node, file, contract, raw, ends)


def functions(ast: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(the contract's name, the function's node): functions with a body, no constructors."""
    for top in ast["nodes"]:
        if top["nodeType"] == "FunctionDefinition":
            yield "", top
        elif top["nodeType"] == "ContractDefinition":
            for part in top["nodes"]:
                ordinary = part["nodeType"] == "FunctionDefinition" and part.get("body")
                if ordinary and kind_of(part, str(top["name"])) != "constructor":
                    yield str(top["name"]), part


def kind_of(node: Mapping[str, Any], contract: str) -> str:
    """function, constructor, fallback, receive, freeFunction; 0.4 says it by the name."""
    if node.get("isConstructor") or (node["name"] and node["name"] == contract):
        return "constructor"
    return str(node.get("kind") or ("function" if node["name"] else "fallback"))


def _from_node(node: Mapping[str, Any], file: str, contract: str, raw: bytes, ends: list[int]) -> Defined:
    """ends: where the file's lines end."""
    start, length, _ = map(int, node["src"].split(":"))
    source = raw[start : start + length].decode("utf-8", "replace")
    kind = kind_of(node, contract)
    return Defined(
        file=file,
        contract=contract,
        name=node["name"] or kind,
        kind=kind,
        visibility=node.get("visibility", "") if kind != "freeFunction" else "internal",
        mutability=node.get("stateMutability", ""),
        source=source,
        hash=digest(normalised(source)),
        start=start,
        line=bisect_left(ends, start) + 1,
        parameters=tuple(
            bare(part["typeDescriptions"]["typeString"]) for part in node["parameters"]["parameters"]
        ),
    )


def bare(type_string: str) -> str:
    """A type without where it lies and without the words "struct", "enum", "contract"."""
    text = re.sub(r" (storage|memory|calldata)( ref| pointer| slice)?\b", "", type_string)
    return re.sub(r"\b(struct|enum|contract) ", "", text)


_MOST_UNCLOSED = 200
"""Functions without an end, after which a broken file is not looked at any further."""

_OPEN = re.compile(r"\b(contract|library|interface)\s+([\w$]+)|\b(function|fallback|receive)\b")


def scanned(file: str, text: str) -> Iterator[Defined]:
    """The functions of a file by its words and brackets: what a file that does not compile would have had."""
    blank = _blanked(text)
    bodies = _Bodies(blank)
    contract = ""
    until = unclosed = 0
    at, offset, line = 0, 0, 1
    for match in _OPEN.finditer(blank):
        start = match.start()
        if start < until:  # a type, within a function
            continue
        if match[1]:
            contract = match[2]
            continue
        body = bodies.after(match.end())
        if body and body[1] < 0:
            unclosed += 1
            if unclosed > _MOST_UNCLOSED:
                return
            continue
        until = body[1] if body else until
        words = blank[match.end() : body[0]].split("(")[0].split() if body else []
        if not body or (match[3] != "function" and words) or (words and words[0] == contract):
            continue
        offset += len(text[at:start].encode("utf-8", "replace"))
        line += text.count("\n", at, start)
        at = start
        source = text[start : body[1]]
        head = set(re.findall(r"\w+", blank[match.end() : body[0]]))
        yield Defined(
            file=file,
            contract=contract,
            name=words[0] if words else "fallback" if match[3] == "function" else match[3],
            kind="function" if words else "fallback",
            visibility=next((word for word in _VISIBLE if word in head), ""),
            mutability=next((word for word in _MUTABLE if word in head), "nonpayable"),
            source=source,
            hash=digest(normalised(source)),
            start=offset,
            line=line,
        )


def _blanked(text: str) -> str:
    """With spaces for comments and strings, of the same length."""
    quiet = ("//", "/*", '"', "'")
    return TOKEN.sub(lambda m: " " * len(m[0]) if m[0].startswith(quiet) else m[0], text)


class _Bodies:
    """Where the brackets of a text open and end, each looked at once."""

    def __init__(self, blank: str) -> None:
        self._places: list[int] = []
        self._ends: list[int] = []
        opened: list[int] = []
        for at, match in enumerate(re.finditer("[;{}]", blank)):
            self._places.append(match.start())
            self._ends.append(_UNCLOSED if match[0] == "{" else _NO_BODY)
            if match[0] == "{":
                opened.append(at)
            elif match[0] == "}" and opened:
                self._ends[opened.pop()] = match.end()

    def after(self, at: int) -> tuple[int, int] | None:
        """Where the brackets of the body of a function open and end (-1 if they do not), whose words end at `at`; None if
        it has none."""
        first = bisect_left(self._places, at)
        if first == len(self._places):
            return -1, -1
        end = self._ends[first]
        return None if end == _NO_BODY else (self._places[first], end)


_UNCLOSED, _NO_BODY = -1, -2
"""Instead of a body's end: it never ends; what stands there opens none."""
