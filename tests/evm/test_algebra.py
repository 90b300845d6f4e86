"""Every simplification gives the same word as what it replaces, for words that are random or lie at the edges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.evm.algebra import NARROW, bits_of, simplify
from whet.evm.tac import Operand, Statement
from whet.evm.words import ONE, TWO

EDGES = [
    0,
    1,
    2,
    4,
    8,
    31,
    32,
    255,
    256,
    (1 << 160) - 1,
    1 << 255,
    (1 << 256) - 1,
    (1 << 256) - 2,
    0xFFFFFFFF,
    0xFF00,
]
words = st.one_of(
    st.sampled_from(EDGES), st.integers(0, (1 << 256) - 1), st.integers(0, 300).map(lambda n: 1 << (n % 256))
)
operands = st.one_of(words, st.sampled_from(["x", "y", "n", "b"]))
ops = st.sampled_from(sorted(TWO) + sorted(ONE))
NARROW_VARIABLE_BITS = 8


def _evaluate(op: str, args: tuple[Operand, ...], values: dict[str, int]) -> int:
    given_words = [values[arg] if isinstance(arg, str) else arg for arg in args]
    return ONE[op](*given_words) if op in ONE else TWO[op](*given_words)


@settings(max_examples=3000, deadline=None)
@given(st.data(), words, words, st.integers(0, 255), st.booleans())
def test_a_simpler_form_is_the_same_word(data: st.DataObject, x: int, y: int, n: int, b: bool) -> None:
    """`n` has 8 bits, `b` one. A first statement is computed into "t", and a second, that may use it, is simplified."""
    values = {"x": x, "y": y, "n": n, "b": int(b)}
    bits = {"n": NARROW_VARIABLE_BITS, "b": 1}
    makers: dict[str, Statement] = {}
    for name in ("t", "u"):
        op = data.draw(ops)
        args = tuple(
            data.draw(st.one_of(operands, st.sampled_from(sorted(values))))
            for _ in range(1 if op in ONE else 2)
        )
        values[name] = _evaluate(op, args, values)
        makers[name] = Statement(op, args, (name,), 0)
        bits[name] = bits_of(makers[name], bits)
        assert values[name] < 1 << bits[name]
    op = data.draw(ops)
    args = tuple(
        data.draw(st.one_of(operands, st.sampled_from(["t", "u"]))) for _ in range(1 if op in ONE else 2)
    )
    simpler = simplify(op, args, makers, bits)
    if simpler is None:
        return
    expected = _evaluate(op, args, values)
    if isinstance(simpler, tuple):
        assert _evaluate(*simpler, values) == expected
    else:
        assert (values[simpler] if isinstance(simpler, str) else simpler) == expected


@pytest.mark.parametrize(
    ("op", "args", "inner", "expected"),
    [
        ("AND", ((1 << 160) - 1, "t"), Statement("CALLER", (), ("t",), 0), "t"),
        ("ISZERO", ("t",), Statement("ISZERO", ("x",), ("t",), 0), None),
        ("CLZ", ("t",), Statement("CLZ", ("b",), ("t",), 0), None),
        ("ISZERO", ("t",), Statement("ISZERO", ("b",), ("t",), 0), "b"),
        ("SUB", ("t", "x"), Statement("ADD", (4, "x"), ("t",), 0), 4),
        ("ADD", (4, "t"), Statement("SUB", ("x", 4), ("t",), 0), "x"),
        ("DIV", ("x", 1 << 224), Statement("CALLER", (), ("t",), 0), ("SHR", (224, "x"))),
        ("AND", (0xFF, "t"), Statement("AND", ("x", 0xFFFF), ("t",), 0), ("AND", (0xFF, "x"))),
        ("EQ", ("x", 0), Statement("CALLER", (), ("t",), 0), ("ISZERO", ("x",))),
    ],
)
def test_simpler_forms(op: str, args: tuple[Operand, ...], inner: Statement, expected: object) -> None:
    bits = {"t": NARROW.get(inner.op, 256), "b": 1}
    assert simplify(op, args, {"t": inner}, bits) == expected
