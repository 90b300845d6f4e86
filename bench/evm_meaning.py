"""Argument types and storage layouts as recovered, against what the compiler knows, on a corpus of evm_corpus.py.

    python bench/evm_meaning.py ~/.cache/whet/corpus/*.jsonl --out bench/results/evm_meaning.json

- arguments: public functions whose argument types are exactly those of the signature; evmole's (where it is installed) next to
  it, on the same functions. Signatures of libraries that name types no ABI has (`Set.Data storage`) are left out, counted.
- storage: variables of the compiler's storageLayout whose slot, offset, size and type are right; `member`: those of structs
  among the variables, by themselves, since most functions of a library touch few of them, and no code tells the others.
  Contracts are addresses, enums uint8, a struct within a mapping or an array is any struct, as in the ABI. `kind`: the same
  with words (uint256, int256, bytes32) alike and bytes like string, which bytecode tells apart only by use. Left out, counted:
  variables that no function of the source names, and those not found whose slot is no constant of the code (dropped code).

What is wrong is listed. Seconds are of lifting and reading, one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whet.evm.keccak import keccak256
from whet.evm.lifting import lift_code
from whet.evm.meaning.abi import arguments, hashed_keys, is_strict
from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.memory import Memory
from whet.evm.meaning.storage import layouts, variables
from whet.evm.meaning.symbols import Symbols
from whet.evm.meaning.walk import Shapes, Walk
from whet.evm.solc.srcmap import instructions

Record = dict[str, Any]
Variable = tuple[int, int, int, str, str]
"""slot, offset, size in bytes, type, name"""


def read(code: bytes) -> tuple[dict[int, str], list[StateVariable]]:
    """{selector: types of arguments}, and the variables in storage."""
    contract = lift_code(code)
    shapes = Shapes(contract)
    uses = {
        function.name: (function, Uses(Walk(shapes, function, Memory(Symbols()))))
        for function in contract.functions.values()
        if function.kind in ("public", "fallback", "receive")
    }
    strict = any(is_strict(one) for _, one in uses.values())
    hashed = frozenset().union(*(hashed_keys(one) for _, one in uses.values()))
    found = {
        function.selector: ",".join(arguments(one, strict, hashed))
        for function, one in uses.values()
        if function.selector is not None
    }
    return found, variables(layouts([one for _, one in uses.values()])[0])[0]


def compare_arguments(record: Record, mine: dict[int, str], counts: Counter[str]) -> Iterator[Record]:
    peer = _peer(record)
    for selector, signature in record["methods"].items():
        true = signature[signature.index("(") + 1 : -1]
        if re.search(r"[A-Z. ]", true):
            counts["arguments_library"] += 1
            continue
        found, others = mine.get(int(selector, 16)), peer.get(int(selector, 16))
        counts["arguments"] += 1
        counts["arguments_right"] += found == true
        counts["arguments_kind"] += found is not None and _kind(found) == _kind(true)
        counts["arguments_evmole"] += others == true
        if found != true:
            yield {"what": "arguments", "true": signature, "found": found, "evmole": others}


def _peer(record: Record) -> dict[int, str]:
    if find_spec("evmole") is None:
        return {}
    import evmole

    about = evmole.contract_info(bytes.fromhex(record["runtime"]), selectors=True, arguments=True)
    return {int(function.selector, 16): function.arguments for function in about.functions}


def compare_storage(record: Record, mine: list[StateVariable], counts: Counter[str]) -> Iterator[Record]:
    layout = record["storage_layout"]
    if not layout or not layout.get("types"):
        return
    types = layout["types"]
    used = [one for one in layout["storage"] if one["astId"] in record["storage_used"]]
    counts["storage_unnamed"] += len(layout["storage"]) - len(used)
    true = dict.fromkeys(part for one in used for part in _members(one, types, 0))
    found = {(one.slot, one.offset): one for one in mine if not one.transient}
    constants = {one.value for one in instructions(bytes.fromhex(record["runtime"]))}
    for slot, offset, size, kind, name in true:
        known = found.get((slot, offset))
        if known is None and slot not in constants and _data_of(slot) not in constants:
            counts["storage_unused"] += 1
            continue
        what = "member" if "." in name else "storage"
        counts[what] += 1
        placed = known is not None and known.size == min(size, 32)
        counts[f"{what}_placed"] += placed
        said = _plain(known.type) if known else ""
        counts[f"{what}_right"] += placed and said == kind
        counts[f"{what}_kind"] += placed and _kind(said) == _kind(kind)
        if not placed or _kind(said) != _kind(kind):
            yield {"what": what, "true": [slot, offset, size, kind, name], "found": said}


def _data_of(slot: int) -> int:
    """Where a dynamic array's elements begin; the optimiser computes it."""
    return int.from_bytes(keccak256(slot.to_bytes(32, "big")), "big")


