"""What calls of a contract do not show of one of its functions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from whet.evm.one_function import Written, closed
from whet.evm.replay.vectors import methods_of, type_of
from whet.evm.solc.harness import Harness

UNSEEN = "what it returns in storage or writes in memory is not seen"
WHOLE_CALL = "it ends or reads the whole call where the author's does not, or the reverse: for its callers that is not seen"
_WHOLE = {
    **dict.fromkeys(("return", "stop", "selfdestruct", "suicide"), "ends"),
    **dict.fromkeys(("calldataload", "calldatacopy", "calldatasize", "data", "sig"), "calldata"),
    **dict.fromkeys(("callvalue", "value"), "value"),
}
_ENDING = ("selfdestruct", "suicide")


def exposing(harness: Harness, abi: Sequence[dict[str, Any]]) -> dict[int, str]:
    """{selector: name} of the functions that the harness wrote."""
    written = {one.by for one in harness.functions}
    named = [(one.selector, one.name.partition("(")[0]) for one in methods_of(list(abi))]
    return {selector: name for selector, name in named if selector is not None and name in written}


def hiding(harness: Harness, abi: Sequence[dict[str, Any]], selectors: Collection[int | None]) -> list[str]:
    """The names of all that answer these selectors, where one of them hides something of the function that it exposes."""
    called = [name for selector, name in exposing(harness, abi).items() if selector in selectors]
    return called if any(one.hides for one in harness.functions if one.by in called) else []


def whole_call(function: Written) -> set[str]:
    """What an internal function's text has to do with the call of its contract instead of its own: whether it "ends" that in
    assembly or with `selfdestruct`, and reads its "calldata" (not where that is an argument) or its "value"."""
    words = [token.text for token in function.tokens]
    found, until = set(), -1
    for at, word in enumerate(words):
        if word == "assembly" and at > until:
            until = closed(function.tokens, words.index("{", at), "{", "}")
        member = words[max(at - 2, 0) : at] == ["msg", "."]
        if word in _WHOLE and (member or word in _ENDING or at < until):
            found.add(_WHOLE[word])
    return found - ({"calldata"} if "calldata" in words[: function.closing] else set())


def doors(abi: Sequence[dict[str, Any]]) -> set[str]:
    """Every call that a contract of this ABI answers: "name(types)", "receive", "fallback"."""
    return {
        f"{entry['name']}({','.join(type_of(one) for one in entry['inputs'])})"
        if kind == "function"
        else kind
        for entry in abi
        if (kind := entry.get("type", "function")) in ("function", "receive", "fallback")
    }
