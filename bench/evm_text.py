"""How short and how plain the structured text is: tokens per function, gotos, labels, on folders of compiled contracts.

    python bench/evm_text.py corpus/*.jsonl --out bench/results/evm_text.json

Each line of a file is a JSON object with the runtime code as hex digits in `runtime`. Tokens are those of
`whet.evm.text.count_tokens`, a fixed rule; no model's tokenizer. Compared with the flat text of the same functions.
Left out: dispatchers (the entry), and what meaning adds. Seconds are of the text alone, without lifting.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from whet.evm import tac
from whet.evm.draft import readable
from whet.evm.lifting import lift_code
from whet.evm.text import count_tokens, flat_function, structured_function


def measure(path: Path) -> dict[str, Any]:
    """Figures of every contract in a file of JSON Lines, summed."""
    rows: list[dict[str, Any]] = []
    with path.open() as lines:
        for line in lines:
            contract = lift_code(bytes.fromhex(json.loads(line)["runtime"]))
            rows += [_row(contract, f) for f in contract.functions.values() if f.kind != "entry"]
    return {"file": path.name} | _summary(rows)


def _row(contract: tac.Contract, function: tac.Function) -> dict[str, Any]:
    started = time.perf_counter()
    text = structured_function(contract, function)
    seconds = time.perf_counter() - started
    tree = readable(function).tree
    return {
        "name": function.name,
        "kind": function.kind,
        "seconds": seconds,
        "tokens": count_tokens(text),
        "flat_tokens": count_tokens(flat_function(function)),
        "gotos_irreducible": tree.gotos_irreducible,
        "gotos_nesting": tree.gotos_nesting,
        "labels": tree.labels,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    tokens = sorted(row["tokens"] for row in rows)
    flat = sum(row["flat_tokens"] for row in rows)
    return {
        "functions": len(rows),
        "tokens_mean": sum(tokens) / len(tokens),
        "tokens_median": statistics.median(tokens),
        "tokens_p95": tokens[int(0.95 * (len(tokens) - 1))],
        "tokens_most": tokens[-1],
        "tokens_of_flat": sum(tokens) / flat,
        "without_goto": sum(not r["gotos_irreducible"] + r["gotos_nesting"] for r in rows) / len(rows),
        "without_label": sum(not r["labels"] for r in rows) / len(rows),
        "seconds_mean": sum(row["seconds"] for row in rows) / len(rows),
        "seconds_most": max(row["seconds"] for row in rows),
    }


def main() -> None:
    """Measures the given files and writes what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for path in arguments.files:
        result = measure(path)
        results.append(result)
        print(
            f"{result['file']}: {result['functions']:,} functions, tokens median {result['tokens_median']:.0f}, "
            f"mean {result['tokens_mean']:.0f}, 95 % {result['tokens_p95']}, {result['tokens_of_flat']:.0%} of flat; "
            f"{result['without_goto']:.2%} without goto, {result['without_label']:.2%} without label",
            flush=True,
        )
    if arguments.out:
        record = {"machine": platform.machine(), "python": platform.python_version(), "results": results}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
