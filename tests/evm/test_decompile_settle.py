"""The loop around the emitter: what is written again, how literally, and what is said of each function in the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

import whet
from tests.evm.decompiling import TOKEN, emit
from whet.evm.call_graph import reach
from whet.evm.decompile import compiling
from whet.evm.decompile.compiling import FILE, Compiled, compile_source
from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    NOT_COMPILED,
    NOT_VERIFIED,
    SAME,
    Judged,
    Seconds,
)
from whet.evm.decompile.rounds import ROUNDS, Settled, Verify
from whet.evm.decompile.settle import settle
from whet.evm.meaning.base import Meaning
from whet.evm.solidity.nouns import LAST_LEVEL, Source
from whet.evm.tac import Contract

CONTRACT = whet.lift(TOKEN.runtime)
PUBLIC = [f.name for f in CONTRACT.functions.values() if f.kind == "public"]
PRIVATE = [f.name for f in CONTRACT.functions.values() if f.kind == "private"]
CODE = b"\1compiled"


def level(source: Source, name: str) -> int:
    return next(f.level for f in source.functions if f.of == name)


def same(_: bytes, __: bytes, source: Source, names: Collection[str] | None) -> dict[str, Judged]:
    outer = [f.of for f in source.functions if f.kind != "private"]
    return {name: Judged(SAME, "enough calls") for name in outer if names is None or name in names}


def differing(name: str, below: int) -> Verify:
    def verify(
        original: bytes, candidate: bytes, source: Source, names: Collection[str] | None
    ) -> dict[str, Judged]:
        assert (original, candidate) == (TOKEN.runtime, CODE)
        found = same(original, candidate, source, names)
        if name in found and level(source, name) < below:
            found[name] = Judged(DIFFERENT, reason="storage")
        return found

    return verify


def settled(
    verify: Verify | None, compile_=lambda _: Compiled(CODE), contract: Contract = CONTRACT
) -> Settled:  # type: ignore[no-untyped-def]
    return settle(contract, Meaning(), TOKEN.runtime, emit, verify, Seconds(), compile_=compile_)


def test_one_round_where_everything_agrees() -> None:
    found = settled(same)
    assert (found.rounds, found.retries, found.notes) == (1, [], [])
    assert {found.judged[name].label for name in PUBLIC} == {SAME}
    assert {f.level for f in found.source.functions} == {0}


@pytest.mark.parametrize("below", [1, 2])
def test_a_function_that_differs_is_written_more_literally_until_it_agrees(below: int) -> None:
    found = settled(differing(PUBLIC[0], below))
    assert [(r.function, r.level) for r in found.retries] == [(PUBLIC[0], at + 1) for at in range(below)]
    assert found.rounds == below + 1
    assert found.judged[PUBLIC[0]].label == SAME
    assert {f.of for f in found.source.functions if f.level} == {PUBLIC[0]}


def test_what_always_differs_was_tried_at_all_levels_and_can_be_read_in_the_end() -> None:
    name = next(n for n in PUBLIC if reach(CONTRACT)[n])
    found = settled(differing(name, 99))
    assert found.judged[name].label == DIFFERENT
    tried = {r.function for r in found.retries if r.level == LAST_LEVEL}
    assert tried == {name} | reach(CONTRACT)[name]
    assert {r.function for r in found.retries if r.why.startswith("taken back")} == tried
    assert {f.level for f in found.source.functions} == {0}
    assert found.rounds == 2 + 2 * LAST_LEVEL
    for private in reach(CONTRACT)[name]:
        assert found.judged[private].label == INCONCLUSIVE
        assert "different" in found.judged[private].reason


def test_what_helped_another_is_not_taken_back() -> None:
    called = reach(CONTRACT)
    private = next(p for p in PRIVATE if sum(p in called[n] for n in PUBLIC) > 1)
    helped, lost = [n for n in PUBLIC if private in called[n]][:2]

    def verify(
        original: bytes, candidate: bytes, source: Source, names: Collection[str] | None
    ) -> dict[str, Judged]:
        found = same(original, candidate, source, names)
        if helped in found and level(source, private) < LAST_LEVEL:
            found[helped] = Judged(DIFFERENT, reason="storage")
        if lost in found:
            found[lost] = Judged(DIFFERENT, reason="status")
        return found

    found = settled(verify)
    assert (found.judged[helped].label, found.judged[lost].label) == (SAME, DIFFERENT)
    assert level(found.source, private) == LAST_LEVEL
    assert level(found.source, lost) == 0


def test_what_had_not_to_move_is_written_as_it_was() -> None:
    """A public function differs because of one that it calls: in the end that one alone is literal."""
    called = reach(CONTRACT)
    public, private = next((name, min(called[name])) for name in PUBLIC if len(called.get(name, ())) > 1)

    def verify(_: bytes, __: bytes, source: Source, names: Collection[str] | None) -> dict[str, Judged]:
        found = same(b"", b"", source, names)
        if public in found and level(source, private) < 1:
            found[public] = Judged(DIFFERENT, reason="storage")
        return found

    result = settled(verify)
    assert {f.of for f in result.source.functions if f.level} == {private}
    assert {judged.label for judged in result.judged.values()} == {SAME}
    assert {retry.function for retry in result.retries if not retry.level} == called[public] - {private} | {
        public
    }


def test_private_functions_are_as_good_as_all_that_lead_there() -> None:
    found = settled(same)
    called = reach(CONTRACT)
    for name in PRIVATE:
        callers = [n for n in PUBLIC if name in called[n]]
        expected = SAME if callers else INCONCLUSIVE
        assert found.judged[name].label == expected
        assert found.judged[name].evidence.startswith("through ") == bool(callers)


def test_only_what_the_compiler_refuses_moves() -> None:
    def compile_(source: Source) -> Compiled:
        bad = next(f for f in source.functions if f.of == PUBLIC[1])
        if bad.level == 0:
            return Compiled(refused={bad.of: f"{FILE}:{bad.first_line}: wrong type"}, why="wrong type")
        return Compiled(CODE)

    found = settled(same, compile_)
    assert [(r.function, r.level) for r in found.retries] == [(PUBLIC[1], 1)]
    assert "wrong type" in found.retries[0].why
    assert NOT_COMPILED not in {judged.label for judged in found.judged.values()}
    called = {name for others in reach(CONTRACT).values() for name in others}
    assert {found.judged[name].label for name in PRIVATE if name in called} == {SAME}


def test_a_round_compares_what_it_changed_and_the_last_one_everything() -> None:
    name, asked = PUBLIC[0], []
    verify = differing(name, 2)

    def watching(
        original: bytes, candidate: bytes, source: Source, names: Collection[str] | None
    ) -> dict[str, Judged]:
        asked.append(names)
        return verify(original, candidate, source, names)

    found = settled(watching)
    outer = {f.of for f in found.source.functions if f.kind != "private"}
    assert asked == [None, {name}, {name}, outer - {name}]
    assert outer <= set(found.judged)


@pytest.mark.parametrize("rounds", [2, 3, ROUNDS])
def test_what_differed_is_compared_first_and_every_verdict_is_of_the_last_text(
    monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """Also where the rounds end too early."""
    monkeypatch.setattr("whet.evm.decompile.settle.ROUNDS", rounds)
    last: dict[str, Source] = {}
    asked: list[set[str]] = []
    wrong = PUBLIC[0]

    def verify(
        original: bytes, candidate: bytes, source: Source, names: Collection[str] | None
    ) -> dict[str, Judged]:
        found = differing(wrong, LAST_LEVEL + 1)(original, candidate, source, names)
        asked.append(set(found))
        last.update(dict.fromkeys(found, source))
        return found

    found = settled(verify)
    assert {id(last[name]) for name in PUBLIC} == {id(found.source)}
    assert found.judged[wrong].label == DIFFERENT
    assert asked[0] >= set(PUBLIC)
    assert asked[1] == {wrong}


def test_an_emitter_that_stays_at_its_level_is_not_asked_for_ever() -> None:
    stuck = PUBLIC[1]

    def stubborn(contract: Contract, meaning: Meaning, *, levels: Mapping[str, int]) -> Source:
        return emit(contract, meaning, levels={**levels, stuck: 0})

    def compile_(source: Source) -> Compiled:
        if level(source, PUBLIC[0]) == LAST_LEVEL:
            return Compiled(CODE)
        return Compiled(refused={stuck: "wrong"}, why="wrong")

    found = settle(CONTRACT, Meaning(), TOKEN.runtime, stubborn, same, Seconds(), compile_=compile_)
    assert found.judged[stuck].label == SAME
    assert found.rounds == 1 + 2 * LAST_LEVEL


def test_what_never_compiles_says_so_of_every_function() -> None:
    found = settled(same, lambda _: Compiled(elsewhere=["stack too deep"], why="stack too deep"))
    assert {j.label for j in found.judged.values()} == {NOT_COMPILED}
    assert {f.level for f in found.source.functions} == {LAST_LEVEL}
    assert all("stack too deep" in j.reason for j in found.judged.values())


def test_without_a_compiler_nothing_is_written_again() -> None:
    found = settled(same, lambda _: Compiled(why="no node", elsewhere=["no node"], no_compiler=True))
    assert (found.rounds, {j.label for j in found.judged.values()}) == (1, {NOT_COMPILED})


def test_steps_that_were_left_out_are_no_verdict() -> None:
    assert {j.label for j in settled(None).judged.values()} == {NOT_VERIFIED}
    found = settle(CONTRACT, Meaning(), TOKEN.runtime, emit, None, Seconds(), compiling=False)
    assert found.compiled is None
    assert {j.label for j in found.judged.values()} == {NOT_VERIFIED}


def test_errors_are_given_to_the_functions_they_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    source = emit(CONTRACT, Meaning(), levels={})
    second = source.functions[1]
    at = source.text.encode().index(b"level(0)", source.text.index(f"function {second.name}("))
    said = [
        {"severity": "error", "message": "bad", "sourceLocation": {"file": FILE, "start": at}},
        {"severity": "error", "message": "odd pragma", "sourceLocation": {"file": FILE, "start": 0}},
        {"severity": "warning", "message": "unused", "sourceLocation": {"file": FILE, "start": 0}},
    ]
    monkeypatch.setattr(compiling, "compile_standard", lambda version, request: {"errors": said})
    found = compile_source(source)
    assert list(found.refused) == [second.of]
    assert len(found.elsewhere) == 1
    assert "odd pragma" in found.elsewhere[0]
    assert not found.no_compiler


def test_a_compiler_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(version: str, request: object) -> None:
        raise whet.WhetError("cannot be installed", fix="a network")

    monkeypatch.setattr(compiling, "compile_standard", missing)
    found = compile_source(emit(CONTRACT, Meaning(), levels={}))
    assert found.no_compiler
    assert "cannot be installed" in found.why


@pytest.mark.parametrize("digits", ["", "60__$" + "0" * 34 + "$__00"])
def test_an_abstract_or_unlinked_contract_is_not_compiled(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"contracts": {FILE: {"Decompiled": {"evm": {"deployedBytecode": {"object": digits}}}}}}
    monkeypatch.setattr(compiling, "compile_standard", lambda version, request: made)
    found = compile_source(emit(CONTRACT, Meaning(), levels={}))
    assert not found.runtime
    assert "no code for Decompiled" in found.why


def test_an_emitter_that_fails_is_asked_for_less_and_that_is_said() -> None:
    def failing(contract: Contract, meaning: Meaning, *, levels: Mapping[str, int]) -> Source:
        assert levels.get(PUBLIC[0], 0) > 1, "no such type"
        return emit(contract, meaning, levels=levels)

    found = settle(
        CONTRACT, Meaning(), TOKEN.runtime, failing, same, Seconds(), compile_=lambda _: Compiled(CODE)
    )
    assert {f.level for f in found.source.functions} == {2}
    assert "a mistake of whet: AssertionError: no such type" in found.retries[0].why

    def broken(contract: Contract, meaning: Meaning, *, levels: Mapping[str, int]) -> Source:
        raise RuntimeError("always")

    with pytest.raises(RuntimeError, match="always"):
        settle(CONTRACT, Meaning(), TOKEN.runtime, broken, same, Seconds())
