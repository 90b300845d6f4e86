"""One HTML file on which a person looks at a decompiled contract: `render(result, original)`.

Verdicts first, then the storage drawn, events and errors, and each function: the original's source where it is given, the
Solidity, the three-address code beside one another, with what was run and, where it differs, the call that shows it.

Complete in itself: no script, no request, light and dark, phone and paper; folding works with the keyboard. Every text of the
contract is hostile: it is escaped, and characters that hide or reorder others are spelled out.
"""

from __future__ import annotations

from typing import Any

from whet.evm.decompile.annotate import LEVELS, annotated, whose
from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    LABELS,
    NOT_COMPILED,
    SAME,
    Asked,
    Decompiled,
    Function,
)
from whet.evm.decompile.page.layout import drawn
from whet.evm.decompile.page.original import originals
from whet.evm.decompile.parts import declared
from whet.pages import environment

_KINDS = {SAME: "same", DIFFERENT: "different", INCONCLUSIVE: "inconclusive", NOT_COMPILED: "refused"}
"""Labels -> classes of the style sheet."""


def render(result: Decompiled, original: str = "") -> str:
    """The page; the same result gives the same bytes. original: Solidity that the contract was compiled from, or ""."""
    template = environment(__name__).get_template("page.html")
    return template.render(
        title=result.name or "contract",
        result=result,
        tiles=_tiles(result),
        functions=[_function(one, result, original) for one in result.functions],
        counts=[(label, _kind(label), result.labels[label]) for label in LABELS if result.labels[label]],
        layout=drawn(result.storage),
        structs="\n".join(line for line in result.declarations if line.startswith("struct ")),
        events=declared(result, "event"),
        errors=declared(result, "error"),
        compares=bool(original),
        whole=annotated(result)[0],
    )


def _tiles(result: Decompiled) -> list[tuple[str, str, str]]:
    """(label, figure, note)."""
    outer = [one for one in result.functions if one.text.kind != "private"]
    same = sum(one.judged.label == SAME for one in outer)
    compiled = {None: "not tried", True: "yes", False: "no"}[result.compiled]
    spent = result.seconds
    return [
        ("Same", f"{same} of {len(outer)}", "functions that can be called"),
        ("Different", str(result.labels[DIFFERENT]), "a call shows it"),
        ("Compiles", compiled, f"solc {result.source.compiler}"),
        ("Assembly", f"{100 * result.assembly_share:.1f} %", "of the statements"),
        (
            "Bytecode",
            f"{len(result.code):,} B",
            f"written in {result.rounds} round{'s'[: result.rounds > 1]}",
        ),
        (
            "Seconds",
            f"{spent.lift + spent.emit:.1f}",
            f"and {spent.compile:.1f} compiling, {spent.verify:.1f} comparing",
        ),
    ]


def _function(function: Function, result: Decompiled, original: str) -> dict[str, Any]:
    text = function.text
    lines = result.source.text.splitlines()[text.first_line - 1 : text.last_line]
    return {
        "anchor": f"f{result.functions.index(function)}",
        "title": text.signature or text.name,
        "selector": "" if text.selector is None else f"0x{text.selector:08x}",
        "kind": _kind(function.judged.label),
        "judged": function.judged,
        "level": LEVELS[text.level],
        "whose": whose(function.asked, result.model.best_of) if function.asked and result.model else "",
        "taken": function.asked is not None and function.asked.taken > 0,
        "columns": 2 + bool(original) + (function.asked is not None),
        "others": _others(function.asked) if function.asked else [],
        "text": text,
        "solidity": _outdented(lines),
        "tac": function.tac,
        "original": originals(original, text) if original else [],
        "retries": [retry for retry in result.retries if retry.function == text.of],
        "open": function.judged.label in (DIFFERENT, NOT_COMPILED),
    }


def _others(asked: Asked) -> list[dict[str, str]]:
    """The texts that do not stand in the contract: the emitter's, if the model's does, and what the model tried."""
    emitter = (
        [{"title": "The emitter's", "kind": "", "reason": "", "text": asked.emitted}] if asked.taken else []
    )
    return emitter + [
        {
            "title": f"The model's, try {number}: {one.verdict}",
            "kind": _kind(one.verdict),
            "reason": one.reason if one.verdict != SAME else "",
            "text": one.text,
        }
        for number, one in enumerate(asked.tries, 1)
        if number != asked.taken
    ]


def _outdented(lines: list[str]) -> str:
    spaces = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[spaces:] for line in lines)


def _kind(label: str) -> str:
    return _KINDS.get(label, "unasked")
