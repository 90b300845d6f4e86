"""TAC means what the bytecode means: every fixture, every function, replayed against revm. The short form of
`bench/evm_replay.py`."""

from __future__ import annotations

import json
from random import Random

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.lifting import lift_code
from whet.evm.replay.mutants import mutant
from whet.evm.replay.run import ENOUGH_CALLS, Replay
from whet.evm.replay.vectors import methods_of_signatures
from whet.evm.tac import from_json, to_json

CALLS = 20


def replay_of(fixture: Fixture) -> Replay:
    """Its TAC through JSON; the bytecode goes to revm only."""
    contract = from_json(json.loads(json.dumps(to_json(lift_code(fixture.runtime)))))
    return Replay(contract, fixture.runtime, lift_code, seed=7, steps=20_000)


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_every_function_agrees_with_revm(fixture: Fixture) -> None:
    """Also: enough calls past decoding, half of all code executed, most functions succeed somehow."""
    methods = methods_of_signatures(fixture.truth["methods"], fixture.truth["abi"])
    report = replay_of(fixture).run(methods, CALLS)
    found = [(m.method.name, d.cause, d.text) for m in report.methods for d in m.disagreements]
    assert not found
    assert all(m.agrees and m.passed >= ENOUGH_CALLS for m in report.methods), [
        (m.method.name, m.passed, dict(m.inconclusive)) for m in report.methods
    ]
    assert sum(m.succeeded > 0 for m in report.methods) >= 0.6 * len(report.methods)
    assert sum(m.succeeded for m in report.methods) >= 0.4 * sum(m.compared for m in report.methods)


def test_wrong_variants_of_a_token_are_noticed() -> None:
    """One change at random in code that was executed; a tenth and more of such changes mean the same."""
    (fixture,) = (f for f in fixtures("Token") if f.name == "Token-0.8.30-runs200")
    replay = replay_of(fixture)
    replay.run(methods_of_signatures(fixture.truth["methods"], fixture.truth["abi"]), 60)
    places, rng, noticed = sorted(replay.visited), Random(1), []
    while len(noticed) < 100:
        place = rng.choice(places)
        wrong, text = mutant(replay.contract, place, rng)
        if text:
            noticed.append(replay.notices(wrong, place))
    assert sum(noticed) >= 80
