"""What a reader of the structured text sees of a token: arguments, names by getters, the table of functions."""

from __future__ import annotations

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.lifting import lift_code
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.untangle import untangled
from whet.evm.tac import Contract
from whet.evm.text import structured

_TOKENS = fixtures("Token")


def _text(contract: Contract) -> str:
    contract = untangled(contract)
    return structured(contract, analyse(contract))


@pytest.mark.parametrize("fixture", _TOKENS, ids=str)
def test_variables_have_the_names_of_their_getters(fixture: Fixture) -> None:
    contract = untangled(lift_code(fixture.runtime))
    names = [variable.name for variable in analyse(contract).storage]
    assert names == ["owner", "name", "symbol", "decimals", "totalSupply", "stor_5", "balanceOf", "allowance"]


@pytest.mark.parametrize("fixture", _TOKENS, ids=str)
def test_getters_of_strings_give_back_variables(fixture: Fixture) -> None:
    text = _text(lift_code(fixture.runtime))
    for line in ("return name", "return symbol"):
        assert f"\n  {line}\n" in text


def test_a_getter_of_a_changed_string_is_none() -> None:
    """One constant of the copying loop is another: nothing is claimed any more."""
    (fixture,) = (f for f in _TOKENS if f.name == "Token-0.8.30-runs200")
    contract = lift_code(fixture.runtime)
    assert "\n  return name\n" in _text(contract)
    changed = [s for s in contract.functions["f_06fdde03"].statements() if s.op == "ADD" and 32 in s.args]
    for s in changed:
        s.args = tuple(33 if arg == 32 else arg for arg in s.args)
    assert changed
    assert "\n  return name\n" not in _text(contract)


def test_the_dispatcher_is_a_table_and_helpers_are_left_out() -> None:
    (fixture,) = (f for f in _TOKENS if f.name == "Token-0.8.30-runs200")
    text = _text(lift_code(fixture.runtime))
    assert "\n  switch (msg.sig) {\n" in text
    assert "\n    0xa9059cbb: transfer\n" in text
    assert "\n  return balanceOf[arg0]\n" in text
    assert "checked(totalSupply + " in text
    assert "(arg0, arg1)\n  return true\n" in text
    shown, _, left_out = text.rpartition("// left out")
    for name in left_out.partition(": ")[2].strip().split(", "):
        assert f"function {name}(" not in shown
        assert f"{name}(" not in shown
