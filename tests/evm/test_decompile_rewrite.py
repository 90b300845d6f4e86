"""Functions as a model writes them, in a small contract: what is kept of them, what is said, and what goes back.

The compiler's answers are recorded, the comparison is run. The model is texts written here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest

import whet
from tests.evm.fixtures.rewrite import (
    CALLS_ANOTHER,
    NO_BALANCE,
    OPTIONS,
    RIGHT_BURN,
    WRONG_BALANCE,
    Written,
    decompiled,
    fill,
    names,
    purse,
    right,
)
from whet.evm.decompile.annotate import annotated, excerpt, summary
from whet.evm.decompile.asking import Asks, NotAsked, Proposed
from whet.evm.decompile.compiling import Compiled, compile_source
from whet.evm.decompile.kept import key
from whet.evm.decompile.nouns import (
    DIFFERENT,
    INCONCLUSIVE,
    NO_FUNCTION,
    NOT_COMPILED,
    SAME,
    Asked,
    Decompiled,
    Function,
    Judged,
)
from whet.evm.decompile.page import render
from whet.evm.decompile.rewrite import INTERRUPTED, NOT_DONE, UNCALLED, rewrite
from whet.evm.decompile.rounds import Verify
from whet.evm.decompile.run import verifier
from whet.evm.decompile.serial import from_json, to_json
from whet.evm.pairs.prompt import TASK, Prompt
from whet.evm.solc import compiler
from whet.evm.solc.cache import VARIABLE
from whet.evm.solidity.nouns import Source
from whet.progress import Reporter

pytest.importorskip("pyrevm")
pytest.importorskip("eth_abi")


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that holds the compiler's answers, and no compiler."""

    def missing(version: str) -> None:
        raise AssertionError("a text is not recorded: python -m tests.evm.fixtures.rewrite")

    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_worker", missing)
    fill(tmp_path / "cache")


@pytest.fixture
def before() -> Decompiled:
    return _before()


@cache
def _before() -> Decompiled:
    return decompiled(purse())


@pytest.fixture
def after(before: Decompiled) -> Decompiled:
    return _after()


@cache
def _after() -> Decompiled:
    return rewrite(purse(), OPTIONS, _before(), Written(right(_before())))


def of(result: Decompiled, name: str) -> Function:
    return next(one for one in result.functions if name in (one.text.of, one.text.name))


def asked(result: Decompiled, name: str) -> Asked:
    found = of(result, name).asked
    assert found is not None
    return found


def verdicts(result: Decompiled, name: str) -> list[str]:
    return [one.verdict for one in asked(result, name).tries]


def lines(result: Decompiled, name: str) -> str:
    text = of(result, name).text
    return "\n".join(result.source.text.split("\n")[text.first_line - 1 : text.last_line])


def test_right_texts_in_other_words_stand_in_the_contract(before: Decompiled, after: Decompiled) -> None:
    known = names(before)
    taken = {one.text.of: one.asked.taken for one in after.functions if one.asked and one.asked.taken}
    signatures = {of(before, name).text.of for name in ("transfer", "burn")}
    assert taken.keys() == {*signatures, known["move"], known["stash"]}
    assert asked(after, "transfer").taken == 1
    assert asked(after, "burn").taken == 2
    assert {one.judged.label for one in after.functions} == {SAME}
    assert after.by_model == 4
    assert "done = true;" in lines(after, "transfer")
    assert lines(after, known["stash"]).lstrip().startswith("function func_")
    assert "stor_2 = newLimit;" in lines(after, known["stash"])
    assert "function " + of(after, known["move"]).text.name in lines(after, known["move"])
    for one in after.functions:
        assert lines(after, one.text.of).count("{") == lines(after, one.text.of).count("}")


def test_what_is_kept_was_run(before: Decompiled, after: Decompiled) -> None:
    """The last text by itself, compiled and compared once more, is what its labels say."""
    code = compile_source(after.source).runtime
    assert code
    assert code != compile_source(before.source).runtime
    found = verifier(OPTIONS)(after.code, code, after.source, None)
    assert {name: one.label for name, one in found.items()} == {
        one.text.of: one.judged.label for one in after.functions if one.text.of in found
    }


