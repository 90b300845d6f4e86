"""A draft, with its values inlined, phis as assignments and control flow as a tree, does what the code does.

Both are run on a machine that knows nothing of the EVM: what is read depends on everything that was written before to
the same part of the machine, so a read moved behind a write, a lost copy or a swapped pair of phis shows.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evm.test_structure import Graph, Tape, Walker, graphs, programs
from whet.evm.draft import Readable, readable
from whet.evm.draft.effects import EVERYTHING, effect_of
from whet.evm.draft.variables import in_sequence
from whet.evm.meaning.base import END, FunctionMeaning
from whet.evm.tac import WORD, Block, End, Function, Operand, Phi, Statement
from whet.evm.terms import Assign, Expression, Invoke, Name, Operation, Revert, Value, replaced, variables

STEPS = 80
REAL = {
    "ADD": lambda a, b: (a + b) & WORD,
    "SUB": lambda a, b: (a - b) & WORD,
    "AND": lambda a, b: a & b,
    "LT": lambda a, b: int(a < b),
    "EQ": lambda a, b: int(a == b),
    "ISZERO": lambda a: int(a == 0),
}


class Enough(Exception):
    """Ran long enough."""


class State:
    """Values of variables, one number for what was written to each part, and everything that had an effect."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.parts: dict[str, int] = {}
        self.ran: list[Any] = []

    def operate(self, op: str, args: tuple[int, ...]) -> int:
        if op in REAL:
            return REAL[op](*args)
        effect = EVERYTHING if op.startswith("p_") else effect_of(op)
        seen = tuple((part, self.parts.get(part, 0)) for part in sorted(effect.reads))
        value = hash((sum(map(ord, op)), args, tuple(v for _, v in seen))) % 7
        if effect.writes:
            self.ran.append((op, args))
            if len(self.ran) > STEPS:
                raise Enough
        for part in effect.writes:
            self.parts[part] = hash((self.parts.get(part, 0), sum(map(ord, op)), args))
        return value

    def finish(self, op: str, args: tuple[int, ...]) -> None:
        self.ran.append((op, args, tuple(self.parts.get(p, 0) for p in sorted(effect_of(op).reads))))


def run_code(function: Function, state: State, most: int = 2000) -> None:
    """Runs three-address code."""

    def value(operand: Operand) -> int:
        return operand if isinstance(operand, int) else state.values[operand]

    block, came = function.entry, ""
    for _ in range(most):
        new = {phi.result: value(phi.incoming[came]) for phi in block.phis}
        state.values |= new
        for statement in block.statements:
            op = statement.function or statement.op
            result = state.operate(op, tuple(map(value, statement.args)))
            state.values |= dict.fromkeys(statement.results, result)
        end = block.end
        if not end.targets:
            state.finish(end.op, tuple(map(value, end.args)))
            return
        came = block.id
        block = function.blocks[end.targets[end.op == "BRANCH" and not value(end.args[0])]]


class Machine(Tape):
    """Runs the leaves of a tree."""

    def __init__(self, body: Readable, state: State) -> None:
        super().__init__([0])
        self.blocks, self.state, self.ran = body.draft.blocks, state, state.ran

    def run(self, block: str) -> None:
        for line in self.blocks[block].lines:
            assert isinstance(line.form, Value) or not line.results
            term = line.form.expression  # type: ignore[union-attr]
            value = self.value(term)
            self.state.values |= dict.fromkeys(line.results, value)

    def bit(self, block: str) -> int:
        return self.value(self.blocks[block].end.args[0])

    def write(self, what: str) -> None:
        end = self.blocks[what.removeprefix("exit ")].end
        self.state.finish(end.op, tuple(map(self.value, end.args)))

    def value(self, term: Expression) -> int:
        if isinstance(term, int):
            return term
        if isinstance(term, str):
            return self.state.values[term]
        if isinstance(term, Invoke):
            assert isinstance(term.callee, Name)
            return self.state.operate(term.callee.name, tuple(map(self.value, term.args)))
        assert isinstance(term, Operation)
        if term.op == "&&":
            return self.value(term.args[0]) and self.value(term.args[1])
        if term.op == "||":
            return self.value(term.args[0]) or self.value(term.args[1])
        if term.op == "?:":
            return self.value(term.args[1 if self.value(term.args[0]) else 2])
        return self.state.operate(term.op, tuple(self.value(a) for a in term.args))


def both(function: Function, meaning: FunctionMeaning | None = None) -> tuple[list[Any], list[Any]]:
    code, tree = State(), State()
    start = {name: number for number, name in enumerate(function.params)}
    code.values |= start
    body = readable(function, meaning)
    tree.values |= dict(zip(body.draft.params, start.values(), strict=True))
    with contextlib.suppress(StopIteration, Enough):
        run_code(function, code)
    with contextlib.suppress(StopIteration, Enough):
        Walker(body.tree.body, Machine(body, tree)).run()
    return code.ran, tree.ran


