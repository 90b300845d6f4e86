"""Events, reverts and returned values: memory that is consumed as a whole, as the words that the code put there."""

from __future__ import annotations

from whet.evm.meaning.saying import Known, Sayer, named
from whet.evm.meaning.symbols import Word
from whet.evm.meaning.walk import Effect
from whet.evm.terms import Emit, Expression, Form, Return, Revert, Text

ERROR, PANIC = 0x08C379A0, 0x4E487B71


class Payloads:
    """Forms of LOG, REVERT and RETURN."""

    def __init__(self, sayer: Sayer, known: Known) -> None:
        self.sayer, self.known = sayer, known

    def emitted(self, effect: Effect) -> Form | None:
        """Of a LOG whose first topic is a constant; indexed arguments are taken to be the first."""
        topics = effect.args[2:]
        data = self.sayer.whole_words(effect)
        indexed = [self.sayer.say(effect, topic) for topic in topics[1:]]
        if data is None or None in indexed or not topics or not isinstance(topics[0], int):
            return None
        args: tuple[Expression, ...] = (*indexed, *data)  # type: ignore[arg-type]
        name, types, args = named(self.known.events(topics[0]), args, f"event_{topics[0] >> 224:08x}")
        return Emit(name, args, topics[0], len(indexed), types)

    def reverted(self, effect: Effect) -> Form | None:
        """Of a REVERT: with nothing, a constant string, a panic, or an error with words."""
        payload = effect.payload
        if effect.args[1] == 0:
            return Revert()
        if payload is None or payload.selector is None or not payload.sure:
            return None
        if payload.selector == ERROR:
            text = constant_text(payload.words, payload.length)
            return Revert("", (Text(text),), ERROR, ("string",)) if text is not None else None
        words = self.sayer.whole_words(effect, selector=True)
        if words is None:
            return None
        if payload.selector == PANIC and len(words) == 1:
            return Revert("Panic", words, PANIC, ("uint256",))
        unknown = f"error_{payload.selector:08x}"
        name, types, words = named(self.known.errors(payload.selector), words, unknown)
        return Revert(name, words, payload.selector, types)

    def returned(self, effect: Effect) -> Form | None:
        """Of a RETURN of whole words."""
        words = self.sayer.whole_words(effect)
        return Return(words) if words is not None else None


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