def test_wrong_texts_leave_the_emitters(before: Decompiled, after: Decompiled) -> None:
    assert verdicts(after, "balanceOf") == [DIFFERENT, NOT_COMPILED, NO_FUNCTION, NO_FUNCTION]
    assert lines(after, "balanceOf") == lines(before, "balanceOf")
    assert of(after, "balanceOf").judged.label == SAME
    tries = asked(after, "balanceOf").tries
    assert [one.text for one in tries[:2]] == [WRONG_BALANCE, NO_BALANCE]
    assert "balanceOf(" in tries[0].counterexample
    assert "Undeclared identifier" in tries[1].reason
    assert tries[2].reason == "something stands behind the function: }"
    assert "contract Other" not in after.source.text


def test_private_functions_that_texts_no_longer_call_are_gone_and_not_asked_for(
    before: Decompiled, after: Decompiled
) -> None:
    gone = {one.text.of for one in before.functions} - {one.text.of for one in after.functions}
    assert len(gone) == 3
    assert not any(name in after.source.text for name in gone)
    assert after.notes[-1] == f"left out, {UNCALLED}: {', '.join(sorted(gone))}"
    writer = Written(right(before))
    rewrite(purse(), OPTIONS, before, writer)
    assert not any(
        f"function {name}(" in prompt.text.split("// function\n")[1]
        for prompt in writer.prompts
        for name in gone
    )


def test_what_is_asked_is_what_was_trained(before: Decompiled) -> None:
    def prompts(asks: Asks) -> list[Prompt]:
        writer = Written({}, asks=asks)
        rewrite(purse(), OPTIONS, before, writer)
        return writer.prompts

    both, shown, hidden = (prompts(Asks(way)) for way in ("both", "shown", "hidden"))
    known = names(before)
    assert len(both) == len(shown) == len(hidden) == 12
    assert {prompt.task for prompt in shown} == {TASK["shown"]}
    assert {prompt.task for prompt in hidden} == {TASK["hidden"]}
    assert not any(word in prompt.text for prompt in hidden for word in (" owner;", "balanceOf", "transfer("))
    transfer = next(prompt for prompt in both if "// signature: transfer(" in prompt.text)
    assert transfer.text.startswith(
        "// signature: transfer(address,uint256)\n// visibility: public\n// mutability: nonpayable\n\n// storage\n"
    )
    assert transfer in shown
    assert [prompt.task for prompt in both].count(TASK["hidden"]) == 6
    assert any(
        f"// signature: {known['move']}(address,address,uint256)\n// visibility: internal" in p.text
        for p in shown
    )
    few = prompts(Asks("hidden", prompt_tokens=60))
    assert 0 < len(few) < 12
    emitted = prompts(Asks("shown", emitted=True))
    assert all("// emitter\nfunction " in prompt.text for prompt in emitted)


def test_a_label_says_whose_text_it_is(after: Decompiled) -> None:
    said = {one.text.name: excerpt(after, one.text) for one in after.functions if one.text.of}
    assert "// text: model, try 2 of 4\n" in said["burn"]
    assert "; readable;" not in said["burn"]
    expected = "emitter (model: 4 texts, 2 no function, 1 did not compile, 1 differed)"
    assert f"// text: {expected}\n" in said["balanceOf"]
    assert "// text: emitter (model: 0 texts)\n" in said["owner"]
    assert "texts: 4 of the model, 6 of the emitter" in summary(after)
    text, functions = annotated(after)
    assert "// model: written here, best of 4" in text
    bare = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    assert bare == [line for line in after.source.text.splitlines() if not line.lstrip().startswith("//")]
    for moved in functions:
        assert text.splitlines()[moved.last_line - 1].strip().endswith("}")