VARIABLES = ("m0", "m1", "m2", "m3")
OPS = [
    "ADD",
    "SUB",
    "AND",
    "LT",
    "EQ",
    "ISZERO",
    "SLOAD",
    "MLOAD",
    "SSTORE",
    "MSTORE",
    "CALLER",
    "p_1",
    "TLOAD",
    "MUL",
]
ARITY = {"ISZERO": 1, "SLOAD": 1, "MLOAD": 1, "CALLER": 0, "p_1": 1, "TLOAD": 1}


@st.composite
def functions(draw: st.DrawFn, shapes: st.SearchStrategy[Graph]) -> Function:
    """Random statements over four variables on a random graph, in SSA with a phi for every variable everywhere."""
    graph = dict(draw(shapes))
    graph = {
        name: end if end.op != "SWITCH" else End("BRANCH", (), end.targets[:2]) for name, end in graph.items()
    }
    first = next(iter(graph))
    ends = {"b0": End("JUMP", (), (f"c{first}",))}
    ends |= {f"c{n}": End(e.op, (), tuple(f"c{t}" for t in e.targets)) for n, e in graph.items()}
    last: dict[str, dict[str, Operand]] = {}
    blocks: dict[str, Block] = {}
    for name, end in ends.items():
        now: dict[str, Operand] = {v: f"{v}_{name}" if name != "b0" else f"{v}_in" for v in VARIABLES}
        operand = st.one_of(st.sampled_from(VARIABLES), st.integers(0, 3))
        statements = []
        for number in range(draw(st.integers(0, 4))):
            op = draw(st.sampled_from(OPS))
            if op == "MUL":  # a copy: after it two variables have one value, and the old one may live on
                now[draw(st.sampled_from(VARIABLES))] = now[draw(st.sampled_from(VARIABLES))]
                continue
            args = tuple(
                now.get(a, a) if isinstance(a, str) else a for a in draw_many(draw, operand, ARITY.get(op, 2))
            )
            results: tuple[str, ...] = ()
            if op not in ("SSTORE", "MSTORE"):
                target = draw(st.sampled_from(VARIABLES))
                results = (f"{target}_{name}_{number}",)
                now[target] = results[0]
            called = op if op == "p_1" else ""
            statements.append(Statement("CALLPRIVATE" if called else op, args, results, 0, called))
        chosen = tuple(
            now[draw(st.sampled_from(VARIABLES))] for _ in range({"BRANCH": 1, "STOP": 2}.get(end.op, 0))
        )
        op = "RETURNPRIVATE" if end.op == "STOP" else end.op
        blocks[name] = Block(name, 0, [], statements, End(op, chosen, end.targets))
        last[name] = now
    for name, block in blocks.items():
        for target in dict.fromkeys(block.end.targets):
            for variable in VARIABLES:
                phi = next((p for p in blocks[target].phis if p.result == f"{variable}_{target}"), None)
                if phi is None:
                    phi = Phi(f"{variable}_{target}", {})
                    blocks[target].phis.append(phi)
                phi.incoming[name] = last[name][variable]
    return Function("f", "private", 0, tuple(f"{v}_in" for v in VARIABLES), 2, blocks)


