"""Ranges hold: of every instruction on random words, of every condition, and of every variable of running contracts."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.evm.fixtures import Fixture, fixtures
from tests.evm.honest import ADDRESS, CALLER
from tests.evm.test_meaning_honest import STARTS, calls
from whet.evm.interpret import OutOfSteps, Result, Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.meaning.bounds import bounds
from whet.evm.meaning.facts import learn
from whet.evm.meaning.ranges import ANY, Range, either, fits, of_word, result
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.typed import checked
from whet.evm.tac import WORD, Contract, Operand, Statement
from whet.evm.words import ONE, SIGN, THREE, TWO, signed
from whet.evm.world import Account, World

EDGES = [0, 1, 2, 3, 5, 255, 256, WORD, WORD - 1, SIGN, SIGN - 1, WORD - 127, WORD - 128, (1 << 160) - 1]


def word(random: Random) -> int:
    if random.random() < 0.3:
        return random.choice(EDGES)
    made = random.getrandbits(random.randrange(1, 257))
    if random.random() < 0.3:
        made = -made & WORD
    return made << random.randrange(256) & WORD if random.random() < 0.3 else made


def some_range(random: Random, inside: int) -> Range:
    if random.random() < 0.1:
        return ANY
    found = of_word(inside)
    return either(found, of_word(word(random))) if random.random() < 0.7 else found


def holds(value: int, known: Range) -> bool:
    number = signed(value)
    least = 0 if known.low < 0 else -(1 << known.low)
    return least <= number < 1 << known.high and not value & ((1 << known.zeros) - 1)


@pytest.mark.parametrize("op", [*ONE, *TWO, *THREE])
def test_results_are_in_the_range(op: str) -> None:
    random = Random(op)
    rule = ONE.get(op) or TWO.get(op) or THREE[op]
    narrowed = 0
    for _ in range(4000):
        words = [word(random) for _ in range(1 if op in ONE else 2 if op in TWO else 3)]
        if op in ("SHL", "SHR", "SAR", "SIGNEXTEND", "BYTE") and random.random() < 0.8:
            words[0] = random.randrange(33 if op in ("SIGNEXTEND", "BYTE") else 260)
        constants = tuple(w if random.random() < 0.5 else None for w in words)
        ranges = tuple(
            of_word(w) if known is not None else some_range(random, w)
            for w, known in zip(words, constants, strict=True)
        )
        found = result(op, ranges, constants)
        value = rule(*words)
        assert holds(value, found), (words, ranges, found)
        narrowed += found != ANY
    assert narrowed > 1000 or op == "EXP"


CONDITIONS = ["EQ", "LT", "GT", "SLT", "SGT", "SUB", "XOR", "AND", "OR", "SHR"]


@pytest.mark.parametrize("op", CONDITIONS)
def test_facts_hold_where_the_condition_does(op: str) -> None:
    """Of `x op y` and of `!(x op y)`, where either may be a constant, and of `x == f(x)`."""
    random = Random(op)
    learnt = 0
    for _ in range(4000):
        a, b = word(random), random.choice([word(random), random.randrange(256)])
        values: dict[str, int] = {"a": a, "b": b}
        args: list[Operand] = [random.choice(["a", a]), random.choice(["b", b])]
        if op in ("EQ", "SUB", "XOR") and random.random() < 0.5:
            args[1], values["b"] = "b", a
        if op == "SHR" and random.random() < 0.8:
            args[0] = random.randrange(256)
        makers = {
            "c": Statement(op, tuple(args), ("c",), 0),
            "d": Statement("ISZERO", ("c",), ("d",), 0),
            "e": Statement("ISZERO", ("d",), ("e",), 0),
        }
        at = {name: some_range(random, value) for name, value in values.items()}
        c = TWO[op](*(values[x] if isinstance(x, str) else x for x in args))
        for condition, value in (("c", c), ("d", int(not c)), ("e", int(bool(c)))):
            found = learn(
                condition, value != 0, makers, lambda x, at=at: at[x] if isinstance(x, str) else of_word(x)
            )
            for name, fact in found.items():
                if name in values:
                    assert holds(values[name], fact), (args, values, found)
                    learnt += fact != ANY
    assert learnt > 500 or op in ("AND", "OR")


def test_types_fit() -> None:
    assert fits(of_word(0), "bool")
    assert fits(Range(-1, 1), "bool")
    assert not fits(Range(-1, 2), "bool")
    assert fits(Range(-1, 160), "address")
    assert not fits(ANY, "address")
    assert fits(Range(-1, 7), "int8")
    assert not fits(Range(-1, 8), "int8")
    assert fits(Range(7, 7), "int8")
    assert fits(Range(255, 255, 224), "bytes4")
    assert not fits(Range(255, 255, 223), "bytes4")
    assert fits(ANY, "uint256")
    assert fits(ANY, "int256")
    assert fits(ANY, "bytes32")
    assert not fits(ANY, "bytes")


def _execute(contract: Contract, data: bytes, storage: dict[int, int]) -> Result:
    accounts = {ADDRESS: Account(storage=dict(storage)), CALLER: Account(balance=1 << 90)}
    return run(contract, World(accounts, lift_code), Transaction(CALLER, ADDRESS, data))


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_variables_hold_what_is_proved(fixture: Fixture) -> None:
    contract = untangled(lift_code(fixture.runtime))
    known = bounds(contract)
    ranges = {
        name: {v: r for v, r in one.ranges.items() if r not in (ANY, Range(-1, 1))}
        for name, one in known.items()
    }
    checking = checked(contract, ranges)
    counts: Counter[str] = Counter()
    for start in STARTS:
        for data in calls(fixture, contract):
            try:
                one, two = (_execute(each, data, start) for each in (contract, checking))
            except OutOfSteps:
                continue
            said = (one.status, one.data, one.logs, one.storage)
            assert (two.status, two.data, two.logs, two.storage) == said, two.why
            counts[one.status] += 1
    assert counts["success"] > 3
    assert sum(map(len, ranges.values())) > 0


def test_a_check_notices_what_is_outside() -> None:
    fixture = fixtures("Token")[-1]
    contract = untangled(lift_code(fixture.runtime))
    wrong = {
        name: {v: Range(-1, 8) for v, r in one.ranges.items() if r == Range(-1, 160)}
        for name, one in bounds(contract).items()
    }
    checking = checked(contract, wrong)
    data = next(data for data in calls(fixture, contract) if data[:4].hex() == "70a08231")  # balanceOf
    assert _execute(contract, data, STARTS[1]).status == "success"
    assert _execute(checking, data, STARTS[1]).status == "halt"
