"""The differential harness: it agrees where it should, and notices what is wrong."""

from __future__ import annotations

from random import Random

import pytest

from tests.evm import naive
from tests.evm.both import CALLER, assert_same
from whet.evm.interpret import Transaction, run
from whet.evm.replay.assemble import assemble
from whet.evm.replay.cases import Case
from whet.evm.replay.mocks import (
    ADDRESS,
    ANSWERS,
    FORWARDER,
    MOCKS,
    MODE,
    OWNER,
    RECORDER,
    REENTRY,
    TARGET,
    WORD,
    forwarding_code,
    mock_code,
    people_and_mocks,
    recorder_code,
)
from whet.evm.replay.mutants import mutant
from whet.evm.replay.run import Replay
from whet.evm.replay.vectors import (
    Method,
    Pool,
    methods_of,
    methods_of_signatures,
    split_types,
    well_formed,
)
from whet.evm.tac import to_json
from whet.evm.world import World

# Mocks.

MOCK = MOCKS[0]
HELPERS = {RECORDER: recorder_code(), **{mock: mock_code(mock) for mock in MOCKS}}
CALL_MOCK = "PUSH 300 PUSH 0 CALLDATASIZE PUSH 0 {wei} PUSH {mock} GAS {kind} RETURNDATASIZE PUSH 300 RETURN"


