"""How a call is found that takes a branch nobody has taken: words with their inputs, inversion, traces, mocks, signatures."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.evm import naive
from tests.evm.fixtures import fixtures
from tests.evm.test_verify import PUT, SMALL, dispatched, only
from whet.evm.interpret import Block, Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.replay.assemble import assemble
from whet.evm.replay.cases import BALANCE, Case
from whet.evm.replay.explore import Explorer, applied
from whet.evm.replay.inverse import force, options
from whet.evm.replay.inverses import INVERSES
from whet.evm.replay.mocks import ALICE, KEYS, MOCKS, OWNER, PEOPLE, TARGET, people_and_mocks, script
from whet.evm.replay.reference import precompile
from whet.evm.replay.run import MethodReport, transaction
from whet.evm.replay.search import Search
from whet.evm.replay.signing import ORDER, address_of, sign
from whet.evm.replay.symbols import OPERATIONS, Given, Leaf, Word, Work, ecrecover, evaluate, leaf, made
from whet.evm.replay.trace import Trace, trace
from whet.evm.replay.vectors import Method
from whet.evm.verify import INCONCLUSIVE, SAME, Budget, verify
from whet.evm.verify.branches import branches, root, split_branches
from whet.evm.verify.pair import NO_STRING, Pair
from whet.evm.verify.strings import is_string, string_of
from whet.evm.verify.telling import place
from whet.evm.words import ONE, TWO
from whet.evm.world import Account, World

ENOUGH = 10**6

# Signatures.


def test_keys_are_those_of_known_accounts() -> None:
    assert address_of(1) == 0x7E5F4552091A69125D5DFCB7B8C2659029395BDF
    assert address_of(2) == 0x2B5AD5C4795C026514F8317C7A215E218DCCD6CF


@pytest.mark.parametrize("parity", [None, 27, 28])
def test_the_evm_recovers_who_signed(parity: int | None) -> None:
    for digest in (1, 2**255 + 12345, ORDER - 1):
        for person in PEOPLE:
            signature = sign(digest, KEYS[person], parity)
            assert signature
            assert ecrecover(digest, *signature) == person
            assert parity in (None, signature[0])
            assert 2 * signature[2] <= ORDER


# Words.


def random_word(rng: Random, leaves: list[Word], deep: int) -> int:
    if deep == 0 or rng.random() < 0.2:
        numbers = (0, 1, 0xFF, 2**160 - 1, 32, rng.getrandbits(256), rng.getrandbits(8))
        return rng.choice(leaves) if rng.random() < 0.6 else rng.choice(numbers)
    op = rng.choice(sorted(ONE) if rng.random() < 0.2 else sorted(set(TWO) - {"EXP"}))
    args = tuple(random_word(rng, leaves, deep - 1) for _ in range(1 if op in ONE else 2))
    return made(OPERATIONS[op](*map(int, args)), op, args)


def test_a_word_evaluated_with_its_own_inputs_is_itself_and_with_others_what_the_evm_gives() -> None:
    rng = Random(7)
    for _ in range(400):
        old, new = (
            [rng.choice((rng.getrandbits(256), rng.randrange(4))) for _ in range(3)] for _ in range(2)
        )
        seed = rng.random()
        one, other = (
            random_word(Random(seed), [leaf(v, ("data", 32 * i)) for i, v in enumerate(values)], 4)
            for values in (old, new)
        )
        assert evaluate(one, {("data", 32 * i): v for i, v in enumerate(old)}, Work(ENOUGH)) == one
        assert evaluate(one, {("data", 32 * i): v for i, v in enumerate(new)}, Work(ENOUGH)) == other


def test_options_do_what_they_say_and_find_what_chance_finds() -> None:
    rng = Random(11)
    by_chance = found = 0
    for _ in range(300):
        leaves = [
            leaf(rng.choice((rng.getrandbits(256), rng.randrange(4))), ("data", 32 * i)) for i in range(2)
        ]
        word, op = random_word(rng, leaves, 2), rng.choice(("LT", "EQ", "GT"))
        condition = made(TWO[op](word, 1000), op, (word, 1000))
        if type(condition) is not Word:
            continue
        turned = 0
        for given, _ in zip(options(condition, not condition, {}, Work(ENOUGH)), range(3), strict=False):
            assert bool(evaluate(condition, given, Work(ENOUGH))) is not bool(condition)
            turned = 1
        chances: list[Given] = [
            {one.leaf: rng.choice((rng.getrandbits(256), rng.getrandbits(12))) for one in leaves}
            for _ in range(60)
        ]
        if any(bool(evaluate(condition, given, Work(ENOUGH))) != bool(condition) for given in chances):
            by_chance += 1
            found += turned
    assert found > 0.9 * by_chance > 20


def _operands(op: str, one: int, other: int) -> tuple[int, ...]:
    """With the one that is looked for where it is told apart: the number of bits, of bytes, the divisor are known."""
    if op == "NOT":
        return (one,)
    return (one, other) if op in ("SUB", "DIV", "SDIV", "MOD", "SMOD") else (other, one)


@pytest.mark.parametrize("op", sorted(INVERSES))
def test_inverses_give_a_value_that_the_instruction_can_give(op: str) -> None:
    """A value that some operand makes is found again, from another operand: always, or by chance only where several
    operands make it (dividing, shifting bits away)."""
    rng = Random(op)
    found = 0
    for _ in range(60):
        small = op in ("BYTE", "SHL", "SHR", "SAR", "SIGNEXTEND")
        other = rng.choice((1, 3, 8, 31) if small else (1, 3, 8, 31, 0xFF, 2**160 - 1))
        wanted_operand, now = rng.getrandbits(rng.choice((8, 160, 256))), rng.getrandbits(256)
        unknown = leaf(now, ("data", 4))
        args, plain = (_operands(op, one, other) for one in (unknown, wanted_operand))
        value = OPERATIONS[op](*plain)
        word = made(OPERATIONS[op](*map(int, args)), op, args)
        tries = list(force(word, value, {}, Work(ENOUGH)))
        found += any(evaluate(word, given, Work(ENOUGH)) == value for given in tries)
    assert found >= (50 if op not in ("SDIV", "SMOD", "SAR", "OR") else 15)


# Traces.


def traced(code: bytes, case: Case) -> Trace:
    contract = lift_code(code)
    world = World(
        {**people_and_mocks(), TARGET: Account(10**20, 1, b"", {}, contract)}, lift_code, precompile
    )
    for (at, slot), value in case.slots.items():
        world.accounts[at].storage[slot] = value
    return trace(contract, world, *transaction(case), 100_000, {})


def leaves_of(word: int) -> Iterator[Word]:
    if type(word) is Word:
        if word.op == "LEAF":
            yield word
        for arg in word.args:
            yield from leaves_of(arg)


@pytest.mark.parametrize("fixture", [f for f in fixtures() if f.name.endswith("0.8.30-runs200")], ids=str)
def test_a_trace_goes_where_the_call_goes(fixture: object) -> None:
    code = fixture.runtime  # type: ignore[attr-defined]
    contract, rng = lift_code(code), Random(5)
    for selector in contract.public:
        data = selector.to_bytes(4, "big") + b"".join(rng.randrange(99).to_bytes(32, "big") for _ in range(5))
        world = World(
            {**people_and_mocks(), TARGET: Account(10**20, 1, b"", {}, contract)}, lift_code, precompile
        )
        result = run(None, world, Transaction(OWNER, TARGET, data), Block(20_000_000, 1_700_000_000))
        found = traced(code, Case(data))
        assert found.visited == {(f, b) for at, f, b in result.visited if at == TARGET}
        for decision in found.decisions:
            inputs: dict[Leaf, int] = {one.leaf: int(one) for one in leaves_of(decision.word)}
            assert evaluate(decision.word, inputs, Work(ENOUGH)) == decision.word


def test_copies_that_lead_in_circles_come_to_an_end() -> None:
    """The identity precompile writes over what it reads, again and again."""
    again = "PUSH 64 PUSH 8 PUSH 64 PUSH 0 PUSH 4 GAS STATICCALL POP PUSH 64 PUSH 0 PUSH 64 PUSH 8 PUSH 4 GAS STATICCALL POP "
    code = assemble(
        f"PUSH 64 PUSH 0 PUSH 0 CALLDATACOPY {again * 9} PUSH 24 MLOAD PUSH 7 EQ @yes JUMPI STOP :yes STOP"
    )
    assert traced(code, Case(bytes(68))).statements > 0


# Explorers.


def explored(body: str, case: Case | None = None) -> tuple[int, int, list[Case]]:
    """Of a function with that body: branches, branches taken by exploring from one call alone, the calls."""
    code = dispatched(body)
    pair = Pair(code, code, 1, {})
    pair.give(10**9, 10**12)
    begin = root(pair.contract, PUT, "put")
    wanted = branches(pair.contract, begin)
    explorer = Explorer(pair.contract, wanted, pair.start, pair.charge)
    first = case or Case(PUT.to_bytes(4, "big") + bytes(32))
    cases, seen = [first], set()
    while cases[-1:]:
        tried, *_ = pair.attempt(cases[-1])
        assert tried
        seen |= {(function, block) for at, function, block in tried.result.visited if at == TARGET}
        explorer.learn(cases[-1])
        found = explorer.next(seen)
        if found is None:
            break
        cases.append(found)
    return len(wanted), len(wanted & seen), cases


ARGUMENT = "PUSH 4 CALLDATALOAD"


@pytest.mark.parametrize(
    "body",
    [
        f"{ARGUMENT} PUSH 0x1234567890abcdef EQ @yes JUMPI STOP :yes STOP",
        f"{ARGUMENT} PUSH 3 MUL PUSH 7 ADD PUSH 0x777777 EQ @yes JUMPI STOP :yes STOP",
        f"{ARGUMENT} PUSH 5 SLOAD LT @yes JUMPI STOP :yes STOP",
        f"{ARGUMENT} PUSH 0 MSTORE PUSH 1 PUSH 32 MSTORE PUSH 64 PUSH 0 KECCAK256 SLOAD PUSH 99 GT @no JUMPI STOP :no STOP",
        f"PUSH 2 SLOAD DUP1 {ARGUMENT} ADD LT @overflow JUMPI STOP :overflow STOP",
        f"CALLER PUSH {MOCKS[1]} EQ @yes JUMPI STOP :yes STOP",
        "CALLER ADDRESS EQ @itself JUMPI STOP :itself PUSH 7 PUSH 1 SSTORE STOP",
        "CHAINID PUSH 18 EQ @yes JUMPI STOP :yes STOP",
        f"PUSH 0 DUP1 DUP1 DUP1 DUP1 {ARGUMENT} GAS CALL POP PUSH 31 RETURNDATASIZE GT @yes JUMPI STOP :yes STOP",
        "TIMESTAMP PUSH 1800000000 LT @later JUMPI STOP :later STOP",
        f"SELFBALANCE {ARGUMENT} EQ @all JUMPI STOP :all STOP",
        "PUSH 1000 SELFBALANCE LT @poor JUMPI STOP :poor STOP",
        f"{ARGUMENT} EXTCODESIZE @code JUMPI STOP :code STOP",
        f"{ARGUMENT} EXTCODEHASH @any JUMPI STOP :any STOP",
        "PUSH 32 PUSH 4 PUSH 0 CALLDATACOPY PUSH 0 MLOAD PUSH 77 EQ @yes JUMPI STOP :yes STOP",
        f"PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 {ARGUMENT} GAS CALL @taken JUMPI STOP :taken STOP",
        # Both checks have to hold, the second of another input.
        f"{ARGUMENT} PUSH 10 GT @short JUMPI PUSH 1 SLOAD {ARGUMENT} EQ @yes JUMPI STOP :yes STOP",
    ],
)
def test_both_ways_are_found_from_one_call(body: str) -> None:
    wanted, taken, _ = explored(body)
    assert taken == wanted


def test_what_nobody_can_find_is_given_up() -> None:
    """The preimage of a hash. The third call is one more that passes the dispatcher's check."""
    wanted, taken, cases = explored(
        f"{ARGUMENT} PUSH 0 MSTORE PUSH 32 PUSH 0 KECCAK256 PUSH 5 EQ @yes JUMPI STOP :yes STOP"
    )
    assert (wanted - taken, len(cases)) == (1, 3)


