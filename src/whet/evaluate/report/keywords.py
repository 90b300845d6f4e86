"""Words that matter for security: how often each writer has them, over how often they stand in the true functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.evaluate.report import paper
from whet.evaluate.report.charts import Dot, Line, Scale, Strip, Strips, Tick
from whet.evaluate.report.fields import number, part, parts, text, texts
from whet.evaluate.report.wording import SPACE, difference, plural, share, whole
from whet.evaluate.report.writers import kind_of

Counts = tuple[float, float]
"""Times written, times in the true functions."""
MOST = 2.0
"""Times the true count at which the plot ends."""
_SCALE = Scale(0, MOST)


def keywords(found: Mapping[str, Any]) -> dict[str, dict[str, Counts]]:
    """{writer: {word: counts}} of all functions together, the same words for all; writers that were not counted left out."""
    table = next((table for table in parts(found, "tables") if text(table, "by") == "all"), {})
    every = {
        writer: _counted(part(table, "writers", writer, "keywords")) for writer in texts(found, "writers")
    }
    words = {word: counts[1] for mine in every.values() for word, counts in mine.items()}
    return {
        writer: {word: mine.get(word, (0.0, true)) for word, true in words.items()}
        for writer, mine in every.items()
        if mine
    }


def _counted(found: Mapping[str, Any]) -> dict[str, Counts]:
    pairs = {
        word: [number({"n": count}, "n") for count in counts]
        for word, counts in found.items()
        if isinstance(counts, list | tuple)
    }
    return {
        word: (counts[0], counts[1])
        for word, counts in pairs.items()
        if len(counts) == 2 and counts[0] is not None and counts[1] is not None
    }


def off(counts: Counts) -> str:
    """By which share of the true count a word is written too often or too rarely; nothing where no true function has it."""
    written, true = counts
    return f"{difference(100 * (written / true - 1), 0)}{SPACE}%" if true > 0 else ""


def frequencies(every: Mapping[str, Mapping[str, Counts]]) -> Strips | None:
    """A row for each word, in it a line for each writer from as often as in the true functions to as often as written."""
    if not every:
        return None
    words = next(iter(every.values()))
    strips = [
        _strip(word, true, {writer: mine[word] for writer, mine in every.items()})
        for word, (_, true) in words.items()
    ]
    within = f"± {share(paper.KEYWORDS_WITHIN)} of {' and '.join(paper.KEYWORDS)}"
    return Strips(
        kind="lanes",
        title="Times written over times in the true functions; at the right how often they have it",
        strips=strips,
        ticks=[Tick(_SCALE.place(at), share(at)) for at in (0, 0.5, 1, 1.5)]
        + [Tick(100, f"{share(MOST)} or more")],
        x_title="100 %: as often as in the true functions",
        note=paper.said(f"The band, {within}", "figure 6"),
    )


def _strip(word: str, true: float, every: Mapping[str, Counts]) -> Strip:
    lines, dots = [Line("even", "as often", "M50 0V100")], []
    if word in paper.KEYWORDS:
        low, high = (_SCALE.place(1 + side * paper.KEYWORDS_WITHIN) for side in (-1, 1))
        lines = [Line("band", "the paper's", f"M{low:g} 0H{high:g}V100H{low:g}Z"), *lines]
    for lane, (writer, counts) in enumerate(every.items()):
        x, y = _place(counts), round(100 * (lane + 0.5) / len(every), 2)
        lines.append(Line(kind_of(writer), writer, f"M{_SCALE.place(1):g} {y:g}H{x:g}"))
        dots.append(Dot(kind_of(writer), x, y, _spoken(writer, word, counts)))
    return Strip(word, "word", whole(true), lines, dots)


def _place(counts: Counts) -> float:
    """In percent; a word that no true function has is as often where it is not written, and at the end where it is."""
    written, true = counts
    ratio = written / true if true > 0 else 1.0 if not written else MOST
    return _SCALE.place(min(max(ratio, 0.0), MOST))


def _spoken(writer: str, word: str, counts: Counts) -> str:
    return f"{writer}: {plural(counts[0], 'time')} {word}, {whole(counts[1])} in the true functions"
