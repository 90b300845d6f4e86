"""Does decompiled Solidity compile, have the ABI of the original, and behave the same? On contracts with the compilers' truth.

    python bench/evm_decompile.py corpus/chainlink*.jsonl corpus/safe*.jsonl --count 300 --rows rows.jsonl --out result.json
    python bench/evm_decompile.py ... --count 24 --rows side.jsonl --sevm FOLDER --panoramix /venv/bin/python

Takes --count contracts of the corpora of `bench/evm_corpus.py`, as many of each family and settings as there are, by a hash
of their code, each code once; immutables stand as its constructor sets them (`evm_deployed.py`). Each contract's row is
appended to --rows as soon as it is done; the same command goes on with those that are missing, in --jobs processes.

A function has its ABI right when its selector, argument types and return types are the compiler's, `alike` where uint256, int256
and bytes32, or bytes and string, or address and uint160, stand for one another: code that treats them alike tells them apart
nowhere. `encoded alike` counts more: structs without a dynamic part stand for their members, and results of a function that
is the same may differ in how many bits of their words count, since no call gave back anything else. Only functions
of the compiler's ABI count, private ones nowhere. A contract is perfect when it compiles, and all of them and its fallback and
receive are the same and alike; `perfect_encoded` with the encoding for alike. What other decompilers print is compiled as it
is, but for its version, by solc 0.8.30, and compared the same way where it compiles; its ABI is known only then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from evm_deployed import deployed
from evm_speed import HERE, Contender
from whet.errors import WhetError
from whet.evm.bytecode import read_code
from whet.evm.decompile.comparing import compare
from whet.evm.decompile.nouns import DIFFERENT, LABELS, SAME, Decompiled, Function
from whet.evm.decompile.run import Options, decompile
from whet.evm.meaning.abi_types import inlined
from whet.evm.solc.compiler import compile_standard, errors
from whet.evm.solc.node import node
from whet.evm.solc.sources import ANY_VERSION
from whet.evm.verify import Budget, verify

_SAME_WORD = re.compile(r"\b(?:uint256|int256|bytes32)\b")
_SAME_BYTES = re.compile(r"\b(?:bytes|string)\b")
_SAME_ADDRESS = re.compile(r"\b(?:address|uint160)\b")
_ANY_WORD = re.compile(r"\b(?:u?int\d+|bytes\d+|bool|address)\b")
_PRAGMA = re.compile(r"pragma\s+solidity\b[^;\n]*;?")
_OUTSIDE = ("fallback", "receive")


def choose(paths: list[Path], count: int) -> Iterator[dict[str, Any]]:
    """The same contracts whenever the same corpora are given: round by round one of each corpus, by hash."""
    piles = []
    seen: set[str] = set()
    for path in sorted(paths):
        rows = [
            json.loads(line) | {"corpus": path.stem, "index": at}
            for at, line in enumerate(path.read_text("utf-8").splitlines())
        ]
        rows = [row for row in rows if row["runtime"] and row["methods"]]
        piles.append(sorted(rows, key=lambda row: hashlib.sha256(row["runtime"].encode()).hexdigest()))
    left = count
    while left and any(piles):
        for pile in piles:
            while pile and pile[0]["runtime"] in seen:
                pile.pop(0)
            if pile and left:
                row = pile.pop(0)
                seen.add(row["runtime"])
                left -= 1
                yield row


def measure(row: dict[str, Any], libraries: dict[str, str], calls: int) -> dict[str, Any]:
    """One contract's row: figures, verdicts, reasons."""
    code = deployed(row)
    known = {
        int(address, 16): bytes.fromhex(libraries[name.split(":")[-1]])
        for name, address in (row.get("libraries") or {}).items()
        if name.split(":")[-1] in libraries
    }
    budget = Budget(calls=calls) if calls else None
    about = {key: row[key] for key in ("corpus", "index", "contract", "kind", "solc", "settings")}
    about["bytes"] = len(code)
    try:
        result = decompile(
            read_code(code),
            Options(),
            verify=partial(compare, budget=budget, libraries=known, deployed=True),
        )
    except Exception as error:  # noqa: BLE001 - counted as a contract that was lost, with its reason
        return about | {"failed": f"{type(error).__name__}: {error}"[:300]}
    return about | figures(row, result)


def perfect_encoded(row: dict[str, Any]) -> bool:
    """Perfect, where types count as right when the ABI's encoding is the same."""
    good = all(one["label"] == SAME and one["encoded_alike"] for one in row["functions"])
    return row["compiles"] and good and all(one["label"] == SAME for one in row["outside"])


