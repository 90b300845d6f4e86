"""`Judge`: texts for pairs of some projects, each put where the author's function stands, compiled, and run beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet.errors import WhetError, mistake
from whet.evm.judge.behaviour import bare, behaviour, through, ways
from whet.evm.judge.candidate import Candidate, candidate
from whet.evm.judge.emitted import Wanted, emitted, ended, wanted
from whet.evm.judge.nouns import Verdict, one_line, refused
from whet.evm.judge.text import in_contract
from whet.evm.judge.unseen import UNSEEN, WHOLE_CALL, doors, hiding, whole_call
from whet.evm.one_function import NotOne, Written, read
from whet.evm.pairs.builds import Chunk, chunks, described
from whet.evm.pairs.compiled import Found, compiled
from whet.evm.pairs.headers import Header
from whet.evm.pairs.label import Labels
from whet.evm.pairs.nouns import BUILD, DEFAULT, ENDED, Pair, Project
from whet.evm.pairs.places import Place, places
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.prompt import Metadata
from whet.evm.solc.compiler import Settings
from whet.evm.solc.harness import Harness
from whet.evm.solc.sources import closure, for_any_version
from whet.evm.verify import Budget
from whet.evm.verify.nouns import DIFFERENT, INCONCLUSIVE, SAME


@dataclass(frozen=True, slots=True)
class Task:
    """One text, with all that judging it takes. names: the view's. texts: all that the harness needs. original: the
    author's contract."""

    text: str
    metadata: Metadata
    names: Mapping[str, str]
    place: Place
    harness: Harness
    original: Original
    texts: Mapping[str, str]
    settings: Settings
    budget: Budget | None


@dataclass(frozen=True, slots=True)
class Original:
    """The author's contract: runtime code, ABI, and the header of the function."""

    runtime: str
    abi: list[dict[str, Any]]
    header: Header


@dataclass(frozen=True, slots=True)
class Taken:
    """Where a pair was taken from. places: all where its function stands, this one among them."""

    found: Found
    place: Place
    places: list[Place]

    @property
    def labels(self) -> Labels:
        """Of the contract."""
        return self.found.contracts[self.place.contract][1]

    @property
    def header(self) -> Header:
        """The author's."""
        return self.labels.headers[self.place.function.file, self.place.function.start]

    def exposed(self) -> Taken:
        """For an internal function the place where a harness makes it callable by itself, if there is one."""
        function = self.place.function
        for other in self.places if str(self.place.key).startswith("pc:") else ():
            names = {one.name for one in self.found.contracts[other.contract][0].functions}
            same = (other.function.file, other.function.start) == (function.file, function.start)
            if same and function.name in names:
                return replace(self, place=other)
        return self


