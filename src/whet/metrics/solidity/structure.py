"""Structural fidelity: the same shape, the same ways through it, the same calls, whatever things are named.

Three figures from 0 to 1, and their mean:

- `syntax_shape`: F1 of the multisets of productions of both syntax trees. A production is a node's kind with the kinds of
  its children in their order, comments left out; names and literals count by their kind alone.
- `control_flow`: 1 less the normalised edit distance of the sequences of control words (`CONTROL`), with a mark where
  what holds statements (`_HOLDS`) ends.
- `called`: F1 of the multisets of names that are called (the name behind the last dot before the parenthesis; of an
  element of an array or mapping, the array's; `require`, events and errors too, `revert` where it names no error; not
  conversions to the language's own types, nor what another call gave back, nor opcodes in assembly). Where neither calls
  anything: 1.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.syntax import AT, OPCODES, Solidity, nodes

CONTROL = {
    "if_statement": "if",
    "for_statement": "for",
    "while_statement": "while",
    "do_while_statement": "do",
    "return_statement": "return",
    "break_statement": "break",
    "continue_statement": "continue",
    "revert_statement": "revert",
    "try_statement": "try",
    "catch_clause": "catch",
    "ternary_expression": "?",
    "assembly_statement": "assembly",
    "yul_if_statement": "if",
    "yul_for_statement": "for",
    "yul_switch_statement": "switch",
    "yul_leave": "return",
    "yul_break": "break",
    "yul_continue": "continue",
}
"""Node kinds of the grammar and the words they count as."""
_HOLDS = frozenset({"if", "for", "while", "do", "try", "catch", "assembly", "switch"})
"""Words for what has statements in it."""
_REFUSALS = frozenset({"require", "assert", "revert"})
"""Calls that are control flow."""
_ENDS = frozenset({"revert", "return"})
"""Opcodes that are."""
_CALLS = frozenset({"call_expression", "emit_statement", "revert_statement", "yul_function_call"})
_NAMES = frozenset({"identifier", "yul_identifier"})
_NAMED_BY = {
    "expression": -1,
    "member_expression": -1,
    "new_expression": -1,
    "user_defined_type": -1,
    "type_name": 0,
    "array_access": 0,
    "slice_access": 0,
    "struct_expression": 0,
}
"""Kinds of what is called, and which of its parts has its name; a `struct_expression` is a call with options."""


class SyntaxShape(SolidityMetric):
    """F1 of the productions of the syntax trees."""

    NAME = "syntax_shape"
    SUMMARY = "productions of the syntax tree that both have"
    UNITS = "F1, 0 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return [f1(productions(pair.candidate), productions(pair.reference)) for pair in pairs]


class ControlFlow(SolidityMetric):
    """How alike the sequences of control words are."""

    NAME = "control_flow"
    SUMMARY = "conditions, loops, refusals and returns in the same order and depth"
    UNITS = "1 less the edit distance, 0 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        from rapidfuzz.distance import Levenshtein

        return [
            Levenshtein.normalized_similarity(control(pair.candidate), control(pair.reference))
            for pair in pairs
        ]


class Called(SolidityMetric):
    """F1 of what is called."""

    NAME = "called"
    SUMMARY = "functions, events and errors that both name"
    UNITS = "F1, 0 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return [f1(calls(pair.candidate), calls(pair.reference)) for pair in pairs]


class StructuralFidelity(SolidityMetric):
    """The mean of the three."""

    NAME = "structural_fidelity"
    SUMMARY = "mean of syntax_shape, control_flow and called"
    UNITS = "0 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        parts = [metric.values(pairs) for metric in (SyntaxShape, ControlFlow, Called)]
        return [statistics.fmean(three) for three in zip(*parts, strict=True)]


def f1(found: Iterable[Hashable], true: Iterable[Hashable]) -> float:
    """Of two multisets; 1 where both are empty."""
    one, other = Counter(found), Counter(true)
    whole = one.total() + other.total()
    return 2 * (one & other).total() / whole if whole else 1.0


def productions(side: Solidity) -> list[tuple[str, ...]]:
    """Of all nodes that have children, and of errors; but of what is around the text, and without what it has no part in."""
    found = []
    for node in nodes(side.root):
        children = tuple(c.type for c in node.children if c.type != "comment" and side.holds(c))
        if node.is_error or (children and node.start_byte >= AT):
            found.append((node.type, *children))
    return found


def control(side: Solidity) -> list[str]:
    """Control words from left to right; `end` where a node that holds statements ends."""
    found: list[str] = []
    left: list[Any] = [side.root]
    while left:
        node = left.pop()
        if isinstance(node, str):
            found.append(node)
            continue
        word = CONTROL.get(node.type) or _refusal(node)
        if word:
            found.append(word)
        if word in _HOLDS:
            left.append("end")
        left += reversed(node.children)
    return found


def _refusal(node: Any) -> str:
    if node.type == "identifier":
        return "revert" if node.text == b"throw" else ""  # to the grammar it is a name
    if node.type == "yul_evm_builtin":
        word = node.text.decode("utf-8", "replace")
        return word if word in _ENDS else ""
    name = _callee(node) if node.type == "call_expression" else ""
    return name if name in _REFUSALS else ""


def calls(side: Solidity) -> list[str]:
    """The names called, with repetitions."""
    return [name for node in nodes(side.root) if (name := _callee(node))]


def _callee(node: Any) -> str:
    """The name of what a call, an event or an error calls; empty for other nodes, and for what has no name."""
    if node.type not in _CALLS:
        return ""
    callee = None
    for child in node.children:
        if child.type in ("(", "call_argument", "revert_arguments"):
            break
        callee = child if child.type in _NAMED_BY or child.type in _NAMES else callee
    if callee and callee.type == "yul_identifier" and callee.text.decode("utf-8", "replace") in OPCODES:
        return ""
    return _name(callee) or ("revert" if node.type == "revert_statement" else "")


def _name(node: Any) -> str:
    """The one by which it is called. No further than to another call, so that a chain of calls is walked once."""
    while node and node.type in _NAMED_BY:
        parts = [child for child in node.children if child.is_named and child.type != "comment"]
        node = parts[_NAMED_BY[node.type]] if parts else None
    return node.text.decode("utf-8", "replace") if node and node.type in _NAMES else ""
