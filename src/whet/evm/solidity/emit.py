"""A contract's three-address code as one Solidity file.

What is known of the meaning decides the text; what is not known is assembly out of the same code, so that nothing is left
out. Every function has a level (`nouns`): a caller that finds one wrong asks for the next. Left to the caller: whether
the text compiles and does the same, which `whet.evm.verify` finds out by executing both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from whet.evm.call_graph import reach
from whet.evm.draft import Readable, readable
from whet.evm.meaning.base import FunctionMeaning, Meaning
from whet.evm.meaning.effects import effects
from whet.evm.solidity.abi import COPIED, KEYWORDS, Header, abi_entry, header_of, slice_text
from whet.evm.solidity.body import Body
from whet.evm.solidity.context import Context, Frame
from whet.evm.solidity.effects import exact_forms, panics
from whet.evm.solidity.entry import as_fallback, does_before, is_plain, without_arguments
from whet.evm.solidity.hashes import without_wide_hashes
from whet.evm.solidity.helpers import HELPERS, texts
from whet.evm.solidity.lines import INDENT, Declarer, Line, Node, rendered, wrapped
from whet.evm.solidity.memory import asks_for_memory, keeping_memory, writes_memory
from whet.evm.solidity.nouns import LAST_LEVEL, LITERAL, READABLE, SolidityFunction, Source
from whet.evm.solidity.objects import objects_of
from whet.evm.solidity.pieces import Piece, Unsayable
from whet.evm.solidity.references import words_structs
from whet.evm.solidity.storage import declare
from whet.evm.solidity.types import ATOM, in_memory, is_value
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


def emit(contract: Contract, meaning: Meaning, levels: Mapping[str, int] | None = None) -> Source:
    """The Solidity of a contract.

    contract: as `whet.evm.meaning.untangle.untangled` gives it. levels: of functions, by their names in the three-address
    code; READABLE where none is said. A level that cannot say a function is left for the next, with a note.
    """
    return _Emitter(contract, meaning, dict(levels or {})).source()


@dataclass(slots=True)
class _Written:
    facts: SolidityFunction
    lines: list[str]


class _Emitter:
    def __init__(self, contract: Contract, meaning: Meaning, levels: dict[str, int]) -> None:
        self.contract, self.meaning, self.levels = contract, meaning, levels
        self.plain_entry = is_plain(contract)
        functions = contract.functions.values()
        self.functions = {f.name: f for f in functions if f.kind != "entry" or not self.plain_entry}
        reached = reach(contract)
        panicking = {f.name for f in functions if panics(f, 0x41)}
        self.panicking = {name for name, others in reached.items() if panicking & {name, *others}}
        self.storage = declare(meaning.storage, meaning.declarations, set())  # names come later
        self.kept = {name: self._kept(function) for name, function in self.functions.items()}
        self.objects = objects_of(contract, self.functions, meaning, self.kept)
        self.headers = {
            name: header_of(f, self.objects.with_results(name, meaning.of(name)), self.objects.of(name))
            for name, f in self.functions.items()
        }
        if not self.plain_entry:
            inside = does_before(contract)
            for name, header in self.headers.items():
                if self.functions[name].kind != "entry":
                    header.leave_outside(inside)
        self._name_helpers()
        self.called = {
            name: (header.name, _located(header.types), _located(header.returns or ()))
            for name, header in self.headers.items()
            if self.functions[name].kind == "private"
        }
        self.taken = {h.name for h in self.headers.values()} | {NAME, *HELPERS}
        self.storage = declare(meaning.storage, meaning.declarations, self.taken)
        self.mutabilities = effects(contract)
        self.without_arguments = without_arguments(contract, reached)
        self.needed: set[str] = set()
        self.interfaces: dict[str, dict[str, str]] = {}
        self.errors: dict[str, str] = {}
        self.events: dict[str, str] = {}
        self.known = Meaning(
            {name: self._known(f) for name, f in self.functions.items()},
            meaning.storage,
            meaning.declarations,
        )
        writing = [name for name, f in self.functions.items() if writes_memory(f, self.known.of(name))]
        self.called_while_writing = {other for name in writing for other in reached[name]}

    def _name_helpers(self) -> None:
        """Private functions are called after the compiler's helper that they are, where that tells one from all others."""
        given = {
            name: self.meaning.of(name).name for name, f in self.functions.items() if f.kind == "private"
        }
        times = Counter([*given.values(), *(header.name for header in self.headers.values())])
        for name, helper in given.items():
            if helper.isidentifier() and times[helper] == 1 and helper not in KEYWORDS | HELPERS.keys():
                self.headers[name].name = helper

    def source(self) -> Source:
        """Functions are written until none needs another level."""
        shown = replace(self.contract, functions=self.functions)
        bodies: dict[str, Readable] = {}
        written: dict[str, _Written] = {}
        while True:
            for name, function in self.functions.items():
                if name not in bodies:
                    bodies[name] = readable(function, self.known.of(name))
            wanted = reached(shown, self.known, {name: body.draft for name, body in bodies.items()})
            missing = [name for name in self.functions if name in wanted and name not in written]
            if not missing:
                return self._text([written[name] for name in self.functions if name in wanted])
            others = [name for name in missing if self.functions[name].kind != "entry"]
            for name in others or missing:  # the entry last: it knows how the others are called
                made = self._function(self.functions[name], bodies[name])
                if made is None:
                    self.levels[name] = self.levels.get(name, READABLE) + 1
                    self.known.functions[name] = self._known(self.functions[name])
                    del bodies[name]
                else:
                    written[name] = made

    def _known(self, function: Function) -> FunctionMeaning:
        """What is used of a function's meaning at its level."""
        known = self.meaning.of(function.name)
        if self.levels.get(function.name, READABLE) == READABLE:
            return self.objects.said(function, self.kept[function.name])
        return replace(known, forms={}, absorbed=set(), skipped={}, body=None)

    def _kept(self, function: Function) -> FunctionMeaning:
        """What is known of a function and the same in Solidity."""
        known = self.meaning.of(function.name)
        exact = exact_forms(self.contract, function, known, self.storage)
        return without_wide_hashes(function, keeping_memory(function, exact), exact)

    # One function.

    def _function(self, function: Function, body: Readable) -> _Written | None:
        """Its facts and its lines; None where this level cannot say it."""
        level = self.levels.get(function.name, READABLE)
        header = self.headers[function.name]
        if function.kind == "entry":
            body = as_fallback(body)
        locations = header.locations(body, level, function.name in self.panicking)
        context = self._context(function, body, header, level, locations)
        writer = Body(context, body, self._frame(function, header))
        try:
            whole = self.known.of(function.name).body
            nodes = writer.write() if whole is None else writer.whole_body(whole)
        except Unsayable as why:
            header.notes.append(f"not {('readable', 'plain', 'literal')[level]}: {why}")
            if level < LAST_LEVEL:
                return None
            nodes = writer.nothing(str(why))
        self.needed |= context.needed
        lines = self._lines(nodes, header, context, locations)
        mutability = self._mutability(function, header)
        facts = SolidityFunction(
            header.name, function.name, function.kind, function.selector, header.signature, header.returns,
            mutability, level, writer.statements, writer.in_assembly,
            in_fallback=header.in_fallback, notes=[*function.notes, *header.notes],
        )  # fmt: skip
        return _Written(facts, [f"{header.text(mutability, locations)} {{", *lines, "}"])

    def _lines(
        self, nodes: list[Node], header: Header, context: Context, locations: Mapping[str, str]
    ) -> list[str]:
        copies = [name for name, place in locations.items() if place == COPIED]
        first: list[Node] = [Line(f"{name}_ = {name};", (f"{name}_",), frozenset({name})) for name in copies]
        nodes = wrapped([*first, *nodes])
        local = {name: kind for name, kind in context.types.items() if name not in header.names}
        Declarer(local).declare(nodes)
        return rendered(nodes, 1)

    def _frame(self, function: Function, header: Header) -> Frame:
        entered = {}
        if function.kind == "entry":
            entered = {name: self._enter(name, other) for name, other in self.headers.items()}
        private, taken = header.kind == "private", frozenset(self.taken)
        return Frame(header.returns, private, self.contract.data, self.errors, self.events, taken, entered)

    def _enter(self, name: str, header: Header) -> list[str]:
        """What the fallback does where the dispatcher goes over to a function."""
        if header.in_fallback:
            return header.dispatch()
        return [f"{header.name}();", "return;"] if header.kind == "private" else []

    def _mutability(self, function: Function, header: Header) -> str:
        found = self.mutabilities[function.name]
        if header.kind != "private" and (header.mutability == "payable" or header.kind != "public"):
            return header.mutability
        if found == "pure" and header.mutability == "view" and function.kind == "public":
            return "view"
        return found

    def _context(
        self,
        function: Function,
        body: Readable,
        header: Header,
        level: int,
        locations: Mapping[str, str],
    ) -> Context:
        names = {name: Piece(text, ATOM, kind) for name, (text, kind) in self.storage.texts.items()}
        types: dict[str, str] = {}
        reading: set[str] = set()
        for name, kind in zip(header.names, header.types, strict=True):
            place = locations.get(name, "")
            text = name if place != COPIED else f"{name}_"
            place = place.replace(COPIED, "memory")
            types[text] = f"{kind} {place}".strip()
            names[name] = Piece(text, ATOM, types[text], frozenset({text}))
            if place != "calldata":
                reading.add(text)
        spelled: dict[str, str] = {}
        of_variables = {
            n: v.type for n, v in self.meaning.of(function.name).variables.items() if is_value(v.type)
        }
        objects = self.objects.of(function.name)
        of_variables |= {name: in_memory(kind) for name, kind in objects.items()}
        for name, members in body.draft.joined.items():
            kinds = {of_variables.get(member, "") for member in (name, *members)}
            of_variables[name] = kinds.pop() if len(kinds) == 1 else ""
        if function.kind == "private":
            spelled = dict(zip(body.draft.params, header.names, strict=True))
        return Context(
            types, names, self.called, spelled, level == LITERAL, self.contract.code_size,
            header.mutability == "payable" or header.kind == "private", self.storage.members,
            asks_for_memory(body) or function.name in self.called_while_writing,
            reading=frozenset(reading), interfaces=self.interfaces,
            of_variables=of_variables,
            in_calldata=level == READABLE and function.name not in self.without_arguments,
        )  # fmt: skip

    # The whole.

    def _text(self, written: list[_Written]) -> Source:
        unnamed = [self.headers[w.facts.of] for w in written if w.facts.in_fallback]
        if unnamed and self.plain_entry:
            written = _with_dispatch(written, unnamed)
        structs = [*self.storage.structs, *(text for h in self.headers.values() for text in h.structs)]
        structs += words_structs(line for one in written for line in one.lines)
        declared = list(dict.fromkeys([*structs, *self.events.values(), *self.errors.values()]))
        out = ["// SPDX-License-Identifier: UNLICENSED", f"pragma solidity {COMPILER};", ""]
        for name, functions in self.interfaces.items():
            out += [f"interface {name} {{", *(INDENT + text for text in functions.values()), "}", ""]
        out.append(f"contract {NAME} {{")
        for section in (self.storage.lines, declared):
            out += [*(INDENT + line for line in section), ""] if section else []
        for one in written:
            one.facts.first_line = len(out) + 1
            out += [INDENT + line if line else line for line in one.lines]
            one.facts.last_line = len(out)
            out.append("")
        slices = [slice_text(kind) for kind in self._kinds_in_place(written)]
        for text in [*self.storage.functions, *texts(self.needed), *slices]:
            out += [*(INDENT + line for line in text.split("\n")), ""]
        if out[-1] == "":
            out.pop()
        facts = [w.facts for w in written]
        abi = [abi_entry(self.headers[f.of], f) for f in facts if f.kind != "private" and f.of]
        variables = {name: text for name, (text, _) in self.storage.texts.items()}
        return Source(
            "\n".join([*out, "}"]) + "\n", NAME, COMPILER, SETTINGS, abi, facts, variables=variables
        )

    def _kinds_in_place(self, written: list[_Written]) -> list[str]:
        """Types of the arguments that the fallback hands over as they lie in calldata."""
        headers = [self.headers[w.facts.of] for w in written if w.facts.in_fallback]
        pairs = [(h, pair) for h in headers for pair in zip(h.names, h.types, strict=True)]
        return sorted({kind for header, (name, kind) in pairs if name in header.in_place})


def _located(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(in_memory(kind) for kind in kinds)


def _with_dispatch(written: list[_Written], unnamed: list[Header]) -> list[_Written]:
    """With a fallback that first looks for what Solidity cannot give its selector."""
    lines = [
        "// functions whose names are not known: Solidity would make their selectors out of the names",
        *(line for header in unnamed for line in header.dispatch()),
    ]
    known = next((w for w in written if w.facts.kind == "fallback"), None)
    if known is None:
        note = "only to reach functions whose names are not known"
        facts = SolidityFunction(
            "fallback", "", "fallback", None, "fallback", None, "payable", READABLE, 0, 0, notes=[note]
        )
        known = _Written(facts, ["", INDENT + "revert();", "}"])
        written = [*written, known]
    elif known.facts.mutability != "payable":
        lines.append("require(msg.value == 0);")
        known.facts.mutability = "payable"
    known.lines = ["fallback() external payable {", *(INDENT + line for line in lines), *known.lines[1:]]
    return written
