"""A result as plain JSON values and back; what --json prints and the cache keeps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from whet.evm.decompile.annotate import annotated
from whet.evm.decompile.nouns import Asked, Decompiled, Function, Judged, Model, Retry, Seconds, Try
from whet.evm.solidity.nouns import SolidityFunction, Source

SCHEMA = "whet.decompiled/1"


def to_json(result: Decompiled) -> dict[str, Any]:
    """Everything; words and code as they are in `nouns`, code as hex. "solidity" is the text with its comments."""
    raw = asdict(result)
    del raw["functions"], raw["source"]["functions"], raw["code"]
    summary = {
        "labels": dict(sorted(result.labels.items())),
        "assembly_share": round(result.assembly_share, 4),
        "perfect": result.perfect,
    }
    if result.model:
        summary |= {"by_model": result.by_model, "tries": dict(sorted(result.tries.items()))}
    functions = [
        asdict(f.text)
        | {"judged": asdict(f.judged), "tac": f.tac, "selector": _selector(f.text.selector)}
        | {"asked": asdict(f.asked) if f.asked else None}
        for f in result.functions
    ]
    return {
        "schema": SCHEMA,
        "code": result.code.hex(),
        **raw,
        **summary,
        "functions": functions,
        "solidity": annotated(result)[0],
    }


def from_json(raw: dict[str, Any]) -> Decompiled:
    """What `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    if raw["schema"] != SCHEMA:
        raise ValueError(f"schema {raw['schema']!r}, not {SCHEMA!r}")
    functions = [_function(dict(one)) for one in raw["functions"]]
    source = Source(**raw["source"], functions=[function.text for function in functions])
    return Decompiled(
        name=raw["name"],
        code=bytes.fromhex(raw["code"]),
        facts=raw["facts"],
        notes=raw["notes"],
        source=source,
        functions=functions,
        compiled=raw["compiled"],
        no_compiler=raw["no_compiler"],
        errors=raw["errors"],
        retries=[Retry(**one) for one in raw["retries"]],
        rounds=raw["rounds"],
        storage=raw["storage"],
        declarations=raw["declarations"],
        seconds=Seconds(**raw["seconds"]),
        model=Model(**raw["model"]) if raw["model"] else None,
    )


def _function(raw: dict[str, Any]) -> Function:
    judged, tac, asked = Judged(**raw.pop("judged")), raw.pop("tac"), raw.pop("asked")
    selector = raw["selector"]
    raw["selector"] = None if selector is None else int(selector, 16)
    raw["returns"] = None if raw["returns"] is None else tuple(raw["returns"])
    return Function(SolidityFunction(**raw), judged, tac, _asked(asked) if asked else None)


def _asked(raw: dict[str, Any]) -> Asked:
    return Asked(**raw | {"tries": [Try(**one) for one in raw["tries"]]})


def _selector(selector: int | None) -> str | None:
    return None if selector is None else f"0x{selector:08x}"
