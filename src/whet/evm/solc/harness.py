"""Contracts around a library's code, so that all of it reaches bytecode: most of npm's Solidity is abstract or internal.

- A contract with code of its own is compiled as it is.
- An abstract contract gets a concrete subclass: its constructors' arguments (literals where a type allows), bodies for
  what is not implemented (they return zeros), and a public function for each internal one.
- A library (or a file's free functions) gets a contract with a public function per internal one; parameters in storage
  become the contract's variables.

Harnesses are compiled several at a time. Functions that an error points at are left out; an error that points nowhere
("stack too deep") is found by halves, since it spoils everything compiled with it. Whatever is lost is a `Lost` with its
reason. Left out: private functions that nothing calls, and, unless they are asked for (`whole`), internal ones of
contracts with code of their own; counted: functions whose types no ABI can carry (mappings, pointers to functions). Cost:
a compiler run per eight harnesses, some 0.1 to 4 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from whet.evm.solc.compiler import CompileError, Settings, compile_sources
from whet.evm.solc.sources import ANY_VERSION, closure
from whet.evm.solc.surface import Exposed, Surface, surface
from whet.evm.solc.truth import OUTPUTS, definitions, truth, used_variables
from whet.evm.solc.worker import CompilerFailure

TOGETHER = 8
"""Harnesses in one run of the compiler."""

HARNESSES = "harness/Whet"
"""How the names of the files begin that are written here."""

Output = Mapping[str, Any]
"""What the compiler said, as standard JSON."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What is read of compiled contracts. outputs: what is selected of each, besides the AST. read: given the compiler's
    answer, what finds what is to be known of one of its contracts, by file and name."""

    outputs: tuple[str, ...]
    read: Callable[[Output], Callable[[str, str], dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Lost:
    """What is not in the corpus. `function`: empty if it is the whole contract or file."""

    file: str
    contract: str
    function: str
    reason: str

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Harness:
    """One contract to compile. `kind`: "own" (as it is), "subclass" or "wrapper". `text`: the file that was written for
    it, empty for "own"."""

    file: str
    subject: str
    kind: str
    contract: str
    frame: tuple[str, str] = ("", "")
    functions: tuple[Exposed, ...] = ()

    @property
    def path(self) -> str:
        """The source that holds the contract."""
        return self.file if self.kind == "own" else f"harness/{self.contract}_{_plain(self.file)}.sol"

    @property
    def text(self) -> str:
        if self.kind == "own":
            return ""
        body = "".join(f"{exposed.text}\n" for exposed in self.functions)
        return f"{self.frame[0]}{body}{self.frame[1]}"

    def showing(self, names: Collection[str]) -> Harness | None:
        """Of the functions written to expose internal ones with these alone, none of which hides anything (`Exposed`); None
        where that cannot be written."""
        functions = [one for one in self.functions if one.by in names]
        if any(one.hides and not one.showing for one in functions):
            return None
        needed = sorted({_import(*one) for each in functions for one in each.needs})
        imports = "".join(line for line in needed if line not in self.frame[0])
        shown = tuple(replace(one, text=one.showing or one.text) for one in functions)
        return replace(self, frame=(self.frame[0], self.frame[1] + imports), functions=shown)


@dataclass(slots=True)
class Compiled:
    """contracts: harness and what was read of it (see `truth`). lost: what is missing, and why."""

    contracts: list[tuple[Harness, dict[str, Any]]] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)


def _true(output: Output) -> Callable[[str, str], dict[str, Any]]:
    """The truth of each contract of an output."""
    functions, used = definitions(output["sources"]), used_variables(output["sources"])
    return lambda file, name: truth(output["contracts"][file][name], functions, used)


TRUTH = Reader(tuple(OUTPUTS), _true)
"""All of `whet.evm.solc.truth`."""


def compile_package(
    texts: Mapping[str, str], under: Sequence[str], settings: Settings, limit: int = 0
) -> Compiled:
    """All that can be compiled of the files whose names begin with one of `under`. `limit`: at most so many harnesses
    (0: all). Raises WhetError if the compiler cannot be had."""
    compiled = Compiled()
    files = [name for name in texts if name.startswith(tuple(under))]
    harnesses: list[Harness] = []
    for asts, those in analysed(files, texts, settings, compiled.lost):
        harnesses += harnesses_of(asts, those, settings, compiled.lost)
    unique = {(harness.file, harness.contract): harness for harness in harnesses}
    chosen = list(unique.values())[: limit or None]
    for start in range(0, len(chosen), TOGETHER):
        compile_together(chosen[start : start + TOGETHER], texts, settings, compiled)
    return compiled


def analysed(
    files: Sequence[str], texts: Mapping[str, str], settings: Settings, lost: list[Lost]
) -> Iterator[tuple[Mapping[str, Any], Sequence[str]]]:
    """The ASTs of files and of all that they import, and these files: all in one run, but that files which an error names
    are left out, and what imports them; and that where it names none, or the compiler fails, the files are halved until
    those are alone that it fails with."""
    left = []
    for name in files:
        if missing := closure([name], texts)[1]:
            lost.append(Lost(name, "", "", f"imports what is not there: {missing[0]}"))
        else:
            left.append(name)
    parts = [left]
    while parts:
        part = parts.pop()
        if not part:
            continue
        needed = closure(part, texts)[0]
        try:
            yield compile_sources(settings, needed, {"*": {"": ["ast"]}})["sources"], part
            continue
        except CompileError as error:
            wrong = _named(error.messages, needed)
            bad = {name: said for name in part if (said := _first_wrong(name, texts, wrong))}
            why = reason_of(error.messages[0])
        except CompilerFailure as error:
            bad, why = {}, error.what
        if not bad and len(part) > 1:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
            continue
        bad = bad or dict.fromkeys(part, why)
        lost += [Lost(name, "", "", reason) for name, reason in bad.items()]
        parts.append([name for name in part if name not in bad])


def _named(messages: Sequence[str], sources: Mapping[str, str]) -> dict[str, str]:
    """{file: what is wrong with it}."""
    wrong: dict[str, str] = {}
    for message in messages:
        file = message.split(":", 1)[0]
        if file in sources:
            wrong.setdefault(file, reason_of(message))
    return wrong


def _first_wrong(name: str, texts: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    needed = closure([name], texts)[0] if wrong else {}
    return next((said for file, said in wrong.items() if file in needed), "")


def reason_of(message: str) -> str:
    """An error of the compiler without the place and the names, to count it by."""
    text = re.sub(r"^\S+?:(\d+:)? ", "", message)
    if "tack too deep" in text or "too deep inside the stack" in text:
        return "stack too deep"
    return re.sub(r'"[^"]*"', '".."', text.split(". ")[0])[:90]


def harnesses_of(
    asts: Mapping[str, Any], files: Sequence[str], settings: Settings, lost: list[Lost], whole: bool = False
) -> Iterator[Harness]:
    """The contracts to compile for these files. `whole`: see `surface`."""
    wanted = set(files)
    for found in surface(asts, settings.number, whole):
        if found.file not in wanted:
            continue
        lost += [Lost(found.file, found.name, name, reason) for name, reason in found.left_out]
        if found.concrete:
            yield Harness(found.file, found.name, "own", found.name)
        if found.exposed or (found.kind == "contract" and not found.concrete):
            yield _around(found)


def _around(found: Surface) -> Harness:
    kind = "subclass" if found.kind == "contract" else "wrapper"
    name = f"Whet{kind.capitalize()}_{found.name or 'free'}"
    pragmas = "pragma experimental ABIEncoderV2;\n" if found.old_coder else ""
    licence = "// SPDX-License-Identifier: UNLICENSED\n"
    named = "".join(_import(*one) for one in sorted(found.imports))
    head = f'{licence}{ANY_VERSION}\n{pragmas}import "{found.file}";\n{named}'
    base = f" is {found.name}" if kind == "subclass" else ""
    frame = (f"{head}contract {name}{base} {{\n{found.preamble}", "}\n")
    return Harness(found.file, found.name, kind, name, frame, tuple(found.exposed))


def _import(file: str, name: str) -> str:
    return f'import {{{name}}} from "{file}";\n'


def _plain(file: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", file.removesuffix(".sol"))


def compile_together(
    harnesses: Sequence[Harness],
    texts: Mapping[str, str],
    settings: Settings,
    into: Compiled,
    reader: Reader = TRUTH,
) -> None:
    """All together; else without what the errors point at; else, where they point nowhere, in halves."""
    failed = False
    try:
        into.contracts += compile_harnesses(harnesses, texts, settings, reader) if harnesses else []
        return
    except CompileError as error:
        messages = error.messages
    except CompilerFailure as error:
        failed, messages = True, [error.what]
    left = [_without(harness, messages, into.lost) for harness in harnesses]
    if left != list(harnesses):
        compile_together([one for one in left if one is not None], texts, settings, into, reader)
    elif len(harnesses) > 1:
        half = len(harnesses) // 2
        compile_together(harnesses[:half], texts, settings, into, reader)
        compile_together(harnesses[half:], texts, settings, into, reader)
    else:
        _compile_by_function(harnesses[0], messages, failed, texts, settings, into, reader)


def _without(harness: Harness, messages: Sequence[str], lost: list[Lost]) -> Harness | None:
    """The harness without the functions that the messages point at; None if they point at the rest of its text."""
    wrong = _wrong_lines(harness, messages)
    if not wrong:
        return harness
    good, line = [], harness.frame[0].count("\n") + 1
    for exposed in harness.functions:
        end = line + exposed.text.count("\n") + 1
        said = [wrong.pop(at) for at in range(line, end) if at in wrong]
        if said:
            lost.append(Lost(harness.file, harness.subject, exposed.name, said[0]))
        else:
            good.append(exposed)
        line = end
    if wrong:
        lost.append(Lost(harness.file, harness.subject, "", next(iter(wrong.values()))))
        return None
    return replace(harness, functions=tuple(good))


def _wrong_lines(harness: Harness, messages: Sequence[str]) -> dict[int, str]:
    """{line of the harness's own text: what is wrong there}."""
    wrong: dict[int, str] = {}
    for message in messages:
        file, _, rest = message.partition(":")
        line, _, _ = rest.partition(":")
        if harness.kind != "own" and file == harness.path and line.isdecimal():
            wrong.setdefault(int(line), reason_of(message))
    return wrong


def _compile_by_function(
    harness: Harness,
    messages: Sequence[str],
    failed: bool,
    texts: Mapping[str, str],
    settings: Settings,
    into: Compiled,
    reader: Reader,
) -> None:
    """The functions that compile, found by halves; the contract is lost if none does. failed: the compiler failed, which can
    take minutes each time: where it does so without any of them, no half is tried."""
    reason = reason_of(messages[0])
    if failed and not _compiles(replace(harness, functions=()), texts, settings, reader):
        into.lost.append(Lost(harness.file, harness.subject, "", reason))
        return
    good = _compilable(harness, harness.functions, reason, texts, settings, into.lost, reader)
    if good and len(good) < len(harness.functions):
        try:
            rest = replace(harness, functions=tuple(good))
            into.contracts += compile_harnesses([rest], texts, settings, reader)
            return
        except (CompileError, CompilerFailure):
            reason = f"{reason}; its functions compile one by one, not together"
    into.lost.append(Lost(harness.file, harness.subject, "", reason))


def _compilable(
    harness: Harness,
    functions: Sequence[Exposed],
    reason: str,
    texts: Mapping[str, str],
    settings: Settings,
    lost: list[Lost],
    reader: Reader,
) -> list[Exposed]:
    if len(functions) == 1 and len(harness.functions) > 1:
        lost.append(Lost(harness.file, harness.subject, functions[0].name, reason))
        return []
    good: list[Exposed] = []
    half = (len(functions) + 1) // 2
    for part in (functions[:half], functions[half:]):
        if not part or _compiles(replace(harness, functions=tuple(part)), texts, settings, reader):
            good += part
        elif len(functions) > 1:
            good += _compilable(harness, part, reason, texts, settings, lost, reader)
    return good


def _compiles(harness: Harness, texts: Mapping[str, str], settings: Settings, reader: Reader) -> bool:
    try:
        compile_harnesses([harness], texts, settings, reader)
    except (CompileError, CompilerFailure):
        return False
    return True


def compile_harnesses(
    harnesses: Sequence[Harness], texts: Mapping[str, str], settings: Settings, reader: Reader = TRUTH
) -> list[tuple[Harness, dict[str, Any]]]:
    """What is read of each, those without runtime code left out. Raises CompileError, CompilerFailure."""
    written = {harness.path: harness.text for harness in harnesses if harness.kind != "own"}
    sources = closure([harness.path for harness in harnesses], {**texts, **written})[0]
    selection: dict[str, dict[str, list[str]]] = {"*": {"": ["ast"]}}
    for harness in harnesses:
        selection.setdefault(harness.path, {})[harness.contract] = list(reader.outputs)
    output = compile_sources(settings, sources, selection)
    read = reader.read(output)
    found = []
    for harness in harnesses:
        contract = output["contracts"][harness.path][harness.contract]
        if contract["evm"]["deployedBytecode"]["object"]:
            found.append((harness, read(harness.path, harness.contract)))
    return found