class Judge:
    """Judges texts for pairs of some projects.

    Costs: the first text of a project and build, the compilers once more (all their answers are remembered, so some
    seconds); each text a compilation of one contract (0.1 to 4 s; 10 to 300 kB in whet's cache) and, where the code differs
    from the author's, a verification (0.5 to 10 s). Several at a time in `pool`. Memory: the sources of the projects, and
    labels of every contract of the chunks that were asked for.
    """

    def __init__(self, projects: Iterable[Project], pool: Pool, *, solc: str = "", calls: int = 0) -> None:
        """projects: of the pairs. solc: as the pairs were made with. calls: most calls of a function when it is compared; 0:
        the verification's own."""
        self._projects = {one.name: one for one in projects}
        self._pool, self._solc, self._calls = pool, solc, calls
        self._budget = Budget(calls=calls) if calls else None
        self._opened: dict[str, dict[str, str]] = {}
        self._chunks: dict[tuple[str, str], list[Chunk]] = {}
        self._found: dict[tuple[str, str, tuple[str, ...]], tuple[Found, dict[str, list[Place]]] | str] = {}

    def judged(self, written: Sequence[tuple[Pair, str, Metadata]]) -> list[Verdict]:
        """A verdict for each text, in order. The metadata: which view's names the text uses, "shown" or "hidden".

        Raises WhetError for what concerns the whole machine (no node, nothing to compare with).
        """
        verdicts: dict[int, Verdict] = {}
        tasks: dict[int, tuple[Task]] = {}
        for at, (pair, text, metadata) in enumerate(written):
            taken = self.taken_from(pair)
            if isinstance(taken, str):
                verdicts[at] = refused(taken)
            else:
                tasks[at] = (self._task(pair, text, metadata, taken.exposed()),)
        verdicts |= zip(
            tasks, self._pool.several(_judged, list(tasks.values()), _ended, "judging"), strict=True
        )
        return [verdicts[at] for at in range(len(written))]

    def emitted(self, pairs: Sequence[Pair]) -> list[tuple[str, Verdict]]:
        """Of each pair what whet's own emitter writes of the contract that the pair was taken from: the function's text, in
        names of its own, and what `whet.decompile` says of it. Results are kept by the code."""
        out: dict[int, tuple[str, Verdict]] = {}
        contracts: dict[str, list[tuple[int, Wanted]]] = defaultdict(list)
        for at, pair in enumerate(pairs):
            taken = self.taken_from(pair)
            if isinstance(taken, str):
                out[at] = "", refused(taken)
            else:
                harness = taken.found.contracts[taken.place.contract][0]
                name = taken.place.function.name
                asked = wanted(taken.labels, taken.place.key, taken.header, name, harness)
                contracts[taken.labels.runtime].append((at, asked))
        tasks = [(code, [one for _, one in known], self._calls) for code, known in contracts.items()]
        answers = self._pool.several(emitted, tasks, ended, "decompiling")
        for known, results in zip(contracts.values(), answers, strict=True):
            out |= {at: result for (at, _), result in zip(known, results, strict=True)}
        return self._shown(pairs, out)

    def _shown(self, pairs: Sequence[Pair], out: dict[int, tuple[str, Verdict]]) -> list[tuple[str, Verdict]]:
        """Where the harness hid something of a function: decompiled from a contract that hides nothing, if there is one."""
        unseen: dict[int, tuple[Task, int]] = {}
        for at, (_, verdict) in out.items():
            taken = self.taken_from(pairs[at]) if verdict.why == UNSEEN else ""
            if not isinstance(taken, str):
                unseen[at] = (self._task(pairs[at], "", "shown", taken), self._calls)
        shown = self._pool.several(_emitted_shown, list(unseen.values()), _not_shown, "decompiling")
        out |= {at: one for at, one in zip(unseen, shown, strict=True) if one is not None}
        return [out[at] for at in range(len(pairs))]

    def _task(self, pair: Pair, text: str, metadata: Metadata, taken: Taken) -> Task:
        harness = taken.found.contracts[taken.place.contract][0]
        if pair.project not in self._opened:
            texts = self._projects[pair.project].texts
            self._opened[pair.project] = {name: for_any_version(one) for name, one in texts.items()}
        return Task(
            text,
            metadata,
            (pair.shown if metadata == "shown" else pair.hidden).names,
            taken.place,
            harness,
            Original(taken.labels.runtime, taken.labels.abi, taken.header),
            closure([harness.file], self._opened[pair.project])[0],
            taken.found.settings,
            self._budget,
        )

    def taken_from(self, pair: Pair) -> Taken | str:
        """Where the pair was taken from; or why that is not known."""
        if pair.project not in self._projects:
            return f"its project is not there: {pair.project}"
        chunk = self._chunk(pair)
        if chunk is None:
            return f"its file is not compiled so: {pair.file}, solc {pair.solc}, {pair.build}"
        found = self._compiled(pair.project, chunk)
        if isinstance(found, str):
            return found
        by_selector = pair.label == "selector"
        options = found[1].get(pair.source_hash, [])
        for place in options:
            contract = found[0].contracts[place.contract][0].contract
            if contract == pair.within and by_selector != str(place.key).startswith("pc:"):
                return Taken(found[0], place, options)
        return f"not found again: {pair.origin}"

    def _chunk(self, pair: Pair) -> Chunk | None:
        """An export's own settings may have the name of no build."""
        for build in (DEFAULT, pair.build):
            key = (pair.project, build)
            if key not in self._chunks and BUILD.fullmatch(build):
                self._chunks[key] = chunks(self._projects[pair.project], build, self._solc).chunks
            for one in self._chunks.get(key, ()):
                same = (one.settings.version, described(one.settings)) == (pair.solc, pair.build)
                if same and pair.file in one.files:
                    return one
        return None

    def _compiled(self, project: str, chunk: Chunk) -> tuple[Found, dict[str, list[Place]]] | str:
        key = (project, chunk.settings.name, chunk.files)
        if key not in self._found:
            done = compiled(chunk, self._pool, Counter())
            self._found[key] = done if isinstance(done, str) else (done, places(done))
        return self._found[key]


def _judged(task: Task) -> Verdict:
    """In a process of the pool. What is wrong with a text, and a mistake of ours with it, is its verdict."""
    try:
        return _verdict(task)
    except NotOne as why:
        return refused(str(why))
    except WhetError:
        raise
    except Exception as error:  # noqa: BLE001 - a mistake of ours with one text: said, and the rest goes on
        return refused(mistake(error))