def test_a_check_that_other_calls_have_passed_is_passed_again() -> None:
    """One check for two words, as of a library's function: that the first word passes it says nothing of the second."""
    wanted, taken, _ = explored(
        "@one PUSH 4 CALLDATALOAD @check JUMP :one @two PUSH 1 SLOAD @check JUMP "
        ":two PUSH 36 CALLDATALOAD @yes JUMPI STOP :yes STOP "
        ":check DUP1 ISZERO @bad JUMPI POP JUMP :bad PUSH 0 PUSH 0 REVERT"
    )
    assert taken == wanted


ASK = (
    f"PUSH 0xabcd0123 PUSH 224 SHL PUSH 0 MSTORE PUSH 64 PUSH 0 PUSH 4 PUSH 0 PUSH 0 PUSH {MOCKS[0]} GAS CALL "
    "ISZERO @failed JUMPI PUSH 64 RETURNDATASIZE LT @little JUMPI PUSH 32 MLOAD PUSH 0x1626ba7e EQ @magic JUMPI STOP "
    ":magic STOP :little PUSH 0 PUSH 0 REVERT :failed PUSH 0 PUSH 0 REVERT"
)


def test_mocks_answer_what_is_asked_for() -> None:
    wanted, taken, _ = explored(ASK)
    assert taken == wanted


