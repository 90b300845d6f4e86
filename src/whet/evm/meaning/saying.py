"""The words that a statement reads and writes, said with the variables of its function; nothing where one cannot be."""

from __future__ import annotations

from typing import Protocol

from whet.evm.meaning.base import END
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.symbols import Word
from whet.evm.meaning.walk import Effect
from whet.evm.tac import Function
from whet.evm.terms import Expression, Typed


class Known(Protocol):
    """Names by hash; `whet.evm.signatures.Signatures` is one."""

    def functions(self, selector: int) -> tuple[str, ...]: ...
    def errors(self, selector: int) -> tuple[str, ...]: ...
    def events(self, topic: int) -> tuple[str, ...]: ...


class Sayer:
    """Says words of one function at the places of its effects."""

    def __init__(self, function: Function, namer: Namer) -> None:
        self.function, self.namer = function, namer

    def say(self, effect: Effect, word: Word) -> Expression | None:
        """An expression for the word where the effect happens."""
        index = len(self.function.blocks[effect.block].statements) if effect.index == END else effect.index
        return self.namer.say(word, effect.block, index)

    def words(self, effect: Effect, payload: Payload | None) -> tuple[Expression, ...] | None:
        """The words of a payload; None if one of them cannot be said."""
        if payload is None or not payload.sure or not isinstance(payload.length, int):
            return None
        said = [self.say(effect, word) if word is not None else None for word in payload.words]
        return None if None in said else tuple(said)  # type: ignore[arg-type]

    def whole_words(self, effect: Effect, selector: bool = False) -> tuple[Expression, ...] | None:
        """The words of an effect's payload where it is whole words, behind four bytes if `selector`, and nothing else."""
        payload = effect.payload
        if (
            payload is None
            or not isinstance(payload.length, int)
            or selector != (payload.selector is not None)
        ):
            return None
        return self.words(effect, payload) if payload.length % 32 == 4 * selector else None


def split_types(signature: str) -> tuple[str, ...] | None:
    """The argument types of "f(address,uint256)" if each of them is one word; None with dynamic ones or structs."""
    inner = signature[signature.index("(") + 1 : -1]
    types = tuple(inner.split(",")) if inner else ()
    return None if any(c in inner for c in "()[") or "bytes" in types or "string" in types else types


def named(
    signatures: tuple[str, ...], args: tuple[Expression, ...], unknown: str
) -> tuple[str, tuple[str, ...], tuple[Expression, ...]]:
    """(name, types, arguments read as these) by the first signature that fits; `unknown` and "" where none does."""
    for signature in signatures:
        types = split_types(signature)
        if types is not None and len(types) == len(args):
            pairs = zip(args, types, strict=True)
            return signature.partition("(")[0], types, tuple(typed(arg, kind) for arg, kind in pairs)
    return unknown, ("",) * len(args), args


def typed(value: Expression, kind: str) -> Expression:
    """Constants are written as their type is."""
    return Typed(value, kind) if isinstance(value, int) else value
