"""One process that lifts hostile code: `python -m tests.evm.attacked FIRST LAST` (numbers) or `NAME ...` (shapes).

Prints a JSON object for each input, as it goes, with the process's peak of memory so far. An input that needs more than
SECONDS of processor time, or the process more than MEMORY_BYTES, counts as a crash.
"""

from __future__ import annotations

import hashlib
import json
import resource
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Any

from tests.evm.mutations import bases, case, shapes
from tests.evm.wellformed import faults
from whet.errors import WhetError
from whet.evm import lift
from whet.evm.graph import dot
from whet.evm.meaning.analyse import analyse
from whet.evm.tac import Contract, from_json, to_json
from whet.evm.text import flat, structured
from whet.hardware import process_peak_bytes

MEMORY_BYTES = 2**30
"""Of addresses, most of which are never touched; what counts is the peak that is reported."""
SECONDS = 15.0


class TooLong(Exception):
    """An input took SECONDS of processor time."""


def main(arguments: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_long)
    if arguments[0].isdigit():
        material = bases()
        for seed in range(int(arguments[0]), int(arguments[1])):
            one = case(seed, material)
            _tell({"seed": seed, "kind": one.kind, "structured": one.structured} | attack(one.code))
    else:
        every = shapes()
        for name in arguments:
            _tell({"kind": name} | attack(every[name]))


def attack(code: str | bytes) -> dict[str, Any]:
    """Lift `code` and write it in every form; what came of it."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        found = _lifted(code)
    except WhetError as error:
        found = {"outcome": "refused", "sha256": _hash(str(error)), "what": error.what[:120]}
    except Exception as error:  # noqa: BLE001  any of them is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = {"outcome": "crash", "what": f"{error!r:.200} in {last.filename}:{last.lineno}"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    peak_bytes = process_peak_bytes()
    seconds = round(time.process_time() - began, 3)
    return {"size": len(code)} | found | {"seconds": seconds, "peak_bytes": peak_bytes}


def _lifted(code: str | bytes) -> dict[str, Any]:
    contract = lift(code)
    written = json.dumps(to_json(contract))
    assert json.dumps(to_json(from_json(json.loads(written)))) == written, "JSON that does not come back"
    return {
        "outcome": "cut" if _cut(contract) else "lifted",
        "sha256": _hash(written + flat(contract) + structured(contract, analyse(contract)) + dot(contract)),
        "faults": faults(contract)[:5],
        "functions": len(contract.functions),
    }


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong(f"after {SECONDS} s")


def _cut(contract: Contract) -> bool:
    return bool(contract.notes) or not all(function.complete for function in contract.functions.values())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _tell(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
