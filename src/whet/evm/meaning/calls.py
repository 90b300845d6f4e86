"""Calls of other contracts, as `target.function{value: v, gas: g}(arguments)`.

A form stands where the target, the value and all of the calldata are known. Names are those of the known signatures.
"""

from __future__ import annotations

from whet.evm.meaning.saying import Known, Sayer, named
from whet.evm.meaning.symbols import Node
from whet.evm.meaning.walk import Effect
from whet.evm.terms import Call, Expression, Form, Value

CALLS = frozenset({"CALL", "STATICCALL", "DELEGATECALL", "CALLCODE"})


class Calls:
    """Forms of the four instructions that call."""

    def __init__(self, sayer: Sayer, known: Known) -> None:
        self.sayer, self.known = sayer, known

    def form(self, effect: Effect) -> Form | None:
        """The bare call: its value is 1 or 0."""
        call = self.bare(effect)
        return Value(call, pure=False) if call is not None else None

    def bare(self, effect: Effect) -> Call | None:
        """The instruction alone; None where a part of it cannot be said."""
        say, payload = self.sayer.say, effect.payload
        gas, to, *rest = effect.args
        target = say(effect, to)
        value = say(effect, rest[0]) if effect.op in ("CALL", "CALLCODE") else 0
        words = self.sayer.whole_words(effect, payload is not None and payload.selector is not None)
        all_gas = isinstance(gas, Node) and gas.op == "GAS"
        amount = None if all_gas else say(effect, gas)
        if (
            target is None
            or value is None
            or words is None
            or payload is None
            or (amount is None and not all_gas)
        ):
            return None
        name, types, words = self._named(payload.selector, words)
        output = self._output(effect)
        return Call(
            *(effect.op, target, name, payload.selector, types, words), value=value, gas=amount, output=output
        )

    def _named(
        self, selector: int | None, words: tuple[Expression, ...]
    ) -> tuple[str, tuple[str, ...], tuple[Expression, ...]]:
        if selector is None:
            return "", ("",) * len(words), words
        return named(self.known.functions(selector), words, "")

    def _output(self, effect: Effect) -> tuple[Expression, ...]:
        """Where the instruction itself writes what comes back."""
        place = self.sayer.function.blocks[effect.block].statements[effect.index].args[-2:]
        return () if place[1] == 0 else place
