"""One project in one build: every function of its own files becomes a pair, or is lost by one named reason.

    chunks by compiler -> analysed, harnesses -> compiled and labelled, several at a time -> chosen -> lifted -> pairs

Each function is taken from one contract: its own where that has code, the smallest else. Functions with the same tokens
are one. Costs: the compilers, some 10 to 60 s for a package of 200 files on one core; both are remembered, so a second run
reads one file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from whet.errors import WhetError
from whet.evm.pairs import nouns
from whet.evm.pairs.builds import Chunk, chunks, described
from whet.evm.pairs.inventory import Defined, defined, licence, scanned
from whet.evm.pairs.label import LABELS, Key, Labels
from whet.evm.pairs.nouns import REASONS, Lost, Pair, Project
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.texts import CUT, FAILED, LONG, NONE, Text, failed, texts
from whet.evm.solc import harness
from whet.evm.solc.compiler import Settings
from whet.evm.solc.harness import Compiled, Harness, compile_together
from whet.evm.solc.sources import closure, for_any_version

MOST_TRIES = 4
"""Contracts from which one function is tried to be taken."""

_KINDS = ("own", "wrapper", "subclass")


@dataclass(slots=True)
class Made:
    """pairs and lost: together every distinct function. figures: what was counted on the way. notes: for the reader."""

    pairs: list[Pair] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Chunk:
    """What was found of one chunk. reasons: {hash of a function: {reason: detail}}."""

    settings: Settings
    functions: list[Defined]
    contracts: list[tuple[Harness, Labels]]
    reasons: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a function could be taken from: the contract's number, and what to look for there."""

    contract: int
    key: int | str
    bodies: tuple[int, ...]
    function: Defined


def make(project: Project, build: str, pool: Pool, solc: str = "") -> Made:
    """All pairs of the project. Raises WhetError only for what concerns the whole machine (no node)."""
    made = Made()
    found = chunks(project, build, solc)
    reasons: dict[str, dict[str, str]] = defaultdict(dict)
    everything: dict[str, Defined] = {}
    for file, (reason, detail) in found.refused.items():
        _refused(project, [file], reason, detail, everything, reasons)
    made.notes += [f"{file}: pinned to {asked}" for file, asked in sorted(found.pinned.items())]
    made.figures["files"] = len(project.own)
    made.figures["files_pinned_otherwise"] = len(found.pinned)
    made.figures["files_no_text"] = len(project.unread)
    pairs: dict[str, Pair] = {}
    for chunk in found.chunks:
        done = _compiled(chunk, pool, made)
        if isinstance(done, str):
            _refused(project, chunk.files, nouns.COMPILER_MISSING, done, everything, reasons)
            continue
        for one in done.functions:
            everything.setdefault(one.hash, one)
        for key, told in done.reasons.items():
            reasons[key] |= told
        for pair in _pairs(project, done, pool, made, reasons):
            pairs.setdefault(pair.source_hash, pair)
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


# Compiling and labelling.


def _compiled(chunk: Chunk, pool: Pool, made: Made) -> _Chunk | str:
    """What the compiler makes of a chunk; why the compiler cannot be had."""
    opened = {file: for_any_version(text) for file, text in chunk.texts.items()}
    try:
        whole = (opened, chunk.files, chunk.settings)
        ((harnesses, functions, lost),) = pool.several(_analysed, [whole], _not_analysed)
        done = _Chunk(chunk.settings, functions, [], defaultdict(dict))
        groups = [harnesses[at : at + harness.TOGETHER] for at in range(0, len(harnesses), harness.TOGETHER)]
        tasks = [(group, closure([one.file for one in group], opened)[0], chunk.settings) for group in groups]
        for contracts, more in pool.several(_labelled, tasks, _not_labelled):
            done.contracts += contracts
            lost += more
    except WhetError as error:
        return error.what
    made.figures["contracts"] += len(done.contracts)
    made.figures["labels_checked"] += sum(labels.checked for _, labels in done.contracts)
    made.figures["labels_denied"] += sum(len(labels.denied) for _, labels in done.contracts)
    _note_harness_losses(lost, opened, done)
    _note_unplaced(done)
    return done


def _analysed(
    texts: Mapping[str, str], files: Sequence[str], settings: Settings
) -> tuple[list[Harness], list[Defined], list[harness.Lost]]:
    lost: list[harness.Lost] = []
    harnesses: dict[tuple[str, str], Harness] = {}
    functions: list[Defined] = []
    own = {file: texts[file] for file in files}
    for asts in harness.analysed(files, texts, settings, lost):
        functions += defined(asts, own)
        for one in harness.harnesses_of(asts, files, settings, lost, whole=True):
            harnesses.setdefault((one.file, one.contract), one)
    return list(harnesses.values()), functions, lost


def _labelled(
    group: Sequence[Harness], texts: Mapping[str, str], settings: Settings
) -> tuple[list[tuple[Harness, Labels]], list[harness.Lost]]:
    compiled = Compiled()
    compile_together(group, texts, settings, compiled, LABELS)
    return [(one, read["labels"]) for one, read in compiled.contracts], compiled.lost


def _not_analysed(
    texts: Mapping[str, str], files: Sequence[str], settings: Settings
) -> tuple[list[Harness], list[Defined], list[harness.Lost]]:
    return [], [], [harness.Lost(file, "", "", nouns.ENDED) for file in files]