def test_what_was_cut_or_not_shown_is_said(before: Decompiled) -> None:
    class Cut(Written):
        def propose(self, prompt: Prompt) -> Iterator[Proposed]:
            for number, one in enumerate(super().propose(prompt)):
                yield replace(one, cut="" if number else "cut at 7 tokens")

    texts = {"burn": right(before)["burn"], "owner": ["function owner() {"] * 2}
    found = rewrite(purse(), OPTIONS, before, Cut(texts, asks=Asks("shown", prompt_tokens=110)))
    first, second = asked(found, "owner").tries
    assert (first.cut, first.reason) == ("cut at 7 tokens", "cut at 7 tokens: a { without its }")
    assert (second.cut, second.reason) == ("", "as try 1")
    assert asked(found, "burn").taken == 2
    told = annotated(found)[0]
    lacking = "its prompt: called functions left out: no room"
    assert f"// text: model, try 2 of 4; 1 cut at 7 tokens; {lacking}\n" in told
    assert "// text: emitter (model: 2 texts, 2 no function; 1 cut at 7 tokens)\n" in told
    assert f"// text: emitter (model: 0 texts; {lacking})\n" in told
    assert "2 of the model's were cut" in summary(found)
    assert from_json(json.loads(json.dumps(to_json(found)))) == found


def test_json_and_the_cache(before: Decompiled, after: Decompiled) -> None:
    raw = json.loads(json.dumps(to_json(after)))
    assert from_json(raw) == after
    assert raw["tries"] == {"different": 1, "no function": 3, "not compiled": 1, "same": 4}
    assert raw["by_model"] == 4
    assert raw["model"]["best_of"] == 4
    (balance,) = (one for one in raw["functions"] if one["name"] == "balanceOf")
    assert balance["asked"]["tries"][0]["text"] == WRONG_BALANCE
    assert from_json(json.loads(json.dumps(to_json(before)))) == before
    keys = {key(purse(), OPTIONS), key(purse(), OPTIONS, "a"), key(purse(), OPTIONS, "b")}
    assert len(keys) == 3


def test_the_page_has_both_side_by_side(after: Decompiled) -> None:
    page = render(after)
    for text in (
        "4 as the model wrote them",
        "Solidity (the model's)",
        "The emitter&#39;s",
        "The model&#39;s, try 1: different",
        "Text: emitter (model: 4 texts",
        "something stands behind the function: }",
    ):
        assert text in page
    hostile = Written({"burn": ["</pre><script>alert(1)</script>\u202e"]}, best_of=1)
    page = render(rewrite(purse(), OPTIONS, _before(), hostile))
    assert "<script>" not in page
    assert "\u202e" not in page


def test_one_function_alone(before: Decompiled) -> None:
    writer = Written(right(before))
    found = rewrite(purse(), OPTIONS, before, writer, only="burn")
    assert len(writer.prompts) == 1
    assert [one.text.name for one in found.functions if one.asked] == ["burn"]
    assert asked(found, "burn").taken == 2
    assert "// text:" not in excerpt(found, of(found, "owner").text)
    assert render(found).count("Text: ") == 1
    assert render(found).count('class="beside three"') == 1
    with pytest.raises(whet.CodeError, match="no functions are meant by 'nothing'"):
        rewrite(purse(), OPTIONS, before, writer, only="nothing")


def test_the_same_text_twice_is_tried_once(before: Decompiled) -> None:
    calls: list[Collection[str] | None] = []
    verify = verifier(OPTIONS)

    def counting(*given: object) -> dict[str, Judged]:
        calls.append(given[3])  # type: ignore[arg-type]
        return verify(*given)  # type: ignore[arg-type]

    writer = Written({"balanceOf": [WRONG_BALANCE] * 4}, best_of=3)
    found = rewrite(purse(), OPTIONS, before, writer, verify=counting)
    assert verdicts(found, "balanceOf") == [DIFFERENT] * 3
    assert asked(found, "balanceOf").tries[2].reason == "as try 1"
    assert calls == [[of(before, "balanceOf").text.of]]
    assert found.source == before.source
    assert [one.judged for one in found.functions] == [one.judged for one in before.functions]


def test_the_emitters_own_words_need_no_comparison(before: Decompiled) -> None:
    def never(*given: object) -> dict[str, Judged]:
        raise AssertionError("compared")

    same = "function balanceOf(address arg0) external view returns (uint256) { return balanceOf[arg0]; }"
    compiled = rewrite(
        purse(), OPTIONS, before, Written({"balanceOf": [same]}), verify=never, compile_=_always
    )
    assert asked(compiled, "balanceOf").taken == 1
    assert compiled.functions[0].judged == before.functions[0].judged


