"""The text with what is known of each function above it, as comments; the code itself is not changed.

Everything in a comment is printable ASCII on its own line: what the compiler or a name says cannot end the comment.
"""

from __future__ import annotations

import json
from dataclasses import replace

from whet.evm.decompile.nouns import LABELS, SAME, Decompiled, Function
from whet.evm.solidity.nouns import SolidityFunction

_LONGEST = 600
LEVELS = ("readable", "plain", "literal")
"""Names of the levels of `solidity.nouns`."""


def annotated(result: Decompiled) -> tuple[str, list[SolidityFunction]]:
    """The text, and its functions with the lines where they stand now, their comments included."""
    lines = result.source.text.splitlines()
    above = {function.text.first_line: comment(function) for function in result.functions}
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
    return told


def comment(function: Function) -> list[str]:
    """What stands above a function."""
    judged, text = function.judged, function.text
    said = f"{judged.label.upper() if judged.label != SAME else SAME}"
    said += "".join(f"; {part}" for part in (judged.evidence, judged.reason) if part)
    share = (
        f"{text.assembly} of {text.statements} statements are assembly" if text.assembly else "no assembly"
    )
    lines = [said, f"{share}; {LEVELS[text.level]}; {text.of}"]
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
