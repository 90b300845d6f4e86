"""A text that should be one function of Solidity: whether it is one, and what it is in the author's contract.

Works on tokens, since what a model writes need not be Solidity at all. The compiler's parser has the last word on the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from whet import limits
from whet.evm.pairs.inventory import TOKEN
from whet.evm.pairs.nouns import PLACE

_LINE_ENDS = re.compile("\r\n|[\r\v\f\u2028\u2029]")
"""What ends a comment for the compiler, beside a line feed."""

_BEGINS = ("function", "fallback", "receive")
_WORD = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_NO_TYPES = ("return", "emit", "new", "delete", "else", "do", "throw", "revert", "is", "using", "import")
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


def read(text: str) -> Written:
    """The only function of a text. Raises NotOne."""
    if len(text) > limits.JUDGED_CHARACTERS:
        raise NotOne(f"longer than {limits.JUDGED_CHARACTERS:,} characters")
    if text.encode("utf-8", "replace").decode() != text or "\0" in text:
        raise NotOne("holds what is no text")
    text = _LINE_ENDS.sub("\n", text)
    tokens = list(_tokens(text))
    if not tokens or tokens[0].text not in _BEGINS:
        raise NotOne("does not begin with a function")
    named = tokens[0].text == "function" and len(tokens) > 1 and _WORD.fullmatch(tokens[1].text)
    closing = _closed(tokens, 2 if named else 1, "(", ")")
    opening = closing + 1
    while opening < len(tokens) and tokens[opening].text != "{":
        if tokens[opening].text in ("}", ";", ")"):
            raise NotOne("a function without a body")
        opening = _closed(tokens, opening, "(", ")") + 1 if tokens[opening].text == "(" else opening + 1
    last = _closed(tokens, opening, "{", "}")
    if last != len(tokens) - 1:
        raise NotOne(f"something stands behind the function: {tokens[last + 1].text[:40]}")
    first = tokens[0].start
    moved = [Token(one.text, one.start - first) for one in tokens]
    return Written(text[first : tokens[-1].end], moved, 1 if named else None, closing, opening)


def _tokens(text: str) -> Iterator[Token]:
    for match in TOKEN.finditer(text):
        found = match[0]
        if found in ('"', "'"):
            raise NotOne("a string without an end")
        if found.startswith("/*") and (len(found) < 4 or not found.endswith("*/")):
            raise NotOne("a comment without an end")
        if not found.startswith(("//", "/*")):
            yield Token(found, match.start())


def _closed(tokens: Sequence[Token], at: int, opens: str, closes: str) -> int:
    """Where what opens at `at` ends."""
    if at >= len(tokens) or tokens[at].text != opens:
        raise NotOne(f"no {opens} where one has to be")
    depth = 0
    for index in range(at, len(tokens)):
        depth += (tokens[index].text == opens) - (tokens[index].text == closes)
        if depth == 0:
            return index
    raise NotOne(f"a {opens} without its {closes}")


def in_contract(written: Written, author: Written, names: Mapping[str, str], *, renamed: bool) -> str:
    """The text as it has to stand in the author's contract.

    names: {name of the prompt's: the author's}. renamed: the function gets the author's name, as nobody can know it. `virtual`
    and `override`, which no bytecode shows, are the author's.
    """
    left_out = dict(_inheriting(written))
    changes = {
        start: change
        for start, change in _names(written, author, names, renamed=renamed)
        if not any(begin <= start < end for begin, end in left_out.items())
    }
    words = "".join(f" {author.text[start:end]}" for start, end in _inheriting(author))
    changes |= {start: (end, "") for start, end in left_out.items()}
    closing = written.tokens[written.closing]
    changes[closing.start] = (closing.end, f"){words}")
    text = written.text
    for start, (end, new) in sorted(changes.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _inheriting(written: Written) -> Iterator[tuple[int, int]]:
    """Where `virtual` and `override(...)` stand in the header: start, end."""
    at = written.closing + 1
    tokens = written.tokens
    while at < written.opening:
        last = _closed(tokens, at + 1, "(", ")") if tokens[at + 1].text == "(" else at
        if tokens[at].text in ("virtual", "override"):
            yield tokens[at].start, tokens[last].end
        at = last + 1


def _names(
    written: Written, author: Written, names: Mapping[str, str], *, renamed: bool
) -> Iterator[tuple[int, tuple[int, str]]]:
    """(start, (end, name)) of every name that becomes another: the prompt's the author's, and what would then shadow it."""
    tokens = written.tokens
    declared = {tokens[at].text for at in range(len(tokens)) if _declares(written, at)}
    wanted = {name: theirs for name, theirs in names.items() if name not in declared}
    own = written.called if renamed and written.called and author.called else ""
    used = {
        (author.called if own == tokens[at].text else wanted.get(tokens[at].text, "")).split(".")[0]
        for at in range(len(tokens))
        if _free(written, at)
    }
    fresh = {name: _unused(name, written) for name in declared & used}
    for at, token in enumerate(tokens):
        new = fresh.get(token.text, wanted.get(token.text, token.text))
        if own and token.text == own and (at == written.name or _calls(written, at)):
            new = author.called
        elif at == written.name or not _free(written, at):
            continue
        elif token.text in wanted and not PLACE.fullmatch(token.text) and _calls(written, at):
            continue  # a variable's name; what is called is a function of that name
        if new != token.text:
            yield token.start, (token.end, new)


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