def _verdict(task: Task) -> Verdict:
    function, original = task.place.function, task.original
    author = read(function.source)
    text = in_contract(read(task.text), author, task.names, renamed=task.metadata == "hidden")
    made = _made(task, task.harness, text)
    if not made.runtime:
        return refused(made.why, parses=made.parses)
    behaves, why = _behaviour(task, bytes.fromhex(made.runtime), text)
    if behaves != DIFFERENT:
        behaves, why = _beyond(task, made, author, text, (behaves, why))
    alike = made.header == original.header
    told = why if alike else f"its header is {made.header}, the author's {original.header}; {why}"
    return Verdict(parses=True, compiles=True, abi=alike, behaves=behaves, why=one_line(told))


def _beyond(
    task: Task, made: Candidate, author: Written, text: str, found: tuple[str, str]
) -> tuple[str, str]:
    """The verdict where the function's own calls showed no difference but only what was `found`."""
    assert made.labels is not None
    if more := doors(made.labels.abi) - doors(task.original.abi):
        return DIFFERENT, f"the contract answers other calls, too: {min(more)}"
    internal = str(task.place.key).startswith("pc:")
    header = {token.text for token in author.tokens[author.closing : author.opening]}
    if found == (SAME, "") and (internal or "public" in header):
        try:
            both = [whole_call(one, task.texts.values()) for one in (author, read(text))]
        except (
            NotOne
        ) as why:  # all of them compile: too long with the author's names, or another mistake of ours
            return INCONCLUSIVE, f"what it calls cannot be read: {why}"
        if both[0] != both[1] or "ends" in both[0] or (internal and both[0]):
            return INCONCLUSIVE, WHOLE_CALL
    return found


def _behaviour(task: Task, code: bytes, text: str) -> tuple[str, str]:
    """Where the harness hides something of the function, by another that does not, if that can be compiled."""
    original, key, name = task.original, task.place.key, task.place.function.name
    author = bytes.fromhex(original.runtime)
    hides = str(key).startswith("pc:") and any(one.hides for one in task.harness.functions)
    if not hides or bare(author) == bare(code):
        return behaviour(author, code, original.abi, key, name, task.budget)
    wanted = ways(author, str(key), original.abi, name)
    unseen = hiding(task.harness, original.abi, wanted)
    shown = _shown(task, unseen, text) if unseen else None
    if shown is not None:
        return through(*shown, wanted, task.budget)
    behaves, why = through(author, code, original.abi, wanted, task.budget)
    return (INCONCLUSIVE, UNSEEN) if unseen and behaves == SAME else (behaves, why)


def _shown(task: Task, names: Sequence[str], text: str) -> tuple[bytes, bytes, list[dict[str, Any]]] | None:
    """The author's contract and the text's, with functions of these names that hide nothing; and the author's ABI."""
    harness = task.harness.showing(names)
    if harness is None:
        return None
    author = _made(task, harness, task.place.function.source)
    other = _made(task, harness, text)
    if author.labels is None or other.labels is None:
        return None
    return bytes.fromhex(author.runtime), bytes.fromhex(other.runtime), author.labels.abi


def _emitted_shown(task: Task, calls: int) -> tuple[str, Verdict] | None:
    """In a process of the pool: what the emitter writes of the function where nothing hides anything of it; None without such."""
    function, original, key = task.place.function, task.original, str(task.place.key)
    selectors = ways(bytes.fromhex(original.runtime), key, original.abi, function.name)
    harness = task.harness.showing(hiding(task.harness, original.abi, selectors))
    author = _made(task, harness, function.source) if harness else None
    if author is None or author.labels is None:
        return None
    at = (function.file, function.start)
    for pc, one in author.labels.entries.items():
        if one == at:
            asked = wanted(author.labels, f"pc:{pc}", original.header, function.name, task.harness)
            (found,) = emitted(author.runtime, [replace(asked, hiding=frozenset())], calls)
            return found if found[1].compiles else None
    return None


def _not_shown(task: Task, calls: int) -> None:
    return None


def _made(task: Task, harness: Harness, text: str) -> Candidate:
    function = task.place.function
    return candidate(
        harness,
        task.texts,
        task.settings,
        (function.file, function.start),
        len(function.source.encode()),
        text,
        [name.split(".")[-1] for name in task.names.values()],
    )


def _ended(task: Task) -> Verdict:
    return refused(ENDED)
