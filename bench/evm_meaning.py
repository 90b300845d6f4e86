"""Argument types and storage layouts as recovered, against what the compiler knows, on a corpus of evm_corpus.py.

    python bench/evm_meaning.py ~/.cache/whet/corpus/*.jsonl --out bench/results/evm_meaning.json

What `whet lift` says is measured, known signatures used; with --alone what code says without them.

- arguments: public functions whose argument types are exactly those of the signature; evmole's (where it is installed) next to
  it, on the same functions. Signatures of libraries that name types no ABI has (`Set.Data storage`) are left out, counted.
- returns: types given back, of the same functions, as the ABI has them; mutability: only of contracts as they are in the
  sources, since what the corpus makes around internal functions is declared nonpayable whatever it does.
- storage: variables of the compiler's storageLayout that code touches: `right` are those with slot, offset, size and type right,
  `alike` those that are right where uint256, int256 and bytes32 have one name, and bytes and string, which code tells apart
  only by use. Contracts are addresses, enums uint8, a struct within a mapping or an array is any struct.
  Touched: some function of the source names it, and the slot of some SLOAD or SSTORE, or what is hashed to one, can be one of
  its slots: constants followed through the three-address code (`reached_slots`), so that no finding of the analysis decides
  what counts. The others are `untouched`. Variables of a user-defined value type are `unsaid`: the layout does not say
  which; and so are those of a corpus made before `storage_used`.
  A struct is one variable, right where something is found in each of its touched slots, and all that is found there is right;
  members in touched slots are counted one by one besides (`member`): of a packed slot most code uses some.
  `_own`: the same without the contracts that the corpus makes around libraries, in which one function uses a variable, or two.
  The rest by reason, `off_*`: missing (nothing at that place), size, struct (of a struct only one member is used: seen as
  that member's type), key (only a mapping's key differs), length (of an array only the length is used), type.

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
from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.interface import PublicFunction, interface
from whet.evm.meaning.memory import Memory
from whet.evm.meaning.saying import Known
from whet.evm.meaning.storage import layouts, variables
from whet.evm.meaning.symbols import Symbols
from whet.evm.meaning.walk import Shapes, Walk
from whet.evm.signatures import Signatures
from whet.evm.tac import Block, Contract

Record = dict[str, Any]
Variable = tuple[int, int, int, str, str]
"""slot, offset, size in bytes, type, name"""


def read(contract: Contract, known: Known) -> tuple[dict[int, PublicFunction], list[StateVariable]]:
    """{selector: what is said of the function}, and the variables in storage."""
    shapes = Shapes(contract)
    walks = {
        function.name: Uses(Walk(shapes, function, Memory(Symbols())))
        for function in contract.functions.values()
        if function.kind in ("public", "fallback", "receive")
    }
    said, kinds = interface(contract, walks, known)
    found = {selector: said[function.name] for selector, function in contract.public.items()}
    return found, variables(layouts(list(walks.values()), kinds)[0])[0]


def compare_arguments(
    record: Record, mine: dict[int, PublicFunction], counts: Counter[str]
) -> Iterator[Record]:
    peer = _peer(record)
    declared = _declared(record)
    for selector, signature in record["methods"].items():
        true = signature[signature.index("(") + 1 : -1]
        if re.search(r"[A-Z. ]", true):
            counts["arguments_library"] += 1
            continue
        said, others = mine.get(int(selector, 16)), peer.get(int(selector, 16))
        found = said and ",".join(said.arguments)
        counts["arguments"] += 1
        counts["arguments_right"] += found == true
        counts["arguments_kind"] += found is not None and _kind(found) == _kind(true)
        counts["arguments_evmole"] += others == true
        if found != true:
            yield {"what": "arguments", "true": signature, "found": found, "evmole": others}
        if said and signature in declared:
            given, mutable = declared[signature]
            yield from _compare_returns(signature, said, given, counts)
            if record["kind"] == "own":
                yield from _compare_mutability(signature, said, mutable, counts)


def _declared(record: Record) -> dict[str, tuple[tuple[str, ...], str]]:
    """{signature: (types given back, mutability)} by the ABI."""
    functions = [one for one in record["abi"] if one["type"] == "function" and "stateMutability" in one]
    return {
        f"{one['name']}({','.join(map(_abi_type, one['inputs']))})": (
            tuple(map(_abi_type, one["outputs"])),
            one["stateMutability"],
        )
        for one in functions
    }


def _abi_type(part: Record) -> str:
    if part["type"].startswith("tuple"):
        return f"({','.join(map(_abi_type, part['components']))}){part['type'][5:]}"
    return str(part["type"])


def _compare_returns(
    signature: str, said: PublicFunction, given: tuple[str, ...], counts: Counter[str]
) -> Iterator[Record]:
    found = None if said.returns is None else ",".join(said.returns)
    true = ",".join(given)
    counts["returns"] += 1
    counts["returns_right"] += found == true
    counts["returns_kind"] += found is not None and _kind(found) == _kind(true)
    if found is None or _kind(found) != _kind(true):
        yield {"what": "returns", "true": f"{signature} {true}", "found": found}


def _compare_mutability(
    signature: str, said: PublicFunction, mutable: str, counts: Counter[str]
) -> Iterator[Record]:
    counts["mutability"] += 1
    counts["mutability_right"] += said.mutability == mutable
    if said.mutability != mutable:
        yield {"what": "mutability", "true": f"{signature} {mutable}", "found": said.mutability}


def _peer(record: Record) -> dict[int, str]:
    if find_spec("evmole") is None:
        return {}
    import evmole

    about = evmole.contract_info(bytes.fromhex(record["runtime"]), selectors=True, arguments=True)
    return {int(function.selector, 16): function.arguments or "" for function in about.functions or ()}


def compare_storage(
    record: Record, contract: Contract, mine: list[StateVariable], counts: Counter[str]
) -> Iterator[Record]:
    layout = record["storage_layout"]
    if not layout or not layout.get("types"):
        return
    if "storage_used" not in record:
        counts["storage_unsaid"] += len(layout["storage"])
        return
    found = {(one.slot, one.offset): one for one in mine if not one.transient}
    slots = reached_slots(contract)
    for one in layout["storage"]:
        members = list(_members(one, layout["types"], 0))
        touched = [m for m in members if m[0] in slots or _data_of(m[0]) in slots]
        if one["astId"] not in record["storage_used"]:
            counts["storage_unnamed"] += 1
        elif not touched:
            counts["storage_untouched"] += 1
        elif any("?" in m[3] for m in touched):
            counts["storage_unsaid"] += 1
        else:
            own: Counter[str] = Counter()
            yield from _compare_variable(one["label"], touched, found, own)
            counts.update(own)
            if record["kind"] != "wrapper":
                counts.update({f"{name}_own": number for name, number in own.items()})


def _compare_variable(
    label: str, members: list[Variable], found: dict[tuple[int, int], StateVariable], counts: Counter[str]
) -> Iterator[Record]:
    """Counts one variable; `members`: those in touched slots, itself if it is no struct."""
    offs = []
    for slot, offset, size, kind, name in members:
        known = found.get((slot, offset))
        off = _difference(known, min(size, 32), kind)
        if len(members) > 1:
            counts["member"] += 1
            counts["member_right"] += not off
            counts["member_alike"] += off in ("", "alike")
        neighbours = any((slot, other) in found for other in range(32))
        if off != "missing" or not neighbours or len(members) == 1:
            offs.append((off, [slot, offset, size, kind, name], known and known.type))
    places = {(slot, offset) for slot, offset, *_ in members}
    slots = {slot for slot, _ in places}
    offs += [
        ("size", [*place, 0, "", label], one.type)
        for place, one in found.items()
        if place[0] in slots and place not in places and len(members) > 1
    ]
    off, true, said = min(offs, key=lambda one: (one[0] == "", one[0] == "alike"))
    counts["storage"] += 1
    counts["storage_right"] += not off
    counts["storage_alike"] += off in ("", "alike")
    if off:
        counts[f"off_{off}"] += 1
        yield {"what": "storage", "off": off, "true": true, "found": said}


_MOST_SUMS = 4
"""Constants added to one another on the way to a slot: nested structs, and one element."""


def reached_slots(contract: Contract) -> set[int]:
    """Constants that the slot of an access to storage can be, or what is hashed for one; whatever the way there.

    Sets of constants are followed through phis, sums with constants, and calls, all calls of a function together.
    """
    known: dict[tuple[str, str], set[tuple[int, int]]] = {}
    slots: set[int] = set()
    changed = True
    while changed:
        before = sum(map(len, known.values())), len(slots)
        for function in contract.functions.values():
            for block in function.blocks.values():
                _follow(contract, function.name, block, known, slots)
        changed = before != (sum(map(len, known.values())), len(slots))
    return slots


def _follow(
    contract: Contract,
    name: str,
    block: Block,
    known: dict[tuple[str, str], set[tuple[int, int]]],
    slots: set[int],
) -> None:
    def of(word: int | str) -> set[tuple[int, int]]:
        """{(constant, sums on the way)}"""
        return {(word, 0)} if isinstance(word, int) else known.get((name, word), set())

    def note(function: str, variable: str, words: set[tuple[int, int]]) -> None:
        known.setdefault((function, variable), set()).update(words)

    hashed = {s.args for s in block.statements if s.op == "KECCAK256"}
    keys = () if hashed - {(0, 64)} else (0,)
    for phi in block.phis:
        for word in phi.incoming.values():
            note(name, phi.result, of(word))
    for s in block.statements:
        if s.op in ("SLOAD", "SSTORE"):
            slots.update(word for word, _ in of(s.args[0]))
        elif s.op == "MSTORE" and hashed and s.args[0] not in keys:
            slots.update(word for word, _ in of(s.args[1]))
        elif s.op == "ADD":
            sums = {(a + b, n + m + 1) for a, n in of(s.args[0]) for b, m in of(s.args[1])}
            note(name, s.results[0], {one for one in sums if one[1] <= _MOST_SUMS})
        elif s.op == "CALLPRIVATE":
            callee = contract.functions[s.function]
            for param, word in zip(callee.params, s.args, strict=True):
                note(callee.name, param, of(word))
            for position, result in enumerate(s.results):
                note(name, result, known.get((callee.name, f"return {position}"), set()))
    if block.end.op == "RETURNPRIVATE":
        for position, word in enumerate(block.end.args):
            note(name, f"return {position}", of(word))


def _difference(known: StateVariable | None, size: int, true: str) -> str:
    """Why what was found is not right; "" if it is."""
    if known is None:
        return "missing"
    if known.size != size:
        return "size"
    said = _plain(known.type)
    if said == true:
        return ""
    if _kind(said) == _kind(true):
        return "alike"
    if "struct" in true and "struct" not in said:
        return "struct"
    if true.endswith("[]") and said == "uint256":
        return "length"
    return "key" if re.sub(r"\(\w+=", "(=", said) == re.sub(r"\(\w+=", "(=", true) else "type"


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
    if "userDefinedValueType" in key:
        return "?"
    first = label.split()[0]
    return {"contract": "address", "enum": "uint8", "function": "function"}.get(first, first)


def _plain(found: str) -> str:
    return re.sub(r"Struct\w*", "struct", found.replace(" ", ""))


def _kind(found: str) -> str:
    return re.sub(r"\bu?int256\b|\bbytes32\b", "word", re.sub(r"\bbytes\b", "string", found))


def measure(path: Path, known: Known) -> Record:
    counts: Counter[str] = Counter()
    wrong: list[Record] = []
    seconds = []
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        started = time.perf_counter()
        contract = lift_code(bytes.fromhex(record["runtime"]))
        types, storage = read(contract, known)
        seconds.append(time.perf_counter() - started)
        said = [
            *compare_arguments(record, types, counts),
            *compare_storage(record, contract, storage, counts),
        ]
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
        "returns_right",
        "returns_kind",
        "mutability_right",
        "storage_right",
        "storage_alike",
        "storage_right_own",
        "storage_alike_own",
    )
    wholes = {
        name: counts[name.partition("_")[0] + ("_own" if name.endswith("_own") else "")] for name in names
    }
    return {name: counts[name] / wholes[name] if wholes[name] else None for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--listed", type=int, default=40, help="wrong ones per file in --out")
    parser.add_argument("--alone", action="store_true", help="by code alone, without known signatures")
    options = parser.parse_args()
    results, total = [], Counter[str]()
    for path in options.files:
        result = measure(path, Signatures() if options.alone else Signatures.builtin())
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
        about = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "signatures": not options.alone,
        }
        whole = {"about": about, "counts": dict(total), "shares": _shares(total), "corpora": results}
        options.out.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
