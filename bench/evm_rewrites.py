"""Solidity changed on its syntax tree: mutants, which mean something else, and rewrites, which mean the same.

Positions come from the compiler's AST, so that comments and strings are safe. A mutant has one change; a rewrite has many.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

Node = dict[str, Any]
Edit = tuple[int, int, str]
"""Bytes from, to; what stands there instead."""

OTHER = {
    "+": "-",
    "-": "+",
    "*": "+",
    "/": "*",
    "%": "/",
    "<": "<=",
    ">": ">=",
    "<=": "<",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "&&": "||",
    "||": "&&",
    "&": "|",
    "|": "&",
    "<<": ">>",
    ">>": "<<",
    "+=": "-=",
    "-=": "+=",
}
MIRRORED = {
    "<": ">",
    ">": "<",
    "<=": ">=",
    ">=": "<=",
    "==": "==",
    "!=": "!=",
    "+": "+",
    "*": "*",
    "&": "&",
    "|": "|",
}


def mutations(text: bytes, unit: Node) -> list[tuple[str, Edit]]:
    """Every single change to the code of functions: (what kind, edit)."""
    return [found for node in _inside(unit) for found in _mutated(text, node)]


def rewrites(text: bytes, unit: Node) -> list[Edit]:
    """Changes that keep the meaning; those that lie within one another are not both there."""
    found: list[Edit] = []
    for node in _inside(unit):
        edit = _rewritten(text, node)
        if edit and all(edit[0] >= end or edit[1] <= start for start, end, _ in found):
            found.append(edit)
    return found


def applied(text: bytes, edits: list[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new.encode() + text[end:]
    return text.decode()


def some(edits: list[Edit], random: Random) -> list[Edit]:
    return [edit for edit in edits if random.random() < 0.6]


def _inside(unit: Node) -> Iterator[Node]:
    """Nodes of bodies of functions and modifiers, from the outside inwards; no inline assembly."""
    todo: list[tuple[Any, bool]] = [(unit, False)]
    while todo:
        node, inside = todo.pop()
        if isinstance(node, list):
            todo += [(one, inside) for one in reversed(node)]
        if not isinstance(node, dict) or node.get("nodeType") == "InlineAssembly":
            continue
        inside = inside or node.get("nodeType") in ("FunctionDefinition", "ModifierDefinition")
        if inside and "src" in node:
            yield node
        todo += [(value, inside) for key, value in reversed(node.items()) if key not in ("documentation",)]


def _span(node: Node) -> tuple[int, int]:
    start, size, _ = node["src"].split(":")
    return int(start), int(start) + int(size)


def _operator(text: bytes, node: Node, left: Node, right: Node) -> tuple[int, int] | None:
    start, end = _span(left)[1], _span(right)[0]
    at = text.find(node["operator"].encode(), start, end)
    return (at, at + len(node["operator"])) if at >= 0 else None


def _mutated(text: bytes, node: Node) -> Iterator[tuple[str, Edit]]:
    kind = node["nodeType"]
    if kind == "BinaryOperation" and node["operator"] in OTHER:
        if place := _operator(text, node, node["leftExpression"], node["rightExpression"]):
            yield "other operator", (*place, OTHER[node["operator"]])
    elif kind == "Assignment" and node["operator"] in OTHER:
        if place := _operator(text, node, node["leftHandSide"], node["rightHandSide"]):
            yield "other operator", (*place, OTHER[node["operator"]])
    elif kind == "Literal" and node.get("kind") == "number" and text[slice(*_span(node))].isdigit():
        yield "off by one", (*_span(node), str(int(text[slice(*_span(node))]) + 1))
    elif kind == "IfStatement":
        start, end = _span(node["condition"])
        yield "swapped branches", (start, end, f"!({text[start:end].decode()})")
    elif kind == "ExpressionStatement":
        call = node["expression"]
        name = call.get("expression", {}).get("name", "") if call["nodeType"] == "FunctionCall" else ""
        if name in ("require", "assert"):
            yield "dropped check", (*_span(node), "")
        elif call["nodeType"] in ("Assignment", "FunctionCall", "UnaryOperation"):
            yield "dropped statement", (*_span(node), "")
    elif kind == "EmitStatement":
        yield "dropped event", (*_span(node), "")
    elif kind == "MemberAccess" and text[slice(*_span(node))] == b"msg.sender":
        yield "other caller", (*_span(node), "tx.origin")


def _simple(node: Node) -> bool:
    """Nothing in it can fail or have an effect."""
    if node["nodeType"] == "MemberAccess":
        return node["expression"].get("name") in ("msg", "block", "tx")
    constant = node["nodeType"] == "Literal" and node.get("kind") == "number"
    return node["nodeType"] == "Identifier" or constant


def _rewritten(text: bytes, node: Node) -> Edit | None:
    kind, (start, end) = node["nodeType"], _span(node)

    def of(part: Node) -> str:
        return text[slice(*_span(part))].decode()

    if kind == "BinaryOperation" and node["operator"] in MIRRORED:
        left, right = node["leftExpression"], node["rightExpression"]
        literals = [part["nodeType"] == "Literal" for part in (left, right)]
        if _simple(left) and _simple(right) and not all(literals):
            if node["operator"] in ("==", "!="):
                sign = {"==": "!=", "!=": "=="}[node["operator"]]
                return start, end, f"(!({of(left)} {sign} {of(right)}))"
            return start, end, f"({of(right)} {MIRRORED[node['operator']]} {of(left)})"
    if kind == "IfStatement" and node.get("falseBody") and node["trueBody"]["nodeType"] == "Block":
        if node["falseBody"]["nodeType"] == "Block":
            yes, no = of(node["trueBody"]), of(node["falseBody"])
            return start, end, f"if (!({of(node['condition'])})) {no} else {yes}"
    elif kind == "IfStatement" and node["trueBody"]["nodeType"] == "Block" and not node.get("falseBody"):
        return start, end, f"if (!({of(node['condition'])})) {{}} else {of(node['trueBody'])}"
    if (
        kind == "Assignment"
        and node["operator"] in ("+=", "-=")
        and _simple(node["leftHandSide"])
        and _simple(node["rightHandSide"])
    ):
        left, right = of(node["leftHandSide"]), of(node["rightHandSide"])
        return start, end, f"{left} = {left} {node['operator'][0]} {right}"
    if kind == "Conditional":
        yes, no = of(node["trueExpression"]), of(node["falseExpression"])
        return start, end, f"(!({of(node['condition'])}) ? {no} : {yes})"
    return None
