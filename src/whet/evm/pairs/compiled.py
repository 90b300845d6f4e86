"""One chunk of files compiled and labelled: its functions, its contracts with labels, and what is known of what is lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.errors import WhetError
from whet.evm.pairs import nouns
from whet.evm.pairs.builds import Chunk
from whet.evm.pairs.inventory import Defined, defined, scanned
from whet.evm.pairs.label import LABELS, Labels
from whet.evm.pairs.pool import Pool
from whet.evm.solc import harness
from whet.evm.solc.compiler import Settings
from whet.evm.solc.harness import Compiled, Harness, compile_together
from whet.evm.solc.sources import closure, for_any_version


@dataclass(slots=True)
class Found:
    """What was found of one chunk. reasons: {hash of a function: {reason: detail}}."""

    settings: Settings
    functions: list[Defined]
    contracts: list[tuple[Harness, Labels]]
    reasons: dict[str, dict[str, str]]


def compiled(chunk: Chunk, pool: Pool, figures: Counter[str]) -> Found | str:
    """What the compiler makes of a chunk; why the compiler cannot be had."""
    opened = {file: for_any_version(text) for file, text in chunk.texts.items()}
    try:
        harnesses, functions, lost = _surveyed(opened, chunk.files, chunk.settings, pool)
        done = Found(chunk.settings, functions, [], defaultdict(dict))
        groups = [harnesses[at : at + harness.TOGETHER] for at in range(0, len(harnesses), harness.TOGETHER)]
        tasks = [(group, closure([one.file for one in group], opened)[0], chunk.settings) for group in groups]
        for contracts, more in pool.several(_labelled, tasks, _not_labelled, "compiling"):
            done.contracts += contracts
            lost += more
    except WhetError as error:
        return error.what
    figures["contracts"] += len(done.contracts)
    figures["labels_checked"] += sum(labels.checked for _, labels in done.contracts)
    figures["labels_denied"] += sum(len(labels.denied) for _, labels in done.contracts)
    _note_harness_losses(lost, opened, done)
    _note_unplaced(done)
    return done


def _surveyed(
    texts: Mapping[str, str], files: Sequence[str], settings: Settings, pool: Pool
) -> tuple[list[Harness], list[Defined], list[harness.Lost]]:
    """Harnesses and functions of the files, together; where the system ended the process, of each half by itself."""
    (found,) = pool.several(_analysed, [(texts, files, settings)], _not_analysed, "analysing")
    if found is not None:
        return found
    if len(files) == 1:
        return [], [], [harness.Lost(files[0], "", "", nouns.ENDED)]
    half = len(files) // 2
    one, other = (_surveyed(texts, part, settings, pool) for part in (files[:half], files[half:]))
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _analysed(
    texts: Mapping[str, str], files: Sequence[str], settings: Settings
) -> tuple[list[Harness], list[Defined], list[harness.Lost]] | None:
    lost: list[harness.Lost] = []
    harnesses: dict[tuple[str, str], Harness] = {}
    functions: list[Defined] = []
    for asts, those in harness.analysed(files, texts, settings, lost):
        functions += defined(asts, {file: texts[file] for file in those})
        for one in harness.harnesses_of(asts, those, settings, lost, whole=True):
            harnesses.setdefault((one.file, one.contract), one)
    return list(harnesses.values()), functions, lost


def _labelled(
    group: Sequence[Harness], texts: Mapping[str, str], settings: Settings
) -> tuple[list[tuple[Harness, Labels]], list[harness.Lost]]:
    into = Compiled()
    compile_together(group, texts, settings, into, LABELS)
    return [(one, read["labels"]) for one, read in into.contracts], into.lost


def _not_analysed(texts: Mapping[str, str], files: Sequence[str], settings: Settings) -> None:
    return None


def _not_labelled(
    group: Sequence[Harness], texts: Mapping[str, str], settings: Settings
) -> tuple[list[tuple[Harness, Labels]], list[harness.Lost]]:
    return [], [harness.Lost(one.file, one.subject, "", nouns.ENDED) for one in group]


def _note_harness_losses(lost: Sequence[harness.Lost], texts: Mapping[str, str], done: Found) -> None:
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
    if reason.startswith("the compiler") or reason == nouns.ENDED:
        return nouns.COMPILER_FAILED, reason
    return nouns.NOT_COMPILED, reason


def _note_unplaced(done: Found) -> None:
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
