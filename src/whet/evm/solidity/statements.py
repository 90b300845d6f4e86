"""The lines of a draft as statements: values, assignments, what is done for its effect."""

from __future__ import annotations

from whet.evm.draft.nouns import Line as DraftLine
from whet.evm.solidity.calls import results_of
from whet.evm.solidity.claims import RETURNED_DATA
from whet.evm.solidity.codecopy import CodeCopy
from whet.evm.solidity.conversion import trimmed
from whet.evm.solidity.lines import Line
from whet.evm.solidity.lowering import returned_types
from whet.evm.solidity.pieces import Piece, Unsayable, joined, variable
from whet.evm.solidity.types import ATOM, is_value, mask_of
from whet.evm.terms import (
    DECODED,
    Assign,
    Call,
    Dispatch,
    Do,
    Emit,
    Expression,
    Invoke,
    Member,
    Name,
    Operation,
    Value,
)

_GIVES = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"})
"""Instructions done for their effect that have a result, which assembly must take."""

_SILENT = frozenset(
    {"MSTORE", "MSTORE8", "SSTORE", "TSTORE", "MCOPY", "CALLDATACOPY", "EXTCODECOPY", "RETURNDATACOPY"}
    | {f"LOG{count}" for count in range(5)}
)
"""Instructions done for their effect that have none."""


class Statements(CodeCopy):
    """Each form of a line."""

    def line(self, line: DraftLine) -> None:
        form = line.form
        if isinstance(form, Value):
            self._value(form.expression, line.results)
        elif isinstance(form, Do):
            self.do(form.expression)
        elif isinstance(form, Assign):
            self._assign(form)
        elif isinstance(form, Emit):
            self.emit(form)
        elif isinstance(form, Dispatch):
            self._dispatch(form)
        else:
            raise Unsayable(type(form).__name__)

    def _dispatch(self, form: Dispatch) -> None:
        """Solidity itself goes over to the functions whose names are known."""
        for _, name in form.cases:
            self.out += [Line(text) for text in self.frame.entered.get(name, ()) if text]

    def _value(self, expression: Expression, results: tuple[str, ...]) -> None:
        """`a = x`. What assembly computes needs no temporary."""
        names = tuple(self.spelled(result) for result in results)
        kinds = tuple(self.type_of(result) for result in results)
        gives = self._gives(expression)
        if gives is not None:
            self._call_into(expression, gives, names, kinds)
        elif expression == RETURNED_DATA and kinds == ("bytes memory",) and self._takes_data(names[0]):
            return
        elif len(names) != 1:
            raise Unsayable(f"{len(names)} results of {type(expression).__name__}")
        elif isinstance(expression, Operation) and self._is_computed(expression):
            piece = self.instruction(expression)
            self.assembly(f"{names[0]} := {piece.text}", piece, sets=names)
        else:
            self.put(names[0], self.whole(lambda: self.sol(expression, kinds[0])))

    def _takes_data(self, name: str) -> bool:
        """Lets the call that was just written give its data too: `(bool ok, bytes memory data) = ...`."""
        line = self.out[-1] if self.out else None
        if not isinstance(line, Line) or len(line.sets) != 1 or line.assembly:
            return False
        ignoring, told = f"({line.sets[0]}, ) = ", line.text
        if not told.startswith(ignoring) or name in line.mentions:
            return False
        line.text = f"({line.sets[0]}, {name}) = {told.removeprefix(ignoring)}"
        line.sets += (name,)
        return True

    def _is_computed(self, term: Operation) -> bool:
        return self.is_assembly(term) and term.op != "CODESIZE"

    def _gives(self, term: Expression) -> tuple[str, ...] | None:
        """The types of what a call with results of its own gives; None for other terms."""
        if isinstance(term, Call) and term.checked:
            return results_of(term)
        if isinstance(term, Invoke) and term.callee == DECODED:
            return returned_types(term)
        if isinstance(term, Invoke) and isinstance(term.callee, Name):
            known = self.context.called.get(term.callee.name)
            return None if known is None else known[2]
        return None

    def _call_into(
        self, call: Expression, gives: tuple[str, ...], names: tuple[str, ...], kinds: tuple[str, ...]
    ) -> None:
        """`(a, b) = f(x)`, by temporaries where the types are others."""
        piece = self.whole(lambda: self.natural(call))
        if len(gives) != len(names):
            raise Unsayable("results of another number")
        held = names if kinds == gives else tuple(self.temporary(kind) for kind in gives)
        left = held[0] if len(held) == 1 else f"({', '.join(held)})"
        self.say(f"{left} = {piece.text};", piece, held)
        if held == names:
            return
        for name, temporary, have, want in zip(names, held, gives, kinds, strict=True):
            self.put(name, self.convert(variable(temporary, have), want))

    def do(self, expression: Expression) -> None:
        """What is done for its effect."""
        if isinstance(expression, Operation) and expression.op == "CODECOPY":
            self.copy_code(expression.args)
        elif isinstance(expression, Operation) and self._is_done_by_assembly(expression.op):
            piece = self.instruction(expression)
            silent = expression.op in _SILENT
            self.assembly(piece.text if silent else f"pop({piece.text})", piece)
        else:
            piece = self.whole(lambda: self.natural(expression))
            self.say(f"{piece.text};", piece)

    def _is_done_by_assembly(self, op: str) -> bool:
        return op in _GIVES or op in _SILENT or self.context.literal

    def _assign(self, form: Assign) -> None:
        word = self._word_of_storage(form.target)
        if word is not None:
            slot, value = self.slot(word), self.yul(form.value)
            self.assembly(f"sstore({slot.text}, {value.text})", slot, value)
            return

        def write() -> Piece:
            target = self.natural(form.target)
            known = is_value(target.type)
            value = trimmed(form.value, mask_of(target.type)) if known else form.value
            said = self.sol(value, target.type)
            return joined(f"{target.text} {form.operator}= {said.text}", ATOM, target.type, target, said)

        piece = self.whole(write)
        self.say(f"{piece.text};", piece)

    def _word_of_storage(self, target: Expression) -> Piece | None:
        """What lies in storage and is no value, if its first slot is assigned: the length of an array, a struct's."""
        if isinstance(target, Member) and target.name == "length":
            return self.natural(target.base)
        return None if is_value(self.type_by_itself(target)) else self.natural(target)
