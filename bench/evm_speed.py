"""How long a contract takes: whet's lifter and what stands on it, beside evmole, sevm and panoramix, in turns.

    python bench/evm_speed.py corpus/oz-5*.jsonl corpus/aave*.jsonl --every 4 --out bench/results/evm_speed.json
    python bench/evm_speed.py ... --sevm FOLDER --panoramix /venv/bin/python    # where they are installed

Each contract goes to every contender before the next contract, each contender in a process of its own that stays alive,
on one core. What they do differs: evmole finds selectors, arguments, storage and control flow, natively, without code to
read; sevm and panoramix print code; `lift` gives TAC that executes, `text` adds meaning and structured text.
A contender that takes longer than --seconds for one contract is ended and started anew; that contract counts as too long.
"""

from __future__ import annotations

import argparse
import json
import platform
import selectors
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _own(what: str) -> None:
    """The side of whet and evmole: lines of hex in, lines of JSON out."""
    import time

    for line in sys.stdin:
        code = bytes.fromhex(line.strip())
        started = time.perf_counter()
        answer: dict[str, Any] = {}
        if what == "evmole":
            import evmole

            info = evmole.contract_info(
                code,
                selectors=True,
                arguments=True,
                state_mutability=True,
                storage=True,
                control_flow_graph=True,
            )
            answer["functions"] = len(info.functions or [])
        else:
            from whet.evm.lifting import lift_code

            contract = lift_code(code)
            answer["functions"] = len(contract.public)
            if what == "text":
                from whet.evm.meaning.analyse import analyse
                from whet.evm.meaning.untangle import untangled
                from whet.evm.text import structured

                contract = untangled(contract)
                answer["characters"] = len(structured(contract, analyse(contract)))
        print(json.dumps({"ms": 1000 * (time.perf_counter() - started), **answer}), flush=True)


class Contender:
    """A process that is asked for one contract after the other."""

    def __init__(self, name: str, command: list[str], seconds: float) -> None:
        self.name, self.command, self.seconds = name, command, seconds
        self.answers: list[dict[str, Any]] = []
        self._start()
        self.ask("00", keep=False)

    def _start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.ready = selectors.DefaultSelector()
        assert self.process.stdout is not None
        self.ready.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, code: str, keep: bool = True) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        if self.ready.select(self.seconds):
            line = self.process.stdout.readline()
            answer = json.loads(line) if line else {"failed": "the process ended"}
        else:
            answer = {"failed": f"more than {self.seconds:g} s"}
        if "ms" not in answer:
            self.close()
            self._start()
        if keep:
            self.answers.append(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def figures(self) -> dict[str, Any]:
        times = sorted(answer["ms"] for answer in self.answers if "failed" not in answer)
        if not times:
            return {"contender": self.name, "failed": len(self.answers)}
        return {
            "contender": self.name,
            "contracts": len(self.answers),
            "failed": sum("failed" in answer for answer in self.answers),
            "median_ms": statistics.median(times),
            "ninety_percent_ms": times[int(0.9 * (len(times) - 1))],
            "longest_ms": times[-1],
            "functions": sum(answer.get("functions", 0) for answer in self.answers),
        }


def contenders(arguments: argparse.Namespace) -> list[Contender]:
    own = [sys.executable, __file__, "--side"]
    commands = {f"whet {name}": [*own, name] for name in ("lift", "text")} | {"evmole": [*own, "evmole"]}
    if arguments.sevm:
        commands["sevm"] = ["node", str(HERE / "evm_sevm_side.mjs"), str(arguments.sevm)]
    if arguments.panoramix:
        commands["panoramix"] = [str(arguments.panoramix), str(HERE / "evm_panoramix_side.py")]
    return [Contender(name, command, arguments.seconds) for name, command in commands.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", nargs="*", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every n-th contract")
    parser.add_argument("--seconds", type=float, default=20, help="for one contract of one contender")
    parser.add_argument("--sevm", type=Path)
    parser.add_argument("--panoramix", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _own(arguments.side)
        return
    codes = [json.loads(line)["runtime"] for path in arguments.corpora for line in path.open()]
    codes = [code.removeprefix("0x") for code in codes if code][:: arguments.every]
    sides = contenders(arguments)
    for position, code in enumerate(codes):
        for side in sides:
            side.ask(code)
        print(f"\r{position + 1} of {len(codes)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = [side.figures() for side in sides]
    for side in sides:
        side.close()
    for row in rows:
        print(
            json.dumps(
                {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}
            )
        )
    if arguments.out:
        bytes_ = [len(code) // 2 for code in codes]
        about = {
            "python": platform.python_version(),
            "contracts": len(codes),
            "median_bytes": statistics.median(bytes_),
        }
        arguments.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
