"""What decompiling gives: a contract's Solidity, and of each function what is known of its behaviour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from whet.evm.solidity.nouns import SolidityFunction, Source

SAME = "same"
"""Compiled, and the calls that were compared show no difference: enough of them, and telling ones (docs/verify.md)."""
DIFFERENT = "different"
"""A call is known that the compiled text answers otherwise than the bytecode."""
INCONCLUSIVE = "inconclusive"
"""No difference is known, but what was tried is too little to call it the same; the reason says what."""
NOT_COMPILED = "not compiled"
"""The compiler refuses the text, or there is no compiler."""
NOT_VERIFIED = "not verified"
"""Nobody asked: --no-verify, --no-compile."""

NO_FUNCTION = "no function"
"""Of a text that a model wrote: it is not exactly one function."""

LABELS = (SAME, DIFFERENT, INCONCLUSIVE, NOT_COMPILED, NOT_VERIFIED)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a function's behaviour. label: one of LABELS.

    evidence: what was run, one line. reason: why it is not `same`. counterexample: lines that a person reads; details:
    the same and more for programs.
    """

    label: str
    evidence: str = ""
    reason: str = ""
    counterexample: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Try:
    """A text that a model wrote for a function, as it wrote it. verdict: one of LABELS, or NO_FUNCTION, of the text by
    itself in the emitter's contract; reason: why it is not `same`. cut: as `asking.Proposed` has it."""

    text: str
    verdict: str
    reason: str = ""
    evidence: str = ""
    counterexample: str = ""
    cut: str = ""


@dataclass(slots=True)
class Asked:
    """What a model was asked of one function, and what came of it.

    way: "shown" or "hidden" as the prompt's metadata, "" where it was not asked, which `why` explains. left_out: of the
    prompt, for want of room. taken: the try, from 1, whose text stands in the contract; 0: the emitter's does, and `why`
    tells if a try was taken back. emitted: the emitter's text where it does not stand in the contract.
    """

    way: str = ""
    tries: list[Try] = field(default_factory=list)
    taken: int = 0
    why: str = ""
    left_out: list[str] = field(default_factory=list)
    emitted: str = ""


@dataclass(slots=True)
class Model:
    """The model that was asked. name: its folder. identity: of its files and of how it was asked. best_of: most texts of
    a function. settings: plain values. interrupted: not all functions were asked, since a person would not wait."""

    name: str
    identity: str
    best_of: int
    settings: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False


@dataclass(slots=True)
class Function:
    """One function of the text: `text` with what is known of it. tac: its three-address code. asked: of a model, None
    where none was to write it."""

    text: SolidityFunction
    judged: Judged
    tac: str = ""
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A function that was written again, more literally (`level`, see `solidity.nouns`), and why.

    because: the function whose difference was the reason; "" for any other. Back at level 0 where that was of no use.
    """

    function: str
    level: int
    why: str
    because: str = ""


@dataclass(slots=True)
class Seconds:
    """Time by what it was spent on; compile and verify over all rounds, and over all that a model wrote."""

    lift: float = 0.0
    emit: float = 0.0
    compile: float = 0.0
    verify: float = 0.0
    model: float = 0.0

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to one of them."""
        began = perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + perf_counter() - began)


@dataclass(slots=True)
class Decompiled:
    """A contract, decompiled.

    name: of what was given. facts: what was recognised in the code, one line each. notes: what was assumed or cut.
    source: text as the emitter wrote it. errors: of the compiler, in the last round. compiled: None if nobody asked;
    no_compiler: it could not be had or did not answer, so that asking again may help.
    storage: the layout, as `meaning.base.StateVariable` has it. rounds: how often it was written. model: that wrote some
    of the functions, or None.
    """

    name: str
    code: bytes
    facts: list[str]
    notes: list[str]
    source: Source
    functions: list[Function]
    compiled: bool | None
    no_compiler: bool = False
    errors: list[str] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    rounds: int = 1
    storage: list[dict[str, Any]] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    seconds: Seconds = field(default_factory=Seconds)
    model: Model | None = None

    @property
    def labels(self) -> Counter[str]:
        """How many functions have each label, private ones too."""
        return Counter(function.judged.label for function in self.functions)

    @property
    def by_model(self) -> int:
        """How many functions are as the model wrote them."""
        return sum(function.asked is not None and function.asked.taken > 0 for function in self.functions)

    @property
    def tries(self) -> Counter[str]:
        """How many of the model's texts have each verdict."""
        asked = [function.asked for function in self.functions if function.asked is not None]
        return Counter(one.verdict for each in asked for one in each.tries)

    @property
    def cut(self) -> int:
        """How many of the model's texts were cut before they came to their end."""
        asked = [function.asked for function in self.functions if function.asked is not None]
        return sum(one.cut != "" for each in asked for one in each.tries)

    @property
    def assembly_share(self) -> float:
        """Statements that are assembly, 0 to 1."""
        statements = sum(function.text.statements for function in self.functions)
        return sum(function.text.assembly for function in self.functions) / max(statements, 1)

    @property
    def perfect(self) -> bool:
        """It compiles and every function is the same."""
        return bool(self.compiled) and set(self.labels) <= {SAME}
