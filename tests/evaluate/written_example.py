"""A made-up evaluation of written Solidity for the report's tests: its texts and verdicts stand for nothing that was run.

Tables are those that the room makes of these records, the metrics are those of the texts.
"""

from __future__ import annotations

from typing import Any

from whet.evaluate.written import EMITTER, FALLBACK, MODEL, NEAREST, figures

OUTCOMES = ("same", "different", "inconclusive", "not compared")
TRUE = """function take{n}(uint256 amount) external returns (uint256) {{
    require(amount <= limit, "more than {n}");
    stored[msg.sender] -= amount * {n};
    return stored[msg.sender];
}}"""


def verdict(at: int) -> dict[str, Any]:
    """The four outcomes in turn; what is not compared does not parse, compile, or have the ABI, in turn."""
    outcome, passed = OUTCOMES[at % 4], (at // 4) % 3 if at % 4 == 3 else 3
    return {
        "parses": passed > 0,
        "compiles": passed > 1,
        "abi": passed > 2,
        "behaves": outcome,
        "why": "" if outcome == "same" else f"reason {at}",
    }


def text(written: str, at: int, ended: str = "") -> dict[str, Any]:
    return {"text": written, "ended": ended, "verdict": verdict(at), "metrics": {}}


def record(at: int) -> dict[str, Any]:
    """One function: the model forgets more of a later one, the emitter names things otherwise."""
    true = TRUE.format(n=at)
    forgotten = true[: len(true) - 7 * (at % 12)]
    named = true.replace("amount", "arg0").replace("stored", "stor_1").replace("limit", "stor_0")
    return {
        "origin": f"pkg@1:src/M{at}.sol:{at}:M.take{at}:0.8.30-runs200",
        "name": f"take{at}",
        "signature": f"take{at}(uint256)",
        "source_hash": f"{at:032x}",
        "era": ("0.8", "0.4")[at % 2],
        "solc": ("0.8.30", "0.4.26")[at % 2],
        "build": ("runs200", "runs200-ir")[at % 3 == 0],
        "via_ir": at % 3 == 0,
        "outside": at % 4 > 0,
        "metadata": ("shown", "hidden")[at % 5 == 0],
        "prompt": f"// function\nfunction take{at}(uint256 arg0) public {{\n  stor_1[msg.sender] = 1\n}}",
        "prompt_tokens": 60,
        "true": true,
        "nearest": {"origin": "other@1:src/N.sol:1:N.f:0.8.30-runs200", "overlap": 0.25},
        "texts": {
            MODEL: text(forgotten, at, "length" if at % 7 == 6 else "end"),
            "untrained": text("}}}}", 3, "length"),
            NEAREST: text("function f() public { stored[msg.sender] = 1; }", 1),
            EMITTER: text(named, 0 if at % 5 else 2),
            FALLBACK: {
                **text(forgotten if at % 4 == 0 else named, 0 if at % 5 or at % 4 == 0 else 2),
                "from": MODEL,
            },
        },
    }


def example_written(count: int = 12) -> dict[str, Any]:
    records = [record(at) for at in range(count)]
    metrics = figures.measure(records, print)
    return {
        "held_out": 3 * count,
        "gone": 0,
        "new_tokens": 256,
        "decoding": {"kind": "greedy"},
        "judged": True,
        "writers": list(records[0]["texts"]) if records else [],
        "metrics": {
            one.NAME: {"units": one.UNITS, "lower_is_better": one.LOWER_IS_BETTER} for one in metrics
        },
        "similarity": {"floor": 0.25, "ceiling": 0.57},
        "tables": figures.tables(records, metrics),
        "functions": records,
    }
