"""Hostile code: no crash, bounded memory, the same result twice, and what is cut off says so.

2,000 of the inputs that `bench/evm_attack.py` tries 100,000 of, each lifted in two processes whose hashes are seeded
differently; and the largest code in the worst shapes. Memory is the peak of the whole process, Python itself included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.evm.mutations import bases, case, instructions, shapes
from tests.evm.wellformed import faults
from whet.evm import lift
from whet.evm.tac import End

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 256 * 2**20
INPUTS, PARTS = 2000, 8


def attacked(arguments: list[str], hash_seed: int) -> list[dict[str, Any]]:
    """The rows of one child process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.evm.attacked", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(rows: list[dict[str, Any]]) -> None:
    assert [row for row in rows if row["outcome"] == "crash"] == []
    assert [row for row in rows if row.get("faults")] == []
    assert max(row["peak_bytes"] for row in rows) < MEMORY_BYTES


def without_costs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row.keys() - {"seconds", "peak_bytes"}} for row in rows]


@pytest.mark.parametrize("part", range(PARTS))
def test_inputs_by_number(part: int) -> None:
    size = INPUTS // PARTS
    numbers = [str(part * size), str((part + 1) * size)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda hash_seed: attacked(numbers, hash_seed), (1, 2))
    assert len(first) == size
    check(first)
    check(second)
    assert without_costs(first) == without_costs(second)
    assert sum(row["structured"] for row in first) >= size / 2
    assert {"lifted", "cut", "refused"} == {row["outcome"] for row in first}


def test_the_largest_code_in_the_worst_shapes() -> None:
    rows = attacked(list(shapes()), 1)
    check(rows)
    outcomes = {row["kind"]: row["outcome"] for row in rows}
    for name in ("1 MiB of JUMPDEST", "1 MiB of conditions", "1 MiB of jump table", "1 MiB of memory"):
        assert outcomes[name] == "cut", name
    for name in ("empty", "empty 0x", "odd hex", "no hex", "EOF", "brackets", "more than 1 MiB"):
        assert outcomes[name] == "refused", name


def test_the_generator_keeps_what_it_does_not_change() -> None:
    """Decoded and put together again a contract is itself, and one number is one input."""
    material = bases()
    for code in material:
        assert b"".join(instructions(code)) == code
    assert case(5, material) == case(5, material)
    assert len({case(seed, material).code for seed in range(200)}) > 190


def test_faults_are_found() -> None:
    """The check itself: a contract that breaks a promise does not pass."""
    broken = lift(bases()[0])
    assert faults(broken) == []
    function = next(iter(broken.functions.values()))
    last = next(reversed(function.blocks.values()))
    last.end = End("RETURN", ("v999", 0))
    assert any("v999 is used and never assigned" in fault for fault in faults(broken))
    last.end = End("JUMP", (), ("b999",))
    assert any("b999, which is not there" in fault for fault in faults(broken))
    last.end = End("UNRESOLVED", (), why="unknown target")
    assert any("nothing says why" in fault for fault in faults(broken))
