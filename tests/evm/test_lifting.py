"""The lifter: what it finds in code whose shape is known, and that its TAC does what the code does."""

from __future__ import annotations

import random

import pytest

from tests.evm.both import BLOCK, CALLER, SELF, world_of
from tests.evm.fixtures import Fixture, fixtures
from tests.evm.programs import CALLEE, CALLEE_CODE, program
from whet.evm.interpret import Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.program import Unresolved
from whet.evm.replay.assemble import assemble
from whet.evm.replay.compare import compare
from whet.evm.replay.reference import run_reference
from whet.evm.tac import Contract, Function, from_json, to_json

SHIFTED = "PUSH 0 CALLDATALOAD PUSH 224 SHR"
RETURN_WORD = "PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"


def ends(contract: Contract, op: str) -> int:
    return sum(
        block.end.op == op for function in contract.functions.values() for block in function.blocks.values()
    )


def privates(contract: Contract) -> list[Function]:
    return [function for function in contract.functions.values() if function.kind == "private"]


def assert_same(code: bytes, calls: list[bytes], value: int = 0) -> None:
    contract = from_json(to_json(lift_code(code)))
    for calldata in calls:
        world = world_of(code, {CALLEE: assemble(CALLEE_CODE)})
        tx = Transaction(CALLER, SELF, calldata, value)
        outcome = run_reference(world, {SELF: code}, tx, BLOCK)
        result = run(contract, world, tx, BLOCK)
        assert not compare(result, world, outcome), (code.hex(), calldata.hex(), value)


def call(selector: int, *words: int) -> bytes:
    return selector.to_bytes(4, "big") + b"".join(word.to_bytes(32, "big") for word in words)


@pytest.mark.parametrize("seed", range(60))
def test_a_random_program_does_what_its_code_does(seed: int) -> None:
    text, selectors = program(seed)
    code = assemble(text, label_bytes=random.Random(seed).choice([2, 2, 3]))
    contract = lift_code(code)
    assert not contract.notes
    assert not ends(contract, "UNRESOLVED")
    assert set(contract.public) == set(selectors)
    assert_same(code, some_calls(selectors, seed))


def some_calls(selectors: list[int], seed: int) -> list[bytes]:
    rng = random.Random(seed)
    words = [0, 1, 2, 3, 99, rng.getrandbits(256)]
    return [call(selector, *rng.choices(words, k=3)) for selector in selectors for _ in range(3)]


@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_with_an_odd_dispatcher_does_what_its_code_does(seed: int) -> None:
    text, selectors = program(seed, odd=True)
    code = assemble(text)
    for value in (0, 1):
        assert_same(code, [b"", *some_calls(selectors, seed)], value)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 2000, 100))
def test_many_random_programs(start: int) -> None:
    for seed in range(start, start + 100):
        test_a_random_program_does_what_its_code_does(seed)
        test_a_random_program_with_an_odd_dispatcher_does_what_its_code_does(seed)


TWICE = """
:twice DUP1 ADD SWAP1 JUMP
"""


def test_a_function_called_from_two_places() -> None:
    code = assemble(
        f"@back PUSH 4 CALLDATALOAD @twice JUMP :back @again SWAP1 @twice JUMP :again {RETURN_WORD} {TWICE}"
    )
    contract = lift_code(code)
    (twice,) = privates(contract)
    assert (len(twice.params), twice.returns) == (1, 1)
    assert [s.function for s in contract.entry.statements() if s.function] == [twice.name, twice.name]
    assert_same(code, [call(1, 21), call(1, (1 << 256) - 1)])


def test_an_argument_that_is_a_call_which_returns_into_the_function() -> None:
    """f(g(x)): g's return offset is f itself, and f's lies beneath."""
    code = assemble(
        f"@back @twice PUSH 4 CALLDATALOAD @next JUMP :back {RETURN_WORD} {TWICE} :next PUSH 1 ADD SWAP1 JUMP"
        f" :other @back2 PUSH 3 @twice JUMP :back2 STOP"
    )
    contract = lift_code(code)
    assert len(privates(contract)) == 2
    assert_same(code, [call(1, 20)])


