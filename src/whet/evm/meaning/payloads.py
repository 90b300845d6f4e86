"""Events, reverts and returned values: memory that is consumed as a whole, as the words that the code put there."""

from __future__ import annotations

from whet.evm.meaning.base import ERROR, PANIC
from whet.evm.meaning.encodings import Encodings
from whet.evm.meaning.saying import Known, Sayer, named, typed
from whet.evm.meaning.symbols import Word
from whet.evm.meaning.walk import Effect
from whet.evm.terms import Emit, Expression, Form, Return, Revert, Text


class Payloads:
    """Forms of LOG, REVERT and RETURN."""

    def __init__(self, sayer: Sayer, known: Known, encodings: Encodings) -> None:
        self.sayer, self.known, self.encodings = sayer, known, encodings

    def emitted(self, effect: Effect) -> Form | None:
        """Of a LOG whose first topic is a constant; indexed arguments are taken to be the first."""
        topics = effect.args[2:]
        indexed = [self.sayer.say(effect, topic) for topic in topics[1:]]
        if None in indexed or not topics or not isinstance(topics[0], int):
            return None
        data = self.sayer.whole_words(effect)
        if data is None:
            found = self.encodings.of(effect)
            if found is None:
                return None
            data = found.args
        args: tuple[Expression, ...] = (*indexed, *data)  # type: ignore[arg-type]
        name, types, args = named(self.known.events(topics[0]), args, f"event_{topics[0] >> 224:08x}")
        return Emit(name, args, topics[0], len(indexed), types)

    def reverted(self, effect: Effect) -> Form | None:
        """Of a REVERT: with nothing, a constant string, a panic, or an error with words."""
        payload = effect.payload
        if effect.args[1] == 0:
            return Revert()
        raw = self.sayer.raw(effect)
        if raw is not None:
            return Revert("", (raw,), None, ("bytes",))
        known = payload is not None and payload.selector is not None and payload.sure
        if payload is None or not known:
            return self._encoded(effect)
        if payload.selector == ERROR:
            text = constant_text(payload.words, payload.length)
            return Revert("", (Text(text),), ERROR, ("string",)) if text is not None else None
        words = self.sayer.whole_words(effect, selector=True)
        if words is None:
            return None
        if payload.selector == PANIC and len(words) == 1:
            return Revert("Panic", words, PANIC, ("uint256",))
        return self._error(payload.selector or 0, words)

    def _error(self, selector: int, args: tuple[Expression, ...]) -> Form:
        name, types, args = named(self.known.errors(selector), args, f"error_{selector:08x}")
        return Revert(name, args, selector, types)

    def _encoded(self, effect: Effect) -> Form | None:
        """An error with arguments that are objects in memory."""
        found = self.encodings.of(effect)
        if found is None or found.selector is None:
            return None
        if found.selector == ERROR and len(found.args) == 1:
            return Revert("", (typed(found.args[0], "string"),), ERROR, ("string",))
        return self._error(found.selector, found.args)

    def returned(self, effect: Effect) -> Form | None:
        """Of a RETURN of whole words."""
        words = self.sayer.whole_words(effect)
        if words is not None:
            return Return(words)
        raw = self.sayer.raw(effect)
        if raw is not None:
            return Return((raw,), raw=True)
        found = self.encodings.of(effect)
        return Return(found.args) if found is not None else None


def constant_text(words: tuple[Word | None, ...], length: Word) -> str | None:
    """The string of an Error(string) of `length` bytes whose words are constants, if nothing else is in it."""
    known = [word for word in words if isinstance(word, int)]
    if len(known) < max(2, len(words)) or known[0] != 32:
        return None
    size, data = known[1], b"".join(word.to_bytes(32, "big") for word in known[2:])
    if size > len(data) or any(data[size:]) or length != 68 + -(-size // 32) * 32:
        return None
    try:
        return data[:size].decode()
    except UnicodeDecodeError:
        return None
