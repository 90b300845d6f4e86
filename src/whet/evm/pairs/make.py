"""One project in one build: every function of its own files becomes a pair, or is lost by one named reason.

    chunks by compiler -> analysed, harnesses -> compiled and labelled, several at a time -> chosen -> lifted -> pairs

Each function is taken from one contract: its own where that has code, the smallest else. Functions with the same tokens
are one. Costs: the compilers, some 10 to 60 s for a package of 200 files on one core; both are remembered, so a second run
reads one file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whet.evm.pairs import nouns
from whet.evm.pairs.builds import chunks, described
from whet.evm.pairs.compiled import Found, compiled
from whet.evm.pairs.inventory import Defined, licence, scanned
from whet.evm.pairs.label import Labels
from whet.evm.pairs.names import SELF
from whet.evm.pairs.nouns import REASONS, Lost, Pair, Project, View
from whet.evm.pairs.places import Place, places
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.texts import CUT, FAILED, LONG, NONE, Text, ended, texts

MOST_TRIES = 4
"""Contracts from which one function is tried to be taken."""


@dataclass(slots=True)
class Made:
    """pairs and lost: together every distinct function. figures: what was counted on the way."""

    pairs: list[Pair] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)


def make(project: Project, build: str, pool: Pool, solc: str = "", emitted: bool = False) -> Made:
    """All pairs of the project. emitted: with the emitter's Solidity (`View`).

    Raises WhetError only for what concerns the whole machine (no node)."""
    made = Made()
    pool.of = f"{project.name} {build}"
    found = chunks(project, build, solc)
    reasons: dict[str, dict[str, str]] = defaultdict(dict)
    everything: dict[str, Defined] = {}
    for file, (reason, detail) in found.refused.items():
        _refused(project, [file], reason, detail, everything, reasons)
    made.figures["files"] = len(project.own)
    made.figures["files_compiled_otherwise"] = len(found.otherwise)
    made.figures["files_no_text"] = sum(reason == nouns.NO_TEXT for reason, _ in project.unread.values())
    pairs: dict[str, Pair] = {}
    for chunk in found.chunks:
        done = compiled(chunk, pool, made.figures)
        if isinstance(done, str):
            _refused(project, chunk.files, nouns.COMPILER_MISSING, done, everything, reasons)
            continue
        for one in done.functions:
            everything.setdefault(one.hash, one)
        for key, told in done.reasons.items():
            reasons[key] |= told
        for pair in _pairs(project, done, pool, made, reasons, emitted):
            otherwise = [*found.otherwise.get(pair.file, ()), *pair.otherwise]
            pairs.setdefault(pair.source_hash, replace(pair, otherwise=otherwise))
    made.figures["functions"] = len(everything)
    made.pairs = [pairs[key] for key in everything if key in pairs]
    made.lost = [_lost(project, one, reasons[key]) for key, one in everything.items() if key not in pairs]
    return made


def _refused(
    project: Project,
    files: Iterable[str],
    reason: str,
    detail: str,
    everything: dict[str, Defined],
    reasons: dict[str, dict[str, str]],
) -> None:
    for file in files:
        for one in scanned(file, project.texts[file]):
            everything.setdefault(one.hash, one)
            reasons[one.hash].setdefault(reason, detail)


def _lost(project: Project, one: Defined, reasons: Mapping[str, str]) -> Lost:
    reason = next((reason for reason in REASONS if reason in reasons), nouns.NOT_REACHED)
    origin = f"{project.name}:{one.file}:{one.line}:{one.contract}.{one.name}"
    return Lost(origin, one.hash, reason, reasons.get(reason, "")[:200])


# Choosing a contract for each function, and lifting.


def _pairs(
    project: Project,
    done: Found,
    pool: Pool,
    made: Made,
    reasons: dict[str, dict[str, str]],
    emitted: bool,
) -> Iterator[Pair]:
    told = {NONE: nouns.NOT_LIFTED, CUT: nouns.CUT, LONG: nouns.LONG, FAILED: nouns.LIFTER_FAILED}
    left = places(done)
    for tried in range(MOST_TRIES):
        wanted: dict[int, list[Place]] = defaultdict(list)
        for options in left.values():
            wanted[options[tried].contract].append(options[tried])
        tasks = [_task(done.contracts[at][1], chosen, emitted) for at, chosen in sorted(wanted.items())]
        made.figures["contracts_lifted"] += len(tasks)
        for (_, chosen), found in zip(
            sorted(wanted.items()), pool.several(texts, tasks, ended, "lifting"), strict=True
        ):
            for place, text in zip(chosen, found, strict=True):
                if text.missing:
                    reasons[place.function.hash][told[text.missing]] = text.detail
                else:
                    left.pop(place.function.hash)
                    yield _pair(project, done, place, text)
        left = {key: options for key, options in left.items() if len(options) > tried + 1}
        if not left:
            return


def _task(labels: Labels, chosen: Sequence[Place], emitted: bool) -> tuple[Any, ...]:
    """For `texts`."""
    return labels.runtime, [(place.key, place.bodies) for place in chosen], emitted, labels.known


def _pair(project: Project, done: Found, place: Place, text: Text) -> Pair:
    function = place.function
    within, labels = done.contracts[place.contract]
    shown = _own(text.shown, function)
    private = str(place.key).startswith("pc:")
    specialised = private and (text.bound or text.takes < len(function.parameters))
    return Pair(
        name=function.name,
        signature=function.signature,
        selector=f"0x{place.key:08x}" if isinstance(place.key, int) else "",
        kind=function.kind,
        visibility=function.visibility,
        mutability=function.mutability,
        contract=function.contract,
        source=function.source,
        source_hash=function.hash,
        tac=shown.tac,
        body=text.body,
        called=shown.called,
        storage=shown.storage,
        emitted=shown.emitted,
        names=shown.names,
        hidden=_own(text.hidden, function),
        mentions=_mentions(function, labels, text.ids),
        tac_hash=text.hash,
        label="source map" if private else "selector",
        project=project.name,
        lineage=project.lineage,
        file=function.file,
        line=function.line,
        within=within.contract,
        solc=done.settings.version,
        build=described(done.settings),
        licence=licence(project.texts.get(function.file, "")) or project.licence,
        otherwise=[nouns.SPECIALISED] if specialised else [],
    )


def _own(view: View, function: Defined) -> View:
    """As in the function's own library, where its neighbours need no "Library." before their names."""
    names = {name: theirs.removeprefix(f"{function.contract}.") for name, theirs in view.names.items()}
    return replace(view, names=names)


def _mentions(function: Defined, labels: Labels, ids: Mapping[str, int]) -> dict[str, list[int]]:
    """{name: characters of the source at which it stands for what the prompt names}, and for the function itself."""
    raw = function.source.encode()
    there = labels.known.mentions[function.file, function.start]
    wanted = {name.removeprefix(f"{function.contract}."): one for name, one in ids.items()}
    wanted[function.name] = SELF
    return {
        name: [len(raw[:at].decode("utf-8", "replace")) for at in there[one]]
        for name, one in wanted.items()
        if one in there
    }
