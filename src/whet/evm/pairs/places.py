"""Where each function of a chunk stands in bytecode: in which contract, and what to look for there, the best first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from whet.evm.pairs.compiled import Found
from whet.evm.pairs.inventory import Defined
from whet.evm.pairs.label import Key

_KINDS = ("own", "wrapper", "subclass")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function could be taken from. contract: its number in `Found.contracts`. key: a selector, "fallback",
    "receive", or "pc:" and an offset. bodies: the offsets at which its own body stands."""

    contract: int
    key: int | str
    bodies: tuple[int, ...]
    function: Defined


def places(done: Found) -> dict[str, list[Place]]:
    """{hash of a function: places}: its own contract first, then the smallest."""
    functions: dict[Key, Defined] = {(one.file, one.start): one for one in done.functions}
    found: dict[str, list[tuple[tuple[int, ...], Place]]] = defaultdict(list)
    for at, (one, labels) in enumerate(done.contracts):
        entries: dict[Key, list[int]] = defaultdict(list)
        for pc, key in labels.entries.items():
            entries[key].append(pc)
        ways: dict[Key, int | str] = {key: f"pc:{pcs[0]}" for key, pcs in entries.items()}
        ways |= {key: name for name, key in labels.special.items()}
        ways |= {key: selector for selector, key in labels.selectors.items()}
        for key, way in ways.items():
            function = functions.get(key)
            if function is not None:
                rank = (
                    int((one.file, one.subject) != (function.file, function.contract)),
                    _KINDS.index(one.kind),
                    len(labels.runtime),
                    at,
                )
                place = Place(at, way, tuple(entries.get(key, ())), function)
                found[function.hash].append((rank, place))
    return {
        key: [place for _, place in sorted(options, key=lambda option: option[0])]
        for key, options in found.items()
    }
