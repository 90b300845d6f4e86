"""What calls of a contract do not show of one of its functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whet.evm.one_function import Token, Written, closed, tokens_of
from whet.evm.replay.vectors import methods_of, type_of
from whet.evm.solc.harness import Harness

UNSEEN = "what it returns in storage or writes in memory is not seen"
WHOLE_CALL = "it or the author's ends or reads the whole call, itself or by what it calls: for its callers that is not seen"
_MEMBERS = {"data": "calldata", "sig": "calldata", "value": "value"}
_ASSEMBLY = {
    **dict.fromkeys(("return", "stop"), "ends"),
    **dict.fromkeys(("calldataload", "calldatacopy", "calldatasize"), "calldata"),
    "callvalue": "value",
}
_ENDING = ("selfdestruct", "suicide")


@dataclass(frozen=True, slots=True)
class _Body:
    """A function or modifier. kinds: what it has to do with the call of its contract; calls, members: names that it calls by
    themselves (a base's and a library's too) and behind a value; outside: whether it is called from outside."""

    kinds: frozenset[str]
    calls: frozenset[str]
    members: frozenset[str]
    outside: bool


def exposing(harness: Harness, abi: Sequence[dict[str, Any]]) -> dict[int, str]:
    """{selector: name} of the functions that the harness wrote."""
    written = {one.by for one in harness.functions}
    named = [(one.selector, one.name.partition("(")[0]) for one in methods_of(list(abi))]
    return {selector: name for selector, name in named if selector is not None and name in written}


def hiding(harness: Harness, abi: Sequence[dict[str, Any]], selectors: Collection[int | None]) -> list[str]:
    """The names of all that answer these selectors, where one of them hides something of the function that it exposes."""
    called = [name for selector, name in exposing(harness, abi).items() if selector in selectors]
    return called if any(one.hides for one in harness.functions if one.by in called) else []


def whole_call(function: Written, texts: Iterable[str]) -> set[str]:
    """What a function's text has to do with the call of its contract instead of its own: whether it "ends" that in assembly or
    with `selfdestruct`, and reads its "calldata" (not where that is an argument) or its "value"; itself, or by whatever has
    the name of something that it calls in these sources, which compile."""
    of_texts = [_bodies(text) for text in texts]
    own = _body(function.tokens, function.closing)
    found, work, done = set(own.kinds), [own], set[tuple[str, bool]]()
    while work:
        body = work.pop()
        calls = {(name, False) for name in body.calls} | {(name, True) for name in body.members}
        for name, member in calls - done:
            done.add((name, member))
            named = [one for bodies in of_texts for one in bodies.get(name, ())]
            work += [one for one in named if not (member and one.outside)]
        found |= body.kinds
    return found


@lru_cache(maxsize=256)
def _bodies(text: str) -> dict[str, list[_Body]]:
    """By name, of a source."""
    tokens = tokens_of(text)
    found: dict[str, list[_Body]] = {}
    for at, token in enumerate(tokens[:-1]):
        if token.text not in ("function", "modifier"):
            continue
        opening = next((i for i in range(at, len(tokens)) if tokens[i].text in ("{", ";", "}")), at)
        if tokens[opening].text == "{":
            function = tokens[at : closed(tokens, opening, "{", "}") + 1]
            found.setdefault(tokens[at + 1].text, []).append(_body(function, 1))
    return found


def _body(tokens: Sequence[Token], closing: int) -> _Body:
    """Of its tokens, of which those from `closing` on can call something."""
    words = [token.text for token in tokens]
    kinds, calls, members, until = set[str](), set[str](), set[str](), -1
    header = words[: words.index("{")]
    for at, word in enumerate(words):
        if word == "assembly" and at > until:
            until = closed(tokens, words.index("{", at), "{", "}")
        behind = words[max(at - 2, 0) : at]
        if behind == ["msg", "."] and word in _MEMBERS:
            kinds.add(_MEMBERS[word])
        elif word in _ENDING:
            kinds.add("ends")
        elif at < until and word in _ASSEMBLY and not _of_argument(tokens, at):
            kinds.add(_ASSEMBLY[word])
        elif at > closing and (words[at + 1 : at + 2] == ["("] or at < len(header)):
            of_value = behind[-1:] == ["."] and not _is_type(behind[0])
            (members if of_value else calls).add(word)
    return _Body(
        frozenset(kinds), frozenset(calls), frozenset(members), not {"external", "public"}.isdisjoint(header)
    )


def _is_type(word: str) -> bool:
    """Whether a word before a dot is a contract or library, or `super`: what is behind it is called from within."""
    return word == "super" or (word[:1].isupper() and not word.isupper())


def _of_argument(tokens: Sequence[Token], at: int) -> bool:
    """Whether what is read of the calldata is an argument that lies there, by its `offset`."""
    if tokens[at].text not in ("calldataload", "calldatacopy"):
        return False
    inside = [token.text for token in tokens[at : closed(tokens, at + 1, "(", ")")]]
    return any(inside[i : i + 2] == [".", "offset"] for i in range(len(inside)))


def doors(abi: Sequence[dict[str, Any]]) -> set[str]:
    """Every call that a contract of this ABI answers: "name(types)", "receive", "fallback"."""
    return {
        f"{entry['name']}({','.join(type_of(one) for one in entry['inputs'])})"
        if kind == "function"
        else kind
        for entry in abi
        if (kind := entry.get("type", "function")) in ("function", "receive", "fallback")
    }
