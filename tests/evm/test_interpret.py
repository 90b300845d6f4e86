"""The interpreter against pyrevm: every instruction, random programs, calls, creation, halts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evm import naive
from tests.evm.both import BLOCK, CALLER, OTHER, SELF, assert_same, world_of
from tests.evm.test_words import words
from whet.evm.interpret import OutOfSteps, Transaction, run
from whet.evm.messages import created_address
from whet.evm.replay.assemble import assemble
from whet.evm.tac import Block, Contract, End, Function, Phi, Statement
from whet.evm.words import ONE, THREE, TWO

ANSWER = "PUSH 0 MSTORE MSIZE PUSH 0 RETURN"
ENVIRONMENT = """
ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT CHAINID
SELFBALANCE BASEFEE BLOBBASEFEE RETURNDATASIZE MSIZE
"""
PURE = sorted((set(ONE) | set(TWO) | set(THREE)) - {"CLZ"})
COUNT = {**dict.fromkeys(ONE, 1), **dict.fromkeys(TWO, 2), **dict.fromkeys(THREE, 3)}


@given(st.sampled_from(PURE), words, words, words)
@settings(max_examples=400, deadline=None)
def test_arithmetic_is_revms(op: str, a: int, b: int, c: int) -> None:
    pushes = " ".join(f"PUSH {word}" for word in (c, b, a)[3 - COUNT[op] :])
    assert_same(assemble(f"{pushes} {op} {ANSWER}"))


@pytest.mark.parametrize(
    "op",
    [
        "ADDRESS",
        "ORIGIN",
        "CALLER",
        "CALLVALUE",
        "CALLDATASIZE",
        "CODESIZE",
        "GASPRICE",
        "COINBASE",
        "TIMESTAMP",
        "NUMBER",
        "PREVRANDAO",
        "GASLIMIT",
        "CHAINID",
        "SELFBALANCE",
        "BASEFEE",
        "BLOBBASEFEE",
        "RETURNDATASIZE",
        "MSIZE",
    ],
)
def test_environment(op: str) -> None:
    assert_same(assemble(f"{op} {ANSWER}"), b"12345", value=3)


@pytest.mark.parametrize(
    "op", ["BALANCE", "EXTCODESIZE", "EXTCODEHASH", "BLOCKHASH", "BLOBHASH", "SLOAD", "TLOAD", "CALLDATALOAD"]
)
def test_questions_with_one_argument(op: str) -> None:
    for word in (0, 1, 2, CALLER, OTHER, 0x999, 1233, 1234, 978, 977, 1 << 255):
        assert_same(assemble(f"PUSH {word} {op} {ANSWER}"), bytes(range(40)), others={OTHER: b"\x00abc"})


OFFSETS = st.sampled_from([0, 1, 5, 31, 32, 33, 64, 100, 4000, 1 << 22, 1 << 40, 1 << 255])
SMALL = st.sampled_from([0, 1, 3, 32, 33, 70])
COPIES = ["CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "MCOPY"]


@given(st.sampled_from(COPIES), OFFSETS, st.one_of(SMALL, OFFSETS), st.one_of(SMALL, OFFSETS))
@settings(max_examples=300, deadline=None)
def test_copies_and_the_price_of_memory(op: str, to: int, source: int, size: int) -> None:
    """Memory past what 30M gas can pay for halts on both sides."""
    seed = f"PUSH {0x1234567890 << 90} PUSH 7 MSTORE"
    call = f"PUSH 64 PUSH 0 DUP1 DUP1 DUP1 PUSH {OTHER} GAS CALL POP"
    code = assemble(
        f"{seed} {call} PUSH {size} PUSH {source} PUSH {to} {op} MSIZE PUSH 0 MSTORE PUSH 160 PUSH 0 RETURN"
    )
    assert_same(
        code, bytes(range(1, 60)), others={OTHER: assemble("CALLVALUE PUSH 1 MSTORE MSIZE PUSH 0 RETURN")}
    )


@given(st.sampled_from(["RETURN", "REVERT", "LOG0", "KECCAK256"]), OFFSETS, st.one_of(SMALL, OFFSETS))
@settings(max_examples=100, deadline=None)
def test_ranges_of_memory(op: str, offset: int, size: int) -> None:
    after = f" MSIZE PUSH 32 MSTORE {ANSWER}" if op == "KECCAK256" else ""
    assert_same(assemble(f"PUSH 77 PUSH 3 MSTORE PUSH {size} PUSH {offset} {op}{after}"))


STEPS = st.one_of(
    st.tuples(st.just("PUSH"), words).map(lambda pair: f"PUSH {pair[1]}"),
    st.sampled_from(["DUP1", "DUP2", "DUP4", "SWAP1", "SWAP2", "SWAP3", "POP", *PURE]),
    st.sampled_from(
        [
            "CALLER",
            "CALLVALUE",
            "MSIZE",
            "SELFBALANCE",
            "PC",
            "CALLDATASIZE",
            "PUSH 8 CALLDATALOAD",
            "PUSH 3 SLOAD",
            "PUSH 3 SSTORE",
            "PUSH 3 TSTORE",
            "PUSH 3 TLOAD",
            "PUSH 64 MSTORE",
            "PUSH 77 MSTORE8",
            "PUSH 70 MLOAD",
        ]
    ),
    st.sampled_from(
        [
            "PUSH 40 PUSH 60 LOG1",
            "DUP1 PUSH 0xff AND PUSH 60 LOG2",
            "PUSH 100 PUSH 10 KECCAK256",
            "@end JUMPI",
            "DUP1 @end JUMPI",
            "PUSH 1 @middle JUMPI",
        ]
    ),
)


@given(st.lists(STEPS, max_size=30), st.lists(STEPS, max_size=12), st.binary(max_size=50))
@settings(max_examples=300, deadline=None)
def test_random_programs(first: list[str], second: list[str], calldata: bytes) -> None:
    """Forward jumps only. Different heights of the stack at one place become different blocks."""
    later = " ".join(second).replace("@middle", "@end")
    text = f"PUSH 9 PUSH 8 PUSH 7 {' '.join(first)} PUSH 0 :middle {later}"
    assert_same(assemble(f"{text} :end PUSH 0 SLOAD PUSH 0 MSTORE PUSH 192 PUSH 0 RETURN"), calldata, value=1)


def test_loop_with_phis() -> None:
    code = assemble(
        "PUSH 1 PUSH 10 :loop SWAP1 DUP2 MUL SWAP1 PUSH 1 SWAP1 SUB DUP1 @loop JUMPI POP " + ANSWER
    )
    result = assert_same(code)
    assert int.from_bytes(result.data, "big") == 3628800


def test_endless_loop_runs_out_of_steps_and_leaves_the_world_as_it_was() -> None:
    world = world_of(b"", {})
    contract = naive.lift(assemble("PUSH 7 PUSH 1 SSTORE :loop @loop JUMP"))
    with pytest.raises(OutOfSteps):
        run(contract, world, Transaction(CALLER, SELF), BLOCK, steps=1000)
    assert world.accounts[SELF].storage == {1: 11, 2: 1 << 200}


# Calls.

REPORT = "PUSH 200 MSTORE RETURNDATASIZE PUSH 232 MSTORE RETURNDATASIZE PUSH 0 PUSH 264 RETURNDATACOPY"
CALLEES = {
    "returns": "CALLER PUSH 0 MSTORE CALLVALUE PUSH 32 MSTORE ADDRESS PUSH 64 MSTORE PUSH 96 PUSH 0 RETURN",
    "stores": "PUSH 1 SLOAD PUSH 5 ADD PUSH 1 SSTORE PUSH 4 PUSH 0 LOG0 PUSH 40 PUSH 0 RETURN",
    "reverts": "PUSH 6 PUSH 1 SSTORE PUSH 0xabcd PUSH 0 MSTORE PUSH 32 PUSH 0 REVERT",
    "halts": "PUSH 6 PUSH 1 SSTORE INVALID",
    "transient": "PUSH 1 PUSH 9 TSTORE PUSH 9 TLOAD PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN",
    "destroys": f"PUSH {CALLER} SELFDESTRUCT",
    "gives": f"PUSH 0 DUP1 DUP1 DUP1 PUSH 2 PUSH {CALLER} GAS CALL PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN",
    "nested": f"PUSH 0 DUP1 DUP1 DUP1 DUP1 PUSH {SELF + 1} GAS CALL PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN",
    "creates": "PUSH 0 DUP1 DUP1 CREATE PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN",
    "echoes": "CALLDATASIZE PUSH 0 DUP1 CALLDATACOPY CALLDATASIZE PUSH 0 RETURN",
}


@pytest.mark.parametrize("kind", ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"])
@pytest.mark.parametrize("callee", sorted(CALLEES))
@pytest.mark.parametrize("value", [0, 4, 100_000])
def test_calls(kind: str, callee: str, value: int) -> None:
    """Value, context, output in memory, return data, undone state, static protection; 100,000 is more than there is."""
    wei = f"PUSH {value}" if kind in ("CALL", "CALLCODE") else ""
    others = {OTHER: assemble(CALLEES[callee]), SELF + 1: assemble(CALLEES["stores"])}
    call = f"PUSH 50 PUSH 100 PUSH 33 PUSH 3 {wei} PUSH {OTHER} GAS {kind}"
    code = (
        f"PUSH 0x5566 PUSH 2 MSTORE {call} {REPORT} PUSH 1 SLOAD PUSH 500 MSTORE PUSH 9 TLOAD PUSH 540 MSTORE"
    )
    assert_same(assemble(f"{code} MSIZE PUSH 0 RETURN"), others=others)


@pytest.mark.parametrize("address", range(1, 11))
def test_precompiles(address: int) -> None:
    call = f"PUSH 64 PUSH 100 CALLDATASIZE PUSH 0 PUSH {address} GAS STATICCALL"
    code = assemble(f"CALLDATASIZE PUSH 0 DUP1 CALLDATACOPY {call} {REPORT} MSIZE PUSH 0 RETURN")
    for data in (b"", b"abc", bytes(32) + b"\x20", bytes(range(128)), bytes(192), bytes(213)):
        assert_same(code, data)


def test_recursion_is_ended_by_gas_not_by_pythons_stack() -> None:
    """A contract that calls itself for ever: 63/64 of the gas each time; the first call succeeds."""
    code = assemble("PUSH 0 DUP1 DUP1 DUP1 DUP1 ADDRESS GAS CALL PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN")
    assert_same(code)


@pytest.mark.parametrize("salt", ["", "PUSH 0x1234"])
@pytest.mark.parametrize("end", ["", "PUSH 0 PUSH 0 REVERT", "INVALID"])
def test_creation(salt: str, end: str) -> None:
    """Two children by nonce or salt (the second CREATE2 collides); the child is called, and destroys itself."""
    runtime = assemble(f"CALLER PUSH 0 SSTORE PUSH {CALLER} SELFDESTRUCT")
    size = len(runtime)
    child = assemble(f"PUSH {size} PUSH 10 PUSH 0 CODECOPY PUSH {size} PUSH 0 RETURN") + runtime
    create = f"{salt} PUSH {len(child)} PUSH 0 PUSH 3 {'CREATE2' if salt else 'CREATE'}"
    call = "PUSH 0 DUP1 DUP1 DUP1 DUP1 DUP6 GAS CALL"
    body = f"DUP1 EXTCODEHASH PUSH 5 SSTORE {call} PUSH 6 SSTORE PUSH 7 SSTORE {create} PUSH 8 SSTORE {end} STOP :data"
    code = assemble(f"PUSH {len(child)} PUSH 1 @data ADD PUSH 0 CODECOPY {create} {body}") + child
    result = assert_same(code, value=9)
    assert end or (result.storage[SELF, 7] != 0 and result.storage[SELF, 6] == 1)


@pytest.mark.parametrize(
    "init",
    [
        "PUSH 0 PUSH 0 REVERT",
        "PUSH 77 PUSH 0 MSTORE PUSH 32 PUSH 0 REVERT",
        "INVALID",
        "PUSH 0xef PUSH 0 MSTORE8 PUSH 1 PUSH 0 RETURN",
        "PUSH 24577 PUSH 0 RETURN",
        "PUSH 24576 PUSH 0 RETURN",
        f"PUSH {CALLER} SELFDESTRUCT",
        "ADDRESS SELFDESTRUCT",
        "STOP",
    ],
)
def test_init_code_that_fails_or_is_odd(init: str) -> None:
    body = assemble(init)
    word = int.from_bytes(body.ljust(32, b"\0"), "big") if len(body) <= 32 else 0
    create = f"PUSH {word} PUSH 0 MSTORE PUSH {len(body)} PUSH 0 PUSH 2 CREATE"
    assert_same(assemble(f"{create} DUP1 BALANCE PUSH 300 MSTORE {REPORT} MSIZE PUSH 0 RETURN"))


def test_init_code_of_too_many_bytes_halts() -> None:
    for size in (49152, 49153):
        assert_same(assemble(f"PUSH {size} PUSH 0 PUSH 0 CREATE {ANSWER}"))


def test_address_of_a_created_contract() -> None:
    """The known first contracts of an account (nonce 0 and 1), and the first example of EIP-1014."""
    sender = 0x6AC7EA33F8831EA9DCC53393AAA88B25A785DBF0
    assert created_address(sender, 0, b"", None) == 0xCD234A471B72BA2F1CCF0A70FCABA648A5EECD8D
    assert created_address(sender, 1, b"", None) == 0x343C43A37D37DFF08AE8C4A11544C718ABB4FCF8
    assert created_address(0, 0, b"\0", 0) == 0x4D1A2E2BB4F88F0250F26FFFF098B0B30B26BF38


# TAC that bytecode through the naive translation does not give.


def contract_of(*functions: Function) -> Contract:
    return Contract({function.name: function for function in functions}, 10, {})


def answer(block: str, *words: str | int) -> Block:
    stores = [Statement("MSTORE", (32 * i, word), (), 0) for i, word in enumerate(words)]
    return Block(block, 0, [], stores, End("RETURN", (0, 32 * len(words))))


def words_of(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def call(contract: Contract, calldata: bytes = b"") -> list[int]:
    return words_of(run(contract, world_of(b"", {}), Transaction(CALLER, SELF, calldata), BLOCK).data)


def test_phis_swap() -> None:
    """Two phis that take each other's value in a loop: assigned at once, not one after the other."""
    start = Block("b0", 0, [], [], End("JUMP", (), ("loop",)))
    phis = [
        Phi("a", {"b0": 1, "loop": "b"}),
        Phi("b", {"b0": 2, "loop": "a"}),
        Phi("i", {"b0": 3, "loop": "next"}),
    ]
    loop = Block(
        "loop", 0, phis, [Statement("SUB", ("i", 1), ("next",), 0)], End("BRANCH", ("next",), ("loop", "out"))
    )
    blocks = {"b0": start, "loop": loop, "out": answer("out", "a", "b")}
    assert call(contract_of(Function("main", "entry", 0, (), None, blocks))) == [1, 2]