def _always(source: Source) -> Compiled:
    return Compiled(b"\1 the same code, whatever the text")


def test_what_fails_together_goes_back_to_the_emitters(before: Decompiled) -> None:
    verify = verifier(OPTIONS)
    transfer, burn = (of(before, name).text.of for name in ("transfer", "burn"))

    def failing(
        original: bytes, candidate: bytes, source: Source, wanted: Collection[str] | None
    ) -> dict[str, Judged]:
        found = verify(original, candidate, source, wanted)
        if wanted is None and "done = true;" in source.text:
            found[transfer] = Judged(DIFFERENT, reason="data differs")
        return found

    texts = {name: right(before)[name] for name in ("transfer", "burn")}
    found = rewrite(purse(), OPTIONS, before, Written(texts), verify=failing)
    assert (asked(found, "transfer").taken, asked(found, "burn").taken) == (0, 2)
    assert asked(found, "transfer").why.startswith("try 1 was the same by itself, together: ")
    assert "different: data differs" in asked(found, "transfer").why
    assert lines(found, "transfer") == lines(before, "transfer")
    assert of(found, burn).judged.label == SAME
    assert "emitter (model: try 1 was the same by itself" in excerpt(found, of(found, "transfer").text)
    assert {one.text.of for one in before.functions} > {one.text.of for one in found.functions}


@pytest.mark.parametrize("together", [False, True])
def test_a_mistake_of_whet_in_comparing_leaves_the_emitters(before: Decompiled, together: bool) -> None:
    verify = verifier(OPTIONS)

    def failing(
        original: bytes, candidate: bytes, source: Source, wanted: Collection[str] | None
    ) -> dict[str, Judged]:
        if (wanted is None) is together:
            raise RecursionError("too deep")
        return verify(original, candidate, source, wanted)

    found = rewrite(purse(), OPTIONS, before, Written({"burn": right(before)["burn"]}), verify=failing)
    assert asked(found, "burn").taken == 0
    told = asked(found, "burn").why if together else asked(found, "burn").tries[-1].reason
    assert told.endswith("a mistake of whet: RecursionError: too deep")
    assert lines(found, "burn") == lines(before, "burn")
    assert found.source.text == before.source.text


def test_evidence_of_a_text_by_itself_holds_where_nothing_that_it_calls_is_another(
    before: Decompiled,
) -> None:
    """In other code around it a change may be noticed less; only where several texts meet it must be noticed there."""
    verify = verifier(OPTIONS)

    def thin(
        original: bytes, candidate: bytes, source: Source, wanted: Collection[str] | None
    ) -> dict[str, Judged]:
        found = verify(original, candidate, source, wanted)
        weak = Judged(INCONCLUSIVE, reason="mutants: 5 of 9 noticed")
        return dict.fromkeys(found, weak) if wanted is None else found

    texts = right(before)
    found = rewrite(purse(), OPTIONS, before, Written({"burn": texts["burn"]}), verify=thin)
    assert found.by_model == 1
    assert {one.judged.label for one in found.functions} == {SAME}
    for name in ("burn", "owner"):
        told = "; with all of the model's texts no difference either (mutants: 5 of 9 noticed)"
        assert of(found, name).judged.evidence.endswith(told)

    found = rewrite(purse(), OPTIONS, before, Written(texts), verify=thin)
    assert (asked(found, "transfer").taken, asked(found, names(before)["move"]).taken) == (0, 0)
    assert asked(found, "burn").taken == 2
    assert {one.judged.label for one in found.functions} == {SAME}


def known_as(result: Decompiled, label: str, *names: str) -> Decompiled:
    """As if that had come out of the emitter's functions."""
    judged = Judged(label, "the emitter's evidence", "the emitter's reason")
    changed = {of(result, name).text.of for name in names}
    functions = [replace(f, judged=judged) if f.text.of in changed else f for f in result.functions]
    return replace(result, functions=functions)


