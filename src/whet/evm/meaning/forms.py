"""What is shown instead of instructions: arguments, storage variables, events, calls of other contracts, reverts, returns.

A form stands only where every word of it is known on every way and can be said with the function's own variables;
otherwise the plain instruction stays. `paths` says storage, `calls` calls, `payloads` events, reverts and returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.meaning.base import END, PANIC, FunctionMeaning, Place, StateVariable
from whet.evm.meaning.calls import CALLS, Calls
from whet.evm.meaning.closure import spread
from whet.evm.meaning.decoding import Head, decoded
from whet.evm.meaning.encodings import Encoded, Encodings
from whet.evm.meaning.helpers import spoken
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.paths import Paths
from whet.evm.meaning.payloads import Payloads
from whet.evm.meaning.results import Results
from whet.evm.meaning.saying import Known, Sayer
from whet.evm.meaning.slices import straight
from whet.evm.meaning.structs import Struct
from whet.evm.meaning.symbols import Node
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Function, Statement
from whet.evm.terms import RETURNED, Call, Do, Form, Group, Invoke, Name, Return, Revert, Value, variables


class Forms:
    """Writes the forms of one function into `meaning`."""

    def __init__(
        self,
        function: Function,
        walk: Walk,
        namer: Namer,
        known: Known,
        storage: list[StateVariable],
        structs: Mapping[str, Struct],
        helpers: dict[str, str],
        heads: list[Head],
    ) -> None:
        self.function, self.walk, self.namer = function, walk, namer
        self.sayer = Sayer(function, namer)
        self.paths = Paths(walk, self.sayer, storage, structs)
        self.results = Results(function, walk, namer)
        self.encodings = Encodings(walk, self.sayer)
        self.calls = Calls(self.sayer, known, self.encodings)
        self.payloads = Payloads(self.sayer, known, self.encodings)
        self.helpers, self.heads = helpers, heads
        self.meaning = FunctionMeaning()

    def run(self) -> FunctionMeaning:
        for block in self.function.blocks.values():
            for index, s in enumerate(block.statements):
                form = self._simple(block.id, index, s)
                if form is not None:
                    self.meaning.forms[block.id, index] = form
            self._dead_end(block)
        said: set[int] = set()
        for number, effect in enumerate(self.walk.effects):
            if effect.depth == 0 and effect.function == self.function.name:
                form = self._form(effect)
                if form is not None:
                    self.meaning.forms[effect.block, effect.index] = self._whole(effect, form)
                    self._absorb_copy(effect, form)
                    said.add(number)
        for number in sorted(said):
            effect = self.walk.effects[number]
            if effect.payload is not None:
                self._absorb(effect.payload, said)
            encoded = self.encodings.found.get((effect.block, effect.index))
            if encoded is not None:
                self._hide(effect, encoded, said)
        return self.meaning

    def _whole(self, effect: Effect, form: Form) -> Form:
        """A call as all that is written around it, where that is Solidity's call of a function."""
        call = form.expression if isinstance(form, Value) else None
        if not isinstance(call, Call):
            return form
        whole = self.results.whole(effect, call) or self.results.tried(effect, call)
        if whole is None:
            return form
        self.meaning.skipped |= whole.skipped
        self.meaning.absorbed |= whole.absorbed
        self.meaning.forms |= whole.forms
        return whole.form

    def _absorb_copy(self, effect: Effect, form: Form) -> None:
        """The copy of what a call gave back, where the function ends with it."""
        said = form.args if isinstance(form, Revert) else form.values if isinstance(form, Return) else ()
        if said == (RETURNED,):
            for index, s in enumerate(self.function.blocks[effect.block].statements):
                if s.op == "RETURNDATACOPY":
                    self.meaning.absorbed.add((effect.block, index))

    def _hide(self, effect: Effect, encoded: Encoded, said: set[int]) -> None:
        """The code that only prepared what the form says: what wrote it, and the loops and branches around that."""
        part, blocks = encoded.part, self.function.blocks
        places = {(name, i) for name, (start, stop) in part.ranges.items() for i in range(start, stop)}
        wrote = {p for p in encoded.written if self._only_writes(p) and not self._readers(p) - said - places}
        between = [name for name in part.ranges if name != part.first]
        left = {
            (name, i)
            for name in between
            for i in range(*part.ranges[name])
            if (name, i) not in wrote and blocks[name].statements[i].op not in PURE | {"MLOAD"}
        }
        skipped = straight(self.function, part)
        if left or not skipped:
            wrote = {place for place in wrote if place[0] in (part.first, part.last) or not between}
            self.meaning.absorbed |= wrote if not between else set()
            return
        passed = [name for name in between if name != part.last]
        stale = {phi.result for name in between for phi in blocks[name].phis}
        stale |= {r for name in passed for s in blocks[name].statements for r in s.results}
        hidden = wrote | {(effect.block, effect.index)} | {(name, END) for name in skipped}
        hidden |= {(name, i) for name in passed for i in range(len(blocks[name].statements))}
        gone = spread(self.function, stale, hidden)
        if gone is not None and not gone & set(variables(self.meaning.forms[effect.block, effect.index])):
            self.meaning.absorbed |= wrote
            self.meaning.skipped |= skipped

    def _only_writes(self, place: Place) -> bool:
        s = self.function.blocks[place[0]].statements[place[1]]
        return s.op != "CALLPRIVATE" or not self.walk.shapes.of[s.function].halts

    def _readers(self, place: Place) -> set[int | Place]:
        return self.walk.readers.get(place, set())

    def _absorb(self, payload: Payload, said: set[int]) -> None:
        """The statements that only wrote what the form says, and that nothing else reads."""
        shapes = self.walk.shapes
        for block, index in payload.by:
            s = self.function.blocks[block].statements[index]
            encodes = s.op == "CALLPRIVATE" and shapes.of[s.function].only_memory
            if s.op != "MSTORE" and not (encodes and not shapes.of[s.function].halts):
                continue
            if self._readers((block, index)) <= said:
                self.meaning.absorbed.add((block, index))

    def _simple(self, block: str, index: int, s: Statement) -> Form | None:
        """The form of a statement without effect: an argument, a field of storage, a helper."""
        if s.op == "CALLPRIVATE":
            return self._private(block, index, s)
        word = self.walk.words.get(s.results[0]) if len(s.results) == 1 else None
        if not isinstance(word, Node):
            return None
        if s.op == "CALLDATALOAD":
            name = self.namer.argument(word)
            return Value(name, pure=True) if name is not None else None
        return self.paths.field(block, index, word) if s.op in ("AND", "SHR", "DIV") else None

    def _private(self, block: str, index: int, s: Statement) -> Form | None:
        given = decoded(self.walk, self.namer, self.heads, (block, index), s)
        if given is not None:
            return Value(given[0] if len(given) == 1 else Group(given), pure=True)
        helper = self.helpers.get(s.function)
        if not helper or self.walk.contract.functions[s.function].returns is None:
            return None
        call = spoken(helper, s.args)
        if not s.results:
            return Do(call)
        if not isinstance(call, Invoke):
            return Value(call, pure=True)
        return Value(call, halts=True) if self.walk.shapes.of[s.function].computes else Value(call)

    def _dead_end(self, block: Block) -> None:
        """A call of a panic that ends a block: the end itself says so."""
        last = block.statements[-1] if block.statements else None
        helper = self.helpers.get(last.function, "") if last is not None else ""
        if block.end.op != "INVALID" or not helper.startswith(("panic_error_", "revert_")):
            return
        code = helper.rpartition("_")[2]
        is_panic = helper.startswith("panic_error_")
        self.meaning.forms[block.id, END] = (
            Revert("Panic", (int(code, 16),), PANIC, ("uint256",)) if is_panic else Revert()
        )
        self.meaning.absorbed.add((block.id, len(block.statements) - 1))

    def _form(self, effect: Effect) -> Form | None:
        op = effect.op
        if op in ("SLOAD", "TLOAD"):
            return self.paths.loaded(effect)
        if op in ("SSTORE", "TSTORE"):
            return self.paths.stored(effect)
        if op.startswith("LOG"):
            return self.payloads.emitted(effect)
        if op in CALLS:
            return self.calls.form(effect)
        if op == "REVERT":
            return self.payloads.reverted(effect)
        if op == "RETURN":
            return self.payloads.returned(effect)
        if op == "KECCAK256":
            return self._hash(effect)
        return None

    def _hash(self, effect: Effect) -> Form | None:
        words = self.sayer.whole_words(effect)
        if words is not None:
            return Value(Invoke(Name("keccak256"), words), pure=True)
        raw = self.sayer.raw(effect)
        return Value(Invoke(Name("keccak256"), (raw,))) if raw is not None else None
