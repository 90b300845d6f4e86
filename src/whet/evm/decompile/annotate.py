"""The text with what is known of each function above it, as comments; the code itself is not changed.

Everything in a comment is printable ASCII on its own line: what the compiler or a name says cannot end the comment.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    LABELS,
    NO_FUNCTION,
    NOT_COMPILED,
    SAME,
    Asked,
    Decompiled,
    Function,
)
from whet.evm.solidity.nouns import SolidityFunction

_LONGEST = 600
LEVELS = ("readable", "plain", "literal")
"""Names of the levels of `solidity.nouns`."""
_FAILED = {
    NO_FUNCTION: "no function",
    NOT_COMPILED: "did not compile",
    DIFFERENT: "differed",
    INCONCLUSIVE: "inconclusive",
}
"""What a model's text came to, in a few words."""


def annotated(result: Decompiled) -> tuple[str, list[SolidityFunction]]:
    """The text, and its functions with the lines where they stand now, their comments included."""
    lines = result.source.text.splitlines()
    above = {function.text.first_line: comment(function, result) for function in result.functions}
    written = [f"// {plain(line)}" for line in head(result)]
    starts: dict[int, int] = {}
    now: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        starts[number] = len(written) + 1
        indent = line[: len(line) - len(line.lstrip())]
        written += [f"{indent}// {plain(said)}" for said in above.get(number, ())]
        written.append(line)
        now[number] = len(written)
    moved = [
        replace(f.text, first_line=starts[f.text.first_line], last_line=now[f.text.last_line])
        if f.text.first_line in starts and f.text.last_line in now
        else f.text
        for f in result.functions
    ]
    return "\n".join(written) + "\n", moved


def head(result: Decompiled) -> list[str]:
    """The lines that the file begins with."""
    source = result.source
    told = [f"compile with solc {source.compiler}, settings {json.dumps(source.settings, sort_keys=True)}"]
    told += result.facts
    if result.model:
        told += [
            f"model: {result.model.name}, best of {result.model.best_of}; each function says whose text it is"
        ]
    told += [summary(result)]
    told += [f"note: {note}" for note in result.notes]
    if result.compiled is False:
        told += [f"DOES NOT COMPILE: {error}" for error in result.errors[:5]]
    return told


def summary(result: Decompiled) -> str:
    """ "12 functions: 10 same, 2 inconclusive; 4.5 % of the statements are assembly"."""
    counts = ", ".join(f"{result.labels[label]} {label}" for label in LABELS if result.labels[label])
    told = f"{len(result.functions)} functions{': ' + counts if counts else ''}"
    told += f"; {100 * result.assembly_share:.1f} % of the statements are assembly"
    literal = sum(function.text.level > 0 for function in result.functions)
    if result.retries:
        told += f"; {literal} written more literally ({result.rounds} rounds)"
    if result.model:
        told += f"; texts: {result.by_model} of the model, {len(result.functions) - result.by_model} of the emitter"
        told += f", {result.cut} of the model's were cut" if result.cut else ""
        told += " (interrupted)" if result.model.interrupted else ""
    return told


def whose(asked: Asked, best_of: int) -> str:
    """ "model, try 2 of 4", or "emitter (model: 4 texts, 3 did not compile, 1 differed)", and what was cut or left out."""
    if asked.taken:
        return f"model, try {asked.taken} of {best_of}{_lacking(asked)}"
    if asked.why and not asked.way:
        return f"emitter (model not asked: {asked.why})"
    return f"emitter (model: {asked.why or _failed(asked)}{_lacking(asked)})"


def _failed(asked: Asked) -> str:
    counts = [(word, sum(one.verdict == verdict for one in asked.tries)) for verdict, word in _FAILED.items()]
    number = f"{len(asked.tries)} text{'s'[: len(asked.tries) != 1]}"
    return ", ".join([number, *(f"{count} {word}" for word, count in counts if count)])


def _lacking(asked: Asked) -> str:
    cut = Counter(one.cut for one in asked.tries if one.cut)
    prompt = [f"its prompt: {', '.join(asked.left_out)}"] if asked.left_out else []
    return "".join(f"; {part}" for part in [*(f"{count} {how}" for how, count in cut.items()), *prompt])


def comment(function: Function, result: Decompiled) -> list[str]:
    """What stands above a function."""
    judged, text = function.judged, function.text
    said = f"{judged.label.upper() if judged.label != SAME else SAME}"
    said += "".join(f"; {part}" for part in (judged.evidence, judged.reason) if part)
    share = (
        f"{text.assembly} of {text.statements} statements are assembly" if text.assembly else "no assembly"
    )
    taken = function.asked is not None and function.asked.taken > 0
    lines = [said, "; ".join([share, *([] if taken else [LEVELS[text.level]]), text.of])]
    if result.model and function.asked:
        lines.append(f"text: {whose(function.asked, result.model.best_of)}")
    if text.in_fallback:
        lines.append(
            f"selector 0x{text.selector or 0:08x}, called by the fallback since its name is not known"
        )
    lines += [f"note: {note}" for note in text.notes]
    return lines + [f"  {line}" for line in judged.counterexample.splitlines()]


def plain(text: str) -> str:
    """One line of printable ASCII."""
    told = text.encode("ascii", "backslashreplace").decode()
    told = "".join(char if " " <= char <= "~" else f"\\x{ord(char):02x}" for char in told)
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."


def excerpt(result: Decompiled, wanted: SolidityFunction) -> str:
    """One function's text, with the comments above it."""
    text, functions = annotated(result)
    moved = next(function for function in functions if function.of == wanted.of)
    return "\n".join(text.splitlines()[moved.first_line - 1 : moved.last_line]) + "\n"
