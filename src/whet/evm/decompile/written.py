"""A text that a model wrote, as exactly one function, ready to stand in a contract in place of the emitter's.

Read by its tokens and brackets; whether it is Solidity is the compiler's to say. A fence of Markdown around it and its comments
are taken away (nobody checks what a comment says, and none can hide a bracket). What callers rely on is the emitter's,
whatever the model wrote: the function's name, whether it can be called from outside, and whether it takes ether.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from whet import limits
from whet.evm.solidity.nouns import SolidityFunction

_FENCE = re.compile(r"^[ ]{0,3}```[^\n]*\n(.*?)^[ ]{0,3}```", re.DOTALL | re.MULTILINE)
_QUIET = re.compile(
    r"(?P<safe>///? *@solidity memory-safe-assembly *\n\s*assembly\b)|//[^\n]*|/\*.*?\*/|/\*"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_TOKEN = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[\w$]+|=>|:=|\S")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_VISIBLE = {"public", "external", "internal", "private"}
_LOCATIONS = {"calldata", "memory"}
_DECLARED = {"=", ":=", ";", ",", ")"}
"""What stands behind a name that is declared."""
_WORDS = """
return emit revert delete new else do throw is using in case default leave break continue
"""
_NO_TYPES = frozenset(_WORDS.split())
"""Words that no declared name stands behind."""
_HEADS = {"if", "for", "while", "do", "try"}


class NoFunction(ValueError):
    """The text is not exactly one function; says why."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Written:
    """One function. kind: "function", "fallback" or "receive"; name: "" for the last two.

    statements, assembly: how many it has, and how many of these are assembly, counted by semicolons, heads and lines.
    """

    kind: str
    name: str
    statements: int
    assembly: int
    old: bool
    """Whether it is a function without a name, as compilers before 0.6 call the fallback."""
    _text: str
    _tokens: tuple[_Token, ...]
    _params: tuple[int, int]
    """Tokens between the brackets of the parameters."""
    _body: int
    """The token that opens the body."""

    def placed(self, target: SolidityFunction, names: Mapping[str, str]) -> list[str]:
        """Its lines in place of `target`, not indented. names: as `asking.Question` has them.

        Raises NoFunction where another kind of function was asked for.
        """
        kind = target.kind if target.kind in ("fallback", "receive") else "function"
        if self.kind != kind and not (self.kind == "fallback" and self.old and kind == "receive"):
            raise NoFunction(f"a {kind} was asked for, this is a {self.kind}")
        inside = target.kind == "private" or target.in_fallback
        own = self._declared()
        mapped = {name: text for name, text in names.items() if name != text and name not in own}
        mapped |= _apart(own, mapped.values())
        if self.name and self.name not in own:
            mapped[f"{self.name}("] = target.name  # a variable may have the name of its getter
        body = self._renamed(self._body, len(self._tokens), mapped)
        return _outdented(f"{self._header(target, kind, inside, mapped)} {body}")

    def _header(self, target: SolidityFunction, kind: str, inside: bool, names: Mapping[str, str]) -> str:
        names = {**names, "calldata": "memory"} if inside else names
        params = self._renamed(*self._params, names)
        begins = f"function {target.name}" if kind == "function" else kind
        words = ["private" if inside else self._visibility(kind)]
        words += ["payable"] if target.mutability == "payable" and not inside else []
        rest = self._renamed(self._params[1] + 1, self._body, names, self._left_out())
        return " ".join(f"{begins}({params}) {' '.join(words)} {rest}".split())

    def _visibility(self, kind: str) -> str:
        said = {token.text for token in self._tokens[self._params[1] : self._body]} & _VISIBLE
        return "public" if kind == "function" and "public" in said else "external"

    def _left_out(self) -> set[int]:
        """Tokens of the header that are said otherwise here, or that nothing is inherited for."""
        found: set[int] = set()
        depth = 0
        at = self._params[1] + 1
        while at < self._body:
            word = self._tokens[at].text
            if depth == 0 and word in (_VISIBLE | {"virtual", "override", "payable"}):
                found.add(at)
                if word == "override" and self._tokens[at + 1].text == "(":
                    closed = next(i for i in range(at, self._body) if self._tokens[i].text == ")")
                    found |= set(range(at, closed + 1))
                    at = closed
            depth += (word == "(") - (word == ")")
            at += 1
        return found

    def _renamed(
        self,
        first: int,
        last: int,
        names: Mapping[str, str],
        left_out: set[int] | frozenset[int] = frozenset(),
    ) -> str:
        """The text from one token to another, with names replaced that are no members and no keys."""
        if first >= last:
            return ""
        out: list[str] = []
        at = self._tokens[first].start
        for number in range(first, last):
            token = self._tokens[number]
            out.append(self._text[at : token.start])
            if number not in left_out:
                out.append(self._said(number, names))
            at = token.end
        return "".join(out)

    def _said(self, number: int, names: Mapping[str, str]) -> str:
        word = self._tokens[number].text
        before = self._tokens[number - 1].text
        behind = self._tokens[number + 1].text if number + 1 < len(self._tokens) else ""
        if before == "." or (behind == ":" and before in ("{", ",")):
            return word
        called = names.get(f"{word}(") if behind == "(" else None
        return called or names.get(word, word)

    def _declared(self) -> set[str]:
        """Names of parameters, results and variables of its own, which hide those of the contract."""
        found = set()
        for number in range(1, len(self._tokens) - 1):
            before, name, behind = (self._tokens[number + step].text for step in (-1, 0, 1))
            typed = before == "]" or (_NAME.fullmatch(before) and before not in _NO_TYPES)
            if typed and behind in _DECLARED and _NAME.fullmatch(name) and name not in _LOCATIONS:
                found.add(name)
        return found