def test_recursion_ends_in_calls_of_itself() -> None:
    factorial = (
        ":f DUP1 @more JUMPI POP PUSH 1 SWAP1 JUMP :more @back PUSH 1 DUP3 SUB @f JUMP :back MUL SWAP1 JUMP"
    )
    code = assemble(f"@out PUSH 4 CALLDATALOAD @f JUMP :out {RETURN_WORD} {factorial}")
    contract = lift_code(code)
    (function,) = privates(contract)
    assert [s.function for s in function.statements() if s.function] == [function.name]
    assert_same(code, [call(0, 0), call(0, 1), call(0, 9)])


def test_a_function_that_is_handed_a_function() -> None:
    """apply(f, x) = f(f(x)): a copy of it per function, both resolved."""
    code = assemble(
        f"@one @twice PUSH 4 CALLDATALOAD @apply JUMP :one @two @next DUP3 @apply JUMP :two ADD {RETURN_WORD}"
        " :apply @a DUP2 DUP4 JUMP :a @b SWAP1 DUP4 JUMP :b SWAP3 SWAP2 POP POP JUMP"
        f" {TWICE} :next PUSH 1 ADD SWAP1 JUMP"
    )
    contract = lift_code(code)
    assert not ends(contract, "UNRESOLVED")
    assert not ends(contract, "SWITCH")
    assert_same(code, [call(0, 5), call(0, 1 << 255)])


@pytest.mark.parametrize("first", ["twice", "next"])
def test_stored_functions_run(first: str) -> None:
    code = assemble(
        f"@twice PUSH 1 SSTORE @next PUSH 2 SSTORE @back PUSH 36 CALLDATALOAD PUSH {1 if first == 'twice' else 2} SLOAD JUMP"
        f" :back {RETURN_WORD} {TWICE} :next PUSH 1 ADD SWAP1 JUMP"
    )
    assert ends(lift_code(code), "SWITCH") == 1
    assert_same(code, [call(0, 5, 20)])


DISPATCHERS = {
    "linear": f"{SHIFTED} DUP1 PUSH 0x11111111 EQ @a JUMPI DUP1 PUSH 0x22222222 EQ @b JUMPI",
    "masked division (0.4)": "PUSH 0 CALLDATALOAD PUSH 0x0100000000000000000000000000000000000000000000000000000000 SWAP1 DIV"
    " PUSH 0xffffffff AND DUP1 PUSH 0x11111111 EQ @a JUMPI DUP1 PUSH 0x22222222 EQ @b JUMPI",
    "binary search": f"{SHIFTED} DUP1 PUSH 0x1fffffff LT @high JUMPI DUP1 PUSH 0x11111111 EQ @a JUMPI @none JUMP"
    " :high DUP1 PUSH 0x22222222 EQ @b JUMPI :none",
    "subtraction": f"{SHIFTED} DUP1 PUSH 0x11111111 SUB @n1 JUMPI @a JUMP :n1 DUP1 PUSH 0x22222222 XOR @n2 JUMPI @b JUMP :n2",
    "size first": f"PUSH 4 CALLDATASIZE LT @none JUMPI {SHIFTED} DUP1 PUSH 0x11111111 EQ @a JUMPI"
    " PUSH 0x22222222 EQ @b JUMPI :none",
    "not high": "PUSH 0xffffffff00000000000000000000000000000000000000000000000000000000 PUSH 0 CALLDATALOAD AND"
    " DUP1 PUSH 0x1111111100000000000000000000000000000000000000000000000000000000 EQ @a JUMPI"
    " DUP1 PUSH 0x2222222200000000000000000000000000000000000000000000000000000000 EQ @b JUMPI",
}


