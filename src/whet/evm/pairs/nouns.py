"""The nouns: `Project` in, `Pair` and `Lost` out, and every reason by which a function is no pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

INLINED = "inlined: its code stands in its callers only"
NO_CODE = "no code is its own: it is empty, or merged with an equal function"
CONSTRUCTION = "runs during construction only"
NOT_REACHED = "nothing that was compiled reaches it"
NO_ABI = "a type that no ABI carries"
STACK = "stack too deep"
COMPILER_FAILED = "the compiler failed: too slow, too large, crashed"
NOT_COMPILED = "does not compile"
IMPORT = "imports what is not there"
PRAGMA = "the pragma cannot be read"
NO_COMPILER = "no compiler for the pragma"
COMPILER_MISSING = "the compiler cannot be had"
NO_SETTING = "the compiler has no such setting"
UNLABELLED = "the source map does not say where it is"
DOUBTFUL = "the compiler's own data says otherwise"
NOT_LIFTED = "the lifter finds no function there"
CUT = "the lifter cut it off"
LIFTER_FAILED = "the lifter failed"
LONG = "too long"
NO_TEXT = "no UTF-8"
NO_CONTENT = "listed without its text"
NOT_LISTED = "not among the sources that its metadata lists"
NO_SETTINGS = "settings that cannot be read"
TEST = "a test, mock or script"

REASONS = (
    INLINED,
    LONG,
    CUT,
    LIFTER_FAILED,
    NOT_LIFTED,
    DOUBTFUL,
    UNLABELLED,
    CONSTRUCTION,
    STACK,
    COMPILER_FAILED,
    NO_ABI,
    NOT_COMPILED,
    NO_CODE,
    NOT_REACHED,
    IMPORT,
    NO_SETTING,
    COMPILER_MISSING,
    NO_COMPILER,
    PRAGMA,
    NO_TEXT,
)
"""Every reason for which a function is no pair; where several hold of one function, the first of these is told."""

UNREAD = (NO_TEXT, NO_CONTENT, NOT_LISTED, NO_SETTINGS)
"""Every reason for which a file of a project is not read."""

ENDED = "its process was ended by the system; too little memory?"
KILLED = "process ended with code -9"
"""A detail of COMPILER_FAILED."""

SAME_SOURCE = "the same source, built the same way"
SAME_TAC = "the same TAC as in another build"
EQUAL_TAC = "the same TAC as another function"
OTHER_FAMILY = "shares text with a larger family"
FULL = "its era is full"

LEAVING = (OTHER_FAMILY, SAME_SOURCE, SAME_TAC, EQUAL_TAC, FULL)
"""Every reason for which a pair leaves when those of several projects and builds come together."""

NEAREST = "compiled by the nearest compiler: none that is allowed is supported"
OWN_EVM = "compiled for the compiler's own EVM version: it does not know the one asked for"
OWN_SETTINGS = "compiled without a setting of its export that changes code and that whet does not have"
SPECIALISED = "specialised: parameters of the source are fixed in the code, or left out"
OTHERWISE = (NEAREST, OWN_EVM, OWN_SETTINGS, SPECIALISED)
"""How a pair's code can be otherwise than its file or its export asks for."""

DEFAULT = "default"
"""The build that an export tells, else the optimiser with 200 runs."""

MOST_TOKENS = 20_000
"""A function of more tokens (`whet.evm.text.count_tokens`) is too long; so many has a prompt, where nothing else is said."""

PLACE = re.compile(r"\bp_[0-9a-f]+(?:_[0-9a-f]+)*\b")
"""The name of a private function that has none of its own (`whet.evm.functions.Private.name`)."""

BUILD = re.compile(r"default|(off|runs\d{1,9})(-ir)?(-noinline)?")
"""Names of builds: off or runsN (the optimiser), -ir (through Yul), -noinline (without the optimiser's inliner)."""


@dataclass(frozen=True, slots=True)
class Project:
    """Sources that belong together.

    texts: {name that imports use: text}, as the authors wrote them. own: the files whose functions are wanted; the rest is
    there to be imported. lineage: what all versions of it are called ("solmate"); name: this one ("solmate@6.8.0").
    compiled: what an export says of the compiler and its settings, as keys of `Settings`, and `unmet: True` where it says
    more than these can; {} if it says nothing.
    """

    name: str
    lineage: str
    texts: Mapping[str, str]
    own: tuple[str, ...]
    licence: str = ""
    compiled: Mapping[str, Any] = field(default_factory=dict)
    unread: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """{file: (reason, detail)} of what belongs to it and is not read; reasons of UNREAD."""
    tests: tuple[str, ...] = ()
    """Tests, mocks and scripts that are no longer among its own files."""


@dataclass(frozen=True, slots=True)
class View:
    """A function's text and what its reader needs.

    called: {name: text} of the private functions that it calls, and those call, nearest first. storage: declarations of
    the variables that these texts name, each below its structs. emitted: the emitter's Solidity of it, not verified; ""
    where it was not asked for or there is none. names: {name in these texts: the author's}, where it is proved.
    """

    tac: str
    called: dict[str, str]
    storage: list[str]
    emitted: str = ""
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A function's TAC and its source, with all that is known of it. Plain values only: one line of JSON.

    tac: `whet.evm`'s structured text. called: {name: text} of the private functions that it calls, and that those call.
    body: where the function's body is one of these by itself (a public function that only decodes and encodes), its name.
    storage: declarations of the variables named in the texts. label: "selector" or "source map", by which the function was
    found. tac_hash: of all texts, without the names that come from places in the code. emitted, names: see `View`. hidden:
    the same function in a contract of which no function's name is known: only selectors stand there. mentions: {name of
    the author's: characters of the source where it stands for what `names` say of it, or for the function itself}.
    otherwise: how its code is otherwise than its file or export asks for, of OTHERWISE.
    """

    name: str
    signature: str
    selector: str
    kind: str
    visibility: str
    mutability: str
    contract: str
    source: str
    source_hash: str
    tac: str
    body: str
    called: dict[str, str]
    storage: list[str]
    emitted: str
    names: dict[str, str]
    hidden: View
    mentions: dict[str, list[int]]
    tac_hash: str
    label: str
    project: str
    lineage: str
    file: str
    line: int
    within: str
    solc: str
    build: str
    licence: str
    otherwise: list[str] = field(default_factory=list)

    @property
    def shown(self) -> View:
        """With the names that the table of signatures knows."""
        return View(self.tac, self.called, self.storage, self.emitted, self.names)

    @property
    def era(self) -> str:
        """The compiler's minor version, such as "0.8"."""
        return ".".join(self.solc.split(".")[:2])

    @property
    def origin(self) -> str:
        """Where a person finds the function, and how it was compiled; unique."""
        called = self.signature or self.name
        return f"{self.project}:{self.file}:{self.line}:{self.contract}.{called}:{self.solc}-{self.build}"

    def plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` gives the same pair back."""
        return asdict(self)


def from_plain(raw: Mapping[str, Any]) -> Pair:
    """The pair that `Pair.plain` wrote. Raises KeyError for what is none."""
    values = {one.name: raw[one.name] for one in fields(Pair)}
    return Pair(**values | {"hidden": View(**raw["hidden"])})


@dataclass(frozen=True, slots=True)
class Lost:
    """A function that is no pair in one build. `reason`: one of REASONS."""

    origin: str
    source_hash: str
    reason: str
    detail: str = ""

    @property
    def for_now(self) -> bool:
        """Whether another run, or another machine, may not lose it."""
        return self.reason == COMPILER_MISSING or self.detail == ENDED or self.detail.endswith(KILLED)
