"""How near written functions are to the true ones, and tables of it: overall, and by era, length, via-IR and metadata.

A record is one held-out function in one build, asked one way, as plain values, as evaluation.json keeps it
(docs/file-formats.md). `measure` adds every metric's value to the texts of all records; `table` makes figures of some of
them. Shares are of records, with Wilson's intervals for as many trials as the functions are worth (`trials`).
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from whet.errors import WhetError
from whet.evaluate.middles import wilson
from whet.evaluate.written import LENGTHS
from whet.evaluate.written.held_out import characters, length_bin
from whet.metrics.solidity import similarity
from whet.metrics.solidity.base import SOLIDITY_METRICS, Pair, SolidityMetric
from whet.metrics.solidity.keywords import frequencies

OUTCOMES = ("same", "different", "inconclusive", "not compared")
STEPS = ("parses", "compiles", "abi")
SIMILAR = (0.8, 0.9)
"""Similarities above which functions are counted."""
NEAR_CHARACTERS = 50
"""Differences of length up to which functions are counted."""

Record = Mapping[str, Any]
Say = Callable[[str], None]


def measure(records: Sequence[dict[str, Any]], notice: Say) -> list[type[SolidityMetric]]:
    """Put every metric's value into `records[].texts[].metrics`, and the true text's length into `characters`.

    Returns the metrics that could be computed. What a metric needs and is not installed is said, and it is left out.
    """
    for record in records:
        record["characters"] = characters(record["true"])
    texts = [(text, record["true"]) for record in records for text in record["texts"].values()]
    pairs = [Pair(text["text"], true) for text, true in texts]
    done: list[type[SolidityMetric]] = []
    for metric in SOLIDITY_METRICS if pairs else ():
        try:
            values = metric.values(pairs)
        except (WhetError, ImportError) as why:
            notice(f"{metric.NAME} is left out: {why}")
            continue
        done.append(metric)
        for (text, _), value in zip(texts, values, strict=True):
            text["metrics"][metric.NAME] = value
    return done


def bounds(true: Sequence[str], notice: Say) -> dict[str, float] | None:
    """Between what a similarity is to be read: floor and ceiling (docs/metrics.md); None where there is none, which is said."""
    try:
        return {"floor": similarity.floor(true), "ceiling": similarity.ceiling(true)}
    except (WhetError, ImportError) as why:
        notice(f"floor and ceiling of the similarity are left out: {why}")
        return None


def tables(records: Sequence[Record], metrics: Sequence[type[SolidityMetric]]) -> list[dict[str, Any]]:
    """`by`, `group`, `functions` (records), `distinct` (functions among them), and `writers`: the figures of each; `by` is
    "all" in the first one."""
    found = [{"by": "all", "group": "", **_table(records, metrics)}]
    for by, group_of in GROUPS.items():
        groups: dict[Any, list[Record]] = {}
        for record in records:
            groups.setdefault(group_of(record), []).append(record)
        found += [
            {"by": by, "group": _name(by, group), **_table(groups[group], metrics)}
            for group in sorted(groups)
        ]
    return found


GROUPS: Mapping[str, Callable[[Record], Any]] = {
    "era": lambda record: tuple(map(int, record["era"].split("."))),
    "length": lambda record: length_bin(record["characters"]),
    "via-IR": lambda record: record["via_ir"],
    "signature": lambda record: record["metadata"],
}
"""What functions are told apart by."""


def _name(by: str, group: Any) -> str:
    if by == "era":
        return ".".join(map(str, group))
    if by == "length":
        below = [f"up to {LENGTHS[0] - 1}"]
        between = [f"{one} to {other - 1}" for one, other in itertools.pairwise(LENGTHS)]
        names = [*below, *between, f"{LENGTHS[-1]} and more"]
        return names[int(group)]
    return ("through Yul" if group else "not") if by == "via-IR" else str(group)


def _table(records: Sequence[Record], metrics: Sequence[type[SolidityMetric]]) -> dict[str, Any]:
    writers = {name: _figures(records, name, metrics) for name in (records[0]["texts"] if records else ())}
    return {"functions": len(records), "distinct": len(_sizes(records)), "writers": writers}


def _sizes(records: Sequence[Record]) -> list[int]:
    """How many records each function has."""
    return list(Counter(record["source_hash"] for record in records).values())


def trials(records: Sequence[Record]) -> float:
    """How many independent trials records are worth where those of one function all have the same outcome (Kish 1965): the
    square of their number over the sum of the squares of each function's. Where every function has as many: the functions.
    """
    return len(records) ** 2 / sum(size**2 for size in _sizes(records))


def _share(records: Sequence[Record], holds: Iterable[bool]) -> dict[str, float | None]:
    """Of records, which are at least one."""
    return wilson(sum(holds), len(records), trials(records))


def _figures(
    records: Sequence[Record], writer: str, metrics: Sequence[type[SolidityMetric]]
) -> dict[str, Any]:
    texts = [record["texts"][writer] for record in records]
    pairs = [Pair(text["text"], record["true"]) for text, record in zip(texts, records, strict=True)]
    return {
        "metrics": dict(_overall(texts, pairs, metrics)),
        **dict(_counted(records, texts)),
        **_verdicts(records, texts),
        **_outside([record for record in records if record["outside"]], writer),
        "ended": dict(Counter(text["ended"] for text in texts if text["ended"])),
        **(_read(pairs) if metrics else {"keywords": {}}),
    }


def _read(pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the grammar says of the texts; it is there where any metric is."""
    return {
        "errors": sum(pair.candidate.errors > 0 for pair in pairs),
        "keywords": {word: list(two) for word, two in frequencies(pairs).items()},
    }


def _overall(
    texts: Sequence[Record], pairs: Sequence[Pair], metrics: Sequence[type[SolidityMetric]]
) -> Iterator[tuple[str, float]]:
    for metric in metrics:
        yield metric.NAME, metric.overall(pairs, [text["metrics"][metric.NAME] for text in texts])


def _counted(records: Sequence[Record], texts: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Shares of records beyond the marks that the field counts by."""
    similarities = _values(texts, "semantic_similarity")
    if similarities:
        yield (
            "similar",
            {str(mark): _share(records, (value > mark for value in similarities)) for mark in SIMILAR},
        )
    lengths = _values(texts, "length_difference")
    if lengths:
        yield "near_length", _share(records, (abs(value) <= NEAR_CHARACTERS for value in lengths))
        yield "length_difference_median", statistics.median(lengths)


def _outside(records: Sequence[Record], writer: str) -> dict[str, Any]:
    """The ABI of functions that are called from outside: others have none, and are compared by types inside the code."""
    verdicts = [record["texts"][writer]["verdict"] for record in records]
    if not verdicts or None in verdicts:
        return {}
    return {"abi_outside": _share(records, (verdict["abi"] for verdict in verdicts))}


def _values(texts: Sequence[Record], metric: str) -> list[float]:
    return [text["metrics"][metric] for text in texts if metric in text["metrics"]]


def _verdicts(records: Sequence[Record], texts: Sequence[Record]) -> dict[str, Any]:
    """Shares that pass each step and behave the same, and how many behave how; nothing where nobody judged."""
    verdicts = [text["verdict"] for text in texts if text["verdict"]]
    if not verdicts:
        return {}
    outcomes = Counter(verdict["behaves"] for verdict in verdicts)
    return {
        **{step: _share(records, (verdict[step] for verdict in verdicts)) for step in STEPS},
        "same": _share(records, (verdict["behaves"] == "same" for verdict in verdicts)),
        "behaves": {outcome: outcomes[outcome] for outcome in OUTCOMES},
    }
