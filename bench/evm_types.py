"""Types of private functions and names of the compiler's helpers, against what the compiler knows, on a corpus of evm_corpus.py.

    python bench/evm_types.py ~/.cache/whet/corpus/*.jsonl --every 4 --out bench/results/evm_types.json
    python bench/evm_types.py ... --calls 8    # tries by running that variables hold clean values of their types

- params, returns: of functions of the source that are private functions of the TAC, with as many words as parameters. `exact`:
  the type as declared (a contract is an address, an enum uint8; bytes and string are one, an array of either too);
  `alike`: one of the types with the same words (uint256, int256 and bytes32; address and uint160; a narrower or wider
  number that holds the same values); `unknown`: nothing said, or uint256 where another type is true; `wrong`: the rest.
  `proved_*`: the same of proved types alone. Types that a program defines itself, structs and mappings count where
  "memory" or "storage" is said for them as exact, and else as unknown, but wrong where a value's type is said;
  types that a program names itself (`Currency`) are `unsaid`, as the truth has not what is behind the name.
- helpers: private functions at a helper of the compiler's debug data (0.8.5 and newer), by family: `named` of these those
  with a name, `right` those whose family is the true one, or one that may be the same code (`_SAME`). A helper equal to a
  function of the source is no mistake (`sources named`).
- running: every call of the replay with a contract that halts where a variable is not what is said of it; `differ`: calls
  in which it did.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import Meaning, Variable
from whet.evm.tac import Contract, Function

Record = dict[str, Any]
_WORDS = frozenset({"uint256", "int256", "bytes32"})


def compare(record: Record, contract: Contract, meaning: Meaning) -> tuple[Counter[str], list[Record]]:
    """Counts, and what is wrong."""
    counts: Counter[str] = Counter()
    private = {f.pc: f for f in contract.functions.values() if f.kind == "private"}
    wrong = [*_types(record, private, meaning, counts), *_helpers(record, private, meaning, counts)]
    return counts, wrong


def _types(
    record: Record, private: dict[int, Function], meaning: Meaning, counts: Counter[str]
) -> Iterator[Record]:
    for entry in record["entries"]:
        function = private.get(entry["pc"])
        if function is None:
            continue
        said = meaning.of(function.name)
        way = -1 if (record.get("settings") or {}).get("via_ir") else 1  # via-IR puts the first one on top
        parameters = entry["parameters"][::way]
        pairs: list[tuple[str, str, Variable]] = []
        if len(entry["parameters"]) == len(function.params):
            found = [said.variables.get(name, Variable()) for name in function.params]
            pairs += [("params", *pair) for pair in zip(parameters, found, strict=True)]
        else:
            counts["params_not_compared"] += 1
        if said.returns is not None and len(entry["returns"]) == function.returns:
            given = [Variable(type=kind) for kind in said.returns]
            pairs += [("returns", *pair) for pair in zip(entry["returns"], given, strict=True)]
        for what, true, one in pairs:
            if re.fullmatch(r"[A-Z][\w.]*", true):
                counts[f"{what}_unsaid"] += 1
                continue
            verdict = judge(true, one.type or one.likely)
            proved = judge(true, one.type)
            counts[f"{what}"] += 1
            counts[f"{what}_{verdict}"] += 1
            counts[f"proved_{what}_{proved}"] += 1
            if verdict == "wrong":
                name = f"{entry['contract']}.{entry['name']} {entry['pc']:#x}"
                yield {"what": what, "true": true, "found": one.type or f"{one.likely}?", "name": name}


def judge(true: str, found: str) -> str:
    """ "exact", "alike", "unknown" or "wrong"."""
    kind = _plain(true)
    found = found.replace("string", "bytes")
    if kind is None:
        return (
            "exact"
            if found in ("memory", "storage", "calldata")
            else "unknown"
            if _is_open(found)
            else "wrong"
        )
    place = found.endswith((" memory", " storage", " calldata")) or found in ("memory", "storage", "calldata")
    shown = found.rpartition(" ")[0] if place and " " in found else "" if place else found
    if kind.endswith("]") or kind == "bytes":
        if not place:
            return "unknown" if _is_open(found) else "wrong"
        return "exact" if shown == kind else "unknown" if not shown else _alike_arrays(kind, shown)
    if place:
        return "wrong"
    if kind == found:
        return "exact"
    if _is_open(found):
        return "unknown"
    return "alike" if _alike(kind, found) else "wrong"


def _is_open(found: str) -> bool:
    return found in ("", "uint256")


def _alike_arrays(true: str, found: str) -> str:
    one, other = true.partition("[")[0], found.partition("[")[0]
    same = true.count("[") == found.count("[")
    return "alike" if same and (other == "uint256" or _alike(one, other)) else "wrong"


def _alike(one: str, other: str) -> bool:
    kinds = {one, other}
    if kinds <= _WORDS or kinds in ({"address", "uint160"}, {"bool", "uint8"}):
        return True
    return all(re.fullmatch(r"uint\d+", kind) for kind in kinds) or all(
        re.fullmatch(r"int\d+", kind) for kind in kinds
    )


def _plain(true: str) -> str | None:
    """A value's type, bytes, or an array; None where it is one that a program defines."""
    base, bracket, rest = true.partition("[")
    if base.startswith("contract ") or base == "address payable":
        base = "address"
    if base.startswith("enum "):
        base = "uint8"
    if base == "string":
        base = "bytes"
    if base.startswith(("struct ", "mapping(", "function ")) or not re.fullmatch(
        r"u?int\d+|bytes\d*|bool|address", base
    ):
        return None
    if rest and rest[0].isdigit():
        return None
    return base + bracket + rest