def read(text: str) -> Written:
    """The function that a text is. Raises NoFunction."""
    if len(text) > limits.WRITTEN_CHARACTERS:
        raise NoFunction(f"longer than {limits.WRITTEN_CHARACTERS:,} characters")
    bare = _bare(text)
    tokens = tuple(_Token(found[0], found.start(), found.end()) for found in _TOKEN.finditer(bare))
    if not tokens:
        raise NoFunction("it is empty")
    _require_balanced(tokens)
    kind, name, at = _begun(tokens)
    if tokens[at].text != "(":
        raise NoFunction(f"{kind} {name} has no parameters".replace("  ", " "))
    params = (at + 1, _closed(tokens, at))
    body = next((n for n in range(params[1] + 1, len(tokens)) if tokens[n].text in "{;"), -1)
    if body < 0 or tokens[body].text == ";":
        raise NoFunction("it has no body")
    if _closed(tokens, body) != len(tokens) - 1:
        raise NoFunction(f"something stands behind it: {tokens[_closed(tokens, body) + 1].text[:40]}")
    old = kind != "function" and tokens[1].text == "(" and tokens[0].text == "function"
    return Written(kind, name, *_counted(tokens, body, bare), old, bare, tokens, params, body)


def _apart(own: set[str], others: Collection[str]) -> dict[str, str]:
    """Other names for variables of its own that are called as something of the contract that it means."""
    found: dict[str, str] = {}
    for name in sorted(own & set(others)):
        other = f"{name}_"
        while other in own or other in others:
            other += "_"
        found[name] = other
    return found


def _bare(text: str) -> str:
    """Without a fence and without comments; printable characters and line feeds only."""
    fenced = _FENCE.search(text)
    text = (fenced[1] if fenced else text).replace("\r\n", "\n").expandtabs(4)
    bare = _QUIET.sub(_spoken, text)
    if odd := next((char for char in bare if char != "\n" and not char.isprintable()), ""):
        raise NoFunction(f"a character that cannot be printed: U+{ord(odd):04X}")
    lines = (line.rstrip() for line in bare.split("\n"))
    return "\n".join(line for line in lines if line)


def _spoken(found: re.Match[str]) -> str:
    if found["safe"]:
        return 'assembly ("memory-safe")'
    if found[0] == "/*":
        raise NoFunction("a comment does not end")
    if found[0].startswith("//"):
        return ""
    return " " if found[0].startswith("/*") else found[0]


def _require_balanced(tokens: tuple[_Token, ...]) -> None:
    opened: list[str] = []
    for token in tokens:
        if token.text in "([{":
            opened.append(token.text)
        elif token.text in _PAIRS and (not opened or opened.pop() != _PAIRS[token.text]):
            raise NoFunction(f"a bracket that nothing opened: {token.text}")
        elif token.text in "\"'":
            raise NoFunction("a string does not end")
    if opened:
        raise NoFunction(f"it does not end: {opened[-1]} is open")


def _begun(tokens: tuple[_Token, ...]) -> tuple[str, str, int]:
    """Kind, name, and the token behind these."""
    words = [token.text for token in tokens[:3]] + ["", "", ""]
    if words[0] in ("fallback", "receive"):
        return words[0], "", 1
    if words[0] != "function":
        raise NoFunction(f"it does not begin with a function: {words[0][:40]}")
    if words[1] == "(":
        return "fallback", "", 1
    if words[1] in ("fallback", "receive") and words[2] == "(":
        return words[1], "", 2
    if not _NAME.fullmatch(words[1]):
        raise NoFunction(f"no name of a function: {words[1][:40]}")
    return "function", words[1], 2


def _closed(tokens: tuple[_Token, ...], at: int) -> int:
    """Where the bracket at `at` is closed; brackets are balanced."""
    depth = 0
    for number in range(at, len(tokens)):
        depth += (tokens[number].text in "([{") - (tokens[number].text in ")]}")
        if not depth:
            return number
    raise AssertionError("brackets are balanced")


def _counted(tokens: tuple[_Token, ...], body: int, text: str) -> tuple[int, int]:
    statements = assembly = 0
    blocks = list(_assembly(tokens, body))
    for first, last in blocks:
        lines = text[tokens[first].end : tokens[last].start].split("\n")
        assembly += sum(bool(re.search(r"[^\s{}]", line)) for line in lines)
    depth = 0
    for number in range(body, len(tokens)):
        word = tokens[number].text
        if any(first <= number <= last for first, last in blocks):
            continue
        depth += (word == "(") - (word == ")")
        statements += (word == ";" and not depth) + (word in _HEADS)
    return statements + assembly, assembly


def _assembly(tokens: tuple[_Token, ...], body: int) -> Iterator[tuple[int, int]]:
    """(token that opens, token that closes) of each block of assembly."""
    at = body
    while at < len(tokens):
        if tokens[at].text == "assembly":
            opened = next((n for n in range(at, len(tokens)) if tokens[n].text == "{"), -1)
            if opened > 0:
                closed = _closed(tokens, opened)
                yield opened, closed
                at = closed
        at += 1


def _outdented(text: str) -> list[str]:
    first, _, rest = text.partition("\n")
    return [first, *textwrap.dedent(rest).split("\n")] if rest else [first]