def figures(row: dict[str, Any], result: Decompiled) -> dict[str, Any]:
    """What is counted of one decompiled contract."""
    truth = truth_of(row)
    by_selector = {f.text.selector: f for f in result.functions if f.text.selector is not None}
    outside = [f for f in result.functions if f.text.kind in _OUTSIDE]
    functions = [_function(selector, one, by_selector.get(selector)) for selector, one in truth.items()]
    labels = Counter(one["label"] for one in functions)
    good = all(one["label"] == SAME and one["alike"] for one in functions)
    return {
        "compiles": bool(result.compiled),
        "errors": result.errors[:3],
        "functions": functions,
        "labels": dict(labels),
        "outside": [
            {"kind": f.text.kind, "label": f.judged.label, "reason": f.judged.reason} for f in outside
        ],
        "extra_selectors": len(set(by_selector) - set(truth)),
        "perfect": bool(result.compiled) and good and all(f.judged.label == SAME for f in outside),
        "statements": sum(f.text.statements for f in result.functions),
        "assembly": sum(f.text.assembly for f in result.functions),
        "levels": dict(Counter(str(f.text.level) for f in result.functions)),
        "retries": [[retry.function, retry.level, retry.why[:200]] for retry in result.retries],
        "rounds": result.rounds,
        "blocks": sum(f.tac.count("\nb") for f in result.functions),
        "seconds": {
            "decompile": result.seconds.lift + result.seconds.emit,
            "compile": result.seconds.compile,
            "verify": result.seconds.verify,
        },
    }


