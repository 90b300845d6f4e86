"""What a model is asked of a function, in the words it was trained with, and what the names in these words are here.

A prompt names storage and private functions as three-address code does; the emitter's contract may call them otherwise.
Cost: the contract is lifted once and analysed once or twice, 0.1 to 1 s; emitted too where the model was shown that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from whet.evm.decompile.placing import reached
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import Meaning
from whet.evm.pairs.nouns import MOST_TOKENS, View
from whet.evm.pairs.prompt import Metadata, Prompt, asked, metadata_lines
from whet.evm.pairs.texts import views
from whet.evm.signatures import Signatures
from whet.evm.solidity.nouns import SolidityFunction, Source
from whet.evm.tac import Contract, Function


class NotAsked(ValueError):
    """A function that a model is not asked for; says why."""


@dataclass(frozen=True, slots=True)
class Asks:
    """How a model was asked in training, as the keys of `source: solidity` have it.

    metadata: whether signatures were shown; "both" shows those that are known. prompt_tokens: of a prompt, at most.
    emitted: whether the emitter's Solidity stands in it.
    """

    metadata: Literal["shown", "hidden", "both"] = "both"
    prompt_tokens: int = MOST_TOKENS
    emitted: bool = False


@dataclass(frozen=True, slots=True)
class Proposed:
    """A text as a model wrote it. cut: "cut at 1,024 tokens", where it had to end there; "" where it came to its end."""

    text: str
    cut: str = ""


class Writer(Protocol):
    """A model that writes functions. The same prompt gives the same texts.

    name, identity, best_of, settings: as `nouns.Model` has them.
    """

    name: str
    identity: str
    best_of: int
    settings: dict[str, Any]
    asks: Asks

    def propose(self, prompt: Prompt) -> Iterable[Proposed]:
        """At most `best_of` texts, the likeliest first, made as they are asked for. Raises NotAsked."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt. way: its metadata. variables, functions: {name in it: how the emitter's contract says it}."""

    prompt: Prompt
    way: Metadata
    variables: dict[str, str]
    functions: dict[str, str]


class Questions:
    """The questions of one contract. source: the emitter's."""

    def __init__(self, contract: Contract, names: Signatures, source: Source, asks: Asks) -> None:
        self.contract, self.table, self.source, self.asks = contract, names, source, asks
        self.called = reached(source)
        self.shown = analyse(contract, names)
        self._views: dict[Metadata, tuple[Meaning, Callable[[Function], View]]] = {}

    def of(self, function: SolidityFunction) -> Question:
        """Raises NotAsked."""
        if why := self._why_not(function):
            raise NotAsked(why)
        facts = self._facts(function)
        way: Metadata = "shown" if facts else "hidden"
        meaning, view = self._view(way)
        prompt = asked(
            view(self.contract.functions[function.of]),
            facts,
            self.asks.prompt_tokens,
            emitted=self.asks.emitted,
        )
        if prompt is None:
            raise NotAsked(f"longer than the {self.asks.prompt_tokens:,} tokens of a prompt")
        return Question(prompt, way, self._variables(meaning), self._functions(meaning))

    def leading_to(self, function: SolidityFunction) -> list[str]:
        """The functions, by their names in the three-address code, whose behaviour this one's text decides."""
        if function.kind != "private":
            return [function.of]
        outer = [f.of for f in self.source.functions if f.kind != "private" and f.of]
        return [name for name in outer if function.of in self.called.get(name, ())]

    def _why_not(self, function: SolidityFunction) -> str:
        known: Function | None = self.contract.functions.get(function.of)
        if known is None or known.kind == "entry":
            return "it finds the functions"
        if function.kind in ("fallback", "receive") and function.name != function.kind:
            return "a dispatcher that does more calls it"
        if function.kind == "fallback" and any(f.in_fallback for f in self.source.functions):
            return "it also finds the functions whose names are not known"
        if function.kind == "private" and self.shown.of(function.of).name:
            return "a helper of the compiler's"
        if not self.leading_to(function):
            return "no function that can be called leads here"
        return "" if known.complete else "the lifter cut it off"

    def _facts(self, function: SolidityFunction) -> str:
        """Its metadata; "" where that is not shown. A model that always saw it is shown three-address code's own name."""
        known = function.kind != "private" and not function.in_fallback
        if self.asks.metadata == "hidden" or (self.asks.metadata == "both" and not known):
            return ""
        name, _, types = function.signature.partition("(")
        visibility = {"public": "public", "private": "internal"}.get(function.kind, "external")
        mutability = self.shown.of(function.of).mutability or "nonpayable"
        return metadata_lines(f"{name if known else function.of}({types or ')'}", visibility, mutability)

    def _view(self, way: Metadata) -> tuple[Meaning, Callable[[Function], View]]:
        """The contract as it is shown with known names, or with hidden ones."""
        if way not in self._views:
            hidden = self.table.without_functions(self.contract.public)
            meaning = self.shown if way == "shown" else analyse(self.contract, hidden)
            self._views[way] = (meaning, views(self.contract, meaning, emitted=self.asks.emitted))
        return self._views[way]

    def _variables(self, meaning: Meaning) -> dict[str, str]:
        """Of storage, by its place, since names may be hidden; constants and immutables are what their getters give."""
        outer = [one for one in self.source.functions if one.kind == "public" and not one.in_fallback]
        getters = {one.name: f"{one.name}()" for one in outer if one.returns and one.signature.endswith("()")}
        said = {
            (v.slot, v.offset, v.transient): self.source.variables.get(v.name) for v in self.shown.storage
        }
        stored = {v.name: said.get((v.slot, v.offset, v.transient)) or v.name for v in meaning.storage}
        return getters | stored

    def _functions(self, meaning: Meaning) -> dict[str, str]:
        """By the code's place, or as helpers of the compiler's."""
        found = {one.of: one.name for one in self.source.functions}
        private = [one for one in self.source.functions if one.kind == "private"]
        helpers = Counter(meaning.of(one.of).name for one in private)
        named = {meaning.of(one.of).name: one.name for one in private}
        return found | {helper: name for helper, name in named.items() if helper and helpers[helper] == 1}