SIGNED = """
PUSH 0x1234 PUSH 0 MSTORE PUSH 36 CALLDATALOAD PUSH 32 MSTORE PUSH 68 CALLDATALOAD PUSH 64 MSTORE
PUSH 100 CALLDATALOAD PUSH 96 MSTORE PUSH 32 PUSH 128 PUSH 128 PUSH 0 PUSH 1 GAS STATICCALL POP PUSH 128 MLOAD
DUP1 ISZERO @nobody JUMPI PUSH 4 CALLDATALOAD EQ @signed JUMPI STOP :signed STOP :nobody STOP
"""


def test_signatures_are_made() -> None:
    wanted, taken, cases = explored(SIGNED, Case(PUT.to_bytes(4, "big") + bytes(128)))
    assert taken == wanted
    assert any(
        ecrecover(0x1234, *(int.from_bytes(case.data[at : at + 32], "big") for at in (36, 68, 100)))
        for case in cases
    )


def test_the_caller_may_be_a_contract_that_answers_too() -> None:
    """Only the mock may call, and it is asked in turn."""
    only_it = f"CALLER PUSH {MOCKS[0]} EQ ISZERO @short JUMPI {ASK}"
    wanted, taken, _ = explored(only_it)
    assert taken == wanted


def test_inputs_are_put_where_they_come_from() -> None:
    nothing = Trace([], set(), {(MOCKS[0], 7): (True, bytes(32))}, {("balance", TARGET): 5}, 0)
    given: Given = {
        ("data", 36): 1,
        ("slot", TARGET, 3): 9,
        ("balance", TARGET): 105,
        ("word", MOCKS[0], 7, 1): 8,
        ("caller",): ALICE,
        ("value",): 6,
    }
    case = applied(Case(bytes(4)), given, nothing)
    assert (case.data, case.caller, case.value) == (bytes(67) + b"\1", ALICE, 6)
    answer = script(MOCKS[0], 7, True, bytes(63) + b"\x08")
    assert case.slots == {(TARGET, 3): 9, (TARGET, -1): 100, **answer}


