"""Headers: how each function is declared, and its entry in the ABI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from whet.evm.draft import Readable
from whet.evm.keccak import selector as selector_of
from whet.evm.meaning.abi_types import head_words, split
from whet.evm.meaning.base import FunctionMeaning
from whet.evm.solidity.nouns import READABLE, SolidityFunction
from whet.evm.solidity.types import WORD_TYPE, in_memory, is_value
from whet.evm.tac import Function
from whet.evm.terms import Expression, Form, Member, Name, Operation, children

COPIED = "copied"
"""In calldata, but read from a copy in memory."""

_KEYWORDS = """
abstract address after alias anonymous apply as assembly auto bool break byte bytes calldata case catch
constant constructor continue contract copyof default define delete do else emit enum event external fallback
false final fixed for function if immutable implements import in indexed inline int interface internal is let
library macro mapping match memory modifier mutable new null of override partial payable pragma private
promise public pure receive reference relocatable return returns sealed sizeof static storage string struct
super supports switch this throw true try type typedef typeof ufixed uint unchecked unicode using var view
virtual while wei gwei ether seconds minutes hours days weeks years abi block msg tx assert require revert
blockhash addmod mulmod keccak256 gasleft hex
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""Names that a function cannot have, or that this text needs for something else."""


@dataclass(slots=True)
class Header:
    """names, types: of parameters. returns: of the ABI, or of a private function; None where it is not known."""

    name: str
    kind: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    abi_types: tuple[str, ...]
    returns: tuple[str, ...] | None
    mutability: str
    selector: int | None = None
    in_fallback: bool = False
    structs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    in_place: set[str] = field(default_factory=set)
    """Of a function that the fallback calls: parameters that it hands over as they lie in calldata."""

    @property
    def signature(self) -> str:
        return signature(self.name, self.abi_types) if self.kind in ("public", "private") else self.name

    def text(self, mutability: str, locations: dict[str, str]) -> str:
        """The line that begins the function, without its brace."""
        params = ", ".join(
            " ".join(
                part for part in (kind, locations.get(name, "").replace(COPIED, "calldata"), name) if part
            )
            for kind, name in zip(self.types, self.names, strict=True)
        )
        if self.kind in ("fallback", "receive"):
            return f"{self.kind}() external{' payable' if mutability == 'payable' else ''}"
        visibility = "private" if self.kind == "private" or self.in_fallback else "external"
        mutability = "" if mutability == "nonpayable" else mutability
        words = [f"function {self.name}({params})", visibility]
        words += [mutability] if mutability and (mutability != "payable" or visibility == "external") else []
        if self.returns:
            words.append(f"returns ({', '.join(in_memory(kind) for kind in self.returns)})")
        return " ".join(words)

    def leave_outside(self, every: bool) -> None:
        """Where the text's fallback is the whole dispatcher: the original's fallback is one of the functions it calls.
        every: so are all functions."""
        self.in_fallback |= every and self.kind == "public"
        if self.kind in ("fallback", "receive"):
            self.name, self.kind = f"{self.name}_", "private"

    def dispatch(self) -> list[str]:
        """Lines of the fallback that call a function whose name is not known."""
        lines = [f"if (msg.data.length >= 4 && msg.sig == {self.selector or 0:#010x}) {{"]
        if self.mutability != "payable":
            lines.append("    require(msg.value == 0);")
        lines += [f"    {line}" for line in self._decoded()]
        call = f"{self.name}({', '.join(self.names)})"
        if not self.returns:
            return [*lines, f"    {call};", "    return;", "}"]
        names = [f"result{number}" for number in range(len(self.returns))]
        results = [f"{in_memory(kind)} {name}" for kind, name in zip(self.returns, names, strict=True)]
        left = results[0] if len(results) == 1 else f"({', '.join(results)})"
        return [
            *lines,
            f"    {left} = {call};",
            f"    bytes memory encoded = abi.encode({', '.join(names)});",
            '    assembly ("memory-safe") {',
            "        return(add(encoded, 0x20), mload(encoded))",
            "    }",
            "}",
        ]

    def _decoded(self) -> Iterator[str]:
        """Lines that take the arguments out of calldata. What stays there is an offset to `abi.decode`."""
        declared, kinds, sliced, head = list[str](), list[str](), list[str](), 4
        for name, kind, abi_type in zip(self.names, self.types, self.abi_types, strict=True):
            if name in self.in_place:
                sliced.append(f"{kind} calldata {name} = {slice_name(kind)}({head});")
            declared.append("" if name in self.in_place else f"{in_memory(kind)} {name}")
            kinds.append(WORD_TYPE if name in self.in_place else kind)
            head += 32 * head_words(abi_type)
        if any(declared):
            yield f"({', '.join(declared)}) = abi.decode(msg.data[4:], ({', '.join(kinds)}));"
        elif declared:
            yield f"require(msg.data.length >= {head});"
        yield from sliced

    def locations(self, body: Readable, level: int, panics: bool) -> dict[str, str]:
        """{parameter: "calldata", "memory" or COPIED} of those that are references.

        panics: the original's decoder panics where memory does not suffice, as Solidity 0.8 decodes into memory; older
        ones revert, as Solidity 0.8 does for calldata."""
        wanted = {n for n, kind in zip(self.names, self.types, strict=True) if not is_value(kind)}
        self.in_place = set()
        if self.kind == "private" or (self.in_fallback and level > READABLE):
            return dict.fromkeys(wanted, "memory")
        if level > READABLE:
            return dict.fromkeys(wanted, "calldata")
        sliced, whole = set[str](), set[str]()
        for term in _terms(body):
            for name, is_slice in _uses(term):
                (sliced if is_slice else whole).add(name)
        unread = panics and not any(_reads_calldata(term) for term in _terms(body))
        found: dict[str, str] = {}
        for name in sorted(wanted):
            used = name in whole
            in_place = name in sliced or not (used or unread)
            found[name] = "calldata" if in_place else "memory" if panics else COPIED
        if self.in_fallback:
            kinds = dict(zip(self.names, self.types, strict=True))
            self.in_place = {n for n in wanted & sliced if can_be_sliced(kinds[n])}
            return {name: "calldata" if name in self.in_place else "memory" for name in wanted}
        return found


def can_be_sliced(kind: str) -> bool:
    """Whether the fallback can hand a parameter of a type over as it lies in calldata."""
    return kind in ("bytes", "string") or (kind.endswith("[]") and is_value(kind[:-2]))


def slice_name(kind: str) -> str:
    """What the helper is called that finds an argument of a type in calldata."""
    return f"calldata_{kind.replace('[]', '_array')}"


def slice_text(kind: str) -> str:
    """That helper: the checks are those of Solidity's own decoder. head: where the offset of the argument stands."""
    size = "length" if kind in ("bytes", "string") else "mul(length, 0x20)"
    return f"""\
function {slice_name(kind)}(uint256 head) private pure returns ({kind} calldata data) {{
    assembly ("memory-safe") {{
        let start := calldataload(head)
        if gt(start, 0xffffffffffffffff) {{ revert(0, 0) }}
        start := add(start, 4)
        if iszero(slt(add(start, 0x1f), calldatasize())) {{ revert(0, 0) }}
        let length := calldataload(start)
        if gt(length, 0xffffffffffffffff) {{ revert(0, 0) }}
        start := add(start, 0x20)
        if gt(add(start, {size}), calldatasize()) {{ revert(0, 0) }}
        data.offset := start
        data.length := length
    }}
}}"""


