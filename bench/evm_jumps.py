"""Jumps resolved and JUMPDESTs reached on folders of .hex files, e.g. the tests of the Gigahorse toolchain.

    python bench/evm_jumps.py gigahorse-toolchain/tests gigahorse-benchmarks --out bench/results/evm_jumps.json

A jump site is a JUMP or JUMPI that the analysis reached. It is resolved when its targets are known in every context;
`dynamic` sites jump to a word that came through memory or storage, and are followed to every offset that was put there.
What a file falls short of is listed with it: unknown sites, cut-offs, JUMPDESTs that no known way leads to (data and
creation code that stands behind the runtime code, and code that the compiler left unused).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from whet.evm.lifting import lift_code

_SUMS = ("jump_sites", "jump_sites_resolved", "jump_sites_dynamic", "jumpdests", "jumpdests_reached")


def measure(folder: Path) -> dict[str, Any]:
    """Figures of every .hex file under `folder`, and their sums."""
    files: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.hex")):
        code = bytes.fromhex(path.read_text().strip().removeprefix("0x"))
        started = time.perf_counter()
        contract = lift_code(code)
        seconds = time.perf_counter() - started
        unresolved = sum(
            b.end.op == "UNRESOLVED" for f in contract.functions.values() for b in f.blocks.values()
        )
        notes = [
            *contract.notes,
            *(note for function in contract.functions.values() for note in function.notes),
        ]
        files.append(
            {
                "file": str(path.relative_to(folder)),
                "seconds": seconds,
                "unresolved_ends": unresolved,
                "notes": notes,
            }
            | {key: contract.figures[key] for key in _SUMS}
        )
    seconds_each = [file["seconds"] for file in files]
    return {
        "folder": folder.name,
        "files": len(files),
        "sums": {key: sum(file[key] for file in files) for key in _SUMS},
        "unresolved_ends": sum(file["unresolved_ends"] for file in files),
        "seconds": sum(seconds_each),
        "median_seconds": statistics.median(seconds_each),
        "longest_seconds": max(seconds_each),
        "short": [
            file for file in files if file["notes"] or file["jump_sites"] != file["jump_sites_resolved"]
        ],
        "unreached": {
            file["file"]: file["jumpdests"] - file["jumpdests_reached"]
            for file in files
            if file["jumpdests"] != file["jumpdests_reached"]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = [measure(folder) for folder in arguments.folders]
    for result in results:
        sums = result["sums"]
        print(
            f"{result['folder']}: {result['files']} files; {sums['jump_sites_resolved']:,} of {sums['jump_sites']:,} jump sites"
            f" resolved, {sums['jump_sites_dynamic']} dynamic; {sums['jumpdests_reached']:,} of {sums['jumpdests']:,} JUMPDESTs"
            f" ({sums['jumpdests_reached'] / sums['jumpdests']:.1%}); {result['unresolved_ends']} ends unresolved in the TAC;"
            f" median {1000 * result['median_seconds']:.1f} ms, longest {result['longest_seconds']:.2f} s,"
            f" all {result['seconds']:.1f} s"
        )
        for file in result["short"]:
            print(f"  {file['file']}: {'; '.join(file['notes']) or 'sites unknown'}")
    if arguments.out:
        machine = {"python": platform.python_version(), "processor": platform.machine()}
        arguments.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
