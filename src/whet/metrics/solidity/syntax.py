"""Solidity text as a syntax tree, as tokens and in one canonical form: what all metrics of this folder look at.

The grammar is tree-sitter's, which reads single functions and every version of the language; what it cannot read stays
in the tree as an error, and `Solidity.errors` counts it. Comments are no part of anything.

The canonical form of a text is its tokens, printed again:

- each member and statement of a block, and the `}` behind them, begins a line; nothing else does;
- a line has four blanks for each block that is open;
- one blank between two tokens, but none before `)`, `]`, `,`, `;`, `.`, `:`, `++` and `--` behind an operand, none behind
  `(`, `[`, `.` and a sign, `!`, `~`, `++`, `--` before an operand, none before `(` and `[` behind a name, a type, `)` or
  `]`, and none around the `{` and before the `}` of a call's options and named arguments.

String literals and numbers stay as they are written.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from whet.errors import DataError, WhetError

MOST_BYTES = 1 << 20
"""Of one text; the largest function of a real contract has some 20 kB."""
_WHOLE = frozenset({"string", "hex_string_literal", "unicode_string_literal", "yul_string_literal"})
_BLOCKS = frozenset(
    {"contract_body", "function_body", "block_statement", "struct_body", "assembly_statement", "yul_block"}
)
_NO_BLANK_BEFORE = frozenset({")", "]", ",", ";", ".", ":"})
_NO_BLANK_BEHIND = frozenset({"(", "[", "."})
_HEADS = frozenset(
    {"if", "for", "while", "return", "returns", "catch", "switch", "case", "assembly", "new", "delete"}
)
"""Words that are no name: a `(` behind them has a blank before it."""


@dataclass(slots=True)
class Token:
    """kind: of its node in the grammar; within: of the node around it; first: it is that node's first child.

    depth: open blocks; begins: it begins a member or a statement of a block, or ends the block.
    """

    text: str
    kind: str
    within: str
    first: bool
    depth: int
    begins: bool


@dataclass(frozen=True)
class Solidity:
    """Members of a contract as text, and their tree. root: the grammar's node of a body that holds them."""

    text: str
    root: Any

    @cached_property
    def tokens(self) -> list[Token]:
        """In order, without comments."""
        return list(_tokens(self.root))[1:-1]

    @cached_property
    def errors(self) -> int:
        """Places that the grammar cannot read."""
        return sum(node.is_error or node.is_missing for node in nodes(self.root))

    @cached_property
    def canonical(self) -> str:
        return _printed(self.tokens)


def parse(text: str) -> Solidity:
    """What may stand in a contract: functions, constructors, modifiers.

    Raises DataError where it is too long; WhetError where the grammar is not installed. Never for what cannot be read.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > MOST_BYTES:
        raise DataError(f"a text of {len(data):,} bytes is too long to be parsed; at most {MOST_BYTES:,}")
    tree = _parser().parse(b"contract C {\n" + data + b"\n}").root_node
    bodies = [node for node in nodes(tree) if node.type == "contract_body"]
    return Solidity(text, bodies[0] if bodies else tree)


def nodes(root: Any, without: str = "") -> list[Any]:
    """All nodes below and with `root`, from left to right, parents first; `without` those of a kind and what is in them."""
    found, left = [], [root]
    while left:
        node = left.pop()
        found.append(node)
        left += reversed([child for child in node.children if child.type != without])
    return found


@cache
def _parser() -> Any:
    try:
        import tree_sitter_solidity
        from tree_sitter import Language, Parser
    except ImportError as error:
        raise WhetError(
            f"the grammar of Solidity is not installed ({error.name})", fix="pip install 'whet[likeness]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the grammar hands over a number, not a capsule
        return Parser(Language(tree_sitter_solidity.language()))


def _tokens(root: Any) -> Iterator[Token]:
    """Leaves, and what stands between a node's children without being one of them (the number of `1 ether`)."""
    left: list[tuple[Any, str, bool, int, bool]] = [(root, "", True, 0, False)]
    while left:
        node, within, first, depth, begins = left.pop()
        if isinstance(node, Token):
            yield node
        elif node.type == "comment":
            continue
        elif not node.child_count or node.type in _WHOLE:
            if node.text:
                yield Token(node.text.decode("utf-8", "replace"), node.type, within, first, depth, begins)
        else:
            left += reversed(list(_children(node, depth, begins)))


def _children(node: Any, depth: int, begins: bool) -> Iterator[tuple[Any, str, bool, int, bool]]:
    end, inside = node.start_byte, False
    for at, child in enumerate(node.children):
        for word in node.text[end - node.start_byte : child.start_byte - node.start_byte].split():
            text = word.decode("utf-8", "replace")
            yield Token(text, node.type, node.type, at == 0, depth, begins), "", False, 0, False
            begins = False
        end = child.end_byte
        closes = child.type == "}"
        yield child, node.type, at == 0, depth + (inside and not closes), begins or inside
        begins = False
        inside = inside or (child.type == "{" and node.type in _BLOCKS)


def _printed(tokens: list[Token]) -> str:
    lines: list[list[str]] = []
    last: Token | None = None
    for token in tokens:
        if last is None or token.begins:
            lines.append(["    " * (token.depth - 1)])
        elif not _tight(last, token):
            lines[-1].append(" ")
        lines[-1].append(token.text)
        last = token
    return "\n".join("".join(line) for line in lines)


def _tight(left: Token, right: Token) -> bool:
    """No blank between them."""
    if right.text in _NO_BLANK_BEFORE and right.within != "ternary_expression":
        return True
    if left.text in _NO_BLANK_BEHIND or _brace(left, "{") or _brace(right, "{") or _brace(right, "}"):
        return True
    if left.within in ("unary_expression", "update_expression") and left.first and not left.text.isalpha():
        return True
    if right.text in ("++", "--") and right.within == "update_expression" and not right.first:
        return True
    named = left.text[-1].isalnum() or left.text[-1] in "_$)]" or _brace(left, "}")
    return right.text in ("(", "[") and named and left.text not in _HEADS


def _brace(token: Token, text: str) -> bool:
    """Of a call's options or named arguments."""
    return token.text == text and token.within in ("struct_expression", "call_argument")