def test_private_calls_keep_their_own_variables() -> None:
    """f(n) = n ? f(n - 1) * n, n : 1, 0, the variables of each call apart; 500 deep."""
    main = Block(
        "b0",
        0,
        [],
        [
            Statement("CALLDATALOAD", (0,), ("n",), 0),
            Statement("CALLPRIVATE", ("n", 7), ("x", "y"), 0, "f"),
        ],
        End("JUMP", (), ("out",)),
    )
    test = Block("b0", 0, [], [], End("BRANCH", ("n",), ("more", "stop")))
    more = Block(
        "more",
        0,
        [],
        [
            Statement("SUB", ("n", 1), ("less",), 0),
            Statement("CALLPRIVATE", ("less", "k"), ("r", "s"), 0, "f"),
            Statement("MUL", ("r", "n"), ("t",), 0),
            Statement("ADD", ("s", "k"), ("u",), 0),
        ],
        End("RETURNPRIVATE", ("t", "u")),
    )
    stop = Block("stop", 0, [], [], End("RETURNPRIVATE", (1, 0)))
    contract = contract_of(
        Function("main", "entry", 0, (), None, {"b0": main, "out": answer("out", "x", "y")}),
        Function("f", "private", 0, ("n", "k"), 2, {"b0": test, "more": more, "stop": stop}),
    )
    assert call(contract, (5).to_bytes(32, "big")) == [120, 35]
    assert call(contract, (500).to_bytes(32, "big"))[1] == 3500
    endless = run(contract, world_of(b"", {}), Transaction(CALLER, SELF, (5000).to_bytes(32, "big")), BLOCK)
    assert (endless.status, endless.why, endless.private_depth) == ("halt", "stack overflow", 1025)


def test_switch_and_enter() -> None:
    start = Block(
        "b0",
        0,
        [],
        [Statement("CALLDATALOAD", (0,), ("x",), 0)],
        End("SWITCH", ("x",), ("one", "two"), cases=(1, 2)),
    )
    two = Block("two", 0, [], [], End("ENTER", ("x", 9), function="g"))
    contract = contract_of(
        Function("main", "entry", 0, (), None, {"b0": start, "one": answer("one", 11), "two": two}),
        Function("g", "public", 0, ("p", "q"), None, {"b0": answer("b0", "q", "p")}, selector=2),
    )
    assert call(contract, (1).to_bytes(32, "big")) == [11]
    assert call(contract, (2).to_bytes(32, "big")) == [9, 2]
    other = run(contract, world_of(b"", {}), Transaction(CALLER, SELF, b""), BLOCK)
    assert other.status == "halt"
