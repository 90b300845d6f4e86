"""A contract's three-address code as one Solidity file.

What is known of the meaning decides the text; what is not known is assembly out of the same code, so that nothing is left
out. Every function has a level (`nouns`): a caller that finds one wrong asks for the next. Left to the caller: whether
the text compiles and does the same, which `whet.evm.verify` finds out by executing both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from whet.evm.draft import Readable, readable
from whet.evm.meaning.base import FunctionMeaning, Meaning
from whet.evm.solidity.abi import COPIED, Header, abi_entry, header_of
from whet.evm.solidity.body import Body, Frame
from whet.evm.solidity.effects import exact_forms, mutabilities, panics, reaching
from whet.evm.solidity.expressions import Context, Piece, Unsayable
from whet.evm.solidity.lines import Declarer, Line, rendered, wrapped
from whet.evm.solidity.memory import keeping_memory
from whet.evm.solidity.nouns import LAST_LEVEL, LITERAL, READABLE, SolidityFunction, Source
from whet.evm.solidity.storage import declare
from whet.evm.solidity.types import ATOM, WORD_TYPE
from whet.evm.tac import Contract, Function
from whet.evm.text.called import reached

COMPILER = "0.8.30"
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": True,
    "evmVersion": "prague",
    "metadata": {"appendCBOR": False},
}
NAME = "Decompiled"
INDENT = "    "

HELPERS = {
    "value": "function callValue() private view returns (uint256) {\n    return msg.value;\n}",
    "panic": (
        "function panic(uint256 code) private pure {\n"
        '    assembly ("memory-safe") {\n'
        "        mstore(0, 0x4e487b7100000000000000000000000000000000000000000000000000000000)\n"
        "        mstore(4, code)\n"
        "        revert(0, 0x24)\n"
        "    }\n}"
    ),
}


def emit(contract: Contract, meaning: Meaning, levels: Mapping[str, int] | None = None) -> Source:
    """The Solidity of a contract.

    contract: as `whet.evm.meaning.exits.apart` gives it. levels: of functions, by their names in the three-address
    code; READABLE where none is said.
    """
    return _Emitter(contract, meaning, dict(levels or {})).source()


class _Emitter:
    def __init__(self, contract: Contract, meaning: Meaning, levels: dict[str, int]) -> None:
        self.contract, self.meaning, self.levels = contract, meaning, levels
        self.headers = {
            f.name: header_of(f, meaning.of(f.name)) for f in contract.functions.values() if f.kind != "entry"
        }
        self.taken = taken = {h.name for h in self.headers.values()} | {NAME}
        self.storage = declare(meaning.storage, meaning.declarations, taken)
        self.mutabilities = mutabilities(contract)
        self.panicking = reaching(contract, {f.name for f in contract.functions.values() if panics(f, 0x41)})
        self.needed: set[str] = set()
        self.errors: dict[str, str] = {}
        self.events: dict[str, str] = {}
        self.interfaces: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []

    def source(self) -> Source:
        bodies: dict[str, Readable] = {}
        effective = Meaning({}, self.meaning.storage, self.meaning.declarations)
        for function in self.contract.functions.values():
            effective.functions[function.name] = self._known(function)
        texts: dict[str, tuple[SolidityFunction, list[str]]] = {}
        work = [f.name for f in self.contract.functions.values() if f.kind not in ("private", "entry")]
        while True:
            for name in self.contract.functions:
                if name not in bodies and self.contract.functions[name].kind != "entry":
                    bodies[name] = readable(self.contract.functions[name], effective.of(name))
            outer = replace_functions(
                self.contract, {n: f for n, f in self.contract.functions.items() if f.kind != "entry"}
            )
            wanted = reached(outer, effective, {name: body.draft for name, body in bodies.items()})
            again = False
            for name in self.contract.functions:
                if name in wanted and name not in texts and name in bodies:
                    made = self._function(self.contract.functions[name], bodies[name], effective)
                    if made is None:
                        self.levels[name] = self.levels.get(name, READABLE) + 1
                        effective.functions[name] = self._known(self.contract.functions[name])
                        del bodies[name]
                        again = True
                    else:
                        texts[name] = made
            if not again:
                break
        del work
        return self._text({name: texts[name] for name in self.contract.functions if name in texts})

    def _known(self, function: Function) -> FunctionMeaning:
        """What is used of a function's meaning at its level."""
        known = self.meaning.of(function.name)
        if self.levels.get(function.name, READABLE) == READABLE:
            return keeping_memory(function, exact_forms(self.contract, function, known, self.storage.lost))
        return FunctionMeaning(
            known.name, known.parameters, known.returns, known.visibility, known.mutability,
            known.variables, skipped=known.skipped, notes=known.notes,
        )  # fmt: skip

    def _function(
        self, function: Function, body: Readable, effective: Meaning
    ) -> tuple[SolidityFunction, list[str]] | None:
        """Its facts and its lines; None where this level cannot say it."""
        level = self.levels.get(function.name, READABLE)
        header = self.headers[function.name]
        locations = header.locations(body, level, function.name in self.panicking)
        context = self._context(function, body, header, effective, level, locations)
        frame = Frame(
            function.kind,
            header.returns,
            function.kind == "private",
            self.contract.data,
            self.errors,
            self.events,
            frozenset(self.taken),
        )
        writer = Body(context, body, frame)
        try:
            known = effective.of(function.name)
            if known.body is not None:
                nodes = writer.whole_body(known.body)
            else:
                nodes = writer.write()
        except Unsayable as why:
            if level >= LAST_LEVEL:
                nodes, writer.statements, writer.in_assembly = writer.nothing(str(why)), 1, 1
                header.notes.append(f"not said: {why}")
            else:
                header.notes.append(f"not {('readable', 'plain')[level]}: {why}")
                return None
        self.needed |= context.needed
        copies = [name for name, place in locations.items() if place == COPIED]
        nodes = wrapped([*(Line(f"{n}_ = {n};", (f"{n}_",), frozenset({n})) for n in copies), *nodes])
        declared = set(header.names) | {k for k in context.types if k not in _local(context, header)}
        Declarer({n: _declared_type(t) for n, t in context.types.items() if n not in declared}).declare(nodes)
        mutability = self._mutability(function, header)
        lines = [
            f"{header.text(mutability, locations)} {{",
            *rendered(nodes, 1),
            "}",
        ]
        facts = SolidityFunction(
            header.name, function.name, function.kind, function.selector, header.signature, header.returns,
            mutability, level, writer.statements, writer.in_assembly,
            in_fallback=header.in_fallback, notes=[*function.notes, *header.notes],
        )  # fmt: skip
        return facts, lines

    def _mutability(self, function: Function, header: Header) -> str:
        found = self.mutabilities[function.name]
        if header.mutability == "payable":
            return "payable"
        if function.kind in ("fallback", "receive"):
            return header.mutability
        if found == "pure" and header.mutability == "view" and function.kind == "public":
            return "view"
        return found

    def _context(
        self,
        function: Function,
        body: Readable,
        header: Header,
        effective: Meaning,
        level: int,
        locations: Mapping[str, str],
    ) -> Context:
        names: dict[str, Piece] = {
            name: Piece(text, ATOM, kind) for name, (text, kind) in self.storage.texts.items()
        }
        spelled: dict[str, str] = {}
        types: dict[str, str] = {}
        reading: set[str] = set()
        for name, kind in zip(header.names, header.types, strict=True):
            place = locations.get(name, "")
            text = name if place != COPIED else f"{name}_"
            place = place.replace(COPIED, "memory")
            names[name] = Piece(text, ATOM, f"{kind} {place}".strip(), frozenset({text}))
            types[text] = f"{kind} {place}".strip()
            if place != "calldata":
                reading.add(text)
        if function.kind == "private":
            for param, name in zip(body.draft.params, header.names, strict=True):
                spelled[param] = name
        called: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
        for other in self.contract.functions.values():
            if other.kind == "private":
                head = self.headers[other.name]
                entry = (head.name, head.types, head.returns or ())
                called.setdefault(effective.of(other.name).name or other.name, entry)
                called[other.name] = entry
        return Context(
            types, names, called, spelled, level == LITERAL, self.contract.code_size,
            reading=frozenset(reading), payable=header.mutability == "payable" or function.kind == "private",
            members=self.storage.members,
        )  # fmt: skip

    # The whole.

    def _text(self, texts: dict[str, tuple[SolidityFunction, list[str]]]) -> Source:
        out = ["// SPDX-License-Identifier: UNLICENSED", f"pragma solidity {COMPILER};", ""]
        out.append(f"contract {NAME} {{")
        declared = [*self.storage.structs, *self.events.values(), *self.errors.values()]
        declared += [text for h in self.headers.values() for text in h.structs]
        sections = [[*self.storage.lines], list(dict.fromkeys(declared))]
        for section in sections:
            if section:
                out += [*(INDENT + line for line in section), ""]
        facts: list[SolidityFunction] = []
        unnamed = [self.headers[name] for name, (fact, _) in texts.items() if fact.in_fallback]
        if unnamed:
            self._add_dispatch(texts, unnamed)
        for fact, lines in texts.values():
            fact.first_line = len(out) + 1
            out += [(INDENT + line if line else line) for line in lines]
            fact.last_line = len(out)
            out.append("")
            facts.append(fact)
        for header in unnamed:
            if encoder := header.encoder():
                out += [*(INDENT + line for line in encoder), ""]
        for text in [*self.storage.functions, *(HELPERS[name] for name in sorted(self.needed))]:
            out += [*(INDENT + line for line in text.split("\n")), ""]
        if out[-1] == "":
            out.pop()
        out.append("}")
        abi = [abi_entry(self.headers[f.of], f) for f in facts if f.kind != "private" and f.of]
        return Source("\n".join(out) + "\n", NAME, COMPILER, SETTINGS, abi, facts, self.notes)

    def _add_dispatch(
        self, texts: dict[str, tuple[SolidityFunction, list[str]]], unnamed: list[Header]
    ) -> None:
        """The fallback calls what Solidity cannot give its selector."""
        known = next((name for name, (fact, _) in texts.items() if fact.kind == "fallback"), "")
        lines = [
            "// functions whose names are not known: Solidity would make their selectors out of the names",
            *(line for header in unnamed for line in header.dispatch()),
        ]
        if known:
            fact, old = texts[known]
            guard = [] if fact.mutability == "payable" else ["require(msg.value == 0);"]
            body = old[1:]
        else:
            fact = SolidityFunction(
                "fallback", "", "fallback", None, "fallback", None, "payable", READABLE, 0, 0,
                notes=["only to reach functions whose names are not known"],
            )  # fmt: skip
            guard, body = ["revert();"], ["}"]
        fact.mutability = "payable"
        header = "fallback() external payable {"
        texts[known] = fact, [header, *(INDENT + line for line in [*lines, *guard]), *body]


def replace_functions(contract: Contract, functions: dict[str, Function]) -> Contract:
    return replace(contract, functions=functions)


def _local(context: Context, header: Header) -> set[str]:
    return set(context.types) - set(header.names)


def _declared_type(kind: str) -> str:
    return kind or WORD_TYPE
