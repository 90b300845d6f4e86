"""The words that a statement reads and writes, said with the variables of its function; nothing where one cannot be."""

from __future__ import annotations

from typing import Protocol

from whet.evm.meaning.base import END
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.refusals import forwards
from whet.evm.meaning.symbols import Word
from whet.evm.meaning.walk import Effect
from whet.evm.tac import Function, Statement
from whet.evm.terms import RETURNED, Expression, InMemory, Typed

_MOST_BLOCKS = 4


class Known(Protocol):
    """Names by hash; `whet.evm.signatures.Signatures` is one."""

    def functions(self, selector: int) -> tuple[str, ...]: ...
    def errors(self, selector: int) -> tuple[str, ...]: ...
    def events(self, topic: int) -> tuple[str, ...]: ...


class Sayer:
    """Says words of one function at the places of its effects."""

    def __init__(self, function: Function, namer: Namer) -> None:
        self.function, self.namer = function, namer
        self.came = function.predecessors()

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

    def raw(self, effect: Effect) -> Expression | None:
        """What an effect consumes, where that is all the bytes of an object in memory, or all that a call gave back."""
        if effect.object is not None:
            pointer = self.say(effect, effect.object)
            return InMemory(pointer, "bytes") if pointer is not None else None
        if effect.index == END and forwards(
            self._way_to(effect.block), self.function.blocks[effect.block].end
        ):
            return RETURNED
        return None

    def _way_to(self, block: str) -> list[Statement]:
        """The statements that are sure to be executed before the end of a block, from the last copy of returned data."""
        found: list[Statement] = []
        for _ in range(_MOST_BLOCKS):
            found = [*self.function.blocks[block].statements, *found]
            came = self.came[block]
            if len(came) != 1 or any(s.op == "RETURNDATACOPY" for s in found):
                break
            block = came[0]
        return found


def split_types(signature: str) -> tuple[str, ...] | None:
    """The argument types of "f(address,string)"; None with structs."""
    inner = signature[signature.index("(") + 1 : -1]
    return None if "(" in inner else tuple(inner.split(",")) if inner else ()


def named(
    signatures: tuple[str, ...], args: tuple[Expression, ...], unknown: str
) -> tuple[str, tuple[str, ...], tuple[Expression, ...]]:
    """(name, types, arguments read as these) by the first signature that fits; `unknown` and what the arguments say of
    their types where none does."""
    for signature in signatures:
        types = split_types(signature)
        if types is not None and len(types) == len(args) and all(map(fits, args, types)):
            return signature.partition("(")[0], types, tuple(map(typed, args, types))
    return unknown, tuple(arg.type if isinstance(arg, InMemory) else "" for arg in args), args


def fits(arg: Expression, kind: str) -> bool:
    """Whether the argument may be of a type: one word, bytes, or an array of words."""
    if isinstance(arg, InMemory) and arg.type.endswith("[]"):
        return kind.endswith("[]") and kind.count("[") == 1 and kind not in ("bytes[]", "string[]")
    return (kind in ("bytes", "string")) == isinstance(arg, InMemory) and not kind.endswith("]")


def typed(value: Expression, kind: str) -> Expression:
    """Constants are written as their type is, objects have it."""
    if isinstance(value, InMemory):
        return InMemory(value.pointer, kind)
    return Typed(value, kind) if isinstance(value, int) else value