# Mocks that answer by what is written down.


def test_written_answers() -> None:
    accounts = people_and_mocks()
    long = bytes(range(100))
    for success, answer in ((True, b""), (True, long), (False, b"no"), (True, bytes(1024))):
        accounts[MOCKS[1]].storage = {
            slot: value for (_, slot), value in script(MOCKS[1], 0xABCD0123, success, answer).items()
        }
        world = World(accounts, naive.lift)
        found = run(None, world, Transaction(OWNER, MOCKS[1], bytes.fromhex("abcd0123") + bytes(32)))
        assert (found.status, found.data) == ("success" if success else "revert", answer)
        other = run(None, world, Transaction(OWNER, MOCKS[1], bytes.fromhex("abcd0124") + bytes(32)))
        assert (other.status, other.data) != (found.status, found.data)


def test_places_have_names() -> None:
    first, word = script(MOCKS[1], 0x150B7A02, False, bytes(32))
    assert place(*first) == "mock1's answer to 0x150b7a02, bytes + 1, and 0x10000 if it reverts"
    assert place(*word) == "mock1's answer to 0x150b7a02, word 0"
    assert place(TARGET, BALANCE) == "wei of target"
    assert place(TARGET, 3) == "target[0x3]"


# In verification.


def test_a_search_hands_its_new_calls_to_explorers() -> None:
    code = dispatched(
        f"{ARGUMENT} PUSH 0x1234567890abcdef1234 EQ @yes JUMPI STOP :yes PUSH 1 PUSH 9 SSTORE STOP"
    )
    pair = Pair(code, code, 1, {})
    pair.give(10**9, 10**12)
    pair.mined = []
    method = Method("put(uint256)", PUT, ("uint256",))
    search = Search(method, pair.rng, [], 1)
    begin = root(pair.contract, PUT, "put")
    search.explorers[TARGET] = Explorer(
        pair.contract, branches(pair.contract, begin), pair.start, pair.charge
    )
    report = MethodReport(method)
    for _ in range(20):
        pair.one(report, search)
    seen = {(f, b) for at, f, b in search.seen if at == TARGET}
    assert branches(split_branches(lift_code(code)), begin) <= seen