# Helpers.

_NAMES = """
abi_encode abi_decode cleanup validator_revert panic_error allocate_memory allocate_unbounded finalize_allocation
array_length array_allocation_size array_storeLengthForEncoding array_dataslot array_nextElement
copy_memory_to_memory copy_calldata_to_memory copy_byte_array_to_storage copy_literal extract_byte_array_length
checked_add checked_sub checked_mul checked_div checked_mod checked_exp increment decrement round_up_to_mul_of_32
convert_bytes_to_fixedbytes convert revert_error leftAlign identity shift_left shift_right require_helper
calldata_array_index_access calldata_array_index_range_access access_calldata_tail update_storage_value
storage_set_to_zero clean_up_bytearray_end_slots memory_array_index_access negate extract_returndata external_fun
prepare_store zero_value store_literal_in_memory mod read_from_memory
"""
_FAMILIES = _NAMES.split()

_SAME = (
    {"cleanup", "convert", "identity", "prepare_store", "leftAlign", "shift_left", "array_dataslot"},
    {"abi_encode", "array_storeLengthForEncoding", "store_literal_in_memory"},
    {"abi_decode", "read_from_calldata"},
    {"array_length", "read_from_memory"},
    {"revert_error", "revert_without_data"},
    {"checked_mod", "mod"},
    {"checked_add", "increment"},
    {"checked_sub", "decrement"},
)
"""Families whose members may be the same code: a conversion of a clean value gives back what it is given."""


def family(name: str) -> str:
    """The longest family that a name begins with; the name itself without one."""
    name = re.sub(r"^wrapping_", "checked_", name.removesuffix("_reversed"))
    found = [one for one in _FAMILIES if name.startswith(one)]
    return max(found, key=len) if found else re.sub(r"_t_.*|\d+", "", name)


