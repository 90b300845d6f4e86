"""The TAC of a pair: what `whet lift` shows of the function, with what it calls and the storage that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.functions import Private
from whet.evm.pairs.nouns import PLACE
from whet.evm.pairs.texts import LONG, _with_structs, placeless, texts
from whet.evm.show import show_lifted
from whet.evm.text.structured import CHECKED

TOKENS = [one for one in fixtures("Token") if one.solc.startswith("0.8")]


def selectors(fixture: Fixture) -> list[int]:
    return [int(four, 16) for four in fixture.truth["methods"]]


@pytest.mark.parametrize("fixture", TOKENS[:2], ids=str)
def test_a_text_is_what_lift_shows(fixture: Fixture, tmp_path: Path) -> None:
    wanted = selectors(fixture)[::4]
    for four, text in zip(wanted, texts(fixture.runtime.hex(), [(four, ()) for four in wanted]), strict=True):
        out = tmp_path / "text"
        show_lifted(fixture.runtime, function=f"0x{four:08x}", form="structured", out=out)
        assert text.shown.tac.strip() == out.read_text().removeprefix(f"{CHECKED}\n").strip()


@pytest.mark.parametrize("fixture", TOKENS[:3], ids=str)
def test_internal_functions_and_bodies_are_found_where_the_compiler_says(fixture: Fixture) -> None:
    entries = {entry["name"]: entry["pc"] for entry in fixture.truth["entries"]}
    assert entries
    found = texts(fixture.runtime.hex(), [(f"pc:{pc}", ()) for pc in entries.values()])
    assert sum(bool(text.shown.tac) for text in found) >= len(found) / 2
    for text, pc in zip(found, entries.values(), strict=True):
        if text.shown.tac:
            assert (
                f"p_{pc:x}" in text.shown.tac.splitlines()[0]
                or "function p_" not in text.shown.tac.splitlines()[0]
            )
    public = {four: name.split("(")[0] for four, name in fixture.truth["methods"].items()}
    wanted = [(int(four, 16), (entries[name],)) for four, name in public.items() if name in entries]
    for (_, (pc,)), text in zip(wanted, texts(fixture.runtime.hex(), wanted), strict=True):
        assert text.body in ("", f"p_{pc:x}")
        assert text.body == "" or text.body in text.shown.called


def test_storage_and_hash() -> None:
    fixture = TOKENS[0]
    found = texts(fixture.runtime.hex(), [(four, ()) for four in selectors(fixture)])
    assert any("// slot" in line for text in found for line in text.shown.storage)
    assert len({text.hash for text in found}) > len(found) / 2
    assert (
        placeless("p_1a(p_2b, p_1a) p_x") == placeless("p_7(p_9, p_7) p_x") != placeless("p_7(p_7, p_9) p_x")
    )


@pytest.mark.parametrize(
    "name", ["p_1f", "p_1_2", "p_65f_af8", "p_1_2_a", "p_1_2_0_ff"]
)  # the last ones of copies that are bound to functions
def test_every_name_of_a_place_is_one(name: str) -> None:
    offset, *bound = (int(part, 16) for part in name.split("_")[1:])
    assert Private(offset, tuple((0, one) for one in bound), 1, 1).name == name
    assert PLACE.fullmatch(name)
    assert PLACE.findall(f"x = {name}(y, {name})") == [name, name]
    assert not PLACE.findall(f"{name}g {name}_g m{name}")


@pytest.mark.parametrize("fixture", TOKENS[:3], ids=str)
def test_hidden_is_what_a_contract_of_unknown_names_shows(fixture: Fixture) -> None:
    """No name of a function or of a getter's variable is left, selectors are; all else is as it was."""
    named = {int(four, 16): name.split("(")[0] for four, name in fixture.truth["methods"].items()}
    found = texts(fixture.runtime.hex(), [(four, ()) for four in named])
    assert any(f"function {named[four]}(" in one.shown.tac for four, one in zip(named, found, strict=True))
    for (four, name), one in zip(named.items(), found, strict=True):
        whole = "\n".join([one.hidden.tac, *one.hidden.called.values(), *one.hidden.storage])
        assert f"function f_{four:08x}(" in one.hidden.tac
        assert not re.search(rf"(?<!call\.)\b{name}\b", whole), whole
        assert one.hidden.called.keys() == one.shown.called.keys()


def test_the_emitter_is_asked_only_where_its_text_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = TOKENS[0]
    wanted = [(four, ()) for four in selectors(fixture)]
    for one, (four, _) in zip(texts(fixture.runtime.hex(), wanted, emitted=True), wanted, strict=True):
        assert one.shown.emitted.startswith("function ")
        assert one.shown.emitted.endswith("\n}")
        assert f"{four:08x}" in one.hidden.emitted.split("\n")[0]
    plain = texts(fixture.runtime.hex(), wanted)

    def fails(*given: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr("whet.evm.pairs.texts.emit", fails)
    assert texts(fixture.runtime.hex(), wanted) == plain == texts(fixture.runtime.hex(), wanted, emitted=True)
    assert not any(one.shown.emitted or one.hidden.emitted for one in plain)


def test_a_variable_stands_below_the_structs_that_it_needs() -> None:
    inner, outer, other = "struct S_1_0 { uint48 f0; }", "struct S_1 { S_1_0 f0; }", "struct S_2 { bool f0; }"
    line = "mapping(address => S_1) s; // slot 1"
    assert _with_structs(line, [inner, outer, other]) == f"{inner}\n{outer}\n{line}"
    assert _with_structs("bool b; // slot 0", [inner, outer, other]) == "bool b; // slot 0"


def test_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = TOKENS[0]
    wanted = [(four, ()) for four in selectors(fixture)]
    monkeypatch.setattr("whet.evm.pairs.texts.MOST_CALLED", 0)
    assert not any(text.shown.called for text in texts(fixture.runtime.hex(), wanted))
    monkeypatch.setattr("whet.evm.pairs.texts.MOST_TOKENS", 3)
    assert {text.missing for text in texts(fixture.runtime.hex(), wanted)} == {LONG}
