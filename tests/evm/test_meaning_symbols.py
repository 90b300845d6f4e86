"""Symbolic words: every rule of `Symbols` holds for the words that the EVM computes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from whet.evm.meaning.symbols import Node, Symbols, Word, linear
from whet.evm.tac import WORD
from whet.evm.words import ONE, THREE, TWO

_EDGES = (
    0,
    1,
    2,
    4,
    5,
    8,
    31,
    32,
    96,
    160,
    224,
    255,
    256,
    0xFF,
    (1 << 160) - 1,
    WORD,
    WORD - 31,
    1 << 255,
    1 << 224,
)


def _value(word: Word, leaves: dict[Node, int]) -> int:
    if isinstance(word, int):
        return word
    if word in leaves:
        return leaves[word]
    if word.op == "SUM":
        constant, terms = linear(word)
        return (constant + sum(_value(node, leaves) * factor for node, factor in terms)) & WORD
    return _compute(word.op, [_value(arg, leaves) for arg in word.args])


def _compute(op: str, args: list[int]) -> int:
    tables: tuple[dict[str, Callable[..., int]], ...] = (ONE, TWO, THREE)
    return tables[len(args) - 1][op](*args)


@pytest.mark.parametrize("seed", range(40))
def test_rules_keep_the_value(seed: int) -> None:
    chance = random.Random(seed)
    symbols = Symbols()
    leaves: dict[Node, int] = {
        symbols.node("CALLDATALOAD", 4 + 32 * i): chance.choice(
            (chance.getrandbits(256), chance.getrandbits(8))
        )
        for i in range(3)
    }
    pool: list[Word] = [*leaves, *_EDGES]
    for _ in range(200):
        op = chance.choice(sorted([*ONE, *TWO, *THREE]))
        count = 1 if op in ONE else 2 if op in TWO else 3
        args = tuple(chance.choice(pool[-30:] + list(_EDGES)) for _ in range(count))
        if op == "EXP" and not isinstance(args[1], int):
            continue
        word = symbols.operation(op, args)
        expected = _compute(op, [_value(arg, leaves) for arg in args])
        assert _value(word, leaves) == expected, (op, args, word)
        pool.append(word)


def test_equal_offsets_are_one_node() -> None:
    symbols = Symbols()
    index = symbols.node("CALLDATALOAD", 4)
    by_shift = symbols.operation("ADD", (symbols.operation("SHL", (5, index)), 36))
    by_product = symbols.operation(
        "ADD", (32, symbols.operation("ADD", (4, symbols.operation("MUL", (index, 32)))))
    )
    assert by_shift is by_product
    assert symbols.operation("SUB", (by_shift, by_product)) == 0