def _members(variable: Record, types: Record, base: int) -> Iterator[Variable]:
    about = types[variable["type"]]
    slot = int(variable["slot"]) + base
    if "members" in about:
        for member in about["members"]:
            name = f"{variable['label']}.{member['label']}"
            yield from _members(member | {"label": name}, types, slot)
    else:
        name = variable["label"]
        yield slot, variable["offset"], int(about["numberOfBytes"]), _type(variable["type"], types), name


def _type(key: str, types: Record) -> str:
    about = types[key]
    label = str(about["label"])
    if about["encoding"] == "mapping":
        return f"mapping({_type(about['key'], types)}=>{_type(about['value'], types)})"
    if about["encoding"] == "dynamic_array":
        return f"{_type(about['base'], types)}[]"
    if "base" in about:
        return f"{_type(about['base'], types)}[{label.rpartition('[')[2]}"
    if "members" in about:
        members = about["members"]
        return _type(members[0]["type"], types) if len(members) == 1 else "struct"
    first = label.split()[0]
    return {"contract": "address", "enum": "uint8", "function": "function"}.get(first, first)


def _plain(found: str) -> str:
    return re.sub(r"Struct\w*", "struct", found.replace(" ", ""))


def _kind(found: str) -> str:
    return (
        re.sub(r"\bu?int256\b|\bbytes32\b", "word", found)
        .replace("bytes[", "string[")
        .replace("bytes,", "string,")
    )


def measure(path: Path) -> Record:
    counts: Counter[str] = Counter()
    wrong: list[Record] = []
    seconds = []
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        started = time.perf_counter()
        types, storage = read(bytes.fromhex(record["runtime"]))
        seconds.append(time.perf_counter() - started)
        said = [*compare_arguments(record, types, counts), *compare_storage(record, storage, counts)]
        wrong += [{"contract": record["contract"]} | one for one in said]
    return {
        "corpus": path.stem,
        "counts": dict(counts),
        "shares": _shares(counts),
        "seconds": {"median": statistics.median(seconds), "most": max(seconds)},
        "wrong": wrong,
    }


def _shares(counts: Counter[str]) -> dict[str, float | None]:
    names = (
        "arguments_right",
        "arguments_kind",
        "arguments_evmole",
        "storage_right",
        "storage_kind",
        "storage_placed",
    )
    wholes = {name: counts[name.partition("_")[0]] for name in names}
    return {name: counts[name] / wholes[name] if wholes[name] else None for name in names}


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
        shares = {name: share and round(share, 4) for name, share in result["shares"].items()}
        print(
            result["corpus"],
            result["counts"],
            shares,
            f"{1000 * result['seconds']['median']:.0f} ms",
            flush=True,
        )
        total += Counter(result["counts"])
        results.append(result | {"wrong": result["wrong"][: options.listed]})
    print("all:", {name: share and round(share, 4) for name, share in _shares(total).items()})
    if options.out:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        whole = {"about": about, "counts": dict(total), "shares": _shares(total), "corpora": results}
        options.out.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
