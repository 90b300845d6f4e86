"""One of the contenders of evm_speed.py: panoramix, the decompiler behind Etherscan (a virtual environment of its own with
`pip install panoramix-decompiler`). Reads lines of hex, answers each with a line of JSON: milliseconds, functions, failures,
and with the argument `text` what it prints.

Its table of signatures is downloaded and built at the first use, which takes most of a minute and fails without a
network; it is left out, so functions have no names here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import panoramix.utils.supplement as supplement  # type: ignore[import-not-found]

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def _no_names(*_: Any, **__: Any) -> None:
    return None


supplement.check_supplements = _no_names
supplement.fetch_sig = _no_names

from panoramix.decompiler import decompile_bytecode  # type: ignore[import-not-found]  # noqa: E402

for line in sys.stdin:
    started = time.perf_counter()
    try:
        result = decompile_bytecode(line.strip())
        answer: dict[str, Any] = {
            "functions": len(result.json.get("functions", [])),
            "characters": len(result.text),
        }
        if sys.argv[1:] == ["text"]:
            answer["text"] = result.text
    except Exception as error:  # noqa: BLE001 - what a contender raises is its failure
        answer = {"failed": f"{type(error).__name__}: {error}"[:200]}
    answers.write(json.dumps({"ms": 1000 * (time.perf_counter() - started), **answer}) + "\n")
    answers.flush()
