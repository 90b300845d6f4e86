"""A text that a model wrote, as exactly one function, ready to stand in a contract in place of the emitter's.

A fence of Markdown around it and its comments are taken away (nobody checks what a comment says). What callers rely on is the
emitter's, whatever the model wrote: the function's name, whether it can be called from outside, and whether it takes ether.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whet.evm import one_function
from whet.evm.one_function import LINE_ENDS, NotOne, Token, closed, edited, inheriting, renamings
from whet.evm.solidity.nouns import SolidityFunction

_FENCE = re.compile(r"^[ ]{0,3}```[^\n]*\n(.*?)^[ ]{0,3}```", re.DOTALL | re.MULTILINE)
_QUIET = re.compile(
    r"(?P<safe>///? *@solidity memory-safe-assembly *\n\s*assembly\b)|//[^\n]*|/\*.*?\*/|/\*"
    r"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?",
    re.DOTALL,
)
"""Comments and strings. A string without an end goes to the end of its line, so that no place is looked at twice."""
_VISIBLE = ("public", "external", "internal", "private")
_HEADS = ("if", "for", "while", "do", "try")


@dataclass(frozen=True, slots=True)
class Written:
    """One function. kind: "function", "fallback" or "receive".

    statements, assembly: how many it has, and how many of these are assembly, counted by semicolons, heads and lines.
    """

    kind: str
    statements: int
    assembly: int
    _one: one_function.Written

    def placed(
        self, target: SolidityFunction, variables: Mapping[str, str], functions: Mapping[str, str]
    ) -> list[str]:
        """Its lines in place of `target`, not indented. variables, functions: {name that the model was shown: name in the
        contract}. Raises NotOne where another kind of function was asked for.
        """
        kind = target.kind if target.kind in ("fallback", "receive") else "function"
        old = self._one.tokens[0].text != self.kind  # before 0.6 a function without a name is both
        if self.kind != kind and not (old and kind == "receive"):
            raise NotOne(f"a {kind} was asked for, this is a {self.kind}")
        changes = dict(renamings(self._one, variables, functions, target.name))
        tokens = self._one.tokens
        body = edited(self._one, range(self._one.opening, len(tokens)), changes)
        return _outdented(f"{self._header(target, kind, changes)} {body}")

    def _header(self, target: SolidityFunction, kind: str, changes: dict[int, tuple[int, str]]) -> str:
        one, inside = self._one, target.kind == "private" or target.in_fallback
        header = range(one.closing + 1, one.opening)
        said = {one.tokens[at].text for at in header}
        changes = changes | {start: (end, "") for start, end in inheriting(one)}
        for at in range(one.opening):
            token = one.tokens[at]
            if token.text == "calldata" and inside:
                changes[token.start] = (token.end, "memory")
            elif at in header and token.text in (*_VISIBLE, "payable"):
                changes[token.start] = (token.end, "")
        begins = f"function {target.name}" if kind == "function" else kind
        outside = "public" if kind == "function" and "public" in said else "external"
        words = ["private" if inside else outside]
        words += ["payable"] if target.mutability == "payable" and not inside else []
        parameters, rest = edited(one, one.parameters, changes), edited(one, header, changes)
        return " ".join(f"{begins}({parameters}) {' '.join(words)} {rest}".split())


def read(text: str) -> Written:
    """The function that a text is. Raises NotOne."""
    one = one_function.read(_bare(text))
    first = one.tokens[0].text
    kind = first if first != "function" else "function" if one.called else "fallback"
    if one.called in ("fallback", "receive"):
        kind = one.called
    return Written(kind, *_counted(one), one)


def _bare(text: str) -> str:
    """Without a fence and without comments; printable characters and line feeds only."""
    one_function.require_short(text)
    fenced = _FENCE.search(text)
    text = LINE_ENDS.sub("\n", fenced[1] if fenced else text).expandtabs(4)
    bare = _QUIET.sub(_spoken, text)
    if odd := next((char for char in bare if char != "\n" and not char.isprintable()), ""):
        raise NotOne(f"a character that cannot be printed: U+{ord(odd):04X}")
    lines = (line.rstrip() for line in bare.split("\n"))
    return "\n".join(line for line in lines if line)


def _spoken(found: re.Match[str]) -> str:
    if found["safe"]:
        return 'assembly ("memory-safe")'
    if found[0] == "/*":
        raise NotOne("a comment without an end")
    if found[0].startswith("//"):
        return ""
    return " " if found[0].startswith("/*") else found[0]


def _counted(one: one_function.Written) -> tuple[int, int]:
    statements = assembly = depth = 0
    inside: set[int] = set()
    for block in _assembly(one.tokens, one.opening):
        inside.update(block)
        inner = one.text[one.tokens[block.start].end : one.tokens[block.stop - 1].start]
        assembly += sum(bool(re.search(r"[^\s{}]", line)) for line in inner.split("\n"))
    for at in range(one.opening, len(one.tokens)):
        word = one.tokens[at].text
        if at not in inside:
            depth += (word == "(") - (word == ")")
            statements += (word == ";" and not depth) + (word in _HEADS)
    return statements + assembly, assembly


def _assembly(tokens: list[Token], at: int) -> Iterator[range]:
    """The tokens of each block of assembly, its braces too."""
    while at < len(tokens):
        if tokens[at].text == "assembly":
            opened = next((n for n in range(at, len(tokens)) if tokens[n].text == "{"), None)
            if opened is None:
                return
            at = closed(tokens, opened, "{", "}")
            yield range(opened, at + 1)
        at += 1


def _outdented(text: str) -> list[str]:
    first, _, rest = text.partition("\n")
    return [first, *textwrap.dedent(rest).split("\n")] if rest else [first]
