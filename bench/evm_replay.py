"""Does TAC mean what the bytecode means? Every function of compiled contracts, called in the interpreter and in revm.

    python bench/evm_replay.py corpus/*.jsonl --rows replay.jsonl --out bench/results/evm_replay.json
    python bench/evm_replay.py corpus/oz.jsonl --rows short.jsonl --calls 20 --every 10 --mutants 5

Reads the corpora of `bench/evm_corpus.py`: runtime code, ABI, selectors. The code is lifted, its TAC written as JSON and
read back; the interpreter never sees the bytecode. Each contract's row is appended to --rows as soon as it is done; the
same command goes on with those that are missing. A function agrees when no call of it differed in anything observable;
calls cut by the budget or decided by gas are inconclusive and never count as agreeing, nor does a function that shows
how much gas is left (listed as `shows_gas`). --mutants replays that many
wrong variants of each contract too and says how many were noticed. About 1,000 calls a second on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from evm_deployed import deployed
from whet.evm.lifting import lift_code
from whet.evm.replay.mutants import mutant
from whet.evm.replay.run import ENOUGH_CALLS, MethodReport, Replay, reads_gas
from whet.evm.replay.vectors import methods_of, methods_of_signatures
from whet.evm.tac import Contract, from_json, to_json

_SUMMED = """
functions agreeing called_enough half_succeed never_succeed calls compared passed succeeded differing
blocks_visited blocks_reachable mutants mutants_noticed
"""
_SUMS = _SUMMED.split()


lift = lru_cache(maxsize=64)(lift_code)
"""Mocks and libraries are the same for many contracts."""


def replay_row(
    row: dict[str, Any], calls: int, mutants: int, seed: int, libraries: dict[str, bytes] | None = None
) -> dict[str, Any]:
    """One contract of a corpus, replayed: its figures and its disagreements. libraries: {name: code}."""
    code = deployed(row)
    known = libraries or {}
    linked = {
        int(address, 16): known[name.split(":")[-1]]
        for name, address in (row.get("libraries") or {}).items()
        if name.split(":")[-1] in known
    }
    started = time.perf_counter()
    contract = from_json(json.loads(json.dumps(to_json(lift_code(code)))))
    lifted = time.perf_counter()
    methods = (
        methods_of_signatures(row["methods"], row["abi"]) if row.get("methods") else methods_of(row["abi"])
    )
    replay = Replay(contract, code, lift, seed, others=linked)
    report = replay.run(methods, calls)
    figures = {
        "contract": row["contract"],
        "solc": row["solc"],
        "settings": row["settings"],
        "lift_s": round(lifted - started, 3),
        "replay_s": round(time.perf_counter() - lifted, 3),
        "blocks_visited": len(report.visited & report.reachable),
        "blocks_reachable": len(report.reachable),
        "inconclusive": dict(sum((m.inconclusive for m in report.methods), Counter[str]())),
        "shows_gas": [m.method.name for m in report.methods if m.inconclusive["reads gas"]],
        "reads_gas": reads_gas(contract),
        "disagreements": [entry for m in report.methods for entry in _disagreements(m)],
    }
    noticed, missed = _noticed(replay, contract, mutants if replay.visited else 0, Random(seed))
    found = {"mutants": noticed + len(missed), "mutants_noticed": noticed, "mutants_missed": missed}
    return figures | _counts(report.methods) | found


def _counts(reports: list[MethodReport]) -> dict[str, int]:
    return {
        "functions": len(reports),
        "agreeing": sum(m.agrees for m in reports),
        "called_enough": sum(m.passed >= ENOUGH_CALLS for m in reports),
        "half_succeed": sum(2 * m.succeeded >= m.compared > 0 for m in reports),
        "never_succeed": sum(not m.succeeded for m in reports),
        **{
            name: sum(getattr(m, name) for m in reports)
            for name in ("calls", "compared", "passed", "succeeded", "differing")
        },
    }


def _disagreements(report: MethodReport) -> list[dict[str, Any]]:
    return [
        {
            "method": report.method.name,
            "cause": found.cause,
            "text": found.text,
            "calldata": found.case.data.hex(),
            "caller": hex(found.case.caller),
            "value": found.case.value,
            "slots": {f"{a:#x}[{slot:#x}]": hex(word) for (a, slot), word in found.case.slots.items()},
        }
        for found in report.disagreements
    ]


def _noticed(replay: Replay, contract: Contract, count: int, rng: Random) -> tuple[int, list[str]]:
    """How many wrong variants, changed in blocks that the replay had executed, its calls show to differ; the others."""
    places, missed = sorted(replay.visited), []
    for _ in range(count):
        text = ""
        while not text:
            place = rng.choice(places)
            wrong, text = mutant(contract, place, rng)
        if not replay.notices(wrong, place):
            missed.append(f"{' '.join(place)}: {text}")
    return count - len(missed), missed


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the rows, and by compiler and settings."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        settings = row["settings"]
        runs = "off" if settings["runs"] is None else settings["runs"]
        key = f"{row['solc']} runs={runs}{' via-IR' if settings['via_ir'] else ''}"
        groups.setdefault(key, []).append(row)
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "all": _sums(rows),
        "by_compiler": {key: _sums(group) for key, group in sorted(groups.items())},
        "shows_gas": [
            f"{row['corpus']} {row['contract']}: {name}" for row in rows for name in row["shows_gas"]
        ],
        "disagreements": [
            {"corpus": row["corpus"], "contract": row["contract"], "solc": row["solc"]} | entry
            for row in rows
            for entry in row["disagreements"]
        ],
    }


def _sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    sums: dict[str, Any] = {"contracts": len(rows)} | {key: sum(row[key] for row in rows) for key in _SUMS}
    sums["inconclusive"] = dict(sum((Counter[str](row["inconclusive"]) for row in rows), Counter[str]()))
    sums["share_agreeing"] = round(sums["agreeing"] / max(sums["functions"], 1), 5)
    sums["share_succeeded"] = round(sums["succeeded"] / max(sums["compared"], 1), 4)
    sums["block_coverage"] = round(sums["blocks_visited"] / max(sums["blocks_reachable"], 1), 4)
    return sums


def _replay_all(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    done = {(row["corpus"], row["index"]) for row in rows}
    for path in args.corpora:
        contracts = [json.loads(line) for line in path.read_text().splitlines()]
        libraries = {
            row["contract"]: bytes.fromhex(row["runtime"]) for row in contracts if row["kind"] == "own"
        }
        for index, contract in enumerate(contracts):
            key = (path.stem, index)
            if index % args.every or key in done:
                continue
            seed = args.seed * 1_000_003 + index
            row = {"corpus": path.stem, "index": index} | replay_row(
                contract, args.calls, args.mutants, seed, libraries
            )
            rows.append(row)
            with args.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{path.stem} {index} {row['contract']}: {row['agreeing']}/{row['functions']}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument(
        "--rows", type=Path, required=True, help="one JSON line per contract; makes it resumable"
    )
    parser.add_argument("--out", type=Path, help="the summary, as JSON")
    parser.add_argument("--calls", type=int, default=40, help="calls of each function")
    parser.add_argument("--every", type=int, default=1, help="only every n-th contract of each corpus")
    parser.add_argument("--mutants", type=int, default=0, help="wrong variants of each contract")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result = summary(_replay_all(args)) | {"calls_each": args.calls, "seed": args.seed}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("all", "by_compiler")}, indent=1))
    print(f"{len(result['disagreements'])} disagreements listed")


if __name__ == "__main__":
    main()
