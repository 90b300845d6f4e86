"""What is called: the functions of the ABI, those that only one of the codes has, and what no selector reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whet.evm.meaning.analyse import analyse
from whet.evm.replay.vectors import Method, encodable, methods_of
from whet.evm.tac import Contract

RECEIVE, FALLBACK = "(receive)", "(fallback)"


def methods(abi: Sequence[dict[str, Any]], original: Contract, candidate: Contract) -> list[Method]:
    """In the order of the ABI; then what only the codes have, by selector; then receive and fallback.

    Types that no ABI says are those that the original's code shows (`whet.evm.meaning`), else words at random.
    """
    found = [method for method in methods_of(list(abi)) if method.selector is not None]
    known = {method.selector for method in found}
    shown = recovered(original)
    more = sorted((set(original.public) | set(candidate.public)) - known)
    found += [shown.get(key) or Method(f"0x{key:08x}", key, None, True) for key in more]
    for name, kind in ((RECEIVE, "receive"), (FALLBACK, "fallback")):
        entries = [entry for entry in abi if entry.get("type") in ("receive", "fallback")]
        payable = not abi or any(
            entry.get("stateMutability") == "payable" or entry.get("payable") for entry in entries
        )
        found.append(Method(name, None, () if kind == "receive" else None, payable))
    return found


def recovered(contract: Contract) -> dict[int, Method]:
    """{selector: method} as the code itself shows it: "0xa9059cbb(address,uint256)" where no name is known."""
    found = {}
    meanings = analyse(contract).functions
    for selector, function in contract.public.items():
        meaning = meanings.get(function.name)
        types = tuple(p.type for p in meaning.parameters or ()) if meaning else ()
        if meaning is None or meaning.parameters is None or not all(map(encodable, types)):
            continue
        name = f"{meaning.name.partition('(')[0] or f'0x{selector:08x}'}({','.join(types)})"
        found[selector] = Method(name, selector, types, meaning.mutability in ("payable", ""))
    return found
