"""The text of a function before it is text: lines that know which variables they set and mention, nested in blocks.

Variables are declared where they are first set, if that line encloses every mention; otherwise in front of the smallest
part that does. Lines of assembly in a row share one `assembly` block, lines that must not check overflow one `unchecked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

INDENT = "    "

Node: TypeAlias = Union["Line", "Nest"]


@dataclass(slots=True)
class Line:
    """One statement. sets: the variables that it assigns, of which a text without assembly may begin with `x = `.

    raw: has arithmetic that wraps. checked: has arithmetic that must not."""

    text: str
    sets: tuple[str, ...] = ()
    mentions: frozenset[str] = frozenset()
    assembly: bool = False
    raw: bool = False
    checked: bool = False


@dataclass(slots=True)
class Nest:
    """`head { body }` one after another (if, else if, else), and what follows the last brace."""

    parts: list[tuple[str, list[Node]]]
    tail: str = ""
    mentions: frozenset[str] = frozenset()
    raw: bool = False
    is_assembly: bool = False


def mentioned(node: Node) -> set[str]:
    """Every variable that stands in a node."""
    if isinstance(node, Line):
        return set(node.mentions) | set(node.sets)
    return set(node.mentions).union(*(mentioned(n) for _, body in node.parts for n in body))


def every(nodes: Iterable[Node]) -> Iterator[Line]:
    """The lines of nodes and of all that is nested in them."""
    for node in nodes:
        if isinstance(node, Line):
            yield node
        else:
            for _, body in node.parts:
                yield from every(body)


def wrapped(nodes: list[Node]) -> list[Node]:
    """Lines of assembly in one block, wrapping arithmetic in `unchecked`."""
    if not any(line.checked for line in every(nodes)):
        grouped = _grouped(nodes)
        return [Nest([("unchecked", grouped)])] if _has_raw(nodes) else grouped
    return _unchecked(_grouped(nodes))


def _has_raw(nodes: Iterable[Node]) -> bool:
    return any(n.raw or (isinstance(n, Nest) and any(_has_raw(b) for _, b in n.parts)) for n in nodes)


def _grouped(nodes: list[Node]) -> list[Node]:
    out: list[Node] = []
    run: list[Node] = []
    for node in [*nodes, None]:
        if isinstance(node, Line) and node.assembly:
            run.append(node)
            continue
        if run:
            out.append(Nest([('assembly ("memory-safe")', run)], is_assembly=True))
            run = []
        if isinstance(node, Nest):
            node.parts = [(head, _grouped(body)) for head, body in node.parts]
        if node is not None:
            out.append(node)
    return out


def _unchecked(nodes: list[Node]) -> list[Node]:
    """As small `unchecked` blocks as there can be, since they must not be nested."""
    out: list[Node] = []
    run: list[Node] = []

    def flush() -> None:
        if run:
            out.append(Nest([("unchecked", list(run))]))
            run.clear()

    for node in nodes:
        if isinstance(node, Line) and node.raw:
            run.append(node)
            continue
        flush()
        if isinstance(node, Line):
            out.append(node)
            continue
        if not node.is_assembly:
            node.parts = [(head, _unchecked(body)) for head, body in node.parts]
        out.append(node)
    flush()
    return out


@dataclass(slots=True)
class Declarer:
    """Puts declarations into nodes. types: of the variables to declare; what is not there is declared elsewhere."""

    types: Mapping[str, str]
    done: set[str] = field(default_factory=set)

    def declare(self, nodes: list[Node]) -> None:
        """In place."""
        self._sequence(nodes, False)

    def _sequence(self, nodes: list[Node], in_assembly: bool) -> None:
        """Variables of which two nodes here speak belong here; those that one node has to itself go inside it."""
        spoken: dict[str, list[int]] = {}
        for place, node in enumerate(nodes):
            for name in sorted(mentioned(node)):
                if name in self.types and name not in self.done:
                    spoken.setdefault(name, []).append(place)
        before: dict[int, list[str]] = {}
        for name, places in spoken.items():
            node = nodes[places[0]]
            inside = isinstance(node, Nest) and len(places) == 1 and self._fits(name, node)
            if inside:
                continue
            self.done.add(name)
            if isinstance(node, Line) and self._begin(node, name, in_assembly):
                continue
            before.setdefault(places[0], []).append(name)
        for node in nodes:
            if isinstance(node, Nest):
                for _, body in node.parts:
                    self._sequence(body, node.is_assembly)
        for place in sorted(before, reverse=True):
            self._begin_several(nodes[place], before[place], in_assembly)
            word = "let {0}" if in_assembly else "{1} {0};"
            nodes[place:place] = [
                Line(word.format(name, self.types[name]), assembly=in_assembly) for name in before[place]
            ]

    def _fits(self, name: str, node: Nest) -> bool:
        """Whether only one part of a nest speaks of a variable, and not its head."""
        if name in node.mentions:
            return False
        parts = [body for _, body in node.parts if any(name in mentioned(n) for n in body)]
        if len(parts) != 1:
            return False
        if node.is_assembly:
            first = next(n for n in parts[0] if name in mentioned(n))
            return isinstance(first, Line) and name in first.sets and name not in first.mentions
        return True

    def _begin(self, line: Line, name: str, in_assembly: bool) -> bool:
        """Makes the line the declaration, if it sets that variable alone without reading it."""
        if line.sets != (name,) or name in line.mentions:
            return False
        if line.text.startswith(f"({name}, ) = "):
            line.text = f"({self.types[name]} {line.text[1:]}"
            return True
        if line.text.startswith((f"{name} = ", f"{name} := ")):
            line.text = f"let {line.text}" if in_assembly else f"{self.types[name]} {line.text}"
            return True
        return False

    def _begin_several(self, node: Node, names: list[str], in_assembly: bool) -> None:
        """`(uint256 a, uint256 b) = f()`, if the line is the first to speak of all that it sets."""
        if not isinstance(node, Line) or in_assembly or len(node.sets) < 2:
            return
        head = f"({', '.join(node.sets)}) = "
        if set(node.sets) <= set(names) - node.mentions and node.text.startswith(head):
            declared = ", ".join(f"{self.types[name]} {name}" for name in node.sets)
            node.text = f"({declared}) = {node.text[len(head) :]}"
            names[:] = [name for name in names if name not in node.sets]


def rendered(nodes: list[Node], depth: int) -> list[str]:
    """Lines of text."""
    out: list[str] = []
    for node in nodes:
        if isinstance(node, Line):
            out += [INDENT * depth + text for text in node.text.split("\n")]
            continue
        for position, (head, body) in enumerate(node.parts):
            opening = "} " if position else ""
            out.append(f"{INDENT * depth}{opening}{head} {{")
            out += rendered(body, depth + 1)
        out.append(f"{INDENT * depth}}}{node.tail}")
    return out
