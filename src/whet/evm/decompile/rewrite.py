"""Functions of a decompiled contract as a model writes them; nothing of what it writes is believed.

The emitter's contract is there first, compiled and compared. Each text that is exactly one function takes the place of the
emitter's version in that contract, which is compiled and compared for the functions that can change by it; the first text
that is `same` stays. In the end all of these stand in one contract, without the private functions that nothing calls any
more, and it is compiled and compared as a whole; what fails then goes back to the emitter's.

Costs a compilation a text, a comparison for each that compiles to other code, and one more of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from whet.errors import WhetError, mistake
from whet.evm import lift
from whet.evm.bytecode import Code
from whet.evm.decompile.asking import NotAsked, Proposed, Question, Questions, Writer
from whet.evm.decompile.compiling import Compiled, compile_source
from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    NO_FUNCTION,
    NOT_COMPILED,
    SAME,
    Asked,
    Decompiled,
    Function,
    Judged,
    Model,
    Try,
)
from whet.evm.decompile.parts import find
from whet.evm.decompile.placing import reached, replaced, uncalled
from whet.evm.decompile.reach import with_private
from whet.evm.decompile.rounds import Verify
from whet.evm.decompile.run import Options, names_of, verifier
from whet.evm.decompile.written import Written, read
from whet.evm.meaning.untangle import untangled
from whet.evm.one_function import NotOne
from whet.evm.solidity.nouns import SolidityFunction, Source
from whet.progress import Reporter

_RANKS = (SAME, INCONCLUSIVE, DIFFERENT, NOT_COMPILED)
NOT_DONE = "the emitter's contract was not compiled and compared"
INTERRUPTED = "interrupted"
UNCALLED = "nothing calls it any more"

Compile = Callable[[Source], Compiled]


def rewrite(
    code: Code,
    options: Options,
    result: Decompiled,
    writer: Writer,
    *,
    only: str = "",
    verify: Verify | None = None,
    compile_: Compile = compile_source,
    reporter: Reporter | None = None,
) -> Decompiled:
    """`result`, which `decompile` gave for `code` and `options`, with the functions that the model wrote right.

    only: one function to ask for, as `parts.find` understands it, which raises CodeError; "" for all.
    Ctrl-C ends the asking: what was right so far is kept, and the model's record says so.
    """
    model = Model(writer.name, writer.identity, writer.best_of, dict(writer.settings))
    contract = untangled(lift(code))
    work = _Rewriting(
        result,
        Questions(contract, names_of(code, options), result.source, writer.asks),
        writer,
        verify or verifier(options, deployed=not code.immutables),
        compile_,
    )
    if not result.compiled or not options.verifying:
        return replace(work.untouched(NOT_DONE), model=model)
    wanted = [find(result, only)] if only else sorted(result.functions, key=_is_private)
    with (reporter or Reporter()).task("asking the model", len(wanted)) as progress:
        try:
            for function in wanted:
                work.ask(function)
                progress.advance(1, taken=str(len(work.taken)))
        except KeyboardInterrupt:
            model.interrupted = True
            for function in wanted:
                work.asked.setdefault(function.text.of, Asked(why=INTERRUPTED))
    return replace(work.joined(), model=model)


def _is_private(function: Function) -> bool:
    return function.text.kind == "private"


@dataclass(frozen=True, slots=True)
class _Taken:
    """A text that is the same by itself, and what was found of the functions that it decides."""

    written: Written
    lines: list[str]
    found: dict[str, Judged]


class _Rewriting:
    """asked: what came of each function, by its name in the three-address code. taken: those whose text is the model's."""

    def __init__(
        self,
        result: Decompiled,
        questions: Questions,
        writer: Writer,
        verify: Verify,
        compile_: Compile,
    ) -> None:
        self.result, self.questions, self.writer = result, questions, writer
        self.verify, self.compile_ = verify, compile_
        self.seconds = replace(result.seconds)
        self.before = {function.text.of: function.judged for function in result.functions}
        self.asked: dict[str, Asked] = {}
        self.taken: dict[str, _Taken] = {}
        with self.seconds.clock("compile"):
            self.base = compile_(result.source).runtime

    def untouched(self, why: str) -> Decompiled:
        """The emitter's contract, with the reason why no function was asked for."""
        functions = [replace(function, asked=Asked(why=why)) for function in self.result.functions]
        return replace(self.result, functions=functions)

    # One function.

    def ask(self, function: Function) -> None:
        """Ask for it until a text is the same; not for a private one of which the model's texts have no need."""
        text, asked = function.text, Asked()
        self.asked[text.of] = asked
        if text.kind == "private" and text.of in self._uncalled():
            asked.why = UNCALLED
            return
        try:
            with self.seconds.clock("lift"):
                question = self.questions.of(text)
            asked.way, asked.left_out = question.way, list(question.prompt.left_out)
            proposed = iter(self.writer.propose(question.prompt))
            for number in range(1, self.writer.best_of + 1):
                with self.seconds.clock("model"):
                    said = list(islice(proposed, 1))
                if not said:
                    break
                asked.tries.append(self._tried(text, question, said[0], asked.tries))
                if asked.tries[-1].verdict == SAME:
                    asked.taken = number
                    break
        except NotAsked as why:
            asked.way, asked.why = "", str(why)
        except KeyboardInterrupt:
            asked.why, asked.taken = INTERRUPTED, 0
            self.taken.pop(text.of, None)
            raise

    def _tried(
        self, text: SolidityFunction, question: Question, said: Proposed, earlier: Sequence[Try]
    ) -> Try:
        for number, one in enumerate(earlier, 1):
            if one.text == said.text:
                return replace(one, reason=f"as try {number}", cut=said.cut)
        return replace(self._first(text, question, said), cut=said.cut)

    def _first(self, text: SolidityFunction, question: Question, said: Proposed) -> Try:
        """What comes of a text that was not tried before."""
        try:
            written = read(said.text)
            lines = written.placed(text, question.variables, question.functions)
            judged, found = self._judged(text, lines)
        except NotOne as why:
            return Try(said.text, NO_FUNCTION, f"{said.cut}: {why}" if said.cut else str(why))
        except WhetError:
            raise
        except Exception as error:  # noqa: BLE001 - a mistake of ours with one text: said, and the emitter's stays
            return Try(said.text, INCONCLUSIVE, mistake(error)[:200])
        if judged.label == SAME:
            self.taken[text.of] = _Taken(written, lines, found)
        return Try(said.text, judged.label, judged.reason, judged.evidence, judged.counterexample)

    def _judged(self, text: SolidityFunction, lines: list[str]) -> tuple[Judged, dict[str, Judged]]:
        """What is known of the function where these lines stand in the emitter's contract; and of what leads to it."""
        source = replaced(self.result.source, {text.of: lines})
        with self.seconds.clock("compile"):
            compiled = self.compile_(source)
        if not compiled.runtime:
            return Judged(NOT_COMPILED, reason=compiled.refused.get(text.of, compiled.why)), {}
        outer = self.questions.leading_to(text)
        if compiled.runtime == self.base:
            found = {name: self.before[name] for name in outer}
        else:
            with self.seconds.clock("verify"):
                found = self.verify(self.result.code, compiled.runtime, source, outer)
        if text.kind != "private":
            return found[text.of], found
        worst = max(outer, key=lambda name: _RANKS.index(found[name].label))
        if found[worst].label == SAME:
            return Judged(SAME, f"through {', '.join(outer)}"), found
        return replace(found[worst], reason=f"{worst}: {found[worst].reason}", details={}), found

    # All of them.

    def joined(self) -> Decompiled:
        """The contract with all texts that were taken; those that fail together go back to the emitter's."""
        source, judged = self.result.source, self.before
        while self.taken:
            source = replaced(self.result.source, self._lines() | {name: [] for name in self._uncalled()})
            try:
                judged, wrong = self._together(source)
            except WhetError:
                raise
            except Exception as error:  # noqa: BLE001 - a mistake of ours with these texts: said, and the emitter's stay
                wrong = dict.fromkeys(self.taken, mistake(error)[:200])
            if not wrong:
                break
            for name, why in wrong.items():
                del self.taken[name]
                asked = self.asked[name]
                asked.why, asked.taken = f"try {asked.taken} was the same by itself, together: {why}", 0
        if not self.taken:
            source, judged = self.result.source, self.before
        old = {function.text.of: function for function in self.result.functions}
        functions = [self._function(old.pop(text.of), text, judged[text.of]) for text in source.functions]
        source = replace(source, functions=[function.text for function in functions])
        notes = [f"left out, {UNCALLED}: {', '.join(old)}"] if old else []
        return replace(
            self.result,
            source=source,
            functions=functions,
            notes=[*self.result.notes, *notes],
            seconds=self.seconds,
        )

    def _lines(self) -> dict[str, list[str]]:
        return {name: one.lines for name, one in self.taken.items()}

    def _uncalled(self) -> set[str]:
        """Private functions that the texts as they are now no longer lead to."""
        return uncalled(replaced(self.result.source, self._lines())) - uncalled(self.result.source)

    def _together(self, source: Source) -> tuple[dict[str, Judged], dict[str, str]]:
        """What is known of all functions, and of the texts that go back, why."""
        with self.seconds.clock("compile"):
            compiled = self.compile_(source)
        if not compiled.runtime:
            refused = {name: why for name, why in compiled.refused.items() if name in self.taken}
            return {}, refused or dict.fromkeys(self.taken, compiled.why)
        found = {one.of: self.before[one.of] for one in source.functions if one.kind != "private"}
        if compiled.runtime != self.base:
            with self.seconds.clock("verify"):
                found |= self.verify(self.result.code, compiled.runtime, source, None)
        wrong: dict[str, str] = {}
        leads = reached(source)
        for name, judged in found.items():
            causes = [other for other in self.taken if other == name or other in leads[name]]
            if _RANKS.index(judged.label) <= self._rank(name, causes):
                continue
            known = self._known(name, causes)
            if known and judged.label == INCONCLUSIVE:
                told = f"{known.evidence}; with all of the model's texts no difference either"
                found[name] = replace(known, evidence=f"{told} ({judged.reason})")
            else:
                wrong |= dict.fromkeys(causes or self.taken, f"{name} is {judged.label}: {judged.reason}")
        whole = with_private(source, found, leads)
        for name in self.taken:
            if name in whole and whole[name].label != SAME:
                wrong.setdefault(name, f"{whole[name].label}: {whole[name].reason}")
        return whole, wrong

    def _known(self, name: str, causes: list[str]) -> Judged | None:
        """What is known of a function in a contract where its text and all that it calls is as here, and only the code
        around it another."""
        if not causes:
            return self.before[name]
        return self.taken[causes[0]].found.get(name) if len(causes) == 1 else None

    def _rank(self, name: str, causes: list[str]) -> int:
        """What it has to be: the same where that was found of a text by itself, else as with the emitter's texts."""
        if any(name in self.taken[other].found for other in causes):
            return _RANKS.index(SAME)
        return _RANKS.index(self.before[name].label)

    def _function(self, old: Function, text: SolidityFunction, judged: Judged) -> Function:
        asked = self.asked.get(text.of)
        if asked is None or text.of not in self.taken:
            return replace(old, text=text, judged=judged, asked=asked)
        written = self.taken[text.of].written
        asked.emitted = self.result.source.written(old.text)
        notes = list(self.questions.contract.functions[text.of].notes)
        text = replace(text, level=0, statements=written.statements, assembly=written.assembly, notes=notes)
        return replace(old, text=text, judged=judged, asked=asked)
