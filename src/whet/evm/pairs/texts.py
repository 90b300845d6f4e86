"""The TAC of chosen functions of one contract as text, each with what its reader needs: called functions, storage.

Each is written twice: with the names that the table of signatures knows, and as if it knew none of the contract's own
functions. Private functions that have a name of their own (helpers of the compiler's) are not shown: the name says what they
do. Cost: the contract is lifted once and analysed twice, about 0.1 to 1 s; emitted too, as long again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import Meaning
from whet.evm.meaning.untangle import untangled
from whet.evm.pairs.inventory import digest
from whet.evm.pairs.names import NOTHING as NO_NAMES
from whet.evm.pairs.names import Known, named
from whet.evm.pairs.nouns import ENDED, MOST_TOKENS, PLACE, View
from whet.evm.signatures import Signatures
from whet.evm.solidity.emit import emit
from whet.evm.tac import Contract, Function
from whet.evm.text import count_tokens, structured_function
from whet.evm.text.structured import CHECKED

MOST_CALLED = 4_000
"""Tokens (`whet.evm.text.count_tokens`) of called functions in one pair; what is deeper is left out."""

_WORD = re.compile(r"\w+")

NOTHING = View("", {}, [])


@dataclass(frozen=True, slots=True)
class Text:
    """A function's text. shown, hidden: with and without the names of the contract's functions. body: one of the called
    functions, or "". ids: {name of the author's, as the views have it: what it stands for}. hash: of what is shown.
    takes: words that a private function takes. bound: whether functions that it is given are fixed in its code. missing: why
    there is no text; detail: more of that."""

    shown: View = NOTHING
    hidden: View = NOTHING
    body: str = ""
    ids: dict[str, int] = field(default_factory=dict)
    hash: str = ""
    takes: int = 0
    bound: bool = False
    missing: str = ""
    detail: str = ""


NONE, CUT, LONG, FAILED = "none", "cut", "long", "failed"
"""Values of `Text.missing`: no such function, not complete, too long, a mistake of the lifter's."""

Wanted = Sequence[tuple[int | str, Sequence[int]]]
"""Functions: a selector, "fallback", "receive", or "pc:" and an offset; and the offsets at which its own body stands."""


def ended(runtime: str, wanted: Wanted, emitted: bool, known: Known = NO_NAMES) -> list[Text]:
    """What there is instead of `texts` where the system ended its process."""
    return [Text(missing=FAILED, detail=ENDED) for _ in wanted]


def texts(runtime: str, wanted: Wanted, emitted: bool = False, known: Known = NO_NAMES) -> list[Text]:
    """The text of each of `wanted`, or why there is none. `runtime`: hexadecimal. emitted: the emitter's Solidity too.
    known: the author's names."""
    try:
        return _texts(runtime, wanted, emitted, known)
    except Exception as error:  # noqa: BLE001 - a mistake of ours with one contract: counted by its reason, and the rest goes on
        return [Text(missing=FAILED, detail=f"{type(error).__name__}: {error}") for _ in wanted]


def _texts(runtime: str, wanted: Wanted, emitted: bool, known: Known) -> list[Text]:
    contract = untangled(lift_code(bytes.fromhex(runtime)))
    table = Signatures.builtin()
    shown = _Shown(contract, analyse(contract, table), emitted, known)
    hidden = _Shown(contract, analyse(contract, table.without_functions(contract.public)), emitted, known)
    private = [f for f in contract.functions.values() if f.kind == "private"]
    found = []
    for key, bodies in wanted:
        function = function_of(contract, key)
        names = {one.name for one in private if one.pc in bodies}
        found.append(_text(function, names, shown, hidden) if function else Text(missing=NONE))
    return found


def _text(function: Function, bodies: set[str], shown: _Shown, hidden: _Shown) -> Text:
    if not function.complete:
        return Text(missing=CUT)
    view = shown.view(function)
    if count_tokens(view.tac) > MOST_TOKENS:
        return Text(missing=LONG)
    other = hidden.view(function)
    body = next((name for name in view.called if name in bodies), "")
    whole = "\n".join([view.tac, *view.called.values()])
    ids = hidden.ids(other) | shown.ids(view)
    bound = function.kind == "private" and is_bound(function)
    return Text(view, other, body, ids, digest(placeless(whole)), len(function.params), bound)


def function_of(contract: Contract, key: int | str) -> Function | None:
    """The function that a key of `Wanted` means; where nothing is dispatched, the entry is the fallback."""
    if isinstance(key, int):
        return contract.public.get(key)
    if key.startswith("pc:"):
        return _private(contract).get(int(key[3:]))
    found = next((f for f in contract.functions.values() if f.kind == key), None)
    alone = all(f.kind in ("entry", "private") for f in contract.functions.values())
    return contract.entry if found is None and alone and key == "fallback" else found


def _private(contract: Contract) -> dict[int, Function]:
    """By offset; of several there, of which each is bound to other functions, that with the fewest."""
    private = [f for f in contract.functions.values() if f.kind == "private"]
    return {f.pc: f for f in sorted(private, key=lambda f: f.name.count("_"), reverse=True)}


def is_bound(function: Function) -> bool:
    """Whether a private function is a copy for certain functions that it is given (`whet.evm.functions.Private`)."""
    return function.name != f"p_{function.pc:x}"


def views(contract: Contract, meaning: Meaning, *, emitted: bool = False) -> Callable[[Function], View]:
    """How each function of a contract is shown by one meaning, where there is no pair."""
    return _Shown(contract, meaning, emitted).view


class _Shown:
    """The texts of a contract's functions by one meaning, each written once."""

    def __init__(self, contract: Contract, meaning: Meaning, emitted: bool, known: Known = NO_NAMES) -> None:
        self.contract, self.meaning, self.known = contract, meaning, known
        self._texts: dict[str, str] = {}
        structs = [line for line in meaning.declarations if line.startswith("struct ")]
        self._storage = [
            (
                re.compile(rf"\b{re.escape(v.name)}\b"),
                _with_structs(f"{v.type + ' ' if v.type else ''}{v.name}; // slot {v.slot}", structs),
            )
            for v in meaning.storage
        ]
        self._emitted = _emitted(contract, meaning) if emitted else {}

    def view(self, function: Function) -> View:
        text = self._of(function)
        called = self._called(function.name, text)
        whole = "\n".join([text, *called.values()])
        emitted = self._emitted.get(function.name, "")
        names = {name: theirs for name, (theirs, _) in self._named(whole).items()}
        return View(text, called, self._declared(whole), emitted, names)

    def ids(self, view: View) -> dict[str, int]:
        """{name of the author's in a view's names: what it stands for}."""
        return dict(self._named("\n".join([view.tac, *view.called.values()])).values())

    def _named(self, whole: str) -> dict[str, tuple[str, int]]:
        return named(whole, self.contract.functions.values(), self.meaning.storage, self.known)

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
            for other in dict.fromkeys(PLACE.findall(shown)):
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

    def _declared(self, whole: str) -> list[str]:
        return [line for name, line in self._storage if name.search(whole)]


def _emitted(contract: Contract, meaning: Meaning) -> dict[str, str]:
    """{name of a function: the emitter's Solidity of it}; {} if the emitter fails."""
    try:
        source = emit(contract, meaning)
    except Exception:  # noqa: BLE001 - a mistake of ours: the pair stays, and counts as one without it
        return {}
    return {one.of: source.written(one) for one in source.functions}


def _with_structs(line: str, structs: Sequence[str]) -> str:
    """A declaration below those of the structs that it names, and those name; the inner ones come first in `structs`."""
    named = set(_WORD.findall(line))
    needed = []
    for struct in reversed(structs):
        if struct.split()[1] in named:
            named |= set(_WORD.findall(struct))
            needed.append(struct)
    return "\n".join([*reversed(needed), line])


def placeless(text: str) -> str:
    """With the names that private functions have from their place in the code numbered instead."""
    numbers: dict[str, str] = {}
    return PLACE.sub(lambda match: numbers.setdefault(match[0], f"p{len(numbers)}"), text)