@pytest.mark.parametrize("text", DISPATCHERS.values(), ids=DISPATCHERS.keys())
def test_dispatchers(text: str) -> None:
    code = assemble(f"{text} PUSH 0 PUSH 0 REVERT :a PUSH 1 {RETURN_WORD} :b PUSH 2 {RETURN_WORD}")
    assert set(lift_code(code).public) == {0x11111111, 0x22222222}
    assert_same(code, [call(0x11111111), call(0x22222222), call(0x33333333), b"", b"\x11\x11\x11"])


def test_fallback_and_receive() -> None:
    code = assemble(
        f"PUSH 4 CALLDATASIZE LT @short JUMPI {SHIFTED} DUP1 PUSH 0x11111111 EQ @a JUMPI"
        " :short CALLDATASIZE @fallback JUMPI PUSH 5 PUSH 0 SSTORE STOP :fallback PUSH 6 PUSH 0 SSTORE STOP"
        f" :a PUSH 1 {RETURN_WORD}"
    )
    kinds = {function.kind: function for function in lift_code(code).functions.values()}
    assert {"public", "fallback", "receive"} < set(kinds)
    assert [s.args for s in kinds["receive"].statements() if s.op == "SSTORE"] == [(0, 5)]
    assert [s.args for s in kinds["fallback"].statements() if s.op == "SSTORE"] == [(0, 6)]
    assert_same(code, [b"", b"\1", call(0x11111111), call(0x12345678)])


def test_a_fallback_that_is_reached_with_different_stacks() -> None:
    """Too little calldata: nothing on the stack; no selector that is known: the selector. It reads neither."""
    code = assemble(
        f"PUSH 4 CALLDATASIZE LT @other JUMPI {SHIFTED} DUP1 PUSH 0x11111111 EQ @a JUMPI"
        f" :other PUSH 6 PUSH 0 SSTORE STOP :a PUSH 1 {RETURN_WORD}"
    )
    contract = lift_code(code)
    assert [function.kind for function in contract.functions.values()] == ["entry", "public", "fallback"]
    assert ends(contract, "ENTER") == 3
    assert_same(code, [b"", b"\1", call(0x11111111), call(0x12345678)])


def test_what_reads_the_stack_of_different_ways_is_no_function() -> None:
    code = assemble(
        f"CALLVALUE @paid JUMPI PUSH 7 @go JUMP :paid PUSH 9 :go {SHIFTED}"
        f" DUP1 PUSH 0x11111111 EQ @a JUMPI PUSH 0x22222222 EQ @b JUMPI STOP"
        f" :a POP {RETURN_WORD} :b PUSH 1 {RETURN_WORD}"
    )
    assert set(lift_code(code).public) == {0x22222222}
    for value in (0, 1):
        assert_same(code, [call(0x11111111), call(0x22222222), call(0x33333333)], value)


@pytest.mark.parametrize("back", ["PUSH 6", "PUSH 5 PUSH 6", ""])
def test_a_way_into_the_dispatcher_that_does_more_than_compute(back: str) -> None:
    """The public functions are entered with a stack that only those know who followed that way."""
    code = assemble(
        f"PUSH 7 PUSH 8 CALLVALUE @paid JUMPI PUSH 0 @go JUMP :paid PUSH 1 PUSH 0 SSTORE {back}"
        f" :go {SHIFTED} DUP1 PUSH 0x11111111 EQ @a JUMPI PUSH 0x22222222 EQ @b JUMPI STOP"
        f" :a POP ADD {RETURN_WORD} :b SUB {RETURN_WORD}"
    )
    for value in (0, 1):
        assert_same(code, [call(0x11111111), call(0x22222222), call(0x33333333)], value)


