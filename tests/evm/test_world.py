"""State and its journal: whatever happened since a mark can be undone, in any order."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.evm.tac import Contract
from whet.evm.world import Account, MissingCode, World, read_data

WHO = st.sampled_from([1, 2, 3, 99])
ACTIONS = st.one_of(
    st.tuples(st.just("store"), WHO, st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("store_transient"), WHO, st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("transfer"), st.sampled_from([1, 2]), WHO, st.integers(0, 3)),
    st.tuples(st.just("raise_nonce"), WHO),
    st.tuples(st.just("create"), WHO),
    st.tuples(st.just("set_code"), WHO, st.binary(max_size=3)),
    st.tuples(st.just("destroy"), WHO, WHO),
)


def world() -> World:
    return World({1: Account(1000, 1, storage={0: 7}), 2: Account(1000), 3: Account(0, 5, b"abc")})


def state(world: World) -> tuple[object, ...]:
    accounts = copy.deepcopy(world.accounts)
    return accounts, dict(world.transient), list(world.transfers), dict(world.created), dict(world.destroyed)


@given(st.lists(ACTIONS, max_size=12), st.lists(ACTIONS, max_size=12))
def test_revert_gives_back_exactly_the_state_of_the_mark(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]]
) -> None:
    here = world()
    for name, *args in before:
        getattr(here, str(name))(*args)
    mark, expected = here.snapshot(), state(here)
    for name, *args in after:
        getattr(here, str(name))(*args)
    here.revert(mark)
    assert state(here) == expected
    here.revert((0, 0, 0))
    assert state(here) == state(world())


@given(st.lists(ACTIONS, max_size=12))
def test_wei_is_neither_made_nor_lost_except_by_self_destruction(actions: list[tuple[object, ...]]) -> None:
    here = world()
    for name, *args in actions:
        if name != "destroy":
            getattr(here, str(name))(*args)
    assert sum(account.balance for account in here.accounts.values()) == 2000


def test_changes_are_against_the_beginning_of_the_transaction() -> None:
    here = world()
    here.store(1, 0, 8)
    here.store(1, 0, 7)
    here.store(1, 1, 5)
    here.store(1, 1, 6)
    here.store(50, 2, 3)
    assert here.changes() == {(1, 1): 6, (50, 2): 3}


def test_a_contract_without_its_bytecode_reads_its_data() -> None:
    contract = Contract({}, 100, {10: b"abcdef", 16: b"gh", 60: b"z" * 40})
    assert read_data(contract, 11, 6) == b"bcdefg"
    assert read_data(contract, 90, 20) == b"z" * 10 + bytes(10)
    assert read_data(contract, 1 << 255, 3) == bytes(3)
    for offset, size in ((8, 4), (17, 3), (50, 20)):
        with pytest.raises(MissingCode):
            read_data(contract, offset, size)
