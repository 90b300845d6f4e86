"""Branches that a call can take: how they are split, which of them are impossible, intervals, what memory holds."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.evm.fixtures import Fixture, fixtures
from tests.evm.test_verify import ABI, PUT, SMALL, dispatched, found_of
from whet.evm.interpret import execute
from whet.evm.lifting import lift_code
from whet.evm.replay.mocks import TARGET
from whet.evm.replay.run import MethodReport
from whet.evm.replay.search import Search
from whet.evm.replay.vectors import Method, methods_of_signatures
from whet.evm.tac import WORD, Block, Contract, End, Function, Phi, Statement
from whet.evm.verify import DIFFERENT, INCONCLUSIVE, SAME, verify
from whet.evm.verify.branches import branches, root, split_branches
from whet.evm.verify.impossible import entries, possible
from whet.evm.verify.intervals import RULES, compared, result_of
from whet.evm.verify.pair import Pair
from whet.evm.words import ONE, TWO

SOME = [
    f
    for f in fixtures()
    if f.name
    in (
        "Token-0.8.30-runs200",
        "Vault-0.6.12-runs200",
        "Vault-0.8.30-runs200",
        "Loops-0.8.30-runs200-ir",
        "Sets-0.8.30-runs200",
    )
]


def called(pair: Pair, method: Method, calls: int) -> tuple[MethodReport, Search]:
    report, search = MethodReport(method), Search(method, pair.rng, pair.mined, 1)
    for _ in range(calls):
        pair.one(report, search)
    return report, search


# Branches.


@pytest.mark.parametrize("fixture", SOME, ids=str)
def test_every_way_out_of_a_condition_is_a_block_of_its_own(fixture: Fixture) -> None:
    for function in split_branches(lift_code(fixture.runtime)).functions.values():
        before = function.predecessors()
        forks = [b for b in function.blocks.values() if b.end.op in ("BRANCH", "SWITCH")]
        for fork in forks:
            assert len(set(fork.end.targets)) == len(fork.end.targets)
            assert all(before[target] == [fork.id] for target in fork.end.targets)


@pytest.mark.parametrize("fixture", SOME, ids=str)
def test_split_code_does_the_same(fixture: Fixture) -> None:
    plain = lift_code(fixture.runtime)
    split, rng = split_branches(plain), Random(3)
    for selector in plain.public:
        data = selector.to_bytes(4, "big") + b"".join(rng.randrange(9).to_bytes(32, "big") for _ in range(4))
        one, other = execute(plain, data), execute(split, data)
        assert (one.status, one.data, one.storage) == (other.status, other.data, other.storage)


@pytest.mark.parametrize("fixture", SOME, ids=str)
def test_nothing_impossible_is_ever_executed(fixture: Fixture) -> None:
    pair = Pair(fixture.runtime, fixture.runtime, 3, {})
    pair.give(10**8, 10**12)
    for method in methods_of_signatures(fixture.truth["methods"], fixture.truth["abi"]):
        begin = root(pair.contract, method.selector, method.name)
        impossible = branches(pair.contract, begin) - possible(pair.contract, begin).branches
        _, search = called(pair, method, 25)
        seen = {(name, block) for at, name, block in search.seen if at == TARGET}
        assert not impossible & seen, method.name


def test_a_check_that_was_made_before_is_impossible_to_fail() -> None:
    again = "PUSH 1000 PUSH 4 CALLDATALOAD GT @short JUMPI PUSH 2000 PUSH 4 CALLDATALOAD GT @short JUMPI STOP"
    contract = split_branches(lift_code(dispatched(again)))
    begin = root(contract, PUT, "put")
    assert len(branches(contract, begin)) == 6
    assert len(possible(contract, begin).branches) == 5


def hand_made(public: list[Statement], end: End, *, private: Block | None = None) -> Contract:
    """A dispatcher that checks for four bytes of calldata, a public function `f` with a condition, a private one `p(a0)`."""
    stop = Block("b1", 0, [], [], End("STOP"))
    f = {"b0": Block("b0", 0, [], public, end), "b1": stop, "b2": replace(stop, id="b2")}
    entry = {
        "b0": Block("b0", 0, [], [Statement("CALLDATASIZE", (), ("v0",), 0), Statement("LT", ("v0", 4), ("v1",), 0)],
                    End("BRANCH", ("v1",), ("b1", "b2"))),
        "b1": stop,
        "b2": Block("b2", 0, [], [], End("ENTER", function="f")),
    }  # fmt: skip
    functions = {
        "entry": Function("entry", "entry", 0, (), None, entry),
        "f": Function("f", "public", 0, (), None, f, PUT),
    }
    if private:
        functions["p"] = Function("p", "private", 0, ("a0",), 1, {"b0": private})
    return Contract(functions, 100, {})


def unlike(*names: str) -> list[tuple[str, str]]:
    return [("f", name) for name in names]


def test_what_the_dispatcher_checked_is_known() -> None:
    size = [Statement("CALLDATASIZE", (), ("v0",), 0), Statement("ADD", ("v0", WORD - 3), ("v1",), 0)]
    contract = hand_made(
        [*size, Statement("SLT", ("v1", 0), ("v2",), 0)], End("BRANCH", ("v2",), ("b1", "b2"))
    )
    assert possible(contract, "f").branches == set(unlike("b1", "b2"))
    assert possible(contract, "f", entries(contract)["f"]).branches == set(unlike("b2"))


@pytest.mark.parametrize(("given", "left"), [("a0", ("b1",)), (7, ("b1", "b2"))])
def test_what_a_private_function_gives_back_unchanged_is_known(
    given: str | int, left: tuple[str, ...]
) -> None:
    """A check that an argument is what it is when cleaned; the same of another word says nothing."""
    private = Block("b0", 0, [], [], End("RETURNPRIVATE", (given,)))
    statements = [
        Statement("CALLDATALOAD", (4,), ("v0",), 0),
        Statement("CALLPRIVATE", ("v0",), ("v1",), 0, "p"),
        Statement("EQ", ("v1", "v0"), ("v2",), 0),
    ]
    contract = hand_made(statements, End("BRANCH", ("v2",), ("b1", "b2")), private=private)
    assert possible(contract, "f").branches == set(unlike(*left))


@pytest.mark.parametrize(("who", "left"), [("CALLER", ("b1",)), ("ORIGIN", ("b1", "b2"))])
def test_the_caller_as_an_argument_is_the_caller(who: str, left: tuple[str, ...]) -> None:
    """`p` gives whether its argument, cleaned, is the caller."""
    steps = [
        Statement("AND", ("a0", (1 << 160) - 1), ("v0",), 0),
        Statement("CALLER", (), ("v1",), 0),
        Statement("EQ", ("v0", "v1"), ("v2",), 0),
    ]
    private = Block("b0", 0, [], steps, End("RETURNPRIVATE", ("v2",)))
    statements = [Statement(who, (), ("v0",), 0), Statement("CALLPRIVATE", ("v0",), ("v1",), 0, "p")]
    contract = hand_made(statements, End("BRANCH", ("v1",), ("b1", "b2")), private=private)
    assert possible(contract, "f").branches == set(unlike(*left))


@pytest.mark.parametrize(("part", "left"), [(1 << 64, ("b2",)), (WORD - 9, ("b1", "b2"))])
def test_a_sum_that_cannot_wrap_is_no_less_than_its_parts(part: int, left: tuple[str, ...]) -> None:
    statements = [
        Statement("CALLDATASIZE", (), ("v0",), 0),
        Statement("ADD", ("v0", part), ("v1",), 0),
        Statement("LT", ("v1", "v0"), ("v2",), 0),
    ]
    assert possible(hand_made(statements, End("BRANCH", ("v2",), ("b1", "b2"))), "f").branches == set(
        unlike(*left)
    )


def looped(between: Statement, then: list[Statement]) -> Contract:
    """`f`: while (i < storage[0]) {between; condition of `then` (v9) ? b4 : b3; i = i + 1}."""
    asked = [Statement("SLOAD", (0,), ("v1",), 0), Statement("LT", ("v0", "v1"), ("v2",), 0)]
    step = [Statement("ADD", ("v0", 1), ("v3",), 0)]
    blocks = {
        "b0": Block("b0", 0, [], [], End("JUMP", (), ("b1",))),
        "b1": Block("b1", 0, [Phi("v0", {"b0": 0, "b3": "v3"})], asked, End("BRANCH", ("v2",), ("b2", "b5"))),
        "b2": Block("b2", 0, [], [between, *then], End("BRANCH", ("v9",), ("b4", "b3"))),
        "b3": Block("b3", 0, [], step, End("JUMP", (), ("b1",))),
        "b4": Block("b4", 0, [], [], End("INVALID")),
        "b5": Block("b5", 0, [], [], End("STOP")),
    }
    return Contract({"f": Function("f", "public", 0, (), None, blocks, PUT)}, 100, {})


READ_AGAIN = [Statement("SLOAD", (0,), ("v5",), 0)]
OUTSIDE = [
    *READ_AGAIN,
    Statement("LT", ("v0", "v5"), ("v6",), 0),
    Statement("ISZERO", ("v6",), ("v9",), 0),
]
WRAPS = [*READ_AGAIN, Statement("SUB", ("v5", 1), ("v6",), 0), Statement("GT", ("v6", "v5"), ("v9",), 0)]
OVERFLOWS = [Statement("ADD", ("v0", 1), ("v6",), 0), Statement("GT", ("v0", "v6"), ("v9",), 0)]
LAST = [*READ_AGAIN, Statement("SUB", ("v5", 2), ("v6",), 0), Statement("GT", ("v6", "v5"), ("v9",), 0)]


@pytest.mark.parametrize(
    ("written", "then", "impossible"),
    [
        (1, OUTSIDE, True),  # another slot
        ("v7", OUTSIDE, True),  # an element: a slot that is a hash
        (0, OUTSIDE, False),
        ("v0", OUTSIDE, False),  # some slot
        (1, WRAPS, True),
        (0, WRAPS, False),
        (0, OVERFLOWS, True),  # by the condition of the loop
        (1, LAST, False),
    ],
)
def test_an_index_below_the_length_stays_so(
    written: int | str, then: list[Statement], impossible: bool
) -> None:
    """The checks that a compiler writes into a loop cannot fail, as long as nothing may have changed the length."""
    contract = looped(Statement("SSTORE", (written, "v8"), (), 0), then)
    hashed = Statement("KECCAK256", (0, 32), ("v7",), 0)
    contract.functions["f"].blocks["b2"].statements[:0] = [
        hashed,
        Statement("CALLDATALOAD", (4,), ("v8",), 0),
    ]
    everything = {"b0", "b1", "b2", "b3", "b4", "b5"} - ({"b4"} if impossible else set())
    assert possible(contract, "f").branches == set(unlike(*everything)) & branches(contract, "f")


def test_what_was_written_is_read() -> None:
    for value, left in ((7, ("b1",)), (0, ("b2",))):
        statements = [
            Statement("MSTORE", (128, value), (), 0),
            Statement("MSTORE", (192, 1), (), 0),
            Statement("MLOAD", (128,), ("v0",), 0),
        ]
        assert possible(hand_made(statements, End("BRANCH", ("v0",), ("b1", "b2"))), "f").branches == set(
            unlike(*left)
        )


@pytest.mark.parametrize(
    ("between", "left"),
    [
        ([], ("b2",)),
        ([Statement("MSTORE", (0, 5), (), 0)], ("b2",)),  # scratch space
        ([Statement("CODECOPY", (0, 9, 32), (), 0)], ("b2",)),
        (
            [Statement("ADD", ("v0", 32), ("v9",), 0), Statement("CALLDATACOPY", ("v9", 4, 64), (), 0)],
            ("b2",),
        ),
        ([Statement("CALLDATACOPY", ("v0", 4, 64), (), 0)], ("b1", "b2")),
        ([Statement("CALLDATACOPY", (0, 4, 256), (), 0)], ("b1", "b2")),
    ],
)
def test_what_memory_holds_at_an_argument_is_known_to_a_private_function(
    between: list[Statement], left: tuple[str, ...]
) -> None:
    """A text of nine bytes; `p` writes where memory is free and gives whether it has more than 31."""
    steps = [
        Statement("MLOAD", (64,), ("v0",), 0),
        Statement("MSTORE", ("v0", 32), (), 0),
        Statement("MLOAD", ("a0",), ("v1",), 0),
        Statement("GT", ("v1", 31), ("v2",), 0),
    ]
    private = Block("b0", 0, [], steps, End("RETURNPRIVATE", ("v2",)))
    statements = [
        Statement("MLOAD", (64,), ("v0",), 0),
        Statement("MSTORE", ("v0", 9), (), 0),
        *between,
        Statement("CALLPRIVATE", ("v0",), ("v1",), 0, "p"),
    ]
    contract = hand_made(statements, End("BRANCH", ("v1",), ("b1", "b2")), private=private)
    assert possible(contract, "f").branches == set(unlike(*left))


@pytest.mark.parametrize(("size", "left"), [(9, ("b2",)), (40, ("b1",)), ("a0", ("b1", "b2"))])
def test_what_memory_holds_where_a_result_points_is_known(size: int | str, left: tuple[str, ...]) -> None:
    """`p` gives a text of so many bytes; where memory is free then, the caller writes."""
    steps = [
        Statement("MLOAD", (64,), ("v0",), 0),
        Statement("ADD", ("v0", 64), ("v1",), 0),
        Statement("MSTORE", (64, "v1"), (), 0),
        Statement("MSTORE", ("v0", size), (), 0),
    ]
    private = Block("b0", 0, [], steps, End("RETURNPRIVATE", ("v0",)))
    statements = [
        Statement("CALLDATALOAD", (4,), ("v9",), 0),
        Statement("CALLPRIVATE", ("v9",), ("v0",), 0, "p"),
        Statement("MLOAD", (64,), ("v1",), 0),
        Statement("MSTORE", ("v1", 32), (), 0),
        Statement("MLOAD", ("v0",), ("v2",), 0),
        Statement("GT", ("v2", 31), ("v3",), 0),
    ]
    contract = hand_made(statements, End("BRANCH", ("v3",), ("b1", "b2")), private=private)
    assert possible(contract, "f").branches == set(unlike(*left))
    before = [statements[2], *statements[:2], *statements[3:]]  # where it may be the same place
    contract = hand_made(before, End("BRANCH", ("v3",), ("b1", "b2")), private=private)
    assert possible(contract, "f").branches == set(unlike("b1", "b2"))


@pytest.mark.parametrize("op", sorted(set(RULES) & (set(ONE) | set(TWO))))
def test_intervals_hold_what_instructions_give(op: str) -> None:
    rng = Random(op)
    edges = (0, 1, 2, 31, 32, 255, 256, 1 << 127, (1 << 160) - 1, 1 << 255, (1 << 255) - 1, WORD)
    for _ in range(600):
        pairs = [
            sorted(rng.choice((rng.choice(edges), rng.getrandbits(9))) for _ in range(2)) for _ in range(2)
        ]
        intervals = [(low, high) for low, high in pairs][: 1 if op in ONE else 2]
        values = [rng.choice((low, high, rng.randint(low, high))) for low, high in intervals]
        given = ONE[op](*values) if op in ONE else TWO[op](*values)
        low, high = result_of(op, intervals)
        assert low <= given <= high, (op, intervals, values)
        for holds in (True, False):
            if op in ("EQ", "LT") and bool(given) == holds:
                for value, narrowed in zip(values, compared(op, holds, *intervals), strict=True):
                    assert narrowed
                    assert narrowed[0] <= value <= narrowed[1]


def test_what_a_private_function_checks_of_its_argument_holds_behind_it() -> None:
    """As decoders do: they give back nothing, or revert."""
    statements = [
        Statement("CALLDATALOAD", (4,), ("v0",), 0),
        Statement("CALLPRIVATE", ("v0",), (), 0, function="p"),
        Statement("LT", ("v0", 20), ("v1",), 0),
    ]
    contract = hand_made(statements, End("BRANCH", ("v1",), ("b1", "b2")))
    check = [Statement("LT", ("a0", 10), ("v0",), 0)]
    blocks = {
        "b0": Block("b0", 0, [], check, End("BRANCH", ("v0",), ("b1", "b2"))),
        "b1": Block("b1", 0, [], [], End("RETURNPRIVATE")),
        "b2": Block("b2", 0, [], [], End("REVERT", (0, 0))),
    }
    contract.functions["p"] = Function("p", "private", 0, ("a0",), 0, blocks)
    assert possible(contract, "f").branches == {("f", "b1"), ("p", "b1"), ("p", "b2")}


@pytest.mark.parametrize("moved", [True, False])
def test_what_is_written_where_free_memory_begins_leaves_what_was_taken_before(*, moved: bool) -> None:
    """As `require(x, "text")` of old compilers: the text is in memory before it is known whether it is needed. Where the
    pointer was not moved, it is the same place, and holds what was written last."""
    statements = [
        Statement("MLOAD", (64,), ("v0",), 0),
        Statement("ADD", ("v0", 64), ("v1",), 0),
        *([Statement("MSTORE", (64, "v1"), (), 0)] if moved else []),
        Statement("MSTORE", ("v0", 9), (), 0),
        Statement("MLOAD", (64,), ("v2",), 0),
        Statement("MSTORE", ("v2", 77), (), 0),
        Statement("MLOAD", ("v0",), ("v3",), 0),
        Statement("GT", ("v3", 31), ("v4",), 0),
    ]
    contract = hand_made(statements, End("BRANCH", ("v4",), ("b1", "b2")))
    assert possible(contract, "f").branches == set(unlike("b2" if moved else "b1"))


@pytest.mark.parametrize(
    "body",
    [
        # A local variable where Solidity keeps the free pointer, and an array in storage that begins at slot 0.
        """
        PUSH 0 PUSH 1 SSTORE PUSH 0 PUSH 0x40 MSTORE
        :loop PUSH 4 CALLDATALOAD PUSH 0x40 MLOAD LT ISZERO @out JUMPI
        PUSH 7 PUSH 0x40 MLOAD SSTORE PUSH 1 PUSH 0x40 MLOAD ADD PUSH 0x40 MSTORE @loop JUMP
        :out PUSH 1 SLOAD PUSH 7 EQ @hit JUMPI STOP :hit STOP
        """,
        # A pointer to free memory or to scratch space.
        """
        PUSH 0x80 PUSH 0x40 MSTORE PUSH 1 PUSH 0 MSTORE PUSH 4 CALLDATALOAD @free JUMPI PUSH 0 @on JUMP
        :free PUSH 0x40 MLOAD :on PUSH 4 CALLDATALOAD PUSH 6 ADD SWAP1 MSTORE PUSH 0 MLOAD PUSH 6 EQ @hit JUMPI STOP :hit STOP
        """,
        # A word that reaches into free memory.
        """
        PUSH 0x80 PUSH 0x40 MSTORE PUSH 0x40 MLOAD PUSH 0 PUSH 0x70 MSTORE PUSH 4 CALLDATALOAD SWAP1 MSTORE
        PUSH 0x70 MLOAD PUSH 6 EQ @hit JUMPI STOP :hit STOP
        """,
    ],
    ids=["storage", "two pointers", "half a word"],
)
def test_what_may_be_written_over_is_not_known(body: str) -> None:
    contract = split_branches(lift_code(dispatched(body)))
    begin = root(contract, PUT, "put")
    assert possible(contract, begin).branches == branches(contract, begin)


@pytest.mark.parametrize(
    ("to", "wei", "asked", "left"),
    [
        (0, 0, "v0", ("b1",)),
        (0, 0, "RETURNDATASIZE", ("b2",)),
        (0, 5, "v0", ("b1", "b2")),  # there may not be so much
        (7, 0, "v0", ("b1", "b2")),
        (7, 0, "RETURNDATASIZE", ("b1", "b2")),
        (0, 0, "EXTCODESIZE", ("b2",)),
        (7, 0, "EXTCODESIZE", ("b1", "b2")),
    ],
)
def test_of_deployed_code_it_is_known_what_a_call_of_address_0_gives(
    to: int, wei: int, asked: str, left: tuple[str, ...]
) -> None:
    statements = [Statement("CALL", (9999, to, wei, 0, 0, 0, 0), ("v0",), 0)]
    if asked != "v0":
        statements += [Statement(asked, (to,) if asked == "EXTCODESIZE" else (), ("v1",), 0)]
    contract = hand_made(statements, End("BRANCH", ("v0" if asked == "v0" else "v1",), ("b1", "b2")))
    assert possible(contract, "f", deployed=True).branches == set(unlike(*left))
    assert possible(contract, "f").branches == set(unlike("b1", "b2"))


def test_another_call_may_give_bytes_again() -> None:
    calls = [Statement("CALL", (9999, to, 0, 0, 0, 0, 0), (f"v{to}",), 0) for to in (0, 7)]
    for statements in (calls, [calls[0], Statement("CALLPRIVATE", (1,), ("v5",), 0, "p")]):
        private = Block("b0", 0, [], calls[1:], End("RETURNPRIVATE", (1,)))
        asked = [*statements, Statement("RETURNDATASIZE", (), ("v9",), 0)]
        contract = hand_made(asked, End("BRANCH", ("v9",), ("b1", "b2")), private=private)
        assert possible(contract, "f", deployed=True).branches == set(unlike("b1", "b2"))


@pytest.mark.parametrize(("divisor", "ends"), [(0, False), (5, True)])
def test_whether_a_function_can_succeed(*, divisor: int, ends: bool) -> None:
    """Division by an immutable, for which 0.8 panics where it is 0; where constructors have not run it may be anything."""
    check = Statement("ISZERO", (divisor,), ("v0",), 0)
    contract = hand_made([check], End("BRANCH", ("v0",), ("b1", "b2")))
    contract.functions["f"].blocks["b1"] = Block("b1", 0, [], [], End("REVERT", (0, 36)))
    assert possible(contract, "f", deployed=True).ends is ends
    assert possible(contract, "f").ends


def test_a_function_that_cannot_succeed_is_the_same_by_its_reverts() -> None:
    body = (
        "PUSH 4 CALLDATALOAD DUP1 PUSH 77 GT @small JUMPI PUSH 0 MSTORE PUSH 32 PUSH 0 REVERT "
        ":small PUSH 0 MSTORE PUSH {divisor} PUSH 0x60 MSTORE PUSH 0x60 MLOAD ISZERO @panic JUMPI STOP "
        ":panic PUSH 36 PUSH 0 REVERT"
    )
    never, sometimes = (dispatched(body.format(divisor=divisor)) for divisor in (0, 5))
    verdict = found_of(verify(never, never, ABI, budget=SMALL, deployed=True), PUT)
    assert (verdict.verdict, verdict.evidence.succeeded) == (SAME, 0)
    assert any("none can" in note for note in verdict.notes)
    assert found_of(verify(never, sometimes, ABI, budget=SMALL, deployed=True), PUT).verdict == DIFFERENT
    verdict = found_of(verify(never, never, ABI, budget=SMALL), PUT)
    assert (verdict.verdict, "no call succeeded" in verdict.reason) == (INCONCLUSIVE, True)
