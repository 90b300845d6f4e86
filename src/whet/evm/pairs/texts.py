"""The TAC of chosen functions of one contract as text, each with what its reader needs: called functions, storage.

Private functions that have a name of their own (helpers of the compiler's) are not shown: the name says what they do.
Cost: the contract is lifted and analysed once, about 0.1 to 1 s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import Meaning
from whet.evm.meaning.exits import apart
from whet.evm.pairs.inventory import digest
from whet.evm.tac import Contract, Function
from whet.evm.text import count_tokens, structured_function
from whet.evm.text.structured import CHECKED

MOST_CALLED = 4_000
"""Tokens (`whet.evm.text.count_tokens`) of called functions in one pair; what is deeper is left out."""

MOST_TOKENS = 20_000
"""A function of more tokens is too long."""

_PLACE = re.compile(r"\bp_[0-9a-f]+(?:_\d+)?\b")


@dataclass(frozen=True, slots=True)
class Text:
    """A function's text. called: {name: text}, nearest first. body: one of these, or "". missing: why there is no text."""

    text: str = ""
    called: tuple[tuple[str, str], ...] = ()
    body: str = ""
    storage: tuple[str, ...] = ()
    hash: str = ""
    missing: str = ""


NONE, CUT, LONG, FAILED = "none", "cut", "long", "failed"
"""Values of `Text.missing`: no such function, not complete, too long, a mistake of the lifter's."""

Wanted = Sequence[tuple[int | str, Sequence[int]]]
"""Functions: a selector, "fallback", "receive", or "pc:" and an offset; and the offsets at which its own body stands."""


def failed(runtime: str, wanted: Wanted) -> list[Text]:
    """What `texts` gives where it cannot give anything."""
    return [Text(missing=FAILED) for _ in wanted]


def texts(runtime: str, wanted: Wanted) -> list[Text]:
    """The text of each of `wanted`, or why there is none. `runtime`: hexadecimal."""
    try:
        return _texts(runtime, wanted)
    except Exception:  # noqa: BLE001 - a mistake of ours with one contract: counted by its reason, and the rest goes on
        return failed(runtime, wanted)


def _texts(runtime: str, wanted: Wanted) -> list[Text]:
    contract = apart(lift_code(bytes.fromhex(runtime)))
    meaning = analyse(contract)
    shown = _Shown(contract, meaning)
    private = {f.pc: f for f in contract.functions.values() if f.kind == "private"}
    found = []
    for key, bodies in wanted:
        function = _function(contract, private, key)
        names = {private[pc].name for pc in bodies if pc in private}
        found.append(shown.text(function, names) if function else Text(missing=NONE))
    return found


def _function(contract: Contract, private: dict[int, Function], key: int | str) -> Function | None:
    """Where nothing is dispatched, the entry is the fallback."""
    if isinstance(key, int):
        return contract.public.get(key)
    if key.startswith("pc:"):
        return private.get(int(key[3:]))
    found = next((f for f in contract.functions.values() if f.kind == key), None)
    alone = all(f.kind in ("entry", "private") for f in contract.functions.values())
    return contract.entry if found is None and alone and key == "fallback" else found


class _Shown:
    """The texts of a contract's functions, each written once."""

    def __init__(self, contract: Contract, meaning: Meaning) -> None:
        self.contract, self.meaning = contract, meaning
        self._texts: dict[str, str] = {}
        self._storage = [
            (
                re.compile(rf"\b{re.escape(v.name)}\b"),
                f"{v.type + ' ' if v.type else ''}{v.name}; // slot {v.slot}",
            )
            for v in meaning.storage
        ]

    def text(self, function: Function, bodies: set[str]) -> Text:
        text = self._of(function)
        if not function.complete:
            return Text(missing=CUT)
        if count_tokens(text) > MOST_TOKENS:
            return Text(missing=LONG)
        called = self._called(function.name, text)
        whole = "\n".join([text, *called.values()])
        body = next((name for name in called if name in bodies), "")
        return Text(text, tuple(called.items()), body, self._declared(whole), digest(placeless(whole)))

    def _of(self, function: Function) -> str:
        if function.name not in self._texts:
            text = structured_function(self.contract, function, self.meaning)
            self._texts[function.name] = text.removeprefix(f"{CHECKED}\n")
        return self._texts[function.name]

    def _called(self, name: str, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        left = MOST_CALLED
        work = [text]
        for shown in work:
            for other in dict.fromkeys(_PLACE.findall(shown)):
                function = self.contract.functions.get(other)
                if function is None or other == name or other in found:
                    continue
                told = self._of(function)
                left -= count_tokens(told)
                if left < 0:
                    return found
                found[other] = told
                work.append(told)
        return found

    def _declared(self, whole: str) -> tuple[str, ...]:
        return tuple(line for name, line in self._storage if name.search(whole))


def placeless(text: str) -> str:
    """With the names that private functions have from their place in the code numbered instead."""
    numbers: dict[str, str] = {}
    return _PLACE.sub(lambda match: numbers.setdefault(match[0], f"p{len(numbers)}"), text)
