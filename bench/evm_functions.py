"""Selectors, private functions and their arity as lifted, against what the compiler knows, on a corpus of evm_corpus.py.

    python bench/evm_functions.py ~/.cache/whet/corpus/*.jsonl --out bench/results/evm_functions.json

- selectors: those of the compiler's methodIdentifiers that are public functions of the TAC; `extra`: others.
- entries (recall): functions of the source with code of their own (targets of calls by the source map) that are private
  functions of the TAC.
- precision: private functions of the TAC that are an entry, a helper of the compiler's (0.8.5 and newer say which there are),
  anything else that a jump tagged as a call goes to, or what 0.4 has without tags: bodies of public functions, helpers.
- arity: of the entries found, those with as many words in and out as the compiler says; a function that never comes back
  has no words out to compare.

What is wrong is listed, by reason. Seconds are of lifting alone, one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whet.evm.lifting import lift_code
from whet.evm.tac import Contract, Function

Record = dict[str, Any]


def compare(record: Record, contract: Contract) -> tuple[Counter[str], list[Record]]:
    """Counts, and what is wrong."""
    counts: Counter[str] = Counter()
    private = {f.pc: f for f in contract.functions.values() if f.kind == "private"}
    wrong = [*_selectors(record, contract, counts), *_entries(record, private, counts)]
    wrong += _precision(record, private, counts)
    return counts, wrong


def _selectors(record: Record, contract: Contract, counts: Counter[str]) -> Iterator[Record]:
    true = {int(selector, 16): name for selector, name in record["methods"].items()}
    found = set(contract.public)
    counts["selectors"] += len(true)
    counts["selectors_found"] += len(true.keys() & found)
    counts["selectors_extra"] += len(found - true.keys())
    for selector in sorted(true.keys() - found):
        yield {"what": "selector missed", "why": "not a public function", "name": true[selector]}
    for selector in sorted(found - true.keys()):
        yield {"what": "selector extra", "why": "not in the ABI", "name": f"0x{selector:08x}"}


def _entries(record: Record, private: dict[int, Function], counts: Counter[str]) -> Iterator[Record]:
    for entry in record["entries"]:
        counts["entries"] += 1
        about = {"pc": entry["pc"], "name": f"{entry['contract']}.{entry['name']}"}
        function = private.get(entry["pc"])
        if function is None:
            yield {"what": "entry missed", "why": _why_missed(entry)} | about
            continue
        counts["entries_found"] += 1
        said = _arity(entry, function)
        counts["arity_compared"] += 1
        counts["arity_right"] += not said
        if said:
            yield {"what": "arity", "why": said} | about


def _why_missed(entry: Record) -> str:
    external = "public" if entry["visibility"] in ("external", "public") else "internal"
    return f"{external}, called at {'one place' if entry['sites'] == 1 else 'several places'}"


def _arity(entry: Record, function: Function) -> str:
    """What is wrong with it; empty if nothing is."""
    wrong = []
    if entry["words"] is not None and len(function.params) != entry["words"]:
        wrong.append(f"{_more(len(function.params), entry['words'])} words in")
    if entry["return_words"] is not None and function.returns not in (None, entry["return_words"]):
        wrong.append(f"{_more(function.returns or 0, entry['return_words'])} words out")
    return " and ".join(wrong)


def _more(found: int, true: int) -> str:
    return f"{abs(found - true)} {'more' if found > true else 'fewer'}"


def _precision(record: Record, private: dict[int, Function], counts: Counter[str]) -> Iterator[Record]:
    helpers = {helper["pc"]: helper for helper in record["helpers"]}
    true = {entry["pc"] for entry in record["entries"]} | helpers.keys() | set(record["entered"])
    true |= set(record["untagged"])
    counts["private"] += len(private)
    counts["private_true"] += len(private.keys() & true)
    counts["helpers"] += len(helpers)
    counts["helpers_found"] += len(private.keys() & helpers.keys())
    for pc in sorted(private.keys() & helpers.keys()):
        counts["helpers_arity_right"] += not _arity(helpers[pc], private[pc])
    for pc in sorted(private.keys() - true):
        function = private[pc]
        out = "never returns" if function.returns is None else "returns"
        yield {"what": "private extra", "why": out, "pc": pc, "name": function.name}


def measure(path: Path) -> Record:
    """The figures of one file of a corpus."""
    counts: Counter[str] = Counter()
    wrong: list[Record] = []
    seconds = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            code = bytes.fromhex(record["runtime"])
            started = time.perf_counter()
            contract = lift_code(code)
            seconds.append(time.perf_counter() - started)
            counted, said = compare(record, contract)
            counts += counted
            counts["contracts"] += 1
            counts["incomplete"] += any(not function.complete for function in contract.functions.values())
            where = {"file": record["file"], "contract": record["contract"]}
            wrong += [where | one for one in said]
    return {
        "corpus": path.stem,
        "counts": dict(counts),
        "shares": _shares(counts),
        "seconds": {"median": statistics.median(seconds), "most": max(seconds), "sum": sum(seconds)},
        "wrong_by_reason": dict(Counter(f"{one['what']}: {one['why']}" for one in wrong).most_common()),
        "wrong": wrong,
    }


def _shares(counts: Counter[str]) -> dict[str, float | None]:
    pairs = {
        "selectors": ("selectors_found", "selectors"),
        "recall": ("entries_found", "entries"),
        "precision": ("private_true", "private"),
        "arity": ("arity_right", "arity_compared"),
        "helpers_arity": ("helpers_arity_right", "helpers_found"),
    }
    return {name: counts[a] / counts[b] if counts[b] else None for name, (a, b) in pairs.items()}


def _line(result: Record) -> str:
    shares = {name: "-" if share is None else f"{share:.4f}" for name, share in result["shares"].items()}
    seconds = result["seconds"]
    return (
        f"{result['corpus']:<34} {result['counts']['contracts']:>4} contracts, selectors {shares['selectors']} "
        f"(+{result['counts'].get('selectors_extra', 0)}), recall {shares['recall']} of {result['counts'].get('entries', 0)}, "
        f"precision {shares['precision']}, arity {shares['arity']}, {1000 * seconds['median']:.0f} ms median, "
        f"{seconds['most']:.1f} s most, {result['counts'].get('incomplete', 0)} incomplete"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--listed", type=int, default=40, help="wrong ones per file in --out")
    options = parser.parse_args()
    results, total = [], Counter[str]()
    for path in options.files:
        result = measure(path)
        print(_line(result), flush=True)
        for reason, count in list(result["wrong_by_reason"].items())[:8]:
            print(f"    {count:>5} {reason}")
        total += Counter(result["counts"])
        results.append(result | {"wrong": result["wrong"][: options.listed]})
    print("all:", {name: share and round(share, 4) for name, share in _shares(total).items()})
    if options.out:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        whole = {"about": about, "counts": dict(total), "shares": _shares(total), "corpora": results}
        options.out.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