def test_a_jump_that_was_not_foreseen_says_so() -> None:
    code = assemble(
        f"@one PUSH 1 SSTORE PUSH 4 CALLDATALOAD JUMP :one PUSH 1 {RETURN_WORD} :other PUSH 2 {RETURN_WORD}"
    )
    contract = from_json(to_json(lift_code(code)))
    one, other = contract.places
    assert_same(code, [call(0, one), call(0, one + 1), call(0, 1 << 200)])
    world = world_of(code, {})
    with pytest.raises(Unresolved, match="was not foreseen"):
        run(contract, world, Transaction(CALLER, SELF, call(0, other)), BLOCK)


def test_functions_handed_at_different_places_are_different_functions() -> None:
    """f(q, p) calls p, or q where p is 0."""
    code = assemble(
        f"@one PUSH 0 @g @f JUMP :one @two @g PUSH 0 @f JUMP :two PUSH 1 ADD MUL {RETURN_WORD}"
        " :f DUP1 @first JUMPI POP @back SWAP1 JUMP :first SWAP1 POP @back SWAP1 JUMP :back SWAP1 JUMP"
        " :g PUSH 5 SWAP1 JUMP"
    )
    assert_same(code, [b""])


def test_reads_of_memory_that_nobody_can_pay_for_stay() -> None:
    code = assemble("PUSH 4 CALLDATALOAD DUP1 MLOAD POP PUSH 32 SWAP1 KECCAK256 POP STOP")
    assert_same(code, [call(0, 0), call(0, 1 << 40), call(0, 1 << 255)])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ADD", "stack underflow"),
        (f"PUSH 1 {'DUP1 ' * 1024} {'POP ' * 1024} STOP", "stack overflow"),
        ("PUSH 3 JUMP", "jump to no JUMPDEST"),
        ("INVALID", ""),
    ],
)
def test_exceptional_halts(text: str, why: str) -> None:
    code = assemble(text)
    last = list(lift_code(code).entry.blocks.values())[-1]
    assert (last.end.op, last.end.why) == ("INVALID", why)
    assert_same(code, [b""])


def test_an_undefined_instruction_says_so() -> None:
    (block,) = lift_code(bytes([0x0C])).entry.blocks.values()
    assert (block.end.op, block.end.why) == ("INVALID", "undefined instruction")


@pytest.mark.parametrize("code", [b"", b"\x60", b"\x7f\x01", b"\x5b" * 300, b"\x5f"], ids=len)
def test_code_that_just_ends_stops(code: bytes) -> None:
    assert ends(lift_code(code), "STOP") == 1
    assert_same(code, [b""])


def test_a_cut_off_is_said() -> None:
    code = assemble(program(3)[0])
    contract = lift_code(code, steps=5)
    assert contract.notes == ["the control-flow analysis was cut off"]


def test_only_the_parts_that_are_copied_are_kept() -> None:
    code = assemble("PUSH 4 PUSH 2 PUSH 0 CODECOPY PUSH 32 PUSH 0 RETURN INVALID INVALID")
    assert lift_code(code).data == {2: code[2:6]}
    assert_same(code, [b""])


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_selectors_and_private_functions_of_compiled_contracts(fixture: Fixture) -> None:
    """Against the compiler: every selector, every entry with its words in and out that the code can reach."""
    contract = lift_code(fixture.runtime)
    assert set(contract.public) == {int(selector, 16) for selector in fixture.truth["methods"]}
    assert not ends(contract, "UNRESOLVED")
    found = {function.pc: function for function in privates(contract)}
    entries = {entry["pc"]: entry for entry in fixture.truth["entries"]}
    missed = [entry for pc, entry in entries.items() if pc not in found]
    assert len(missed) <= max(1, 0.05 * len(entries)), missed
    for pc, entry in entries.items():
        if pc in found and found[pc].returns is not None:
            assert (len(found[pc].params), found[pc].returns) == (entry["words"], entry["return_words"]), (
                entry
            )


def test_the_same_code_gives_the_same_json() -> None:
    for fixture in fixtures("Vault"):
        assert to_json(lift_code(fixture.runtime)) == to_json(lift_code(fixture.runtime))