STRING = (
    "PUSH 5 SLOAD DUP1 PUSH 1 AND DUP1 PUSH 0 SUB PUSH 127 OR DUP3 PUSH 1 SHR AND PUSH 32 GT EQ {refused} "
    "PUSH 5 SLOAD PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
)
REFUSED = (
    f"@bad JUMPI PUSH 5 SLOAD PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN :bad PUSH {0x4E487B71 << 224} PUSH 0 MSTORE "
    "PUSH 0x22 PUSH 4 MSTORE PUSH 36 PUSH 0 REVERT"
)


def test_words_of_strings() -> None:
    assert all(map(is_string, (0, 2, 62, 0x41, 2 * 32 + 1, 1 << 255 | 10)))
    assert not any(map(is_string, (1, 64, 63)))
    rng = Random(2)
    assert all(is_string(string_of(rng.getrandbits(256))) for _ in range(99))


def test_storage_that_is_no_string_decides_nothing_if_it_is_all() -> None:
    found = only(dispatched(STRING.format(refused=REFUSED)), dispatched(STRING.format(refused="POP")))
    assert found.evidence.set_aside[NO_STRING] > 0
    assert not any(NO_STRING in reason for reason in found.reasons)
    assert any(NO_STRING in note for note in found.notes)
    assert found.verdict == SAME, found.reasons


def test_another_difference_beside_it_is_one() -> None:
    """The candidate that does not refuse gives back another word, too."""
    other = STRING.format(refused="POP").replace("PUSH 0 MSTORE", "PUSH 1 ADD PUSH 0 MSTORE")
    found = only(dispatched(STRING.format(refused=REFUSED)), dispatched(other))
    assert found.verdict == "different"


def test_the_budget_of_a_contract() -> None:
    body = f"{ARGUMENT} PUSH 3 SSTORE STOP"
    budget = Budget(calls=SMALL.calls, least=SMALL.least, contract_gas=1_000_000)
    found = verify(dispatched(body), dispatched(body), budget=budget).verdicts[0]
    assert found.verdict == INCONCLUSIVE
    assert "the budget of work for this contract was spent" in found.reasons
    assert found.evidence.calls < SMALL.least


def test_anybody_may_call_and_pay() -> None:
    """A caller without wei, and one who is a contract in the state that the call starts from."""
    code = dispatched("CALLER PUSH 1 SSTORE CALLVALUE PUSH 2 SSTORE STOP")
    pair = Pair(code, code, 1, {})
    pair.give(10**9, 10**12)
    pair.states[0][0xC0FFEE] = Account(0, 1, b"\x00")
    for caller in (0x123456, 0xC0FFEE, MOCKS[2], TARGET):
        case = Case(PUT.to_bytes(4, "big") + bytes(32), caller, 7)
        tried, differences, _ = pair.attempt(case)
        assert tried
        assert tried.result.storage == {(TARGET, 1): caller, (TARGET, 2): 7}
        assert not differences