@pytest.mark.parametrize("kind", ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"])
@pytest.mark.parametrize("data", [b"", b"abcd", bytes(range(68)), b"z" * 1000])
def test_mocks_do_the_same_on_both_sides(kind: str, data: bytes) -> None:
    wei = "PUSH 1" if kind in ("CALL", "CALLCODE") else ""
    copy = "CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY "
    code = copy + " ".join(CALL_MOCK.format(kind=kind, wei=wei, mock=mock) for mock in MOCKS)
    assert_same(assemble(code.replace("RETURNDATASIZE PUSH 300 RETURN", "POP", 2)), data, others=HELPERS)


def answers(name: str, data: bytes) -> tuple[str, bytes]:
    """What a mock says that was told to answer so."""
    accounts = people_and_mocks(lambda i: 1 + list(ANSWERS).index(name))
    accounts[MOCK].storage |= {WORD: 77, ADDRESS: 88}
    result = run(None, World(accounts, naive.lift), Transaction(OWNER, MOCK, data))
    assert len(result.logs) == (result.status == "success")
    return result.status, result.data


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def test_answers_of_mocks() -> None:
    data = b"abcd" + words(55)
    assert answers("word", data) == ("success", words(77))
    assert answers("address", data) == ("success", words(88))
    assert answers("ones", data) == ("success", words(*[1] * 32))
    assert answers("nothing", data) == ("success", b"")
    assert answers("revert", data) == ("revert", b"")
    assert answers("error", data) == (
        "revert",
        bytes.fromhex("08c379a0") + words(32, 4) + b"mock".ljust(32, b"\0"),
    )
    assert answers("panic", data) == ("revert", bytes.fromhex("4e487b71") + words(0x11))
    assert answers("bytes", data) == ("success", words(32, 32, 1))
    assert answers("echo", data) == ("success", words(55))
    assert answers("array", data) == ("success", words(32, 2, OWNER, 88))


def test_outgoing_calls_stand_in_the_logs_in_order() -> None:
    send = "PUSH 0 PUSH 0 PUSH 3 PUSH {at} PUSH {wei} PUSH {mock} GAS CALL POP"
    calls = [(MOCKS[1], 5, 0), (MOCKS[0], 0, 1), (MOCKS[1], 6, 0)]
    code = "PUSH 0 NOT PUSH 0 MSTORE " + " ".join(send.format(at=at, wei=wei, mock=m) for m, wei, at in calls)
    world = World(people_and_mocks(lambda i: 1 + list(ANSWERS).index("one")), naive.lift)
    result = run(naive.lift(assemble(code)), world, Transaction(OWNER, TARGET, b"", 50))
    records = [log.data for log in result.logs]
    assert [record[:96] for record in records] == [words(TARGET, mock, wei) for mock, wei, _ in calls]
    assert all(record[128:] == b"\xff" * 3 for record in records)


def test_a_mock_calls_back_once() -> None:
    accounts = people_and_mocks(lambda i: 1 + list(ANSWERS).index("reenter"))
    accounts[MOCK].storage |= {REENTRY: 0xABCD0123 << 224, REENTRY + 1: 5, REENTRY + 2: 6}
    accounts[MOCK].storage[MODE] = 1 + list(ANSWERS).index("reenter")
    code = assemble(
        "CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY CALLDATASIZE PUSH 0 LOG0 "
        f"PUSH 0 DUP1 DUP1 DUP1 DUP1 PUSH {MOCK} GAS CALL STOP"
    )
    world = World(accounts, naive.lift)
    result = run(naive.lift(code), world, Transaction(OWNER, TARGET, b"first"))
    own = [log.data for log in result.logs if log.address == TARGET]
    assert own == [b"first", bytes.fromhex("abcd0123") + words(5, 6)]


def test_forwarder_hands_everything_on() -> None:
    target = "CALLER PUSH 0 MSTORE ORIGIN PUSH 32 MSTORE CALLVALUE PUSH 64 MSTORE PUSH 4 CALLDATALOAD PUSH 96 MSTORE "
    for end in ("PUSH 128 PUSH 0 RETURN", "PUSH 128 PUSH 0 REVERT"):
        world = World({**people_and_mocks()}, naive.lift)
        result = run(naive.lift(assemble(target + end)), world, Transaction(OWNER, TARGET, b""))
        forwarded = run(None, world, Transaction(OWNER, FORWARDER, b"abcd" + words(9), 3))
        assert forwarded.status == result.status
        assert forwarded.data == words(FORWARDER, OWNER, 3, 9)
    assert naive.lift(forwarding_code()).functions


# Arguments.

TYPES = """
uint8 uint256 int128 address bool bytes4 bytes32 string bytes function uint8[] string[2] bytes[][]
(uint256,address) (bytes,(string,bool)[])[] (uint8[3],bytes)[2][]
"""


@pytest.mark.parametrize("kind", TYPES.split())
def test_arguments_are_well_formed_for_every_type(kind: str) -> None:
    method = Method("f", 0x12345678, (kind, "uint256", kind))
    pool = Pool(Random(kind), [5])
    for _ in range(20):
        data = pool.calldata(method)
        assert data[:4] == bytes.fromhex("12345678")
        assert well_formed(method, data)
    assert not well_formed(method, data[:40])
    assert split_types(",".join(method.types or ())) == [kind, "uint256", kind]


def test_methods_of_an_abi() -> None:
    pair = {"name": "p", "type": "tuple[]", "components": [{"type": "uint8"}, {"type": "address"}]}
    abi = [
        {"type": "function", "name": "f", "inputs": [pair, {"type": "bytes"}], "stateMutability": "payable"},
        {"type": "event", "name": "E", "inputs": []},
    ]
    fallback, f = methods_of(abi)
    assert (f.name, f.types, f.payable) == (
        "f((uint8,address)[],bytes)",
        ("(uint8,address)[]", "bytes"),
        True,
    )
    assert fallback.selector is None
    library = methods_of_signatures({"0x00000001": "add(Set.Bytes32 storage,bytes32,IERC20)"}, [])[1]
    assert library.types == ("uint256", "bytes32", "uint256")


# The harness.

GUARDED = assemble(
    """
    PUSH 4 CALLDATALOAD PUSH 0x123456789abcdef EQ ISZERO @no JUMPI
    PUSH 36 CALLDATALOAD PUSH 7 SLOAD LT ISZERO @no JUMPI
    CALLER PUSH 8 SLOAD EQ ISZERO @no JUMPI
    PUSH 1 PUSH 9 SSTORE PUSH 0 NOT PUSH 16 MSTORE PUSH 32 PUSH 3 LOG0 STOP
    :no PUSH 0 PUSH 0 REVERT
    """
)
METHOD = Method("f(uint256,uint256)", 0x12345678, ("uint256", "uint256"))


def test_search_gets_through_three_guards() -> None:
    """A magic number, a comparison with storage, an owner: found by what was compared and read, not by chance."""
    report = Replay(naive.lift(GUARDED), GUARDED, naive.lift, 1).run([METHOD], 200)
    (method,) = report.methods
    assert report.visited == report.reachable
    assert method.agrees
    assert method.succeeded > 40
    assert method.passed > 150


def test_same_seed_same_calls() -> None:
    runs = [Replay(naive.lift(GUARDED), GUARDED, naive.lift, 3) for _ in range(2)]
    reports = [run.run([METHOD], 60) for run in runs]
    assert reports[0] == reports[1]


def test_mutants_are_noticed() -> None:
    """Nine in ten wrong variants of a small program, by the calls that the right one agreed on."""
    contract = naive.lift(GUARDED)
    replay = Replay(contract, GUARDED, naive.lift, 2)
    replay.run([METHOD], 200)
    places, rng, noticed = sorted(replay.visited), Random(5), []
    while len(noticed) < 60:
        place = rng.choice(places)
        wrong, text = mutant(contract, place, rng)
        if text and to_json(wrong) != to_json(contract):
            noticed.append((replay.notices(wrong, place), text))
    assert len([text for seen, text in noticed if not seen]) <= 8, noticed
    assert not replay.notices(naive.lift(GUARDED), ("main", "p0_0"))


def test_counterexample_is_small_and_says_what_differs() -> None:
    contract = naive.lift(GUARDED)
    for block in contract.functions["main"].blocks.values():
        for statement in block.statements:
            if statement.op == "SSTORE":
                statement.args = (10, 1)
    (method,) = Replay(contract, GUARDED, naive.lift, 1).run([METHOD], 200).methods
    found = method.disagreements[0]
    assert not method.agrees
    assert found.cause == "storage"
    assert "[0x9]: TAC 0x0; EVM 0x1" in found.text
    assert found.case.data[4:36] == words(0x123456789ABCDEF)
    assert {slot for who, slot in found.case.slots if who == TARGET} <= {7, 8}


def test_a_call_cut_by_the_budget_does_not_agree() -> None:
    code = assemble(":loop @loop JUMP")
    (method,) = Replay(naive.lift(code), code, naive.lift, 1, steps=1000).run([METHOD], 10).methods
    assert method.inconclusive == {"steps": 20}
    assert not method.agrees


def test_a_function_that_shows_its_gas_does_not_agree() -> None:
    code = assemble("GAS PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN")
    (method,) = Replay(naive.lift(code), code, naive.lift, 1).run([METHOD], 10).methods
    assert method.inconclusive == {"reads gas": 20}
    assert not method.agrees


def test_libraries_stand_where_they_are_called() -> None:
    library = assemble("PUSH 5 PUSH 3 SSTORE PUSH 0x77 PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN")
    code = assemble(
        "PUSH 32 PUSH 0 PUSH 0 PUSH 0 PUSH 0x11b GAS DELEGATECALL POP PUSH 0 MLOAD PUSH 4 SSTORE STOP"
    )
    replay = Replay(naive.lift(code), code, naive.lift, others={0x11B: library})
    tried, differences, _ = replay.attempt(Case(b""))
    assert tried
    assert not differences
    assert tried.result.storage == {(TARGET, 3): 5, (TARGET, 4): 0x77}


def test_unresolved_code_is_a_disagreement() -> None:
    contract = naive.lift(GUARDED)
    for block in contract.functions["main"].blocks.values():
        if block.end.op == "STOP":
            block.end.op = "UNRESOLVED"
    (method,) = Replay(contract, GUARDED, naive.lift, 1).run([METHOD], 200).methods
    assert {found.cause for found in method.disagreements} == {"unresolved"}
    assert CALLER != OWNER
