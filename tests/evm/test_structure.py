"""The tree of a function does what its blocks do: compared by running both on random graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.evm.structure import structured
from whet.evm.structure.graph import dominators, flow_of, predecessors_of, reverse_postorder
from whet.evm.structure.tree import (
    Both,
    Break,
    Code,
    Condition,
    Continue,
    Either,
    Exit,
    Goto,
    If,
    Label,
    Leave,
    Loop,
    Node,
    Not,
    Scope,
    Structured,
    Switch,
    Test,
    inner,
    walk,
)
from whet.evm.structure.tree import tests as looked_at
from whet.evm.tac import End

Graph = dict[str, End]
STEPS = 60


class Tape:
    """Decides every condition and writes down what ran; stops after STEPS blocks.

    A condition depends on its block and on what ran, so that one may be looked at once more or not at all.
    """

    def __init__(self, bits: list[int], bare: frozenset[str] = frozenset()) -> None:
        self.bits, self.bare, self.ran = bits, bare, list[str]()

    def bit(self, block: str) -> int:
        return self.bits[(int(block[1:]) * 5 + len(self.ran)) % len(self.bits)]

    def run(self, block: str) -> None:
        if block not in self.bare:
            self.write(block)

    def write(self, what: str) -> None:
        self.ran.append(what)
        if len(self.ran) > STEPS:
            raise StopIteration


def run_graph(graph: Graph, tape: Tape) -> None:
    block, silent = next(iter(graph)), 0
    while silent < STEPS:  # a cycle of blocks that do nothing
        before = len(tape.ran)
        tape.run(block)
        end = graph[block]
        if not end.targets:
            tape.write(f"exit {block}")
            return
        if end.op == "BRANCH" and end.targets[0] != end.targets[1]:
            block = end.targets[0] if tape.bit(block) else end.targets[1]
        elif end.op == "SWITCH":
            block = end.targets[tape.bit(block) % len(end.targets)]
        else:
            block = end.targets[0]
        silent = silent + 1 if len(tape.ran) == before else 0


class Jump(Exception):
    def __init__(self, to: Node) -> None:
        self.to = to


class Walker:
    """Runs a tree; a goto goes on at its label, wherever that stands."""

    def __init__(self, body: list[Node], tape: Tape) -> None:
        self.body, self.tape, self.silent, self.seen = body, tape, 0, 0

    def run(self) -> None:
        start: str | None = None
        while True:
            try:
                self.sequence(self.body, start)
            except Jump as jump:
                if not isinstance(jump.to, Goto):
                    raise
                start = jump.to.label
                continue
            raise AssertionError("fell off the end of the function")

    def rest(self) -> None:
        """Stops a cycle of blocks that do nothing."""
        self.silent = self.silent + 1 if len(self.tape.ran) == self.seen else 0
        self.seen = len(self.tape.ran)
        if self.silent > 1000:
            raise StopIteration

    def sequence(self, nodes: list[Node], start: str | None = None) -> None:
        first = 0
        if start is not None:
            first = next(i for i, node in enumerate(nodes) if holds(node, start))
        for place, node in enumerate(nodes[first:]):
            self.node(node, start if place == 0 else None)

    def node(self, node: Node, start: str | None) -> None:
        self.rest()
        if isinstance(node, Code):
            self.tape.run(node.block)
        elif isinstance(node, Exit):
            self.tape.write(f"exit {node.block}")
            raise StopIteration
        elif isinstance(node, If):
            if start is not None:
                part = node.then if any(holds(n, start) for n in node.then) else node.otherwise
            else:
                part = node.then if self.condition(node.condition) else node.otherwise
            self.sequence(part, start)
        elif isinstance(node, Switch):
            if start is not None:
                part = next(p for _, p in node.cases if any(holds(n, start) for n in p))
            else:
                part = node.cases[self.tape.bit(node.block) % len(node.cases)][1]
            self.sequence(part, start)
        elif isinstance(node, Scope):
            try:
                self.sequence(node.body, start)
            except Jump as jump:
                if jump.to != Leave(node.label):
                    raise
        elif isinstance(node, Loop):
            self.loop(node, start)
        elif not isinstance(node, Label):
            raise Jump(node)

    def loop(self, loop: Loop, start: str | None) -> None:
        while True:
            if start is None and loop.condition and not loop.last and not self.condition(loop.condition):
                return
            self.rest()
            try:
                self.sequence(loop.body, start)
            except Jump as jump:
                if jump.to == Break(loop.label):
                    return
                if jump.to != Continue(loop.label):
                    raise
            start = None
            self.sequence(loop.update)
            if loop.last and loop.condition and not self.condition(loop.condition):
                return

    def condition(self, condition: Condition) -> bool:
        if isinstance(condition, Test):
            return bool(self.tape.bit(condition.block))
        if isinstance(condition, Not):
            return not self.condition(condition.condition)
        if isinstance(condition, Both):
            return self.condition(condition.left) and self.condition(condition.right)
        assert isinstance(condition, Either)
        return self.condition(condition.left) or self.condition(condition.right)


def holds(node: Node, label: str) -> bool:
    return any(n == Label(label) for n in walk([node]) if isinstance(n, Label))


def trace_of_graph(graph: Graph, tape: Tape) -> list[str]:
    with contextlib.suppress(StopIteration):
        run_graph(graph, tape)
    return tape.ran[:STEPS]


def trace_of_tree(tree: Structured, tape: Tape) -> list[str]:
    with contextlib.suppress(StopIteration):
        Walker(tree.body, tape).run()
    return tape.ran[:STEPS]


def end(targets: list[int]) -> End:
    names = tuple(f"b{t}" for t in targets)
    if not names:
        return End("STOP")
    if len(names) > 2:
        return End("SWITCH", ("v",), names, cases=tuple(range(len(names))))
    return End("JUMP", (), names) if len(names) == 1 else End("BRANCH", ("c",), names)


@st.composite
def graphs(draw: st.DrawFn, most: int = 14) -> Graph:
    size = draw(st.integers(1, most))
    target = st.integers(0, size - 1)
    counts = st.sampled_from([0, 1, 1, 2, 2, 2, 2, 3])
    return {f"b{number}": end([draw(target) for _ in range(draw(counts))]) for number in range(size)}


@st.composite
def programs(draw: st.DrawFn, depth: int = 3) -> Graph:
    """Graphs of what people write: sequences, conditions, loops, early exits, && and ||."""
    graph: Graph = {}

    def fresh() -> str:
        graph[f"b{len(graph)}"] = End("STOP")
        return f"b{len(graph) - 1}"

    def test(held: str, failed: str) -> str:
        """A block that leads to one of two, with up to three conditions."""
        first = fresh()
        kind = draw(st.sampled_from(["one", "one", "and", "or"]))
        if kind == "and":
            graph[first] = End("BRANCH", ("c",), (test(held, failed), failed))
        elif kind == "or":
            graph[first] = End("BRANCH", ("c",), (held, test(held, failed)))
        else:
            graph[first] = End("BRANCH", ("c",), (held, failed))
        return first

    def statement(follow: str, depth: int, loop: tuple[str, str] | None) -> str:
        kind = draw(st.sampled_from(["code", "if", "else", "while", "exit", "break", "guard"]))
        if kind == "break" and loop is not None:
            first = test(draw(st.sampled_from(loop)), follow)
        elif kind == "guard":
            first = test(fresh(), follow)
        elif depth and kind in ("if", "else", "while"):
            first = compound(kind, follow, depth - 1, loop)
        else:
            first = fresh()
            graph[first] = End("STOP") if kind == "exit" else End("JUMP", (), (follow,))
        return first

    def compound(kind: str, follow: str, depth: int, loop: tuple[str, str] | None) -> str:
        if kind == "while":
            head = fresh()
            graph[head] = End("BRANCH", ("c",), (sequence(head, depth, (head, follow)), follow))
            return head
        otherwise = follow if kind == "if" else sequence(follow, depth, loop)
        return test(sequence(follow, depth, loop), otherwise)

    def sequence(follow: str, depth: int, loop: tuple[str, str] | None) -> str:
        for _ in range(draw(st.integers(1, 3))):
            follow = statement(follow, depth, loop)
        return follow

    first = sequence(fresh(), depth, None)
    return {first: graph.pop(first), **graph}


BITS = st.lists(st.integers(0, 7), min_size=1, max_size=12)


def subsets(graph: Graph, data: st.DataObject) -> frozenset[str]:
    return frozenset(data.draw(st.lists(st.sampled_from(sorted(graph)), unique=True)))


@settings(max_examples=120, deadline=None)
@given(graphs(), BITS, st.data())
def test_tree_runs_as_the_graph_does(graph: Graph, bits: list[int], data: st.DataObject) -> None:
    bare, copies = subsets(graph, data), subsets(graph, data)
    tree = structured(graph, bare, copies, nesting=data.draw(st.sampled_from([0, 2, 40])))
    assert trace_of_tree(tree, Tape(bits, bare)) == trace_of_graph(graph, Tape(bits, bare))


@settings(max_examples=80, deadline=None)
@given(programs(), BITS, st.data())
def test_programs_run_as_their_graphs_without_goto(
    graph: Graph, bits: list[int], data: st.DataObject
) -> None:
    bare, copies = subsets(graph, data), subsets(graph, data)
    tree = structured(graph, bare, copies)
    assert trace_of_tree(tree, Tape(bits, bare)) == trace_of_graph(graph, Tape(bits, bare))
    assert not any(isinstance(node, Goto | Label) for node in walk(tree.body))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_goto_only_where_a_cycle_is_entered_in_the_middle(graph: Graph) -> None:
    tree = structured(graph)
    flow = flow_of({block: end.targets for block, end in graph.items()})
    gotos = [node.label for node in walk(tree.body) if isinstance(node, Goto)]
    assert (tree.gotos_irreducible, tree.gotos_nesting) == (len(gotos), 0)
    assert set(gotos) == {target for _, target in flow.cut}
    assert sum(isinstance(node, Scope) for node in walk(tree.body)) == tree.labels


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_dominators_are_the_blocks_on_every_way(graph: Graph) -> None:
    successors = {block: end.targets for block, end in graph.items()}
    order = reverse_postorder(successors)
    found = dominators(order, predecessors_of(successors, order))
    for block in order:
        above = {block}
        while found[block] != block:
            block = found[block]
            above.add(block)
        lowest = max(above, key=order.__getitem__)
        assert above == {b for b in order if b == lowest or lowest not in reached(successors, without=b)}


def reached(successors: dict[str, tuple[str, ...]], without: str) -> set[str]:
    found, work = set(), [next(iter(successors))]
    while work:
        block = work.pop()
        if block != without and block not in found:
            found.add(block)
            work += successors[block]
    return found


def shape(nodes: list[Node]) -> Iterator[str]:
    """A tree in one line."""
    for node in nodes:
        name = type(node).__name__.lower()
        if isinstance(node, Code):
            yield node.block
        elif isinstance(node, If):
            yield f"if {said(node.condition)} {brace(node.then)}"
            if node.otherwise:
                yield f"else {brace(node.otherwise)}"
        elif isinstance(node, Loop):
            head = "" if node.condition is None else " " + said(node.condition)
            update = f" then {brace(node.update)}" if node.update else ""
            yield (
                f"do {brace(node.body)} on{head};" if node.last else f"while{head} {brace(node.body)}{update}"
            )
        elif isinstance(node, Exit):
            yield "exit"
        else:
            yield name


def brace(nodes: list[Node]) -> str:
    return "{ " + " ".join(shape(nodes)) + " }"


def said(condition: Condition) -> str:
    if isinstance(condition, Test):
        return condition.block
    if isinstance(condition, Not):
        return f"!{said(condition.condition)}"
    sign = "&&" if isinstance(condition, Both) else "||"
    return f"({said(condition.left)} {sign} {said(condition.right)})"


@pytest.mark.parametrize(
    ("targets", "bare", "expected"),
    [
        ([[1, 2], [3], [3], []], "", "b0 if b0 { b1 } else { b2 } b3 exit"),
        ([[1, 2], [2], []], "", "b0 if b0 { b1 } b2 exit"),
        ([[2, 1], [2], []], "", "b0 if !b0 { b1 } b2 exit"),
        ([[1, 2], [], [3], []], "", "b0 if b0 { b1 exit } b2 b3 exit"),
        ([[1], [2, 3], [1], []], "1", "b0 while b1 { b2 } b3 exit"),
        ([[1], [2], [1, 3], []], "", "b0 do { b1 b2 } on b2; b3 exit"),
        (
            [[1], [2, 6], [3, 4], [5], [5], [1], []],
            "1",
            "b0 while b1 { b2 if b2 { b3 } else { b4 } b5 } b6 exit",
        ),
        ([[1], [2, 5], [3, 4], [5], [1], []], "1", "b0 while b1 { b2 if b2 { b3 break } b4 } b5 exit"),
        ([[1, 2], [3, 2], [4], [4], []], "1", "b0 if (b0 && b1) { b3 } else { b2 } b4 exit"),
        ([[2, 1], [2, 3], [4], [4], []], "1", "b0 if (b0 || b1) { b2 } else { b3 } b4 exit"),
        ([[1], [2, 3], [1], [4, 5], [3], []], "1 3", "b0 while b1 { b2 } while b3 { b4 } b5 exit"),
        ([[1], [2, 5], [3, 4], [2], [1], []], "1 2", "b0 while b1 { while b2 { b3 } b4 } b5 exit"),
        ([[0]], "", "while { b0 }"),
        (
            [[1], [2, 5], [3, 4], [6, 4], [1], [], [4]],
            "1 3",
            "b0 while b1 { b2 if (b2 && b3) { b6 } b4 } b5 exit",
        ),
    ],
)
def test_shapes(targets: list[list[int]], bare: str, expected: str) -> None:
    graph = {f"b{number}": end(to) for number, to in enumerate(targets)}
    tree = structured(graph, frozenset(f"b{n}" for n in bare.split()))
    assert " ".join(shape(tree.body)) == expected


def test_small_ends_stand_wherever_they_are_entered() -> None:
    graph = {"b0": end([1, 2]), "b1": end([4, 3]), "b2": end([4, 3]), "b3": end([]), "b4": end([])}
    tree = structured(graph, copies=frozenset({"b3", "b4"}))
    assert tree.labels == 0
    assert brace(tree.body).count("b4 exit") == 2


def test_continue_of_a_counting_loop_needs_no_label() -> None:
    """for (; b1; b5) { b2; if (b2) { if (b3) continue; b4 } else ...}"""
    graph = {
        f"b{n}": end(t) for n, t in enumerate([[1], [2, 6], [3, 5], [5, 4], [7, 5], [1], [], [8, 5], [5]])
    }
    tree = structured(graph, bare=frozenset({"b1"}))
    assert tree.labels == 0


def test_a_thousand_conditions_are_not_one() -> None:
    size = 1000
    graph = {f"b{n}": end([size, n + 1]) for n in range(size)} | {f"b{size}": end([])}
    tree = structured(graph, bare=frozenset(graph) - {f"b{size}"}, copies=frozenset({f"b{size}"}))
    conditions = [list(looked_at(node.condition)) for node in walk(tree.body) if isinstance(node, If)]
    assert max(map(len, conditions)) == 8
    assert sorted(chain(*conditions), key=lambda b: int(b[1:])) == [f"b{n}" for n in range(size - 1)]


@pytest.mark.parametrize("kind", ["guards", "loops", "joins", "else", "back"])
def test_three_thousand_blocks_in_a_row_are_no_problem(kind: str) -> None:
    size = 3000
    targets = {
        "guards": lambda n: [size - 1, n + 1],
        "loops": lambda n: [n + 1, max(0, n - 1)] if n % 2 else [n + 1],
        "joins": lambda n: [n + 1, min(n + 2, size - 1)],
        "else": lambda n: [n + 1, size - 1] if n % 2 else [min(n + 3, size - 1), n + 1],
        "back": lambda n: [n + 1, 0 if n > size // 2 else n + 1],
    }[kind]
    graph = {f"b{n}": end(targets(n) if n < size - 1 else []) for n in range(size)}
    tree = structured(graph)
    assert {node.block for node in walk(tree.body) if isinstance(node, Code)} == set(graph)
    assert depth(tree.body) < 200


def depth(body: list[Node]) -> int:
    deepest, work = 0, [(body, 0)]
    while work:
        nodes, level = work.pop()
        deepest = max(deepest, level)
        work += [(part, level + 1) for node in nodes for part in inner(node)]
    return deepest