def _helpers(
    record: Record, private: dict[int, Function], meaning: Meaning, counts: Counter[str]
) -> Iterator[Record]:
    sources = {entry["pc"] for entry in record["entries"]}
    known = {helper["pc"]: helper for helper in record["helpers"]}
    for pc, function in private.items():
        name = meaning.of(function.name).name
        if pc in known:
            true = family(known[pc]["name"])
            counts["helpers"] += 1
            counts[f"helper {true}"] += 1
            if name:
                mine = family(name)
                right = mine == true or any({mine, true} <= same for same in _SAME)
                counts["helpers_named"] += 1
                counts["helpers_right"] += right
                counts[f"helper_right {true}"] += right
                if not right:
                    yield {"what": "helper", "true": known[pc]["name"], "found": name}
        elif name and known and pc in sources:
            counts["sources_named"] += 1
            entry = next(e for e in record["entries"] if e["pc"] == pc)
            yield {"what": "source named", "true": entry["name"], "found": name}


# Running.


def execute(
    record: Record, contract: Contract, meaning: Meaning, calls: int, counts: Counter[str]
) -> Iterator[Record]:
    """Replays with a contract that halts where a variable is outside of its type."""
    from whet.evm.meaning.ranges import of_type
    from whet.evm.replay.run import Replay
    from whet.evm.replay.typed import checked
    from whet.evm.replay.vectors import methods_of_signatures

    ranges = {
        name: {v: known for v, one in said.variables.items() if (known := of_type(one.type)) is not None}
        for name, said in meaning.functions.items()
    }
    code = bytes.fromhex(record["runtime"])
    replay = Replay(checked(contract, ranges), code, lift_code)
    report = replay.run(methods_of_signatures(record["methods"], record["abi"]), calls)
    counts["variables_typed"] += sum(map(len, ranges.values()))
    for one in report.methods:
        counts["calls"] += one.compared
        counts["calls_succeeded"] += one.succeeded
        counts["calls_differ"] += one.differing
        for each in one.disagreements:
            yield {"what": "running", "true": one.method.name, "found": f"{each.cause}: {each.text[:200]}"}


def measure(path: Path, every: int, calls: int) -> Record:
    """The figures of one file of a corpus."""
    counts: Counter[str] = Counter()
    wrong: list[Record] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % every:
                continue
            record = json.loads(line)
            contract = lift_code(bytes.fromhex(record["runtime"]))
            meaning = analyse(contract)
            counted, said = compare(record, contract, meaning)
            if calls:
                said += execute(record, contract, meaning, calls, counted)
            counts += counted
            counts["contracts"] += 1
            wrong += [{"contract": record["contract"], **one} for one in said]
    return {"corpus": path.stem, "counts": dict(sorted(counts.items())), "wrong": wrong}


def shown(rows: list[Record]) -> str:
    """One line a corpus."""
    lines = []
    for row in rows:
        n = Counter(row["counts"])
        parts = [f"{row['corpus']:32}"]
        for what in ("params", "returns"):
            total = max(n[what], 1)
            shares = " ".join(
                f"{k} {100 * n[f'{what}_{k}'] / total:.1f}" for k in ("exact", "alike", "unknown", "wrong")
            )
            parts.append(f"{what} {n[what]}: {shares}, proved wrong {n[f'proved_{what}_wrong']};")
        parts.append(f"helpers {n['helpers']}: named {n['helpers_named']} right {n['helpers_right']}")
        parts.append(f"sources named {n['sources_named']}")
        if n["calls"]:
            parts.append(f"calls {n['calls']} succeeded {n['calls_succeeded']} differ {n['calls_differ']}")
        lines.append(" ".join(parts))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="one contract in so many")
    parser.add_argument(
        "--calls", type=int, default=0, help="calls of each function with checks in the contract"
    )
    parser.add_argument("--keep", type=int, default=200, help="mistakes kept of each corpus")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for path in args.corpora:
        rows.append(measure(path, args.every, args.calls))
        print(shown(rows[-1:]), flush=True)
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["counts"])
    print(shown([{"corpus": "all", "counts": total}]))
    if args.out:
        for row in rows:
            row["wrong"] = row["wrong"][: args.keep]
        about = {"python": platform.python_version(), "machine": platform.machine(), "every": args.every}
        args.out.write_text(
            json.dumps({**about, "all": dict(sorted(total.items())), "corpora": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
