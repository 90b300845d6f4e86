"""Structural fidelity: the same shape, the same ways through it, the same calls, whatever things are named.

Three figures from 0 to 1, and their mean:

- `syntax_shape`: F1 of the multisets of productions of both syntax trees. A production is a node's kind with the kinds of
  its children in their order, comments left out; names and literals count by their kind alone.
- `control_flow`: 1 less the normalised edit distance of the sequences of control words (`CONTROL`), each with a mark
  where what it holds ends.
- `called`: F1 of the multisets of names that are called (the last name before the parenthesis; `require`, events and
  errors too; not conversions to the language's own types). Where neither calls anything: 1.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.syntax import Solidity, nodes

CONTROL = {
    "if_statement": "if",
    "for_statement": "for",
    "while_statement": "while",
    "do_while_statement": "do",
    "return_statement": "return",
    "break_statement": "break",
    "continue_statement": "continue",
    "revert_statement": "revert",
    "throw_statement": "revert",
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
_REFUSALS = frozenset({"require", "assert", "revert"})
"""Calls that are control flow."""


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
    """Of all nodes that have children, but the one around the whole."""
    found = []
    for node in nodes(side.root):
        children = tuple(child.type for child in node.children if child.type != "comment")
        if children and node is not side.root:
            found.append((node.type, *children))
    return found


def control(side: Solidity) -> list[str]:
    """Control words from left to right; `end` where a node that holds other statements ends."""
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
            if any(child.type in CONTROL for child in nodes(node)[1:]) or word in ("if", "for", "while"):
                left.append("end")
        left += reversed(node.children)
    return found


def _refusal(node: Any) -> str:
    name = _callee(node) if node.type == "call_expression" else ""
    return name if name in _REFUSALS else ""


def calls(side: Solidity) -> list[str]:
    """The names called, with repetitions."""
    return [name for node in nodes(side.root) if (name := _callee(node))]


def _callee(node: Any) -> str:
    """The last name of what a call, an event or an error calls; empty for other nodes."""
    if node.type not in ("call_expression", "emit_statement", "revert_statement", "yul_function_call"):
        return ""
    before = []
    for child in node.children:
        if child.type in ("(", "call_argument"):
            break
        before.append(child)
    if node.type == "revert_statement" and not any(child.type == "expression" for child in before):
        return "revert"
    names = [
        leaf.text.decode("utf-8", "replace")
        for child in before
        for leaf in nodes(child, without="struct_field_assignment")
        if leaf.type in ("identifier", "yul_identifier", "yul_evm_builtin")
    ]
    return names[-1] if names else ""