def together(verdicts: dict[str, str]) -> Verify:
    """The comparison, but for these functions once all texts stand in the contract."""
    verify = verifier(OPTIONS)

    def changed(
        original: bytes, candidate: bytes, source: Source, wanted: Collection[str] | None
    ) -> dict[str, Judged]:
        found = verify(original, candidate, source, wanted)
        told = {name: Judged(label, reason="in the whole") for name, label in verdicts.items()}
        return found | told if wanted is None else found

    return changed


@pytest.mark.parametrize("emitted", [SAME, INCONCLUSIVE, DIFFERENT])
@pytest.mark.parametrize("text", ["burn", "move"])
def test_only_what_is_the_same_in_the_whole_stays_however_bad_the_emitters_was(
    before: Decompiled, text: str, emitted: str
) -> None:
    """A function's own text, and a private one's through a function that calls it."""
    written = {"burn": "burn", "move": names(before)["move"]}[text]
    decided = of(before, {"burn": "burn", "move": "transfer"}[text]).text.of
    bad = known_as(before, emitted, decided)
    writer = Written({written: right(before)[written]})

    found = rewrite(purse(), OPTIONS, bad, writer, verify=together({decided: DIFFERENT}))
    assert asked(found, written).taken == 0
    assert f"together: {decided} is different: in the whole" in asked(found, written).why
    assert found.source == before.source
    assert of(found, decided).judged == of(bad, decided).judged

    found = rewrite(purse(), OPTIONS, bad, writer, verify=together({decided: INCONCLUSIVE}))
    assert asked(found, written).taken > 0
    assert of(found, written).judged.label == of(found, decided).judged.label == SAME
    told = "; with all of the model's texts no difference either (in the whole)"
    assert of(found, decided).judged.evidence.endswith(told)


@pytest.mark.parametrize("label", [INCONCLUSIVE, DIFFERENT])
def test_what_the_emitter_left_open_is_not_held_against_the_model(before: Decompiled, label: str) -> None:
    """Of functions that no text leads to, and of the fallback, which only finds the one that was written."""
    others = [of(before, name).text.of for name in ("owner", "fallback")]
    bad = known_as(before, label, *others)
    as_bad = together(dict.fromkeys(others, label))
    found = rewrite(purse(), OPTIONS, bad, Written(right(before)), verify=as_bad)
    assert found.by_model == 4
    assert [of(found, name).judged.label for name in ("owner", "fallback")] == [label, label]


def test_what_gets_worse_by_a_text_that_it_only_finds_is_held_against_it(before: Decompiled) -> None:
    stash, fallback = names(before)["stash"], of(before, "fallback").text.of
    found = rewrite(
        purse(),
        OPTIONS,
        known_as(before, INCONCLUSIVE, "fallback"),
        Written({stash: right(before)[stash]}),
        verify=together({fallback: DIFFERENT}),
    )
    assert asked(found, stash).taken == 0
    assert found.source == before.source


def test_a_private_text_that_another_text_makes_uncertain_goes_back(before: Decompiled) -> None:
    """The fallback of the emitter's is inconclusive, and a text that it finds now calls the private function."""
    stash, move = names(before)["stash"], names(before)["move"]
    fallback = of(before, "fallback").text.of
    calling = f"function f() external payable {{ {move}(1); }}"
    texts = {stash: [calling], move: right(before)[move]}

    def verify(
        original: bytes, candidate: bytes, source: Source, wanted: Collection[str] | None
    ) -> dict[str, Judged]:
        outer = [one.of for one in source.functions if one.kind != "private"]
        named = outer if wanted is None else list(wanted)
        return {
            name: Judged(INCONCLUSIVE if name == fallback else SAME, reason="few calls") for name in named
        }

    found = rewrite(
        purse(),
        OPTIONS,
        known_as(before, INCONCLUSIVE, "fallback"),
        Written(texts),
        verify=verify,
        compile_=_other,
    )
    assert verdicts(found, move) == [SAME]
    assert (asked(found, stash).taken, asked(found, move).taken) == (1, 0)
    assert "together: inconclusive: reached through" in asked(found, move).why
    taken = {one.judged.label for one in found.functions if one.asked and one.asked.taken}
    assert taken == {SAME}


def _other(source: Source) -> Compiled:
    return Compiled(source.text.encode())