def signature(name: str, types: tuple[str, ...]) -> str:
    """ "transfer(address,uint256)"."""
    return f"{name}({','.join(types)})"


def fits(selector: int | None, name: str, types: tuple[str, ...]) -> bool:
    """Whether the name and all types are known and make that selector."""
    return bool(name) and all(types) and selector_of(signature(name, types)) == selector


def _terms(body: Readable) -> Iterator[Expression | Form]:
    for block in body.draft.blocks.values():
        for line in block.lines:
            yield line.form
        yield from [block.end.form] if block.end.form is not None else block.end.args


def _reads_calldata(term: Expression | Form) -> bool:
    if isinstance(term, Operation) and term.op in ("CALLDATALOAD", "CALLDATACOPY"):
        return True
    return any(_reads_calldata(child) for child in children(term))


def _uses(term: Expression | Form) -> Iterator[tuple[str, bool]]:
    if isinstance(term, Member) and isinstance(term.base, Name) and term.name in ("offset", "length"):
        yield term.base.name, True
        return
    if isinstance(term, Name):
        yield term.name, False
    for child in children(term):
        yield from _uses(child)


def header_of(function: Function, known: FunctionMeaning, objects: Mapping[str, str]) -> Header:
    """How a function is declared. objects: types of its variables that point to objects in memory."""
    if function.kind == "private":
        return _private(function, known, objects)
    mutability = known.mutability or "nonpayable"
    if function.kind == "entry":
        return Header("fallback", "fallback", (), (), (), None, "payable")
    if function.kind in ("fallback", "receive"):
        mutability = "payable" if function.kind == "receive" else mutability
        return Header(function.kind, function.kind, (), (), (), None, mutability)
    abi_types = tuple(p.type or WORD_TYPE for p in known.parameters or ())
    header = Header(
        "", "public", tuple(p.name for p in known.parameters or ()), (), abi_types, known.returns, mutability
    )
    header.selector = function.selector
    header.types = tuple(_declared(kind, header.structs) for kind in abi_types)
    if known.returns is not None:
        header.returns = tuple(_declared(kind, header.structs) for kind in known.returns)
    if fits(function.selector, known.name, abi_types) and known.name not in KEYWORDS:
        header.name = known.name
    else:
        header.name, header.in_fallback = f"func_{function.selector or 0:08x}", True
    return header


