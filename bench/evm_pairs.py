"""How many functions of public packages become pairs, what is lost by reason, labels, leakage, and a second run.

    python bench/evm_pairs.py solmate@6.8.0 solady@0.1.26 --out bench/results/evm_pairs.json
    python bench/evm_pairs.py @openzeppelin/contracts@5.7.0 --more off runs200-noinline
    python bench/evm_pairs.py @openzeppelin/contracts-upgradeable@5.7.0 --with @openzeppelin/contracts@5.7.0
    python bench/evm_pairs.py public --more off runs200-noinline --rows ROWS     # all of PUBLIC, below; hours

- functions: distinct ones with a body, without constructors, tests, mocks and scripts (tokens without comments decide).
- default: those that are pairs in the build `default`, each with its own labelled entry; with more: in any of the builds.
- inlined: in no build an entry of their own, but code in their callers'.
- labels: entries compared with the compiler's functionDebugData, and selectors with the source map; denied ones are no pairs.
- leakage: of the runs of 13 tokens in one family's sources, those that also stand in another family's (after what leaves).
- again: seconds of the second run, over the first's.

What `whet.evm.pairs` keeps of the packages is taken away first, and made again; the compilers' answers stay. With --rows a
package that stands there already, measured by the same code of `whet.evm`, is not measured again: a run that was stopped
goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet import store
from whet.evm.pairs import distinct, nouns
from whet.evm.pairs.families import runs
from whet.evm.pairs.kept import Kept, made, place
from whet.evm.pairs.nouns import Project
from whet.evm.pairs.pool import Pool
from whet.evm.pairs.projects import from_npm
from whet.sources.solidity import lost_in_all

DEFAULT = "default"
OZ = "@openzeppelin/contracts"
OZ_UPGRADEABLE = "@openzeppelin/contracts-upgradeable"
LAYERZERO = "3.0.168"
# {package: what it imports from}
PUBLIC: dict[str, tuple[str, ...]] = {
    "solmate@6.8.0": (),
    "solady@0.1.26": (),
    f"{OZ}@5.7.0": (),
    f"{OZ}@4.9.6": (),
    f"{OZ}@3.4.2": (),
    f"{OZ}@2.5.1": (),
    "openzeppelin-solidity@1.12.0": (),
    f"{OZ_UPGRADEABLE}@5.7.0": (f"{OZ}@5.7.0",),
    "@aave/core-v3@1.19.3": (),
    "erc721a@4.3.0": (),
    "@prb/math@4.2.0": (),
    "prb-math@2.4.3": (),
    "@uniswap/v2-core@1.0.1": (),
    "@uniswap/v2-periphery@1.1.0-beta.0": ("@uniswap/v2-core@1.0.1", "@uniswap/lib@4.0.1-alpha"),
    "@uniswap/v3-core@1.0.1": (),
    "@uniswap/v3-periphery@1.4.4": (
        "@uniswap/v3-core@1.0.1",
        "@uniswap/v2-core@1.0.1",
        "@uniswap/lib@4.0.1-alpha",
        "base64-sol@1.0.1",
        f"{OZ}@3.4.2-solc-0.7",
    ),
    "@uniswap/v4-core@1.0.2": ("solmate@6.8.0",),
    "@uniswap/v4-periphery@1.0.3": ("@uniswap/v4-core@1.0.2", "solmate@6.8.0"),
    "@safe-global/safe-contracts@1.4.1": (),
    "@gnosis.pm/safe-contracts@1.3.0": (),
    "@balancer-labs/v2-vault@3.0.1": (
        "@balancer-labs/v2-interfaces@0.2.1",
        "@balancer-labs/v2-solidity-utils@3.0.1",
    ),
    "@1inch/limit-order-protocol-contract@4.3.3": (  # the package without -contract has no Solidity in any version
        f"{OZ}@5.1.0",
        "@1inch/solidity-utils@6.6.0",
        "@chainlink/contracts@0.8.0",
        "@gnosis.pm/safe-contracts@1.3.0",
    ),
    "@layerzerolabs/lz-evm-oapp-v2@3.0.168": (
        f"@layerzerolabs/lz-evm-protocol-v2@{LAYERZERO}",
        f"@layerzerolabs/lz-evm-messagelib-v2@{LAYERZERO}",
        f"@layerzerolabs/lz-evm-v1-0.7@{LAYERZERO}",
        f"{OZ}@5.7.0",
        f"{OZ_UPGRADEABLE}@5.7.0",
        "solidity-bytes-utils@0.8.4",
    ),
    "synthetix@2.102.1": (
        "openzeppelin-solidity-2.3.0=openzeppelin-solidity@2.3.0",
        "@chainlink/contracts-0.0.10=@chainlink/contracts@0.0.10",
        "@eth-optimism/contracts@0.4.14",
    ),
    "@thirdweb-dev/contracts@3.15.0": (
        f"{OZ}@4.9.6",
        f"{OZ_UPGRADEABLE}@4.9.6",
        "erc721a-upgradeable@3.3.0",
        "@thirdweb-dev/dynamic-contracts@1.2.5",
        "solady@0.0.180",
    ),
    "@chainlink/contracts@1.5.0": (
        *(f"{OZ}@{version}={OZ}@{version}" for version in ("4.7.3", "4.8.3", "4.9.6", "5.0.2", "5.1.0")),
        f"{OZ_UPGRADEABLE}@4.9.6",
        "@eth-optimism/contracts@0.6.0",
        "@scroll-tech/contracts@2.0.0",
        "@arbitrum/nitro-contracts@3.0.0",
    ),
}


def measure(
    project: Project, builds: Sequence[str], pool: Pool, solc: str
) -> tuple[dict[str, Any], list[Kept]]:
    """The figures of one package."""
    for build in builds:
        place(project, build, solc).unlink(missing_ok=True)
    started = time.monotonic()
    kept = [made(project, build, pool, solc) for build in builds]
    first = time.monotonic() - started
    counts = [sum(1 for _ in one.pairs()) for one in kept]
    started = time.monotonic()
    repeated = [made(project, build, pool, solc) for build in builds]
    assert [sum(1 for _ in one.pairs()) for one in repeated] == counts
    again = time.monotonic() - started
    by_build = {
        build: {pair.source_hash for pair in one.pairs()} for build, one in zip(builds, kept, strict=True)
    }
    lost = list(lost_in_all(kept))
    every = set().union(*by_build.values())
    default = kept[0]
    return {
        "package": project.name,
        "code": store.code_hash("evm"),
        "functions": len(every) + len(lost),
        "default": len(by_build[builds[0]]),
        "with_more": len(every),
        "by_build": {build: len(found) for build, found in by_build.items()},
        "lost_default": dict(Counter(one.reason for one in default.lost).most_common()),
        "lost": dict(Counter(one.reason for one in lost).most_common()),
        "inlined": sum(one.reason == nouns.INLINED for one in lost),
        "labels_checked": sum(one.figures["labels_checked"] for one in kept),
        "labels_denied": sum(one.figures["labels_denied"] for one in kept),
        "compiled_otherwise": default.figures["files_compiled_otherwise"],
        "compiled_again": [build for build, one in zip(builds, repeated, strict=True) if not one.from_cache],
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
    parser.add_argument("packages", nargs="+", metavar="NAME@VERSION", help="or public: all of PUBLIC")
    parser.add_argument("--with", dest="dependencies", nargs="*", default=[], metavar="NAME@VERSION")
    parser.add_argument("--more", nargs="*", default=[], help="builds besides default, such as off")
    parser.add_argument("--solc", default="", help="one compiler for all; without, by pragma")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="a line for each package; what stands there stays")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    builds = [DEFAULT, *options.more]
    packages = list(PUBLIC) if options.packages == ["public"] else options.packages
    rows: dict[str, dict[str, Any]] = {}
    if options.rows and options.rows.exists():
        found = map(json.loads, options.rows.read_text("utf-8").splitlines())
        rows = {row["package"]: row for row in found if row.get("code") == store.code_hash("evm")}
    kept: list[Kept] = []
    with Pool(options.jobs) as pool:
        for package in packages:
            project = from_npm(package, [*options.dependencies, *PUBLIC.get(package, ())])
            if package in rows:
                kept += [made(project, build, pool, options.solc) for build in builds]
                continue
            row, results = measure(project, builds, pool, options.solc)
            rows[package] = row
            kept += results
            print(_line(row), flush=True)
            for reason, count in row["lost_default"].items():
                print(f"    default, lost: {count:>5} {reason}")
            for reason, count in row["lost"].items():
                print(f"    all builds, lost: {count:>5} {reason}", flush=True)
            if options.rows:
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    measured = [rows[package] for package in packages]
    functions = sum(row["functions"] for row in measured)
    total = {
        name: sum(row[name] for row in measured) / max(1, functions) for name in ("default", "with_more")
    }
    print(f"all: {functions} functions, default {total['default']:.1%}, with more {total['with_more']:.1%}")
    said = leakage(kept)
    print(json.dumps(said, indent=1))
    if options.out:
        result = {"packages": measured, "total": {"functions": functions, **total}, "leakage": said}
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
