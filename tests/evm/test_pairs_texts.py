"""The TAC of a pair: what `whet lift` shows of the function, with what it calls and the storage that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evm.fixtures import Fixture, fixtures
from whet.evm.pairs.texts import LONG, placeless, texts
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
        assert text.text.strip() == out.read_text().removeprefix(f"{CHECKED}\n").strip()


@pytest.mark.parametrize("fixture", TOKENS[:3], ids=str)
def test_internal_functions_and_bodies_are_found_where_the_compiler_says(fixture: Fixture) -> None:
    entries = {entry["name"]: entry["pc"] for entry in fixture.truth["entries"]}
    assert entries
    found = texts(fixture.runtime.hex(), [(f"pc:{pc}", ()) for pc in entries.values()])
    assert sum(bool(text.text) for text in found) >= len(found) / 2
    for text, pc in zip(found, entries.values(), strict=True):
        if text.text:
            assert f"p_{pc:x}" in text.text.splitlines()[0] or "function p_" not in text.text.splitlines()[0]
    public = {four: name.split("(")[0] for four, name in fixture.truth["methods"].items()}
    wanted = [(int(four, 16), (entries[name],)) for four, name in public.items() if name in entries]
    for (_, (pc,)), text in zip(wanted, texts(fixture.runtime.hex(), wanted), strict=True):
        assert text.body in ("", f"p_{pc:x}")
        assert text.body == "" or text.body in dict(text.called)


def test_storage_and_hash() -> None:
    fixture = TOKENS[0]
    found = texts(fixture.runtime.hex(), [(four, ()) for four in selectors(fixture)])
    assert any("// slot" in line for text in found for line in text.storage)
    assert len({text.hash for text in found}) > len(found) / 2
    assert (
        placeless("p_1a(p_2b, p_1a) p_x") == placeless("p_7(p_9, p_7) p_x") != placeless("p_7(p_7, p_9) p_x")
    )


def test_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = TOKENS[0]
    wanted = [(four, ()) for four in selectors(fixture)]
    monkeypatch.setattr("whet.evm.pairs.texts.MOST_CALLED", 0)
    assert not any(text.called for text in texts(fixture.runtime.hex(), wanted))
    monkeypatch.setattr("whet.evm.pairs.texts.MOST_TOKENS", 3)
    assert {text.missing for text in texts(fixture.runtime.hex(), wanted)} == {LONG}
