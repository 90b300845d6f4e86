"""Calls of other contracts, as `target.function{value: v, gas: g}(arguments)`.

A form stands where the target, the value and all of the calldata are known. Names are those of the known signatures.
"""

from __future__ import annotations

from whet.evm.meaning.encodings import Encodings
from whet.evm.meaning.saying import Known, Sayer, named
from whet.evm.meaning.symbols import Node
from whet.evm.meaning.walk import Effect
from whet.evm.terms import Call, Expression, Form, Value

CALLS = frozenset({"CALL", "STATICCALL", "DELEGATECALL", "CALLCODE"})


class Calls:
    """Forms of the four instructions that call."""

    def __init__(self, sayer: Sayer, known: Known, encodings: Encodings) -> None:
        self.sayer, self.known, self.encodings = sayer, known, encodings

    def form(self, effect: Effect) -> Form | None:
        """The bare call: its value is 1 or 0."""
        call = self.bare(effect)
        return Value(call, pure=False) if call is not None else None

    def bare(self, effect: Effect) -> Call | None:
        """The instruction alone; None where a part of it cannot be said."""
        say = self.sayer.say
        gas, to, *rest = effect.args
        target = say(effect, to)
        value = say(effect, rest[0]) if effect.op in ("CALL", "CALLCODE") else 0
        all_gas = isinstance(gas, Node) and gas.op == "GAS"
        amount = None if all_gas else say(effect, gas)
        given = self._given(effect)
        if target is None or value is None or given is None or (amount is None and not all_gas):
            return None
        name, selector, types, args = given
        output = self._output(effect)
        return Call(effect.op, target, name, selector, types, args, value=value, gas=amount, output=output)

    def _given(
        self, effect: Effect
    ) -> tuple[str, int | None, tuple[str, ...], tuple[Expression, ...]] | None:
        """(name, selector, types, arguments) of the calldata."""
        selector = effect.payload.selector if effect.payload is not None else None
        words = self.sayer.whole_words(effect, selector is not None)
        if words is None:
            raw = self.sayer.raw(effect)
            if raw is not None:
                return "", None, ("bytes",), (raw,)
            found = self.encodings.of(effect)
            if found is None or found.selector is None:
                return None
            selector, words = found.selector, found.args
        if selector is None:
            return "", None, ("",) * len(words), words
        name, types, words = named(self.known.functions(selector), words, "")
        return name, selector, types, words

    def _output(self, effect: Effect) -> tuple[Expression, ...]:
        """Where the instruction itself writes what comes back."""
        place = self.sayer.function.blocks[effect.block].statements[effect.index].args[-2:]
        return () if place[1] == 0 else place