def test_a_text_may_call_other_functions_of_the_contract(before: Decompiled) -> None:
    found = rewrite(purse(), OPTIONS, before, Written({"burn": [CALLS_ANOTHER]}))
    assert asked(found, "burn").taken == 1
    assert "require(balanceOf(msg.sender) >= value || decimals() != 18" in lines(found, "burn")
    assert lines(found, "balanceOf") == lines(before, "balanceOf").replace("external", "public")
    assert {one.judged.label for one in found.functions} == {SAME}


def test_a_contract_that_does_not_compile_together_goes_back(before: Decompiled) -> None:
    def picky(source: Source) -> Compiled:
        both = "done = true;" in source.text and "_balanceOf_" in source.text
        return (
            Compiled(why="stack too deep", elsewhere=["stack too deep"]) if both else compile_source(source)
        )

    texts = {name: right(before)[name] for name in ("transfer", "burn")}
    found = rewrite(purse(), OPTIONS, before, Written(texts), compile_=picky)
    assert found.by_model == 0
    assert "together: stack too deep" in asked(found, "burn").why
    assert found.source == before.source


def test_ctrl_c_keeps_what_was(before: Decompiled) -> None:
    class Leaving(Written):
        def propose(self, prompt: Prompt) -> Iterator[Proposed]:
            if len(self.prompts) == 5:
                raise KeyboardInterrupt
            return super().propose(prompt)

    found = rewrite(purse(), OPTIONS, before, Leaving(right(before)))
    assert found.model is not None
    assert found.model.interrupted
    assert 0 < found.by_model < 4
    assert {one.judged.label for one in found.functions} == {SAME}
    assert any(one.asked and one.asked.why == INTERRUPTED for one in found.functions)
    assert "(interrupted)" in summary(found)


def test_what_is_not_asked_says_why(before: Decompiled) -> None:
    class Small(Written):
        def propose(self, prompt: Prompt) -> Iterator[Proposed]:
            raise NotAsked("more than the model's context")

    found = rewrite(purse(), OPTIONS, before, Small({}))
    said = {one.asked.why for one in found.functions if one.asked}
    assert said == {"more than the model's context", "it finds the functions"}
    assert "emitter (model not asked: more than the model's context)" in annotated(found)[0]
    nothing = rewrite(purse(), OPTIONS, replace(before, compiled=False), Written({}))
    assert {one.asked.why for one in nothing.functions if one.asked} == {NOT_DONE}


def test_progress_is_told_and_the_result_is_the_same_again(before: Decompiled, after: Decompiled) -> None:
    class Counting(Reporter):
        def task(self, label: str, total: float | None = None, *, initial: float = 0.0):  # type: ignore[no-untyped-def]
            told.append((label, total))
            return super().task(label, total, initial=initial)

    told: list[tuple[str, float | None]] = []
    again = rewrite(purse(), OPTIONS, before, Written(right(before)), reporter=Counting())
    assert told == [("asking the model", len(before.functions))]
    assert asdict(replace(again, seconds=after.seconds)) == asdict(after)


@pytest.mark.parametrize("step", ["verify", "compiling"])
def test_a_model_without_comparing_is_refused(step: str) -> None:
    writer = Written({})
    with pytest.raises(whet.WhetError, match="nothing that a model writes would be checked"):
        whet.decompile(purse(), model=writer, **{step: False})
    with pytest.raises(whet.WhetError, match=r"--model: nothing.*\n.*leave out --no-"):
        whet.show_decompiled(["00"], model=writer, **{step: False})


def test_from_python(before: Decompiled) -> None:
    writer = Written({"burn": [RIGHT_BURN]})
    found = whet.decompile(purse(), calls=60, model=writer)
    assert (found.by_model, {one.judged.label for one in found.functions}) == (1, {SAME})


@pytest.mark.slow
def test_the_record_is_what_the_compiler_answers(
    before: Decompiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(compiler, "_remembered", lambda kept: None)
    monkeypatch.setattr(compiler, "_keep", lambda kept, raw: None)
    assert decompiled(purse()).source == before.source
    found = rewrite(purse(), OPTIONS, before, Written(right(before)))
    assert found.by_model == 4