def truth_of(row: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """{selector: arguments and returns} by the compiler; returns None where its JSON ABI does not say it (libraries)."""
    returns = {
        f"{entry['name']}({_types(entry['inputs'])})": _types(entry["outputs"])
        for entry in row["abi"]
        if entry["type"] == "function"
    }
    return {
        int(selector, 16): {
            "signature": signature,
            "arguments": signature.partition("(")[2][:-1],
            "returns": returns.get(signature),
        }
        for selector, signature in row["methods"].items()
    }


def _types(parameters: Iterable[dict[str, Any]]) -> str:
    return ",".join(
        f"({_types(one['components'])}){one['type'][5:]}" if one["type"].startswith("tuple") else one["type"]
        for one in parameters
    )


def _function(selector: int, truth: dict[str, Any], found: Function | None) -> dict[str, Any]:
    if found is None:
        return {
            "selector": f"0x{selector:08x}",
            "signature": truth["signature"],
            "label": "missing",
            "exact": False,
            "alike": False,
        }
    arguments = found.text.signature.partition("(")[2][:-1]
    returns = None if found.text.returns is None else ",".join(found.text.returns)
    return {
        "selector": f"0x{selector:08x}",
        "signature": truth["signature"],
        "label": found.judged.label,
        "reason": found.judged.reason,
        "level": found.text.level,
        "found": f"({arguments}) returns ({returns if returns is not None else '?'})",
        "exact": arguments == truth["arguments"] and truth["returns"] in (None, returns),
        "arguments_alike": alike(arguments, truth["arguments"]),
        "alike": alike(arguments, truth["arguments"])
        and (truth["returns"] is None or alike(returns or "", truth["returns"])),
        "encoded_alike": encoded_alike(arguments, returns or "", truth, found.judged.label),
        "counterexample": found.judged.counterexample[:2000] if found.judged.label == DIFFERENT else "",
    }


def alike(one: str, other: str) -> bool:
    """Whether two lists of types are encoded alike and used alike by code that does not tell them apart."""
    return _classes(one) == _classes(other)


def _classes(types: str) -> str:
    return _SAME_ADDRESS.sub("address", _SAME_BYTES.sub("bytes", _SAME_WORD.sub("word", types)))


def encoded_alike(arguments: str, returns: str, truth: dict[str, Any], label: str) -> bool:
    """Whether arguments and results have the same encoding, as far as is known. label: of the function."""
    if not alike(inlined(arguments), inlined(truth["arguments"])):
        return False
    if truth["returns"] is None:
        return True
    found, true = inlined(returns), inlined(truth["returns"])
    return alike(found, true) or (label == SAME and _words(found) == _words(true))


def _words(types: str) -> str:
    return _ANY_WORD.sub("word", _classes(types))


# Sums.


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All rows, and by family, era, settings, size and difficulty."""
    parts = {
        "family": lambda row: row["corpus"].rpartition(f"-{row['solc']}")[0],
        "era": lambda row: row["solc"],
        "settings": settings_of,
        "size": lambda row: _bucket(row["bytes"], (2_000, 8_000, 16_000), "bytes"),
        "difficulty": lambda row: _bucket(row.get("blocks", 0), (60, 250, 600), "blocks"),
    }
    by: dict[str, Any] = {}
    for name, key in parts.items():
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            groups.setdefault(key(row), []).append(row)
        by[name] = {group: sums(inside) for group, inside in sorted(groups.items())}
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "all": sums(rows),
        "by": by,
        "reasons": reasons(rows),
        "different": [
            {"corpus": row["corpus"], "contract": row["contract"]} | one
            for row in rows
            for one in row.get("functions", ())
            if one["label"] == DIFFERENT
        ],
        "failed": [f"{row['corpus']} {row['contract']}: {row['failed']}" for row in rows if "failed" in row],
    }


def settings_of(row: dict[str, Any]) -> str:
    """ "0.8.30 runs=200 via-IR"."""
    settings = row["settings"]
    runs = "off" if settings["runs"] is None else settings["runs"]
    return f"{row['solc']} runs={runs}{' via-IR' if settings['via_ir'] else ''}"


def _bucket(value: int, bounds: tuple[int, ...], unit: str) -> str:
    for at, bound in enumerate(bounds):
        if value < bound:
            return f"{at}: under {bound:,} {unit}"
    return f"{len(bounds)}: {bounds[-1]:,} {unit} and more"


def sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares over some rows; a contract that failed counts as not compiled, its functions are not known."""
    done = [row for row in rows if "failed" not in row]
    functions = [one for row in done for one in row["functions"]]
    labels = Counter(one["label"] for one in functions)
    outside = Counter(one["label"] for row in done for one in row["outside"])
    statements = sum(row["statements"] for row in done)
    levels: Counter[str] = Counter()
    for row in done:
        levels.update(row["levels"])
    return {
        "contracts": len(rows),
        "failed": len(rows) - len(done),
        "compiles": _share(sum(row["compiles"] for row in done), len(rows)),
        "functions": len(functions),
        "abi_exact": _share(sum(one["exact"] for one in functions), len(functions)),
        "abi_alike": _share(sum(one["alike"] for one in functions), len(functions)),
        "abi_encoded_alike": _share(
            sum(one.get("encoded_alike", False) for one in functions), len(functions)
        ),
        "arguments_alike": _share(
            sum(one.get("arguments_alike", False) for one in functions), len(functions)
        ),
        "labels": {
            label: _share(labels[label], len(functions)) for label in (*LABELS, "missing") if labels[label]
        },
        "fallback_and_receive": dict(outside),
        "perfect": _share(sum(row["perfect"] for row in done), len(rows)),
        "perfect_encoded": _share(sum(map(perfect_encoded, done)), len(rows)),
        "assembly": _share(sum(row["assembly"] for row in done), statements),
        "levels": dict(sorted(levels.items())),
        "rewritten_contracts": sum(bool(row["retries"]) for row in done),
        "seconds": {
            name: _times([row["seconds"][name] for row in done])
            for name in ("decompile", "compile", "verify")
        },
    }


def reasons(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """{label: {reason without its numbers and names: functions}}, the most frequent first; what was written again too."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for one in row.get("functions", ()):
            if one["label"] not in (SAME, "missing"):
                for reason in _kinds(one.get("reason", "")):
                    found.setdefault(one["label"], Counter())[reason] += 1
        for _, _, why in row.get("retries", ()):
            found.setdefault("written again", Counter())[_kind(why)] += 1
    return {label: dict(counter.most_common(25)) for label, counter in sorted(found.items())}


def _kinds(reason: str) -> list[str]:
    return sorted({_kind(part) for part in reason.split("; ")})


def _kind(reason: str) -> str:
    """A reason's words, without what differs from function to function."""
    return re.sub(r"0x[0-9a-f]+|\d[\d,.]*|\b[fp]_[0-9a-f]+\b|\"[^\"]*\"", "_", reason)[:110]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _times(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    if not values:
        return {}
    return {
        "median": round(statistics.median(values), 2),
        "ninety_percent": round(values[int(0.9 * (len(values) - 1))], 2),
        "longest": round(values[-1], 2),
    }


# Others.


def side_by_side(chosen: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """What sevm and panoramix print for the same contracts: does it compile, with which ABI, does it do the same."""
    commands = {}
    if args.sevm:
        commands["sevm"] = [str(node()), str(HERE / "evm_sevm_side.mjs"), str(args.sevm), "text"]
    if args.panoramix:
        commands["panoramix"] = [str(args.panoramix), str(HERE / "evm_panoramix_side.py"), "text"]
    found = {}
    for name, command in commands.items():
        contender = Contender(name, command, args.seconds)
        rows = []
        for row in chosen:
            contender.ask(deployed(row).hex())
            rows.append(_other(row, contender.answers[-1]))
            print(f"\r{name} {len(rows)} of {len(chosen)}", end="", file=sys.stderr, flush=True)
        contender.close()
        print(file=sys.stderr)
        functions = sum(one["functions"] for one in rows)
        found[name] = {
            "contracts": len(rows),
            "failed": sum("failed" in one for one in rows),
            "compiles": sum(one["compiles"] for one in rows),
            "functions": functions,
            "selectors_in_text": sum(one["selectors"] for one in rows),
            "same": sum(one["same"] for one in rows),
            "seconds": _times([one["seconds"] for one in rows if "failed" not in one]),
            "errors": dict(Counter(_kind(one["error"]) for one in rows if one["error"]).most_common(8)),
        }
    return found


def _other(row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    truth = truth_of(row)
    known = {"functions": len(truth), "compiles": False, "selectors": 0, "same": 0, "error": ""}
    if "failed" in answer:
        return known | {"failed": answer["failed"], "error": answer["failed"], "seconds": 0.0}
    made, error = _compiled(answer["text"])
    known |= {"seconds": answer["ms"] / 1000, "error": error, "compiles": bool(made)}
    if made:
        selectors = {int(digits, 16) for digits in made["evm"]["methodIdentifiers"].values()}
        runtime = bytes.fromhex(made["evm"]["deployedBytecode"]["object"])
        judged = verify(deployed(row), runtime, row["abi"]).verdicts
        known["selectors"] = len(selectors & set(truth))
        known["same"] = sum(one.verdict == SAME for one in judged if one.selector in truth)
    return known


def _compiled(text: str) -> tuple[dict[str, Any], str]:
    """The contract with most code of a text, or the first error."""
    version, text = "0.8.30", _PRAGMA.sub(ANY_VERSION, text)
    selection = {"*": {"*": ["evm.deployedBytecode.object", "evm.methodIdentifiers"]}}
    sources = {"a.sol": {"content": text}}
    request = {"language": "Solidity", "sources": sources, "settings": {"outputSelection": selection}}
    try:
        output = compile_standard(version, request)
    except WhetError as error:  # some texts crash a compiler
        return {}, str(error)[:120]
    if wrong := errors(output, {"a.sol": text}):
        return {}, wrong[0].partition(": ")[2][:120]
    made = list(output.get("contracts", {}).get("a.sol", {}).values())
    best = max(made, key=lambda one: len(one["evm"]["deployedBytecode"]["object"]), default=None)
    return (best, "") if best else ({}, "no contract in it")


def run(chosen: list[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the chosen contracts, those that are not there yet made."""
    rows = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    done = {(row["corpus"], row["index"]) for row in rows}
    libraries: dict[str, dict[str, str]] = {}
    for path in args.corpora:
        whole = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        libraries[path.stem] = {row["contract"]: row["runtime"] for row in whole if row["kind"] == "own"}
    todo = [row for row in chosen if (row["corpus"], row["index"]) not in done]
    began = time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool, args.rows.open("a", encoding="utf-8") as file:
        futures = [
            pool.submit(measure, row, _needed(row, libraries[row["corpus"]]), args.calls) for row in todo
        ]
        for number, future in enumerate(as_completed(futures), 1):
            row = future.result()
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            spent = time.monotonic() - began
            print(f"\r{number} of {len(todo)}, {spent:.0f} s", end="", file=sys.stderr, flush=True)
    wanted = {(row["corpus"], row["index"]) for row in chosen}
    return sorted(
        (row for row in rows if (row["corpus"], row["index"]) in wanted),
        key=lambda r: (r["corpus"], r["index"]),
    )


def _needed(row: dict[str, Any], libraries: dict[str, str]) -> dict[str, str]:
    names = {name.split(":")[-1] for name in row.get("libraries") or {}}
    return {name: code for name, code in libraries.items() if name in names}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--calls", type=int, default=0, help="most calls of a function (0: the verification's own)"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="for one contract of another decompiler")
    parser.add_argument("--sevm", type=Path)
    parser.add_argument("--panoramix", type=Path)
    args = parser.parse_args()
    chosen = list(choose(args.corpora, args.count))
    rows = run(chosen, args)
    result = summary(rows)
    if args.sevm or args.panoramix:
        result["others"] = side_by_side(chosen, args)
    print(
        json.dumps(
            {
                "all": result["all"],
                "reasons": result["reasons"],
                **({"others": result["others"]} if "others" in result else {}),
            },
            indent=1,
        )
    )
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
