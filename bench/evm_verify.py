"""Is the judge right? Mutants that it must tell from their originals, rewrites that it must not.

    python bench/evm_verify.py mutants --corpora corpus/*.jsonl --rows mutants.jsonl --count 700
    python bench/evm_verify.py sources --rows sources.jsonl --count 300
    python bench/evm_verify.py rewrites --pairs a.jsonl:b.jsonl ... --rows rewrites.jsonl --count 170
    python bench/evm_verify.py own --rows own.jsonl --count 60
    python bench/evm_verify.py summary --rows *.jsonl --out bench/results/evm_verify.json

mutants: bytecode of real contracts with one instruction changed (another operator, a constant off by one, a store or a
check undone). sources: Solidity of this repository's tests with one change on its syntax tree. One that is not told
apart is searched for longer, with other seeds; if one of these finds a difference it was missed, else nobody knows, and
it counts in neither (`never`). rewrites: the same source under two settings; own: this repository's Solidity rewritten
(conditions turned round, operands swapped, ...) and compiled with another version or setting.

Each row is appended as soon as it is done; the same command goes on. Corpora are those of `bench/evm_corpus.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.evm_deployed import deployed
from bench.evm_rewrites import applied, mutations, rewrites, some

from whet.evm.blocks import Disassembly
from whet.evm.lifting import lift_code
from whet.evm.opcodes import BY_NAME, OPCODES
from whet.evm.replay.run import reachable
from whet.evm.solc.compiler import CompileError, Settings, compile_sources
from whet.evm.verify import Budget, Verification, verify

Row = dict[str, Any]
FIRST = Budget(mutants=0, calls=80)
"""The calls that a verification begins with: what they catch, it catches."""
LONGER = Budget(mutants=0, calls=400, least=200)
LONGER_SEEDS = (101, 102)
SOURCES = Path(__file__).parents[1] / "tests" / "evm" / "fixtures" / "sources"
FILES = {
    "Token": ("0.4.26", "0.5.17", "0.6.12", "0.7.6", "0.8.19", "0.8.30"),
    "Vault": ("0.4.26", "0.5.17", "0.6.12", "0.7.6", "0.8.19", "0.8.30"),
    "Loops": ("0.4.26", "0.5.17", "0.6.12", "0.7.6", "0.8.19", "0.8.30"),
    "Calls": ("0.6.12", "0.7.6", "0.8.19", "0.8.30"),
    "Modern": ("0.8.19", "0.8.30"),
}
EXCHANGES = {
    "ADD": "SUB", "SUB": "ADD", "MUL": "ADD", "DIV": "MUL", "MOD": "DIV", "LT": "GT", "GT": "LT", "EQ": "LT",
    "AND": "OR", "OR": "AND", "XOR": "OR", "SHL": "SHR", "SHR": "SHL", "SDIV": "DIV", "CALLER": "ADDRESS",
    "TIMESTAMP": "NUMBER", "SLOAD": "TLOAD", "SSTORE": "TSTORE", "ISZERO": "NOT", "SLT": "SGT", "SGT": "SLT",
}  # fmt: skip


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# Mutants of bytecode.


def executed(code: bytes) -> list[int]:
    """Offsets of instructions in code that the lifted contract reaches."""
    contract = lift_code(code)
    disassembly = Disassembly(code)
    starts = {contract.functions[f].blocks[b].pc for f, b in reachable(contract)}
    found = set()
    for start in starts:
        found |= {pc for pc, _ in _run(code, start)}
    return sorted(found) if disassembly else []


def _run(code: bytes, start: int) -> Iterator[tuple[int, str]]:
    """The instructions of a block."""
    at = start
    while at < len(code):
        opcode = OPCODES.get(code[at])
        if opcode is None or (opcode.name == "JUMPDEST" and at != start):
            return
        yield at, opcode.name
        at += 1 + opcode.immediate
        if opcode.name in ("JUMP", "JUMPI", "RETURN", "REVERT", "STOP", "INVALID", "SELFDESTRUCT"):
            return


def changed(code: bytes, random: Random, places: list[int]) -> tuple[bytes, str] | None:
    """The code with one instruction changed, and how."""
    at = random.choice(places)
    opcode = OPCODES[code[at]]
    out = bytearray(code)
    if opcode.name in EXCHANGES:
        out[at] = BY_NAME[EXCHANGES[opcode.name]].value
        return bytes(out), f"{at:#x}: {opcode.name} became {EXCHANGES[opcode.name]}"
    if not opcode.immediate or (opcode.immediate == 32 and random.random() < 0.5):
        return None
    old = int.from_bytes(code[at + 1 : at + 1 + opcode.immediate], "big")
    following = (
        OPCODES.get(code[at + 1 + opcode.immediate]) if at + 1 + opcode.immediate < len(code) else None
    )
    if (old < len(code) and code[old] == 0x5B) or (following and following.name in ("JUMP", "JUMPI")):
        return None  # a place to jump to
    new = (old + random.choice((1, -1))) % (1 << 8 * opcode.immediate)
    out[at + 1 : at + 1 + opcode.immediate] = new.to_bytes(opcode.immediate, "big")
    return bytes(out), f"{at:#x}: {old:#x} became {new:#x}"


def bytecode_mutants(paths: list[Path], seed: int) -> Iterator[tuple[str, Row]]:
    contracts = [(path.stem, i, row) for path in paths for i, row in enumerate(read(path))]
    contracts = [one for one in contracts if 300 < len(one[2]["runtime"]) // 2 < 2_500 and one[2]["abi"]]
    known: dict[int, tuple[bytes, list[int]]] = {}
    number = 0
    while True:
        random = Random(f"{seed} {number}")
        which = random.randrange(len(contracts))
        stem, index, row = contracts[which]
        if which not in known:
            known[which] = deployed(row), executed(deployed(row))
        code, places = known[which]
        wrong = changed(code, random, places) if places else None
        number += 1
        if wrong:
            key = f"{stem} {index} {number}"
            yield (
                key,
                {
                    "original": code,
                    "candidate": wrong[0],
                    "abi": row["abi"],
                    "what": wrong[1],
                    "kind": "bytecode",
                },
            )


# Mutants and rewrites of sources.


def compiled(file: str, text: str, settings: Settings) -> dict[str, tuple[bytes, list[Row], Row]]:
    """{contract: runtime code, ABI, AST of the file}."""
    outputs = ["abi", "evm.deployedBytecode.object"]
    output = compile_sources(settings, {file: text}, {"*": {"*": outputs, "": ["ast"]}})
    tree = output["sources"][file]["ast"]
    return {
        name: (bytes.fromhex(one["evm"]["deployedBytecode"]["object"]), one["abi"], tree)
        for name, one in output["contracts"][file].items()
        if one["evm"]["deployedBytecode"]["object"] and "__" not in one["evm"]["deployedBytecode"]["object"]
    }


def _settings(random: Random, version: str) -> Settings:
    via_ir = version == "0.8.30" and random.random() < 0.3
    return Settings(version, runs=200 if via_ir else random.choice((None, 1, 200)), via_ir=via_ir)


def source_mutants(seed: int) -> Iterator[tuple[str, Row]]:
    number = 0
    while True:
        random, number = Random(f"{seed} source {number}"), number + 1
        file = random.choice(list(FILES))
        settings = _settings(random, random.choice(FILES[file]))
        text = (SOURCES / f"{file}.sol").read_text()
        right = compiled(f"{file}.sol", text, settings)[file]
        kind, edit = random.choice(mutations(text.encode(), right[2]))
        try:
            wrong = compiled(f"{file}.sol", applied(text.encode(), [edit]), settings)[file]
        except (CompileError, KeyError):
            continue
        line = text.encode()[: edit[0]].count(b"\n") + 1
        if stripped(wrong[0]) != stripped(right[0]):
            what = f"{file}.sol:{line} {text.encode()[edit[0] : edit[1]].decode()!r} became {edit[2]!r}"
            yield (
                f"{file} {settings.name} {number}",
                {"original": right[0], "candidate": wrong[0], "abi": right[1], "what": what, "kind": kind},
            )


def stripped(code: bytes) -> bytes:
    """Without the metadata, which has the hash of the source."""
    size = int.from_bytes(code[-2:], "big") + 2
    return code[:-size] if size < len(code) else code


def own_rewrites(seed: int) -> Iterator[tuple[str, Row]]:
    number = 0
    while True:
        random, number = Random(f"{seed} own {number}"), number + 1
        file = random.choice(list(FILES))
        version = random.choice(FILES[file])
        settings = _settings(random, version)
        text = (SOURCES / f"{file}.sol").read_text()
        right = compiled(f"{file}.sol", text, settings)[file]
        edits = some(rewrites(text.encode(), right[2]), random)
        other = Settings("0.8.30" if version == "0.8.19" else version, settings.runs, settings.via_ir)
        try:
            wrong = compiled(f"{file}.sol", applied(text.encode(), edits), other)[file]
        except CompileError:
            continue
        if stripped(wrong[0]) != stripped(right[0]):
            what = f"{file} {settings.name} with {len(edits)} rewrites, {other.name}"
            yield (
                f"{file} {settings.name} {number}",
                {
                    "original": right[0],
                    "candidate": wrong[0],
                    "abi": right[1],
                    "what": what,
                    "kind": "rewritten",
                },
            )


def setting_pairs(pairs: list[str], seed: int) -> Iterator[tuple[str, Row]]:
    """Contracts that two corpora have with the same functions and other bytecode, in an order by chance."""
    found = []
    for pair in pairs:
        one, other = (Path(part) for part in pair.split(":"))
        theirs = {(row["file"], row["contract"]): row for row in read(other)}
        for row in read(one):
            match = theirs.get((row["file"], row["contract"]))
            if not match or match["methods"] != row["methods"] or len(row["runtime"]) > 12_000:
                continue
            as_many = len(row.get("immutables") or {}) == len(match.get("immutables") or {})
            if as_many and stripped(deployed(row)) != stripped(deployed(match)):
                found.append((f"{one.stem}:{other.stem} {row['file']} {row['contract']}", row, match))
    Random(seed).shuffle(found)
    for key, row, match in found:
        yield (
            key,
            {
                "original": deployed(row),
                "candidate": deployed(match),
                "abi": row["abi"],
                "what": key,
                "kind": "settings",
            },
        )


# Running.


def judged(case: Row, is_mutant: bool, seed: int) -> Row:
    started = time.process_time()
    found = verify(*case_of(case), budget=FIRST if is_mutant else None, seed=seed)
    if is_mutant and not _noticed(found):
        found = verify(*case_of(case), seed=seed)
    row: Row = {
        "kind": case["kind"],
        "what": case["what"],
        "cpu_seconds": round(time.process_time() - started, 3),
        "bytes": len(case["original"]),
        "counts": found.counts,
        "perfect": found.perfect,
    }
    if is_mutant:
        row["malformed"] = "different" not in found.counts and any(
            one.counterexample for one in found.verdicts
        )
        row["verdict"] = "caught" if _noticed(found) else _longer(case)
    else:
        row["different"] = _shown(found)
        row["reasons"] = [
            f"{one.function}: {one.reason}" for one in found.verdicts if one.verdict == "inconclusive"
        ]
    return row


def _noticed(found: Verification) -> bool:
    """Some call is shown on which the sides differ, if only with calldata that is not well-formed."""
    return any(one.counterexample for one in found.verdicts)


def _longer(case: Row) -> str:
    """Not told apart: "missed" if more calls with other seeds do so, else "never"."""
    for seed in LONGER_SEEDS:
        if _noticed(verify(*case_of(case), budget=LONGER, seed=seed)):
            return "missed"
    return "never"


def case_of(case: Row) -> tuple[bytes, bytes, list[Row]]:
    return case["original"], case["candidate"], case["abi"]


def _shown(found: Verification) -> list[str]:
    different = [one for one in found.verdicts if one.verdict == "different"]
    return [f"{one.function}\n{one.counterexample.text}" for one in different if one.counterexample]


def run(cases: Iterator[tuple[str, Row]], rows: Path, count: int, is_mutant: bool, seed: int) -> None:
    done = {row["key"] for row in read(rows)} if rows.exists() else set()
    for number, (key, case) in enumerate(cases):
        if number >= count:
            return
        if key in done:
            continue
        row = {"key": key, "is_mutant": is_mutant} | judged(case, is_mutant, seed)
        with rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        told = row.get("verdict") or f"{row['counts']} {'DIFFERENT' if row['different'] else ''}"
        print(f"{key}: {told} {row['cpu_seconds']} s", flush=True)


def summary(rows: list[Row]) -> Row:
    mutants = [row for row in rows if row["is_mutant"]]
    others = [row for row in rows if not row["is_mutant"]]
    verdicts = Counter(row["verdict"] for row in mutants)
    judged_ones = verdicts["caught"] + verdicts["missed"]
    seconds = sorted(row["cpu_seconds"] for row in others)
    functions: Counter[str] = sum((Counter(row["counts"]) for row in others), Counter())
    return {
        "mutants": dict(verdicts),
        "caught_on_malformed_calldata_only": sum(row["malformed"] for row in mutants),
        "caught_share": round(verdicts["caught"] / max(judged_ones, 1), 4),
        "missed_and_called_same": sum(row["verdict"] == "missed" and row["perfect"] for row in mutants),
        "by_kind": {
            kind: dict(Counter(row["verdict"] for row in mutants if row["kind"] == kind))
            for kind in sorted({row["kind"] for row in mutants})
        },
        "missed": [f"{row['key']}: {row['what']}" for row in mutants if row["verdict"] == "missed"],
        "never": [f"{row['key']}: {row['what']}" for row in mutants if row["verdict"] == "never"],
        "rewrites": len(others),
        "rewrites_called_different": sum(bool(row["different"]) for row in others),
        "rewrites_perfect": sum(row["perfect"] for row in others),
        "functions_of_rewrites": dict(functions),
        "different": [f"{row['key']}: {text}" for row in others for text in row["different"]],
        "verify_cpu_seconds_median": seconds[len(seconds) // 2] if seconds else None,
        "verify_cpu_seconds_longest": seconds[-1] if seconds else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("mutants", "sources", "rewrites", "own", "summary"))
    parser.add_argument("--corpora", nargs="*", type=Path, default=[])
    parser.add_argument(
        "--pairs", nargs="*", default=[], help="two corpora with the same sources: a.jsonl:b.jsonl"
    )
    parser.add_argument("--rows", nargs="+", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.what == "summary":
        result = summary([row for path in args.rows for row in read(path)])
        text = json.dumps(result, indent=1)
        print(text)
        if args.out:
            args.out.write_text(text + "\n")
        return
    cases = {
        "mutants": lambda: bytecode_mutants(args.corpora, args.seed),
        "sources": lambda: source_mutants(args.seed),
        "rewrites": lambda: setting_pairs(args.pairs, args.seed),
        "own": lambda: own_rewrites(args.seed),
    }[args.what]()
    run(cases, args.rows[0], args.count, args.what in ("mutants", "sources"), args.seed)


if __name__ == "__main__":
    main()
