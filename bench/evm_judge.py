"""How good the judge of written functions is: the author's own text, rewrites of it that mean the same, and mutants that do not.

    python bench/evm_judge.py solmate@6.8.0 @openzeppelin/contracts@5.7.0 --count 40 --out bench/results/evm_judge.json

Functions of a package, evenly spread over its pairs in the build `default`, each judged as:

- author, shown, hidden: the author's text; the same with the names of the prompt, with and without metadata. All have to
  parse, compile, have the ABI and be the same.
- calls: the author's code beside itself by calls alone: how many the verification can call the same at all.
- rewrite: changed on its syntax tree so that it means the same (`bench/evm_rewrites.py`). None may be different.
- mutant: one change that means something else, up to three of a function. Those whose code is the author's are left out as no
  mutants; one that is called the same is shown, and may still be equivalent.

A function without anything to rewrite or to change has no such row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from evm_rewrites import Edit, applied, mutations, rewrites
from whet.evm.judge import Judge, Verdict
from whet.evm.judge.behaviour import replayed
from whet.evm.pairs.answer import answer
from whet.evm.pairs.kept import made
from whet.evm.pairs.nouns import DEFAULT, Pair, Project
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.projects import from_npm
from whet.evm.pairs.prompt import Metadata
from whet.evm.solc.compiler import compile_sources
from whet.evm.solc.sources import closure, for_any_version

Row = dict[str, Any]
SAME_CODE = "the same code"
MUTANTS = 3
"""Of a function."""


def texts(project: Project, judge: Judge, pair: Pair, seed: int) -> Iterator[tuple[str, str, Metadata]]:
    """(kind, text, metadata) of everything that is judged of a function."""
    yield "author", pair.source, "shown"
    yield "shown", answer(pair, "shown", "context"), "shown"
    yield "hidden", answer(pair, "hidden", "context"), "hidden"
    taken = judge.taken_from(pair)
    assert not isinstance(taken, str), taken
    opened = {name: for_any_version(text) for name, text in closure([pair.file], project.texts)[0].items()}
    asts = compile_sources(taken.found.settings, opened, {"*": {"": ["ast"]}})["sources"]
    raw, start = opened[pair.file].encode(), taken.place.function.start
    end = start + len(pair.source.encode())
    random = Random(f"{seed} {pair.source_hash}")

    def with_edits(edits: list[Edit]) -> str:
        return applied(raw[start:end], [(a - start, b - start, new) for a, b, new in edits])

    unit = asts[pair.file]["ast"]
    same = [edit for edit in rewrites(raw, unit) if start <= edit[0] and edit[1] <= end]
    if same:
        yield "rewrite", with_edits(same), "shown"
    other = [edit for _, edit in mutations(raw, unit) if start <= edit[0] and edit[1] <= end]
    for edit in random.sample(other, min(MUTANTS, len(other))):
        yield "mutant", with_edits([edit]), "shown"


def by_calls(judge: Judge, pair: Pair) -> Verdict:
    """The author's code beside itself."""
    taken = judge.taken_from(pair)
    assert not isinstance(taken, str), taken
    taken = taken.exposed()
    code = bytes.fromhex(taken.labels.runtime)
    behaves, why = replayed(code, code, taken.labels.abi, taken.place.key, pair.name, None)
    return Verdict(parses=True, compiles=True, abi=True, behaves=behaves, why=why)


def measure(project: Project, count: int, seed: int, pool: Pool) -> list[Row]:
    pairs = list(made(project, DEFAULT, pool).pairs())
    chosen = pairs[:: max(1, len(pairs) // count)][:count]
    judge = Judge([project], pool)
    rows = []
    for pair in chosen:
        for kind, text, metadata in texts(project, judge, pair, seed):
            began = time.perf_counter()
            (verdict,) = judge.judged([(pair, text, metadata)])
            rows.append(_row(pair, kind, verdict, time.perf_counter() - began, text))
        began = time.perf_counter()
        verdict = by_calls(judge, pair)
        rows.append(_row(pair, "calls", verdict, time.perf_counter() - began, pair.source))
        print(
            f"{pair.origin}: {', '.join(row['behaves'] for row in rows if row['of'] == pair.origin)}",
            flush=True,
        )
    return rows


def _row(pair: Pair, kind: str, verdict: Verdict, seconds: float, text: str) -> Row:
    said = {name: getattr(verdict, name) for name in ("parses", "compiles", "abi", "behaves", "why")}
    return {"of": pair.origin, "kind": kind, **said, "seconds": round(seconds, 3), "text": text}


def summary(rows: list[Row]) -> dict[str, Row]:
    """By kind. Equal code is told by itself: nothing of it is called."""
    found = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        if kind == "mutant":
            of_kind = [row for row in of_kind if row["compiles"] and row["why"] != SAME_CODE]
        found[kind] = {
            "texts": len(of_kind),
            **{name: sum(row[name] for row in of_kind) for name in ("parses", "compiles", "abi")},
            "the same code": timed([row for row in of_kind if row["why"] == SAME_CODE]),
            "called": timed([row for row in of_kind if row["compiles"] and row["why"] != SAME_CODE]),
        }
    return found


def timed(rows: list[Row]) -> Row:
    """What these texts are called, and how long that takes."""
    seconds = [row["seconds"] for row in rows] or [0]
    return {
        "texts": len(rows),
        **Counter(row["behaves"] for row in rows),
        "median seconds": round(statistics.median(seconds), 2),
        "mean seconds": round(statistics.mean(seconds), 2),
    }


def shown(row: Row) -> bool:
    """Whether a row says something of the judge that it should not."""
    if row["kind"] == "mutant":
        return bool(row["behaves"] == "same" and row["why"] != SAME_CODE)
    return row["behaves"] in ("different", "not compared")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", metavar="NAME@VERSION")
    parser.add_argument("--count", type=int, default=40, help="functions of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {}
    for package in options.packages:
        with Pool(1) as pool:
            rows = measure(from_npm(package), options.count, options.seed, pool)
        for row in filter(shown, rows):
            print(f"{row['kind']} of {row['of']} is {row['behaves']}: {row['why']}\n{row['text']}\n")
        print(json.dumps(summary(rows), indent=1))
        kept = [{name: value for name, value in row.items() if name != "text"} for row in rows]
        result[package] = {"summary": summary(rows), "rows": kept}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