def draw_many(draw: st.DrawFn, strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    return [draw(strategy) for _ in range(count)]


@settings(max_examples=70, deadline=None)
@given(functions(programs()))
def test_drafts_of_programs_do_what_the_code_does(function: Function) -> None:
    code, tree = both(function)
    assert tree[:STEPS] == code[:STEPS]


@settings(max_examples=70, deadline=None)
@given(functions(graphs(most=8)))
def test_drafts_of_any_graph_do_what_the_code_does(function: Function) -> None:
    code, tree = both(function)
    assert tree[:STEPS] == code[:STEPS]


def function_of(*blocks: Block, params: tuple[str, ...] = ()) -> Function:
    return Function("f", "private", 0, params, 1, {block.id: block for block in blocks})


def lines(body: Readable) -> list[str]:
    return [f"{line.results} {line.form}" for b in body.draft.blocks.values() for line in b.lines]


def test_a_loop_counts_in_one_variable() -> None:
    body = readable(
        function_of(
            Block("b0", 0, [], [], End("JUMP", (), ("b1",))),
            Block(
                "b1",
                0,
                [Phi("i", {"b0": 0, "b2": "j"})],
                [Statement("LT", ("i", "n"), ("c",), 0)],
                End("BRANCH", ("c",), ("b2", "b3")),
            ),
            Block("b2", 0, [], [Statement("ADD", ("i", 1), ("j",), 0)], End("JUMP", (), ("b1",))),
            Block("b3", 0, [], [], End("RETURNPRIVATE", ("i",))),
            params=("n",),
        )
    )
    names = {result for b in body.draft.blocks.values() for line in b.lines for result in line.results}
    assert len(names) == 1


def test_swapped_variables_take_a_third() -> None:
    assert in_sequence([("a", "b"), ("b", "a")]) == [("a.old", "a"), ("a", "b"), ("b", "a.old")]
    assert in_sequence([("a", "b"), ("b", "c")]) == [("a", "b"), ("b", "c")]
    assert in_sequence([("b", "c"), ("a", "b")]) == [("a", "b"), ("b", "c")]


def test_variables_needed_at_the_same_time_stay_two() -> None:
    """a, b = b, a + b while i < 5: joined into one variable, the loop would count something else."""
    function = function_of(
        Block("b0", 0, [], [], End("JUMP", (), ("b1",))),
        Block(
            "b1",
            0,
            [Phi("a", {"b0": 1, "b2": "b"}), Phi("b", {"b0": 1, "b2": "s"}), Phi("i", {"b0": 0, "b2": "j"})],
            [Statement("LT", ("i", 5), ("c",), 0)],
            End("BRANCH", ("c",), ("b2", "b3")),
        ),
        Block(
            "b2",
            0,
            [],
            [
                Statement("ADD", ("a", "b"), ("s",), 0),
                Statement("SSTORE", ("a", "s"), (), 0),
                Statement("ADD", ("i", 1), ("j",), 0),
            ],
            End("JUMP", (), ("b1",)),
        ),
        Block("b3", 0, [], [], End("RETURNPRIVATE", ("b",))),
    )
    code, tree = both(function)
    assert tree == code
    assert [args[0] for op, args, *_ in code if op == "SSTORE"] == [1, 1, 2, 3, 5]


def test_reads_stay_before_writes() -> None:
    body = readable(
        function_of(
            Block(
                "b0",
                0,
                [],
                [Statement("SLOAD", (0,), ("v",), 0), Statement("SSTORE", (0, 1), (), 0)],
                End("RETURNPRIVATE", ("v",)),
            )
        )
    )
    assert len(lines(body)) == 2


def test_a_read_before_a_call_stays_before_it_in_every_round() -> None:
    statements = [
        Statement("SLOAD", (0,), ("v",), 0),
        Statement("CALLPRIVATE", (), ("w",), 0, "p_1"),
        Statement("LT", ("w", "v"), ("c",), 0),
    ]
    body = readable(function_of(Block("b0", 0, [], statements, End("RETURNPRIVATE", ("c",)))))
    assert len(lines(body)) == 1
    assert "SLOAD" in lines(body)[0]


STATEMENTS = [
    Statement("MSTORE", (0, "a"), (), 0),
    Statement("KECCAK256", (0, 64), ("h",), 0),
    Statement("SLOAD", ("h",), ("v",), 0),
    Statement("SSTORE", ("h", "v"), (), 0),
]


def test_meaning_replaces_and_absorbs() -> None:
    meaning = FunctionMeaning(
        forms={
            ("b0", 2): Value(Name("x")),
            ("b0", 3): Assign(Name("x"), "v", "+"),
            ("b0", END): Revert("Bad", ("v",)),
        },
        absorbed={("b0", 0), ("b0", 1)},
    )
    body = readable(
        function_of(Block("b0", 0, [], STATEMENTS, End("REVERT", (0, 0))), params=("a",)), meaning
    )
    block = body.draft.blocks["b0"]
    assert [line.form for line in block.lines] == [Value(Name("x")), Assign(Name("x"), "v", "+")]
    assert block.end.form == Revert("Bad", ("v",))


def test_what_is_absorbed_but_still_read_is_shown() -> None:
    meaning = FunctionMeaning(absorbed={("b0", 0), ("b0", 1), ("b0", 2)})
    body = readable(function_of(Block("b0", 0, [], STATEMENTS, End("STOP")), params=("a",)), meaning)
    assert [line.form for line in body.draft.blocks["b0"].lines if "SSTORE" in repr(line.form)]
    assert "KECCAK256" in repr(body.draft.blocks["b0"].lines)
    assert "MSTORE" not in repr(body.draft.blocks["b0"].lines)


@pytest.mark.parametrize("target", ["b1", "b2"])
def test_skipped_branches_go_one_way(target: str) -> None:
    function = function_of(
        Block("b0", 0, [], [], End("BRANCH", ("c",), ("b1", "b2"))),
        Block("b1", 0, [], [], End("STOP")),
        Block("b2", 0, [], [], End("INVALID")),
        params=("c",),
    )
    body = readable(function, FunctionMeaning(skipped={"b0": target}))
    assert [b.end.op for b in body.draft.blocks.values()] == [function.blocks[target].end.op]


def test_terms_know_their_variables() -> None:
    term = Invoke(Name("f"), ("a", Operation("ADD", ("b", 1))), (("value", "c"),))
    assert list(variables(term)) == ["a", "b", "c"]
    assert list(variables(replaced(term, {"a": 1, "b": "d", "c": "e"}))) == ["d", "e"]
