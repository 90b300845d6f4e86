"""What whet's own emitter makes of the contract a pair was taken from, function by function, compared by `whet.evm.decompile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whet.errors import WhetError, mistake
from whet.evm.decompile.given import Task
from whet.evm.decompile.many import one as decompiled
from whet.evm.decompile.nouns import NOT_COMPILED, NOT_VERIFIED, Decompiled, Function
from whet.evm.decompile.run import Options
from whet.evm.judge.behaviour import ways_in, wrappers_of
from whet.evm.judge.nouns import Verdict, one_line, refused
from whet.evm.judge.unseen import UNSEEN, exposing
from whet.evm.keccak import selector
from whet.evm.lifting import lift_code
from whet.evm.meaning.untangle import untangled
from whet.evm.one_function import NotOne, read
from whet.evm.pairs.headers import Header
from whet.evm.pairs.label import Labels
from whet.evm.pairs.nouns import ENDED
from whet.evm.pairs.texts import function_of
from whet.evm.replay.vectors import split_types, type_of
from whet.evm.solc.compiler import compile_standard
from whet.evm.solc.harness import Harness
from whet.evm.solc.worker import CompilerFailure
from whet.evm.solidity.nouns import SolidityFunction
from whet.evm.tac import Contract
from whet.evm.verify.nouns import INCONCLUSIVE, SAME

NOT_WRITTEN = "the emitter did not write it"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A function of the contract: a selector, "fallback", "receive", or "pc:" and an offset; the author's types, and by what
    name it is called from outside, "" if it is not.

    wrappers: selectors of the functions that a harness wrote to expose it; hiding: of all that hide something of theirs.
    """

    key: int | str
    called: str
    parameters: tuple[str, ...]
    returns: tuple[str, ...]
    mutability: str
    wrappers: frozenset[int | None] = frozenset()
    hiding: frozenset[int] = frozenset()


def wanted(labels: Labels, key: int | str, header: Header, name: str, harness: Harness) -> Wanted:
    """As the ABI has it; as the syntax tree has it where no ABI does. name: the function's."""
    entries = [one for one in labels.abi if one["type"] == "function"] if isinstance(key, int) else []
    for entry in entries:
        types = tuple(type_of(item) for item in entry["inputs"])
        if selector(f"{entry['name']}({','.join(types)})") == key:
            results = tuple(type_of(item) for item in entry["outputs"])
            return Wanted(key, header.called, types, results, header.mutability)
    hides = {one.by for one in harness.functions if one.hides}
    hiding = frozenset(four for four, by in exposing(harness, labels.abi).items() if by in hides)
    wrappers = frozenset(wrappers_of(labels.abi, name))
    return Wanted(key, header.called, *header.abi, header.mutability, wrappers, hiding)


def emitted(runtime: str, functions: Sequence[Wanted], calls: int) -> list[tuple[str, Verdict]]:
    """The text of each, and what is known of it; the whole contract is decompiled once. runtime: hexadecimal."""
    try:
        result = decompiled(Task("contract", runtime, Options(calls=calls))).result
        contract = untangled(lift_code(bytes.fromhex(runtime)))
    except WhetError:
        raise
    except Exception as error:  # noqa: BLE001 - a mistake of ours with one contract: said, and the rest goes on
        return [("", refused(mistake(error)))] * len(functions)
    assert result is not None
    found = {function.text.of: function for function in result.functions}
    there = [function_of(contract, one.key) for one in functions]
    told = [
        _told(one, found.get(f.name) if f else None, result) for one, f in zip(functions, there, strict=True)
    ]
    return [
        (text, _seen(verdict, one, contract)) for (text, verdict), one in zip(told, functions, strict=True)
    ]


def _seen(verdict: Verdict, author: Wanted, contract: Contract) -> Verdict:
    """Not the same where what leads there hides something."""
    if verdict.behaves != SAME or not author.hiding or not str(author.key).startswith("pc:"):
        return verdict
    leading = ways_in(contract, int(str(author.key)[3:]), author.wrappers)
    hidden = author.hiding.intersection(leading)
    return replace(verdict, behaves=INCONCLUSIVE, why=UNSEEN) if hidden else verdict


def ended(runtime: str, functions: Sequence[Wanted], calls: int) -> list[tuple[str, Verdict]]:
    """What `emitted` gives where the system ended its process."""
    return [("", refused(ENDED)) for _ in functions]


def _told(author: Wanted, function: Function | None, result: Decompiled) -> tuple[str, Verdict]:
    if function is None:
        return "", refused(NOT_WRITTEN)
    text, judged = function.text, function.judged
    written = result.source.written(text)
    if judged.label in (NOT_COMPILED, NOT_VERIFIED):
        parses = not result.no_compiler and one_function(written, result.source.compiler)
        return written, refused(judged.reason or judged.label, parses=parses)
    inner = text.signature[text.signature.find("(") + 1 : -1]
    called = author.called if text.in_fallback and text.selector == author.key else _called(text)
    alike = (called, tuple(split_types(inner)), text.returns, text.mutability) == (
        author.called,
        author.parameters,
        author.returns,
        author.mutability,
    )
    shown = judged.counterexample.split("\n")
    why = "; ".join(part for part in (judged.reason, *shown) if part)
    return written, Verdict(parses=True, compiles=True, abi=alike, behaves=judged.label, why=one_line(why))


def _called(text: SolidityFunction) -> str:
    """As `Header.called` has it."""
    if text.kind == "private":
        return ""
    return (
        text.signature.partition("(")[0] if text.kind == "public" else text.kind.replace("entry", "fallback")
    )


def one_function(text: str, version: str) -> bool:
    """Whether the parser of solc `version` takes a text as exactly one function with a body, whatever its names are."""
    request = {
        "language": "Solidity",
        "sources": {"One.sol": {"content": f"contract C {{\n{text}\n}}"}},
        "settings": {"outputSelection": {}},
    }
    try:
        read(text)
        said = compile_standard(version, request).get("errors", ())
    except (NotOne, CompilerFailure):
        return False
    return all(error.get("type") != "ParserError" for error in said)
