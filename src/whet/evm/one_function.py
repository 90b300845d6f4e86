"""A text that should be one function of Solidity: whether it is one, and the same with other names.

Works on tokens, since what a model writes need not be Solidity at all. The compiler's parser has the last word on the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from whet import limits
from whet.evm.pairs.inventory import TOKEN

LINE_ENDS = re.compile("\r\n|[\r\v\f\u2028\u2029]")
"""What ends a comment for the compiler, beside a line feed."""

_BEGINS = ("function", "fallback", "receive")
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_KEYWORDS = """
return emit new delete else do throw revert is using import in case default leave break continue
"""
_NO_TYPES = frozenset(_KEYWORDS.split())
"""Words that may stand in front of a name without declaring it."""


class NotOne(Exception):
    """It is not one function; says why."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Written:
    """A function with a body. tokens: without comments. name: of which token, None without one; closing: the bracket behind
    its parameters; opening: the brace before its body."""

    text: str
    tokens: list[Token]
    name: int | None
    closing: int
    opening: int

    @property
    def called(self) -> str:
        return "" if self.name is None else self.tokens[self.name].text

    @property
    def parameters(self) -> range:
        """The tokens between the brackets."""
        return range(2 if self.name is None else 3, self.closing)


def read(text: str) -> Written:
    """The only function of a text. Raises NotOne."""
    require_short(text)
    if text.encode("utf-8", "replace").decode() != text or "\0" in text:
        raise NotOne("holds what is no text")
    text = LINE_ENDS.sub("\n", text)
    tokens = list(_tokens(text))
    if not tokens or tokens[0].text not in _BEGINS:
        raise NotOne("does not begin with a function")
    named = tokens[0].text == "function" and len(tokens) > 1 and _WORD.fullmatch(tokens[1].text)
    closing = closed(tokens, 2 if named else 1, "(", ")")
    opening = closing + 1
    while opening < len(tokens) and tokens[opening].text != "{":
        if tokens[opening].text in ("}", ";", ")"):
            raise NotOne("a function without a body")
        opening = closed(tokens, opening, "(", ")") + 1 if tokens[opening].text == "(" else opening + 1
    last = closed(tokens, opening, "{", "}")
    if last != len(tokens) - 1:
        raise NotOne(f"something stands behind the function: {tokens[last + 1].text[:40]}")
    first = tokens[0].start
    moved = [Token(one.text, one.start - first) for one in tokens]
    return Written(text[first : tokens[-1].end], moved, 1 if named else None, closing, opening)


def require_short(text: str) -> None:
    """Raises NotOne."""
    if len(text) > limits.WRITTEN_CHARACTERS:
        raise NotOne(f"longer than {limits.WRITTEN_CHARACTERS:,} characters")


def tokens_of(text: str) -> list[Token]:
    """All but comments. Raises NotOne where a string or a comment has no end."""
    return list(_tokens(LINE_ENDS.sub("\n", text)))


def _tokens(text: str) -> Iterator[Token]:
    for match in TOKEN.finditer(text):
        found = match[0]
        if found.startswith(('"', "'")) and not _STRING.fullmatch(found):
            raise NotOne("a string without an end")
        if found.startswith("/*") and (len(found) < 4 or not found.endswith("*/")):
            raise NotOne("a comment without an end")
        if not found.startswith(("//", "/*")):
            yield Token(found, match.start())


def closed(tokens: Sequence[Token], at: int, opens: str, closes: str) -> int:
    """Where what opens at `at` ends."""
    if at >= len(tokens) or tokens[at].text != opens:
        raise NotOne(f"no {opens} where one has to be")
    depth = 0
    for index in range(at, len(tokens)):
        depth += (tokens[index].text == opens) - (tokens[index].text == closes)
        if depth == 0:
            return index
    raise NotOne(f"a {opens} without its {closes}")


def renamings(
    written: Written, variables: Mapping[str, str], functions: Mapping[str, str], own: str
) -> Iterator[tuple[int, tuple[int, str]]]:
    """(start, (end, name)) of every name that becomes another, and of its own variables that this would hide.

    variables, functions: {name: other}; where a variable's name is called, it is a function. own: what the function itself
    is called then; "" where it keeps its name.
    """
    tokens = written.tokens
    declared = {tokens[at].text for at in range(len(tokens)) if _declares(written, at)}
    wanted = {name: other for name, other in {**variables, **functions}.items() if name not in declared}
    called = written.called if own else ""
    used = {
        (own if called and called == tokens[at].text else wanted.get(tokens[at].text, "")).split(".")[0]
        for at in range(len(tokens))
        if _free(written, at)
    }
    fresh = {name: _unused(name, written) for name in declared & used}
    for at, token in enumerate(tokens):
        new = fresh.get(token.text, wanted.get(token.text, token.text))
        if called and token.text == called and (at == written.name or _calls(written, at)):
            new = own
        elif at == written.name or not _free(written, at):
            continue
        elif token.text in variables and token.text not in functions and _calls(written, at):
            new = token.text
        if new != token.text:
            yield token.start, (token.end, new)


def edited(written: Written, tokens: range, changes: Mapping[int, tuple[int, str]]) -> str:
    """The text of some tokens, changed: {start: (end, text instead)}."""
    if not tokens:
        return ""
    first, last = written.tokens[tokens[0]].start, written.tokens[tokens[-1]].end
    text = written.text[:last]
    for start, (end, new) in sorted(changes.items(), reverse=True):
        if first <= start < last:
            text = text[:start] + new + text[end:]
    return text[first:]


def inheriting(written: Written) -> Iterator[tuple[int, int]]:
    """Where `virtual` and `override(...)` stand in the header: start, end."""
    at = written.closing + 1
    tokens = written.tokens
    while at < written.opening:
        last = closed(tokens, at + 1, "(", ")") if tokens[at + 1].text == "(" else at
        if tokens[at].text in ("virtual", "override"):
            yield tokens[at].start, tokens[last].end
        at = last + 1


def _free(written: Written, at: int) -> bool:
    """Whether a token is a name by itself: no member, no label of an argument."""
    tokens = written.tokens
    if not _WORD.fullmatch(tokens[at].text) or (at and tokens[at - 1].text == "."):
        return False
    after = tokens[at + 1].text if at + 1 < len(tokens) else ""
    return not (after == ":" and tokens[at - 1].text in ("{", ","))


def _calls(written: Written, at: int) -> bool:
    return _free(written, at) and written.tokens[at + 1].text == "("


def _declares(written: Written, at: int) -> bool:
    """Whether a token is the name of a parameter, a result or a local variable where it is declared: a type stands before."""
    tokens = written.tokens
    if at < 2 or at + 1 >= len(tokens) or not _WORD.fullmatch(tokens[at].text):
        return False
    before, after = tokens[at - 1].text, tokens[at + 1].text
    typed = before == "]" or (_WORD.fullmatch(before) is not None and before not in _NO_TYPES)
    return typed and after in (",", ")", ";", "=", ":=")


def _unused(name: str, written: Written) -> str:
    there = {token.text for token in written.tokens}
    while name in there:
        name += "_"
    return name
