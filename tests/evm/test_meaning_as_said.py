"""Forms executed in place of the code that they stand for, beside revm: calls, events, returns and reverts are exact."""

from __future__ import annotations

import pytest

from tests.evm.as_said import as_said, meant
from tests.evm.fixtures import Fixture, fixtures
from whet.evm.lifting import lift_code
from whet.evm.meaning.untangle import untangled
from whet.evm.replay.run import Replay
from whet.evm.replay.vectors import methods_of_signatures

pytest.importorskip("pyrevm")
pytest.importorskip("eth_abi")

CALLS = 12


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_forms_do_what_their_code_did(fixture: Fixture) -> None:
    contract = untangled(lift_code(fixture.runtime))
    said, made = as_said(contract, meant(contract))
    methods = methods_of_signatures(fixture.truth["methods"], fixture.truth["abi"])
    report = Replay(said, fixture.runtime, lift_code, seed=3).run(methods, CALLS)
    for method in report.methods:
        assert not method.disagreements, (method.method.name, method.disagreements[:1], made)
    assert sum(method.compared for method in report.methods) > 0


@pytest.mark.parametrize(
    ("contract", "kind", "least"),
    [("Calls", "checked call", 2), ("Calls", "decoded", 1), ("Vault", "object", 1)],
)
def test_these_forms_are_found_in_all_that_compilers_write(contract: str, kind: str, least: int) -> None:
    for fixture in fixtures(contract):
        code = untangled(lift_code(fixture.runtime))
        _, made = as_said(code, meant(code))
        assert made[kind] >= least, (fixture.name, made)
