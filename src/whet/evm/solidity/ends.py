"""How control leaves a function: returns, reverts, and the instructions that halt."""

from __future__ import annotations

from whet.evm.draft.nouns import DraftEnd
from whet.evm.solidity.abi import fits
from whet.evm.solidity.lines import Line
from whet.evm.solidity.pieces import Piece, Unsayable, variable
from whet.evm.solidity.statements import Statements
from whet.evm.solidity.types import WORD_TYPE, in_memory, is_value
from whet.evm.terms import RETURNED, Do, Expression, InMemory, Operation, Return, Revert, Text

_BUILT_IN = frozenset({"Error", "Panic"})
"""Errors that Solidity declares itself."""


class Ends(Statements):
    """The ends of blocks that go on nowhere."""

    def exit(self, end: DraftEnd) -> None:
        form = end.form
        if isinstance(form, Revert):
            self._revert(form)
        elif isinstance(form, Return):
            self.give(form)
        elif isinstance(form, Do):
            self.do(form.expression)
        elif form is not None:
            raise Unsayable(type(form).__name__)
        else:
            self._plain(end)

    def _plain(self, end: DraftEnd) -> None:
        """An end of which no more is known than its instruction."""
        if end.op == "RETURNPRIVATE":
            self._give_back(end.args)
        elif end.op == "STOP" and not self.frame.private and not self.frame.returns:
            self.out.append(Line("return;"))
        elif end.op == "UNRESOLVED":
            raise Unsayable(f"code that was not followed: {end.why}")
        elif end.op == "ENTER":
            self.out += [Line(text) for text in self.frame.entered.get(end.function) or ["revert();"]]
        elif end.op == "REVERT" and end.args[1] == 0 and not self.context.literal:
            self.out.append(Line("revert();"))
        else:
            piece = self.applied(end.op.lower(), end.args)
            self.assembly(piece.text, piece)

    # Returns.

    def give(self, form: Return) -> None:
        """By Solidity's `return` where the function has the types of what it gives back."""
        returns = self.frame.returns
        if form.raw:
            self._end_with("return", form.values[0])
        elif self.frame.private or returns is None or not _fit(form.values, returns):
            kinds = tuple(f"{v.type} memory" if isinstance(v, InMemory) else WORD_TYPE for v in form.values)
            piece = self.whole(lambda: self.several(form.values, kinds))
            self._end_encoded("return", f"abi.encode({piece.text})", piece)
        else:
            self._give_back(form.values)

    def _give_back(self, values: tuple[Expression, ...]) -> None:
        if not values:
            self.out.append(Line("return;"))
            return
        assert self.frame.returns is not None
        kinds = tuple(in_memory(kind) for kind in self.frame.returns)
        piece = self.whole(lambda: self.several(values, kinds))
        text = piece.text if len(values) == 1 else f"({piece.text})"
        self.say(f"return {text};", piece)

    # Reverts.

    def _revert(self, form: Revert) -> None:
        if form.error == "Panic" and len(form.args) == 1:
            self._panic(form.args[0])
        elif form.error:
            self._revert_with_error(form)
        elif form.args and form.selector is None and not isinstance(form.args[0], Text):
            self._end_with("revert", form.args[0])
        else:
            piece = self.whole(lambda: self.several(form.args, ("string memory",) * len(form.args)))
            self.say(f"revert({piece.text});", piece)

    def _panic(self, code: Expression) -> None:
        if code == 1:
            self.out.append(Line("assert(false);"))
            return
        self.context.needed.add("panic")
        piece = self.whole(lambda: self.sol(code, WORD_TYPE))
        self.say(f"panic({hex(code) if isinstance(code, int) else piece.text});", piece)

    def _revert_with_error(self, form: Revert) -> None:
        """An error by its declaration if it can have one, else by its bytes."""
        if not self._declare_error(form):
            piece = self.whole(lambda: self.encoded(form.selector, "", form.types, form.args))
            self._end_encoded("revert", piece.text, piece)
            return
        kinds = tuple(in_memory(kind) for kind in form.types)
        piece = self.whole(lambda: self.several(form.args, kinds))
        self.say(f"revert {form.error}({piece.text});", piece)

    def _declare_error(self, form: Revert) -> bool:
        """Whether the error is declared like this. Solidity has one error of a name, and nothing else of that name."""
        if not fits(form.selector, form.error, form.types) or form.error in self.frame.taken | _BUILT_IN:
            return False
        if any(event.partition("(")[0] == form.error for event in self.frame.events):
            return False
        declared = f"error {form.error}({', '.join(form.types)});"
        return self.frame.errors.setdefault(form.error, declared) == declared

    # Bytes.

    def _end_encoded(self, how: str, encoded: str, piece: Piece) -> None:
        """Ends the call with bytes that Solidity encodes."""
        name = self.temporary("bytes memory")
        self.say(f"{name} = {encoded};", piece, (name,))
        self._end_with_bytes(how, name)

    def _end_with(self, how: str, value: Expression) -> None:
        """Ends the call with the bytes of a value and nothing else."""
        if value == RETURNED:
            self.assembly("returndatacopy(0, 0, returndatasize())")
            self.assembly(f"{how}(0, returndatasize())")
            return
        self._end_with_bytes(how, self.kept(self.whole(lambda: self.sol(value, "bytes memory"))).text)

    def _end_with_bytes(self, how: str, name: str) -> None:
        self.assembly(f"{how}(add({name}, 0x20), mload({name}))", variable(name))


def _fit(values: tuple[Expression, ...], types: tuple[str, ...]) -> bool:
    """Whether as many values are given back as there are types, and words for words."""
    if len(values) != len(types):
        return False
    words = zip(values, types, strict=True)
    return all(is_value(kind) or not isinstance(value, int | str | Operation) for value, kind in words)
