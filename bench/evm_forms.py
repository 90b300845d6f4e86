"""How many events, calls, returns and reverts are said as such: places with a form, by instruction and by corpus.

    python bench/evm_forms.py corpus/*.jsonl --every 20 --out bench/results/evm_forms.json

Each line of a file is a JSON object with the runtime code as hex digits in `runtime`. A place is one statement or end of
the three-address code in which shared ends are apart, as the printers read it; dispatchers (the entry) are left out, and
what a form absorbs, hides or skips is no place. `whole` of a call: its form stands for all of Solidity's call of a function.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

from whet.evm.draft.begin import begin
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import END
from whet.evm.meaning.untangle import untangled
from whet.evm.terms import Call, Value

OPS = ("LOG", "CALL", "STATICCALL", "DELEGATECALL", "RETURN", "REVERT", "KECCAK256")


def measure(path: Path, every: int) -> dict[str, Any]:
    """{"LOG": [places, with a form, whole], ...} over every n-th contract of a file of JSON Lines."""
    counted: Counter[tuple[str, str]] = Counter()
    started, contracts = time.perf_counter(), 0
    with path.open() as lines:
        for number, line in enumerate(lines):
            if number % every == 0:
                contracts += 1
                counted += _of_contract(bytes.fromhex(json.loads(line)["runtime"]))
    kinds = ("places", "form", "whole")
    table = {op: [counted[op, kind] for kind in kinds] for op in OPS}
    return {"file": path.name, "contracts": contracts, "seconds": time.perf_counter() - started, "ops": table}


def _of_contract(code: bytes) -> Counter[tuple[str, str]]:
    contract = untangled(lift_code(code))
    meaning = analyse(contract)
    counted: Counter[tuple[str, str]] = Counter()
    for function in contract.functions.values():
        if function.kind == "entry":
            continue
        said = meaning.of(function.name)
        shown = begin(function, said).blocks
        for block in (function.blocks[name] for name in shown):
            places = [(index, s.op) for index, s in enumerate(block.statements)] + [(END, block.end.op)]
            for index, name in places:
                op = "LOG" if name.startswith("LOG") else name
                if op not in OPS or (block.id, index) in said.absorbed:
                    continue
                form = said.forms.get((block.id, index))
                counted[op, "places"] += 1
                counted[op, "form"] += form is not None or said.body is not None
                call = form.expression if isinstance(form, Value) else None
                counted[op, "whole"] += isinstance(call, Call) and call.checked
    return counted


def main() -> None:
    """Measures the given files, prints a row for each and the sums, and writes them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=20, help="every n-th contract of each file")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = [measure(path, arguments.every) for path in arguments.files]
    sums = {op: [sum(r["ops"][op][i] for r in results) for i in range(3)] for op in OPS}
    total = {"file": "all", "contracts": sum(r["contracts"] for r in results), "ops": sums}
    for result in [*results, total]:
        row = "  ".join(f"{op} {form}/{places}" for op, (places, form, _) in result["ops"].items())
        print(f"{result['file']:40} {result['contracts']:4} {row}", flush=True)
    for op, (places, form, whole) in sums.items():
        share = f"{form / places:.1%}" if places else "-"
        print(f"{op:12} {places:7,} places, {form:7,} with a form ({share}), {whole:,} whole")
    if arguments.out:
        record = {"machine": platform.machine(), "every": arguments.every, "results": [*results, total]}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