def _private(function: Function, known: FunctionMeaning, objects: Mapping[str, str]) -> Header:
    name = function.name
    params = tuple(f"x{number}" for number in range(len(function.params)))
    types = tuple(objects.get(param) or _value_type(known, param) for param in function.params)
    count = function.returns or 0
    returns = known.returns if known.returns is not None and len(known.returns) == count else None
    returns = tuple(kind if is_value(kind) else WORD_TYPE for kind in returns or (WORD_TYPE,) * count)
    given = [_given(function, position, objects) for position in range(count)]
    returns = tuple(kind or other for kind, other in zip(given, returns, strict=True))
    return Header(name, "private", params, types, types, returns, known.mutability or "nonpayable")


def _given(function: Function, position: int, objects: Mapping[str, str]) -> str:
    """The type of a result that points to an object in memory, "" for others."""
    ends = [block.end for block in function.blocks.values() if block.end.op == "RETURNPRIVATE"]
    kinds = {objects.get(value, "") for end in ends if isinstance(value := end.args[position], str)}
    return kinds.pop() if len(kinds) == 1 else ""


def _value_type(known: FunctionMeaning, variable: str) -> str:
    found = known.variables.get(variable)
    return found.type if found is not None and is_value(found.type) else WORD_TYPE


def _declared(kind: str, structs: list[str]) -> str:
    """A type of the ABI as it is declared: a tuple becomes a struct."""
    if "(" not in kind:
        return kind
    inner, _, rest = kind.rpartition(")")
    members = [_declared(part, structs) for part in split(inner[1:])]
    told = inner[1:].replace("[", "Array").replace("(", "_of_").replace(")", "_end")
    name = "Tuple_" + re.sub(r"\W+", "_", told).strip("_")
    text = f"struct {name} {{ {' '.join(f'{m} f{i};' for i, m in enumerate(members))} }}"
    if text not in structs:
        structs.append(text)
    return f"{name}{rest}"


def abi_entry(header: Header, fact: SolidityFunction) -> dict[str, Any]:
    """The function's entry in the ABI."""
    if header.kind != "public":
        return {"type": fact.kind.replace("entry", "fallback"), "stateMutability": fact.mutability}
    returns = header.returns or ()
    return {
        "type": "function",
        "name": header.name,
        "inputs": [_argument(kind, name) for kind, name in zip(header.abi_types, header.names, strict=True)],
        "outputs": [_argument(kind, "") for kind in returns],
        "stateMutability": fact.mutability,
        "selector": f"0x{header.selector or 0:08x}",
    }


def _argument(kind: str, name: str) -> dict[str, Any]:
    if not kind.startswith("("):
        return {"name": name, "type": kind}
    inner, _, rest = kind.rpartition(")")
    return {
        "name": name,
        "type": f"tuple{rest}",
        "components": [_argument(part, f"f{i}") for i, part in enumerate(split(inner[1:]))],
    }
