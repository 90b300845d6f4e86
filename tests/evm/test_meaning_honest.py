"""Forms say what the statements do: slots, fields, events, reverts, returns, calls and values, checked while they run."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.evm.fixtures import Fixture, fixtures
from tests.evm.honest import ADDRESS, CALLER, check, probed
from whet.evm.interpret import OutOfSteps, Result, Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.vectors import Pool, constants, methods_of_signatures
from whet.evm.signatures import Signatures
from whet.evm.tac import Contract
from whet.evm.world import Account, World

pytest.importorskip("eth_abi")

CALLS = 1
STARTS = ({}, dict.fromkeys(range(10), CALLER), {**dict.fromkeys(range(10), 1), 0: CALLER, 4: 1 << 64})
"""Storage to begin with: nothing, the caller everywhere, small numbers and an owner."""


def calls(fixture: Fixture, contract: Contract) -> list[bytes]:
    pool = Pool(Random(5), constants(contract))
    methods = methods_of_signatures(fixture.truth["methods"], fixture.truth["abi"])
    return [pool.calldata(method) for _ in range(CALLS) for method in methods]


def _execute(contract: Contract, data: bytes, storage: dict[int, int]) -> Result:
    accounts = {ADDRESS: Account(storage=dict(storage)), CALLER: Account(balance=1 << 90)}
    return run(contract, World(accounts, lift_code), Transaction(CALLER, ADDRESS, data))


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_forms_claim_what_happens(fixture: Fixture) -> None:
    contract = untangled(lift_code(fixture.runtime))
    made = probed(contract, analyse(contract, Signatures()))
    held: Counter[str] = Counter()
    for start in STARTS:
        storage = dict(start)
        for data in calls(fixture, contract):
            try:
                held += check(made, data, storage)
                result = _execute(contract, data, storage)
            except OutOfSteps:  # a length in storage that no contract would have written
                continue
            if result.status == "success":
                storage |= {
                    slot: word for (address, slot), word in result.storage.items() if address == ADDRESS
                }
    assert sum(held.values()) - held["not evaluated"] > 12


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_untangled_it_is_the_same_program(fixture: Fixture) -> None:
    contract = lift_code(fixture.runtime)
    other = untangled(contract)
    for data in calls(fixture, contract):
        one, two = (_execute(each, data, STARTS[2]) for each in (contract, other))
        assert (one.status, one.data, one.logs, one.storage) == (two.status, two.data, two.logs, two.storage)
