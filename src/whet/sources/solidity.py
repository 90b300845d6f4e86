"""Solidity as pairs: three-address code of what a compiler makes of a function, and the function as it was written.

Sources come from folders of .sol files, packages of npm by exact version, build-info of Foundry and Hardhat, standard-JSON
inputs, and exports of Etherscan and Sourcify. They are compiled here (`whet.evm.pairs`), every function is found in the
bytecode again, and its TAC is what is asked, with its metadata or without; the source is the answer. Every function that
is no pair is a counted drop with its reason. docs/pairs.md says more.

Cost: the compilers (some 10 to 60 s a package and build, on one core), once: results are kept in whet's cache folder.
Memory: the sources of one project; 16 bytes a token of distinct functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from whet import store
from whet.evm.pairs import nouns
from whet.evm.pairs.nouns import BUILD, DEFAULT, MOST_TOKENS, Lost, Pair, Project
from whet.evm.pairs.pragma import Unreadable, number
from whet.progress import working
from whet.records import Document, Dropped
from whet.sources import _solidity
from whet.sources._solidity import packages, projects_at
from whet.sources._walk import existing, find, fingerprint
from whet.sources.base import Source
from whet.text.conversation import Conversation, Message, to_text

if TYPE_CHECKING:
    from whet.evm.pairs.kept import Kept
    from whet.evm.pairs.prompt import Metadata, Prompt

REASONS = tuple(dict.fromkeys((*nouns.REASONS, *nouns.LEAVING, *_solidity.REASONS)))
"""Every reason for which this source drops a record."""


class SoliditySource(Source):
    """Pairs of TAC and Solidity; see the module's docstring."""

    NAME = "solidity"
    SUMMARY = "Solidity compiled and lifted: pairs of three-address code and source"
    UNITS = "functions"
    EXAMPLE = "{source: solidity, path: contracts.sol}"
    YIELDS = "conversations"

    source: Literal["solidity"] = "solidity"
    path: str | list[str] | None = Field(
        default=None,
        description="A folder (with all below it), a file or a glob, or a list: .sol files, and .json files that are "
        "build-info of Foundry or Hardhat, standard-JSON inputs, or exports of Etherscan or Sourcify.",
    )
    npm: list[str] = Field(
        default_factory=list, description="Packages by exact version, such as `solmate@6.8.0`."
    )
    dependencies: list[str] = Field(
        default_factory=list,
        description="Packages that the sources import but that give no pairs: `name@version`, or "
        "`alias=name@version` for the name that imports use.",
    )
    solc: str = Field(
        default="",
        description="One compiler for all, such as `0.8.30`; without, each file gets the one that its export says, else the "
        "one that most files of its project allow, of those that its pragma allows.",
    )
    builds: list[str] = Field(
        default_factory=lambda: [DEFAULT],
        min_length=1,
        description="How each function is compiled, one pair each where the code differs: `default` (what an export says, "
        "else the optimiser with 200 runs), `off` or `runs200` (the optimiser), with `-ir` behind it (through Yul) or "
        "`-noinline` (without the optimiser's inliner).",
    )
    families: Literal["package", "file"] = Field(
        default="package",
        description="What stays on one side of the split at least: a whole package or folder, or a file. Those that "
        "share much stay together, and what still crosses leaves.",
    )
    most_per_era: int | None = Field(
        default=None,
        ge=1,
        description="At most so many pairs of one compiler era (0.4, 0.5, ...), so that old code does not drown the new; "
        "families and builds give theirs in turn.",
    )
    tests: bool = Field(default=False, description="Whether to include tests, mocks and scripts.")
    metadata: Literal["shown", "hidden", "both"] = Field(
        default="shown",
        description="Whether a function's signature, visibility and mutability stand in the prompt. `hidden`: nor do names "
        "of the contract's functions, only selectors. `both`: each pair twice, on the same side of the split.",
    )
    prompt_tokens: int = Field(
        default=MOST_TOKENS,
        ge=1,
        description="Tokens of a prompt at most, counted without a tokenizer. The function must fit; of what it calls, "
        "storage and the emitter's Solidity stays what fits.",
    )
    names: Literal["author", "context"] = Field(
        default="author",
        description="Whose names the answer has: the author's, or, where the prompt shows one that is proved to be the same "
        "thing, the prompt's (`stor_3`, `p_35d`), which can be known.",
    )
    emitted: bool = Field(
        default=False,
        description="Whether the emitter's Solidity of the function, not verified, stands in the prompt too.",
    )

    @field_validator("path")
    @classmethod
    def _found(cls, path: str | list[str] | None, info: ValidationInfo) -> str | list[str] | None:
        """The absolute path, once something lies there."""
        return None if path is None else existing(path, info)

    @field_validator("builds")
    @classmethod
    def _known(cls, builds: list[str]) -> list[str]:
        for build in builds:
            if not BUILD.fullmatch(build):
                raise ValueError(
                    f"{build!r} is no build; write default, off, runs200, runs200-ir, runs200-noinline, ..."
                )
        return builds

    @field_validator("solc")
    @classmethod
    def _version(cls, solc: str) -> str:
        try:
            return ".".join(map(str, number(solc))) if solc else ""
        except Unreadable as why:
            raise ValueError(f"{why}; write it as 0.8.30") from None

    @model_validator(mode="after")
    def _check(self) -> SoliditySource:
        if self.path is None and not self.npm:
            raise ValueError("needs path (files), npm (packages), or both")
        return self

    def fingerprint(self) -> str:
        """A hash over the settings, every file's path, size and time of change, and whet's own lifter: another one
        makes other pairs. Packages are known by their exact version."""
        settings = self.model_dump(mode="json", exclude={"path", "weight"})
        files = fingerprint(find(self._paths()), settings) if self._paths() else str(sorted(settings.items()))
        return hashlib.sha256(f"{files} {store.code_hash('evm')}".encode()).hexdigest()

    def families_from(self) -> dict[str, Any]:
        """The settings that decide the families: entries that agree in them have the same, others form theirs apart."""
        others = {"most_per_era", "metadata", "prompt_tokens", "names", "emitted", "weight"}
        return self.model_dump(mode="json", exclude=others)

    def documents(self) -> Iterator[Document | Dropped]:
        """Each pair as a conversation: TAC asked, Solidity answered; and every function that is none."""
        yield from (entry for _, entry in self._entries())

    def pairs(self) -> Iterator[tuple[Pair, Document]]:
        """The pairs that stay, each with the record that `documents` gives of it, in the same order."""
        for pair, entry in self._entries():
            if pair is not None and isinstance(entry, Document):
                yield pair, entry

    def projects(self) -> list[Project]:
        """What the pairs were made from."""
        return [one for one in self._projects() if isinstance(one, Project)]

    def _entries(self) -> Iterator[tuple[Pair | None, Document | Dropped]]:
        from whet.evm.pairs import distinct
        from whet.evm.pairs.kept import made
        from whet.evm.pairs.pool import Pool

        kept: list[Kept] = []
        with Pool() as pool:
            for project in self._projects():
                if isinstance(project, Dropped):
                    yield None, project
                    continue
                results = [
                    made(project, build, pool, self.solc, self.emitted)
                    for build in dict.fromkeys(self.builds)
                ]
                kept += results
                yield from ((None, _dropped(one)) for one in lost_in_all(results))
        working(comparing=f"functions of {len(kept)} builds")
        found = distinct.grouped(kept, self.families)
        for chosen in distinct.distinct(kept, found, self.families, self.most_per_era):
            if chosen.why:
                size = len(chosen.pair.source)
                yield None, Dropped(origin=chosen.pair.origin, reason=chosen.why, size_bytes=size)
            else:
                yield from ((chosen.pair, entry) for entry in self._asked(chosen.pair, chosen.family))

    def _asked(self, pair: Pair, family: str) -> Iterator[Document | Dropped]:
        """The pair with its metadata shown, hidden, or each."""
        from whet.evm.pairs.answer import answer
        from whet.evm.pairs.prompt import prompt

        ways: tuple[Metadata, ...] = ("shown", "hidden") if self.metadata == "both" else (self.metadata,)
        for way in ways:
            asked = prompt(pair, way, self.prompt_tokens, emitted=self.emitted)
            origin = pair.origin if way == "shown" else f"{pair.origin}:{way}"
            if asked is None:
                yield Dropped(origin=origin, reason=nouns.LONG, size_bytes=len(pair.source))
            else:
                yield document(pair, asked, answer(pair, way, self.names, asked), origin, family)

    def _paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else list(self.path or ())

    def _projects(self) -> Iterator[Project | Dropped]:
        yield from projects_at(self._paths(), self.dependencies, tests=self.tests)
        yield from packages(list(dict.fromkeys(self.npm)), self.dependencies, tests=self.tests)


def lost_in_all(results: list[Kept]) -> Iterator[Lost]:
    """The functions of one project that are a pair in none of its builds, each once, with the most telling reason."""
    there = {pair.source_hash for one in results for pair in one.pairs()}
    lost: dict[str, Lost] = {}
    for one in (one for kept in results for one in kept.lost if one.source_hash not in there):
        known = lost.get(one.source_hash)
        if known is None or nouns.REASONS.index(one.reason) < nouns.REASONS.index(known.reason):
            lost[one.source_hash] = one
    yield from lost.values()


def _dropped(one: Lost) -> Dropped:
    return Dropped(origin=one.origin, reason=one.reason, detail=one.detail)


def document(pair: Pair, asked: Prompt, said: str, origin: str, family: str) -> Document:
    """A prompt and its answer as a conversation; what the prompt leaves out is told in `changes`."""
    messages = (Message("system", asked.task), Message("user", asked.text), Message("assistant", said))
    return Document(
        text=to_text(Conversation(messages)),
        origin=origin,
        group=family,
        language="solidity",
        licence=pair.licence,
        changes=(*pair.otherwise, *asked.left_out),
    )
