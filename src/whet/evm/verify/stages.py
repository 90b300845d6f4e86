"""How far a text gets as the Solidity of a contract: four stages, each only where the one before was reached.

format    it is text with a contract in it
compile   the compiler takes it
abi       every function of the contract is there, with arguments and results that are encoded the same
replay    every function is *same* (`whet.evm.verify`)

Left out: how readable it is. Cost: the compiler's, once for each text and settings, and a verification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.errors import CodeError
from whet.evm.replay.vectors import methods_of, type_of
from whet.evm.solc.compiler import CompileError
from whet.evm.verify import verify
from whet.evm.verify.nouns import (
    NOT_COMPILED,
    SAME,
    Budget,
    Evidence,
    Verdict,
    Verification,
)
from whet.evm.verify.sides import compiled

STAGES = ("format", "compile", "abi", "replay")
_CONTRACT = re.compile(r"\b(contract|library)\s+[A-Za-z_$]")


@dataclass(slots=True)
class Score:
    """stages: those that were reached, in order. problem: why the next one was not. functions: of the truth;
    abi_exact: of these, with exact arguments and results."""

    stages: tuple[str, ...]
    problem: str
    functions: int
    abi_exact: int
    verification: Verification

    @property
    def same(self) -> int:
        """Functions that are the same."""
        return self.verification.counts.get(SAME, 0)

    @property
    def perfect(self) -> bool:
        """All four stages."""
        return self.stages == STAGES


def score(
    runtime: bytes,
    abi: Sequence[dict[str, Any]],
    text: str,
    compiler: str,
    settings: Mapping[str, Any],
    *,
    contract: str = "",
    claimed: Sequence[dict[str, Any]] | None = None,
    libraries: dict[int, bytes] | None = None,
    budget: Budget | None = None,
    seed: int = 0,
) -> Score:
    """The stages of `text` for the contract with that runtime code and that (true) ABI.

    compiler, settings: as in `whet.evm.verify.sides.compiled`. contract: its name in the text, where it has several.
    claimed: the ABI of the text, if its fallback reaches functions that the compiler's does not name (`solidity.Source.abi`).
    libraries: {address: code}. Raises WhetError if the compiler cannot be had.
    """
    known = {m.selector: m.name for m in methods_of(list(abi)) if m.selector is not None}
    nothing = Verification([_not_compiled(name, selector) for selector, name in known.items()], seed)
    if not _CONTRACT.search(text):
        return Score((), "no contract in the text", len(known), 0, nothing)
    try:
        code = compiled({"candidate.sol": text}, compiler, settings, contract)
    except (CompileError, CodeError) as error:
        return Score(STAGES[:1], str(error), len(known), 0, nothing)
    wrong = abi_differences(abi, list(code.abi) if claimed is None else claimed)
    found = verify(runtime, code.runtime, list(abi), libraries=libraries, budget=budget, seed=seed)
    exact = len(known) - len({selector for selector in wrong if selector in known})
    if wrong:
        return Score(STAGES[:2], "; ".join(wrong.values()), len(known), exact, found)
    if not found.perfect:
        worst = [f"{one.function} is {one.verdict}" for one in found.verdicts if one.verdict != SAME]
        return Score(STAGES[:3], "; ".join(worst), len(known), exact, found)
    return Score(STAGES, "", len(known), exact, found)


def _not_compiled(name: str, selector: int) -> Verdict:
    return Verdict(name, selector, NOT_COMPILED, ["the candidate does not compile"], Evidence())


def abi_differences(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[int, str]:
    """{selector: what is different} of functions that only one has, or whose results are encoded otherwise.

    The selector covers names and arguments. Mutability is not compared, as calls are the same: what takes ether shows in
    the replay.
    """
    mine, yours = _results(ours), _results(theirs)
    wrong = {selector: f"{mine[selector][0]} is missing" for selector in mine if selector not in yours}
    wrong |= {
        selector: f"{yours[selector][0]} is not of the original" for selector in yours if selector not in mine
    }
    for selector in set(mine) & set(yours):
        if mine[selector][1] != yours[selector][1]:
            wrong[selector] = f"{mine[selector][0]} gives ({mine[selector][1]}), not ({yours[selector][1]})"
    return dict(sorted(wrong.items()))


def _results(abi: Sequence[dict[str, Any]]) -> dict[int, tuple[str, str]]:
    """{selector: (signature, types of the results as they are encoded)}."""
    entries = [entry for entry in abi if entry.get("type", "function") == "function"]
    methods = [m for m in methods_of(list(abi)) if m.selector is not None]
    return {
        m.selector: (m.name, ",".join(_encoded(type_of(item)) for item in entry.get("outputs", ())))
        for m, entry in zip(methods, entries, strict=True)
        if m.selector is not None
    }


def _encoded(kind: str) -> str:
    """Types that bytecode cannot tell apart are encoded the same: an address is a uint160, a contract an address."""
    return re.sub(r"\baddress\b", "uint160", kind.replace("string", "bytes"))