def _not_labelled(
    group: Sequence[Harness], texts: Mapping[str, str], settings: Settings
) -> tuple[list[tuple[Harness, Labels]], list[harness.Lost]]:
    return [], [harness.Lost(one.file, one.subject, "", nouns.ENDED) for one in group]


def _note_harness_losses(lost: Sequence[harness.Lost], texts: Mapping[str, str], done: _Chunk) -> None:
    """What harnesses lost, by function; a whole contract's or file's loss is that of each of its functions."""
    for one in lost:
        reason, detail = _told(one.reason)
        if not one.contract and not one.function:
            functions = list(scanned(one.file, texts[one.file]))
            known = {function.hash for function in done.functions}
            done.functions += [function for function in functions if function.hash not in known]
        else:
            functions = [
                function
                for function in done.functions
                if function.file == one.file and one.function in ("", function.name)
                if one.function or function.contract == one.contract
            ]
        for function in functions:
            done.reasons[function.hash].setdefault(reason, detail)


def _told(reason: str) -> tuple[str, str]:
    """One of our reasons, and the compiler's own words."""
    if reason.startswith("stack too deep"):
        return nouns.STACK, ""
    if reason.startswith("imports what is not there"):
        return nouns.IMPORT, reason.partition(": ")[2]
    if reason in ("a type that no ABI carries", "a pointer to a function among its types"):
        return nouns.NO_ABI, reason
    if reason.startswith("the compiler"):
        return nouns.COMPILER_FAILED, reason
    return nouns.NOT_COMPILED, reason


def _note_unplaced(done: _Chunk) -> None:
    """What is known of functions that may stay without a place of their own."""
    hashes = {(one.file, one.start): one.hash for one in done.functions}
    by_name: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in done.functions:
        by_name[one.file, one.contract, one.name].append(one.hash)
    for within, labels in done.contracts:
        for exposed in within.functions:
            for key in by_name.get((within.file, within.subject, exposed.name), ()):
                done.reasons[key].setdefault(nouns.NO_CODE, "")
        placed = {*labels.entries.values(), *labels.selectors.values(), *labels.special.values()}
        inlined = nouns.UNLABELLED if labels.unresolved else nouns.INLINED
        for keys, reason in (
            (labels.seen - placed, inlined),
            (labels.built - labels.seen, nouns.CONSTRUCTION),
            (labels.denied, nouns.DOUBTFUL),
        ):
            for place in keys:
                if place in hashes:
                    done.reasons[hashes[place]].setdefault(reason, "")


# Choosing a contract for each function, and lifting.


def _pairs(
    project: Project, done: _Chunk, pool: Pool, made: Made, reasons: dict[str, dict[str, str]]
) -> Iterator[Pair]:
    places = _places(done)
    told = {NONE: nouns.NOT_LIFTED, CUT: nouns.CUT, LONG: nouns.LONG, FAILED: nouns.LIFTER_FAILED}
    left = dict(places)
    for tried in range(MOST_TRIES):
        wanted: dict[int, list[_Place]] = defaultdict(list)
        for options in left.values():
            wanted[options[tried].contract].append(options[tried])
        tasks = [
            (done.contracts[at][1].runtime, [(place.key, place.bodies) for place in chosen])
            for at, chosen in sorted(wanted.items())
        ]
        made.figures["contracts_lifted"] += len(tasks)
        for (at, chosen), found in zip(
            sorted(wanted.items()), pool.several(texts, tasks, failed), strict=True
        ):
            for place, text in zip(chosen, found, strict=True):
                if text.missing:
                    reasons[place.function.hash][told[text.missing]] = ""
                else:
                    left.pop(place.function.hash)
                    yield _pair(project, done, done.contracts[at][0], place, text)
        left = {key: options for key, options in left.items() if len(options) > tried + 1}
        if not left:
            return


def _places(done: _Chunk) -> dict[str, list[_Place]]:
    """{hash: places, the best first}."""
    functions: dict[Key, Defined] = {(one.file, one.start): one for one in done.functions}
    found: dict[str, list[tuple[tuple[int, ...], _Place]]] = defaultdict(list)
    for at, (one, labels) in enumerate(done.contracts):
        entries: dict[Key, list[int]] = defaultdict(list)
        for pc, key in labels.entries.items():
            entries[key].append(pc)
        ways: dict[Key, int | str] = {key: f"pc:{pcs[0]}" for key, pcs in entries.items()}
        ways |= {key: name for name, key in labels.special.items()}
        ways |= {key: selector for selector, key in labels.selectors.items()}
        for key, way in ways.items():
            function = functions.get(key)
            if function is not None:
                rank = (
                    int((one.file, one.subject) != (function.file, function.contract)),
                    _KINDS.index(one.kind),
                    len(labels.runtime),
                    at,
                )
                place = _Place(at, way, tuple(entries.get(key, ())), function)
                found[function.hash].append((rank, place))
    return {
        key: [place for _, place in sorted(options, key=lambda option: option[0])]
        for key, options in found.items()
    }


def _pair(project: Project, done: _Chunk, within: Harness, place: _Place, text: Text) -> Pair:
    function = place.function
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
        tac=text.text,
        body=text.body,
        called=dict(text.called),
        storage=list(text.storage),
        tac_hash=text.hash,
        label="source map" if str(place.key).startswith("pc:") else "selector",
        project=project.name,
        lineage=project.lineage,
        file=function.file,
        line=function.line,
        within=within.contract,
        solc=done.settings.version,
        build=described(done.settings),
        licence=licence(project.texts.get(function.file, "")) or project.licence,
    )
