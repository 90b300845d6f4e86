"""How many functions of public packages become pairs, what is lost by reason, labels, leakage, and a second run.

    python bench/evm_pairs.py solmate@6.8.0 solady@0.1.26 --out bench/results/evm_pairs.json
    python bench/evm_pairs.py @openzeppelin/contracts@5.7.0 --more off runs200-noinline
    python bench/evm_pairs.py @openzeppelin/contracts-upgradeable@5.7.0 --with @openzeppelin/contracts@5.7.0

- functions: distinct ones with a body, without constructors, tests, mocks and scripts (tokens without comments decide).
- default: those that are pairs in the build `default`, each with its own labelled entry; with more: in any of the builds.
- inlined: in no build an entry of their own, but code in their callers'.
- labels: entries compared with the compiler's functionDebugData, and selectors with the source map; denied ones are no pairs.
- leakage: of the runs of 13 tokens in one family's sources, those that also stand in another family's (after what leaves).
- again: seconds of the second run, over the first's.

What `whet.evm.pairs` keeps of the packages is taken away first, and made again; the compilers' answers stay.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.evm.pairs import distinct, nouns
from whet.evm.pairs.families import runs
from whet.evm.pairs.kept import Kept, made, place
from whet.evm.pairs.nouns import Project
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.projects import from_npm
from whet.sources.solidity import lost_in_all

DEFAULT = "default"


def measure(
    project: Project, builds: Sequence[str], pool: Pool, solc: str
) -> tuple[dict[str, Any], list[Kept]]:
    """The figures of one package."""
    for build in builds:
        place(project, build, solc).unlink(missing_ok=True)
    started = time.monotonic()
    kept = [made(project, build, pool, solc) for build in builds]
    first = time.monotonic() - started
    started = time.monotonic()
    for one in (made(project, build, pool, solc) for build in builds):
        assert one.from_cache
        assert sum(1 for _ in one.pairs()) >= 0
    again = time.monotonic() - started
    by_build = {
        build: {pair.source_hash for pair in one.pairs()} for build, one in zip(builds, kept, strict=True)
    }
    lost = list(lost_in_all(kept))
    every = set().union(*by_build.values())
    default = kept[0]
    return {
        "package": project.name,
        "functions": len(every) + len(lost),
        "default": len(by_build[builds[0]]),
        "with_more": len(every),
        "by_build": {build: len(found) for build, found in by_build.items()},
        "lost_default": dict(Counter(one.reason for one in default.lost).most_common()),
        "lost": dict(Counter(one.reason for one in lost).most_common()),
        "inlined": sum(one.reason == nouns.INLINED for one in lost),
        "labels_checked": sum(one.figures["labels_checked"] for one in kept),
        "labels_denied": sum(one.figures["labels_denied"] for one in kept),
        "pinned_otherwise": default.figures["files_pinned_otherwise"],
        "seconds": {"first": round(first, 1), "again": round(again, 2)},
    }, kept


def leakage(kept: Sequence[Kept]) -> dict[str, Any]:
    """Every family held out in turn: its share of runs that the others' pairs have too; exact copies."""
    found = distinct.grouped(kept)
    why: Counter[str] = Counter()
    sources: dict[str, dict[str, str]] = {}
    tacs: dict[str, set[str]] = {}
    for chosen in distinct.distinct(kept, found):
        why[chosen.why or "stays"] += 1
        if not chosen.why:
            sources.setdefault(chosen.family, {})[chosen.pair.source_hash] = chosen.pair.source
            tacs.setdefault(chosen.family, set()).add(chosen.pair.tac_hash)
    own = {
        family: {run for text in texts.values() for run in runs(text).tolist()}
        for family, texts in sources.items()
    }
    held_out = {}
    for family in sources:
        others = set().union(*(its for name, its in own.items() if name != family))
        theirs = set().union(*(its.keys() for name, its in sources.items() if name != family))
        other_tacs = set().union(*(its for name, its in tacs.items() if name != family))
        held_out[family] = {
            "functions": len(sources[family]),
            "shared_runs": len(own[family] & others) / max(1, len(own[family])),
            "exact_sources": len(sources[family].keys() & theirs),
            "exact_tac": len(tacs[family] & other_tacs),
        }
    merged = {unit: family for unit, family in found.of.items() if unit != family}
    return {"families": held_out, "merged": merged, "pairs": dict(why.most_common())}


def _line(row: dict[str, Any]) -> str:
    functions = max(1, row["functions"])
    seconds = row["seconds"]
    return (
        f"{row['package']:<42} {row['functions']:>6} functions, default {row['default'] / functions:.1%}, with more "
        f"{row['with_more'] / functions:.1%}, inlined {row['inlined']}, labels {row['labels_checked']} checked "
        f"{row['labels_denied']} denied, {seconds['first']} s, again {seconds['again']} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", metavar="NAME@VERSION")
    parser.add_argument("--with", dest="dependencies", nargs="*", default=[], metavar="NAME@VERSION")
    parser.add_argument("--more", nargs="*", default=[], help="builds besides default, such as off")
    parser.add_argument("--solc", default="", help="one compiler for all; without, by pragma")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, kept = [], []
    with Pool(options.jobs) as pool:
        for package in options.packages:
            project = from_npm(package, options.dependencies)
            row, results = measure(project, [DEFAULT, *options.more], pool, options.solc)
            rows.append(row)
            kept += results
            print(_line(row), flush=True)
            for reason, count in row["lost_default"].items():
                print(f"    default, lost: {count:>5} {reason}")
            for reason, count in row["lost"].items():
                print(f"    all builds, lost: {count:>5} {reason}", flush=True)
    functions = sum(row["functions"] for row in rows)
    total = {name: sum(row[name] for row in rows) / max(1, functions) for name in ("default", "with_more")}
    said = leakage(kept)
    print(f"all: {functions} functions, default {total['default']:.1%}, with more {total['with_more']:.1%}")
    print(json.dumps(said, indent=1))
    if options.out:
        result = {"packages": rows, "total": {"functions": functions, **total}, "leakage": said}
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
