"""Solidity text as a syntax tree, as tokens and in one canonical form: what all metrics of this folder look at.

The grammar is tree-sitter's, which reads every version of the language; a text is read as what stands in a contract's
braces. What it cannot read stays in the tree as an error, and `Solidity.errors` counts it; what stands behind a brace that
closes the contract, too. Nothing of the text is left out but its comments, which are no part of anything.

The canonical form of a text is its tokens, printed again:

- each member and statement of a block, and the `}` behind them, begins a line; nothing else does;
- a line has four blanks for each block that is open, 32 of them at most: else a text of braces would become its square;
- one blank between two tokens, but none before `)`, `]`, `,`, `;`, `.`, `:`, `++` and `--` behind an operand, none behind
  `(`, `[`, `.` and a sign, `!`, `~`, `++`, `--` before an operand, none before `(` and `[` behind a name, a type, `)` or
  `]`, and none around the `{` and before the `}` of a call's options and named arguments.

String literals and numbers stay as they are written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
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
_BEFORE, _BEHIND = b"contract C {\n", b"\n}"
"""What a text is read between: members of a contract."""
AT = len(_BEFORE)
"""Where it begins in what is parsed."""
_DEEPEST = 32
"""Open blocks that indent a line."""
_NO_BLANK_BEFORE = frozenset({")", "]", ",", ";", ".", ":"})
_NO_BLANK_BEHIND = frozenset({"(", "[", "."})
_HEADS = frozenset(
    {"if", "for", "while", "return", "returns", "catch", "switch", "case", "assembly", "new", "delete"}
)
"""Words that are no name: a `(` behind them has a blank before it."""
OPCODES = frozenset({"clz", "codecopy", "codesize", "jump", "jumpi", "pc", "sha3", "suicide"})
"""Those that the grammar takes for names where assembly calls them."""


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
    """Members of a contract as text, and their tree.

    root: the grammar's node of a body that holds them; of the whole tree, where the text ends that body or leaves none.
    source: what was parsed, the text between `_BEFORE` and `_BEHIND`.
    """

    text: str
    root: Any
    source: bytes

    @cached_property
    def tokens(self) -> list[Token]:
        """In order, without comments."""
        return list(_tokens(self.root, self._piece))

    @cached_property
    def errors(self) -> int:
        """Places that the grammar cannot read; a text that ends the contract has one at least."""
        found = sum(node.is_error or node.is_missing for node in nodes(self.root))
        return found or int(self.root.type != "contract_body")

    @cached_property
    def canonical(self) -> str:
        return _printed(self.tokens)

    def holds(self, node: Any) -> bool:
        """Whether any of the node is the text's, and not of what it was parsed between."""
        start, end = self._inside(node.start_byte, node.end_byte)
        return start < end

    def _piece(self, start: int, end: int) -> bytes:
        """What the text has of these bytes of `source`."""
        start, end = self._inside(start, end)
        return self.source[start:end]

    def _inside(self, start: int, end: int) -> tuple[int, int]:
        return max(start, AT), min(end, len(self.source) - len(_BEHIND))


def parse(text: str) -> Solidity:
    """What may stand in a contract: functions, constructors, modifiers.

    Raises DataError where it is too long; WhetError where the grammar is not installed. Never for what cannot be read.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > MOST_BYTES:
        raise DataError(f"a text of {len(data):,} bytes is too long to be parsed; at most {MOST_BYTES:,}")
    source = _BEFORE + data + _BEHIND
    tree = _parser().parse(source).root_node
    around = (_BEFORE.index(b"{"), len(source))
    bodies = (node for child in tree.children for node in child.children if node.type == "contract_body")
    whole = (node for node in bodies if (node.start_byte, node.end_byte) == around)
    return Solidity(text, next(whole, tree), source)


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


def _tokens(root: Any, piece: Callable[[int, int], bytes]) -> Iterator[Token]:
    """Leaves, and what stands in a node without being one of its children (the number of `1 ether`)."""
    left: list[tuple[Any, str, bool, int, bool]] = [(root, "", True, 1, False)]
    while left:
        node, within, first, depth, begins = left.pop()
        if isinstance(node, Token):
            yield node
        elif node.type == "comment":
            continue
        elif node.child_count and node.type not in _WHOLE:
            left += reversed(list(_children(node, depth, begins, piece)))
        elif text := piece(node.start_byte, node.end_byte).decode("utf-8", "replace"):
            for word in text.split() if node.is_error else [text]:
                yield Token(word, node.type, within, first, depth, begins)
                begins = False


def _children(
    node: Any, depth: int, begins: bool, piece: Callable[[int, int], bytes]
) -> Iterator[tuple[Any, str, bool, int, bool]]:
    ours = node.start_byte >= AT
    end, inside = node.start_byte, node.type == "source_file"
    for at, child in enumerate((*node.children, None)):
        start = child.start_byte if child else node.end_byte
        for word in piece(end, start).split():
            text = word.decode("utf-8", "replace")
            yield Token(text, node.type, node.type, at == 0, depth, begins), "", False, 0, False
            begins = False
        if child:
            end = child.end_byte
            deeper = ours and inside and child.type != "}"
            yield child, node.type, at == 0, depth + deeper, begins or inside
            begins = False
            inside = inside or (child.type == "{" and node.type in _BLOCKS)


def _printed(tokens: list[Token]) -> str:
    lines: list[list[str]] = []
    last: Token | None = None
    for token in tokens:
        if last is None or token.begins:
            lines.append(["    " * min(token.depth - 1, _DEEPEST)])
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
