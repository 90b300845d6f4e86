"""Written Solidity: who is asked, the nearest example, answers, tables; and what a recipe may ask for."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluate.written_example import example_written, record
from tests.test_fill_in_the_middle import TOKENIZER

from whet import pipeline
from whet.begin import require_possible
from whet.errors import RecipeError, WhetError
from whet.evaluate.middles import wilson
from whet.evaluate.written import EMITTER, FALLBACK, MODEL, figures
from whet.evaluate.written.answers import Answer, answers, batches
from whet.evaluate.written.held_out import Asked, _kind, characters, drawn, length_bin, metadata_of
from whet.evaluate.written.nearest import Example, nearest, runs
from whet.evaluate.written.score import or_else
from whet.evm.pairs.nouns import Pair, View
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.generation import POSITIONS, TOGETHER, generate
from whet.models.shape import Shape
from whet.progress import Task
from whet.recipe.decoding import Greedy
from whet.recipe.schema import Evaluate, Recipe, Stage, WrittenSolidity
from whet.sources.solidity import SoliditySource

PAIR = Pair(
    name="f", signature="f()", selector="0x26121ff0", kind="function", visibility="public", mutability="nonpayable",
    contract="C", source="function f() public {}", source_hash="0", tac="", body="", called={}, storage=[], emitted="",
    names={}, mentions={},
    hidden=View("", {}, []), tac_hash="0", label="selector", project="p@1", lineage="p", file="C.sol", line=1,
    within="C", solc="0.8.30", build="runs200", licence="MIT",
)  # fmt: skip


def asked(
    at: int, *, tac: str = "", era: str = "0.8", characters: int = 50, metadata: Any = "shown"
) -> Asked:
    pair = replace(
        PAIR,
        name=f"f{at}",
        tac=tac,
        hidden=View(tac, {}, []),
        solc=f"{era}.9",
        line=at,
        source="x" * characters,
    )
    origin = pair.origin if metadata == "shown" else f"{pair.origin}:hidden"
    return Asked(pair, metadata, origin, 0, "", pair.source, [1, 2])


@pytest.fixture(scope="module")
def many() -> list[Asked]:
    draw = random.Random(1)
    return [
        asked(
            at,
            era=draw.choice(["0.4", "0.6", "0.8", "0.8", "0.8"]),
            characters=draw.choice([50, 150, 300, 700, 3000]),
            metadata=draw.choice(["shown", "hidden"]),
        )
        for at in range(500)
    ]


@pytest.mark.parametrize("count", [1, 7, 40, 499, 500, 800])
def test_those_drawn_are_as_the_whole_is(many: list[Asked], count: int) -> None:
    """As many as asked for, in the order given, and of each kind as large a share as in the whole, to one function."""
    chosen = drawn(many, count)
    assert len(chosen) == min(count, len(many))
    assert chosen == [one for one in many if one in chosen]
    kinds, mine = (Counter(_kind(one, alone=True)[:3] for one in some) for some in (many, chosen))
    for kind, there in kinds.items():
        assert abs(mine[kind] - there * len(chosen) / len(many)) <= 1, kind
    assert drawn(many[::-1], count) == chosen[::-1], "the order given does not matter"


def both_ways(functions: int, *, one_way: int = 0) -> list[Asked]:
    """Of each function a record that shows its metadata and one that hides it, in the names of its prompt, shorter ones;
    of the last `one_way` only one of the two."""
    draw = random.Random(5)
    found = []
    for at in range(functions):
        shown = asked(at, era=draw.choice(["0.4", "0.8"]), characters=draw.randint(60, 1200))
        hidden = replace(
            asked(at), pair=shown.pair, metadata="hidden", origin=f"{shown.pair.origin}:hidden", true="x" * 20
        )
        found += [shown, hidden] if at < functions - one_way else [draw.choice([shown, hidden])]
    draw.shuffle(found)
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 24, 39, 40, 41, 199])
def test_the_same_functions_are_drawn_shown_and_hidden(count: int) -> None:
    """Also where the answers differ; an odd number leaves a place empty, one draws a record."""
    everything = both_ways(100)
    chosen = drawn(everything, count)
    ways = [
        {one.pair.origin for one in chosen if one.metadata == metadata} for metadata in ("shown", "hidden")
    ]
    assert len(chosen) == (count - count % 2 if count > 1 else 1)
    assert ways[0] == ways[1] or count == 1
    assert drawn(everything[::-1], count) == chosen[::-1]


@pytest.mark.parametrize("count", [2, 3, 40, 41, 150, 184])
def test_functions_with_one_record_have_their_share(count: int) -> None:
    everything = both_ways(100, one_way=15)
    chosen = drawn(everything, count)
    assert len(chosen) == count
    records, mine = (Counter(one.pair.origin for one in some) for some in (everything, chosen))
    assert all(records[origin] == number for origin, number in mine.items()), "none is drawn one way only"
    alone = sum(number == 1 for number in mine.values())
    assert abs(alone - 15 * count / len(everything)) <= 1


def test_bins_of_lengths() -> None:
    assert [length_bin(characters) for characters in (0, 99, 100, 399, 400, 999, 1000, 9999)] == [
        0, 0, 1, 2, 3, 3, 4, 4,
    ]  # fmt: skip


def test_lengths_are_those_of_canonical_text() -> None:
    short, padded = "function f() public { a(); }", f"function f() public {{ /* {'x' * 500} */ a(); }}"
    assert characters(short) == characters(padded) == len("function f() public {\n    a();\n}")
    pairs = [replace(PAIR, source=text) for text in (short, padded)]
    kinds = [_kind(replace(asked(1), pair=pair, true=pair.name), alone=True) for pair in pairs]
    assert kinds[0] == kinds[1]


def test_a_record_that_hides_its_metadata_is_known_by_its_origin() -> None:
    assert metadata_of(PAIR, PAIR.origin) == "shown"
    assert metadata_of(PAIR, f"{PAIR.origin}:hidden") == "hidden"


def words(draw: random.Random, length: int) -> str:
    return " ".join(draw.choice(["a", "b", "c", "(", ")", "=", "p_3f"]) for _ in range(length))


def test_the_nearest_is_the_first_of_the_largest_jaccard_index() -> None:
    draw = random.Random(2)
    some = [asked(at, tac=words(draw, 30), metadata=draw.choice(["shown", "hidden"])) for at in range(8)]
    training = [
        Example(one.pair, one.metadata, f"training {one.origin}", f"text {one.pair.name}")
        for at in range(60)
        if (one := asked(at, tac=words(draw, draw.randint(0, 40)), metadata=draw.choice(["shown", "hidden"])))
    ]
    for one, near in zip(some, nearest(some, training), strict=True):
        mine = runs(one.pair, one.metadata)
        overlaps = [
            len(mine & theirs) / len(mine | theirs) if example.metadata == one.metadata else 0.0
            for example in training
            if (theirs := runs(example.pair, example.metadata)) is not None
        ]
        best = training[overlaps.index(max(overlaps))]
        assert near is not None
        assert (near.origin, near.text) == (best.origin, best.answer)
        assert near.overlap == pytest.approx(max(overlaps))


def test_places_do_not_tell_functions_apart_and_strangers_are_none() -> None:
    one = asked(1, tac="function f() {\n  p_12(arg0)\n  p_3f(p_12(1))\n}")
    other = asked(2, tac="function f() {\n  p_77(arg0)\n  p_9(p_77(1))\n}")
    twin = Example(other.pair, "shown", "twin", "its text")
    stranger = Example(asked(3, tac="x y z w v").pair, "shown", "stranger", "other text")
    (near,) = nearest([one], [stranger, twin])
    assert near is not None
    assert (near.origin, near.overlap) == ("twin", 1.0)
    assert nearest([one], [stranger]) == [None]
    assert nearest([one], [replace(twin, metadata="hidden")]) == [None]


@pytest.mark.parametrize(("context", "new_tokens"), [(100, 20), (100, 200), (10_000, 5000), (512, 16)])
def test_batches_hold_every_prompt_once_with_its_room(context: int, new_tokens: int) -> None:
    draw = random.Random(context)
    lengths = [draw.randint(1, 120) for _ in range(50)]
    found = batches(lengths, context, new_tokens)
    assert sorted(at for batch in found for at in batch) == list(range(50))
    for batch in found:
        assert lengths[batch[-1]] == max(lengths[at] for at in batch)
        assert len(batch) == 1 or len(batch) * (lengths[batch[-1]] + new_tokens) <= POSITIONS
        assert len(batch) <= TOGETHER
        assert len(batch) == 1 or lengths[batch[-1]] + new_tokens <= context, "none is cut for its neighbours"


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    shape = Shape(
        norm="rmsnorm", positions="rope", d_model=32, layers=1, heads=2, d_ff=32, context=48, vocab_size=420
    )
    return new_model(shape, TOKENIZER.special_ids, seed=1, device=torch.device("cpu"), precision="fp32")


def test_answers_are_those_of_each_prompt_alone(decoder: Decoder) -> None:
    """Cut where they do not end, shorter where there is less room, empty where there is none."""
    prompts = [[5 + at % 300 for at in range(length)] for length in (3, 44, 48, 60, 7, 30, 47)]
    found = answers(decoder, TOKENIZER, prompts, Greedy(), new_tokens=6, seed=1, task=Task("", None))
    for prompt, answer in zip(prompts, found, strict=True):
        room = min(6, 48 - len(prompt))
        if room < 1:
            assert answer == Answer("", "no room", 0)
            continue
        alone = generate(decoder, prompt, Greedy(), new_tokens=room, seed=1)
        assert (answer.text, answer.tokens) == (TOKENIZER.decode(alone), len(alone))
        assert answer.ended == ("length" if len(alone) == room else "end")


def test_an_answer_ends_before_a_stop_text(decoder: Decoder) -> None:
    prompts = [[100, 101], [200, 300, 301], [350, 20, 30]]
    whole, found = (
        answers(decoder, TOKENIZER, prompts, Greedy(stop=stop), new_tokens=8, seed=1, task=Task("", None))
        for stop in ([], ["vvv", '"""'])
    )
    assert [one.text for one in whole] == ["v" * 8, '."""' * 8, "/" * 8]
    assert [(one.text, one.ended) for one in found] == [("", "stop"), (".", "stop"), ("/" * 8, "length")]


def test_every_table_adds_up() -> None:
    found = example_written(24)
    tables = found["tables"]
    assert [table["by"] for table in tables if table["by"] == "all"] == ["all"]
    assert {table["by"] for table in tables} == {"all", *figures.GROUPS}
    for by in figures.GROUPS:
        own = [table for table in tables if table["by"] == by]
        assert sum(table["functions"] for table in own) == 24
        assert sum(table["distinct"] for table in own) == 24
        assert len({table["group"] for table in own}) == len(own)
        for writer in found["writers"]:
            for outcome in figures.OUTCOMES:
                whole = tables[0]["writers"][writer]["behaves"][outcome]
                assert sum(table["writers"][writer]["behaves"][outcome] for table in own) == whole
    for table in tables:
        for one in table["writers"].values():
            assert sum(one["behaves"].values()) == table["functions"]
            assert one["behaves"]["same"] == round(one["same"]["value"] * table["functions"])
            assert one["same"]["low"] <= one["same"]["value"] <= one["same"]["high"]
            assert one["parses"]["value"] >= one["compiles"]["value"] >= one["abi"]["value"]
            assert one["abi"]["value"] >= one["same"]["value"]
            assert set(one["metrics"]) == set(found["metrics"])


def test_records_of_one_function_count_as_one_trial() -> None:
    """Shown and hidden with one verdict: as many records again, and the same shares and intervals."""
    once = [record(at) for at in range(12)]
    metrics = figures.measure(once, print)
    twice = [one | {"metadata": metadata} for one in once for metadata in ("shown", "hidden")]
    alone, both = (figures.tables(some, metrics)[0] for some in (once, twice))
    assert (alone["functions"], alone["distinct"]) == (12, 12)
    assert (both["functions"], both["distinct"]) == (24, 12)
    for writer, expected in alone["writers"].items():
        for name in (*figures.STEPS, "abi_outside", "same", "similar", "near_length"):
            assert both["writers"][writer][name] == expected[name], (writer, name)
    assert alone["writers"][MODEL]["same"] == wilson(3, 12)
    shown = next(one for one in figures.tables(twice, metrics) if one["group"] == "shown")
    assert (shown["functions"], shown["distinct"]) == (12, 12)


@pytest.mark.parametrize("sizes", [[1] * 30, [2] * 15, [1, 1, 1, 1, 8], [3, 1, 4, 1, 5, 9, 2, 6]])
def test_trials_have_the_variance_of_records_that_agree_within_a_function(sizes: list[int]) -> None:
    records = [{"source_hash": str(at)} for at, size in enumerate(sizes) for _ in range(size)]
    draws = np.random.default_rng(4).random((40_000, len(sizes))) < 0.3
    spread = np.var(draws @ np.array(sizes) / sum(sizes))
    assert 0.3 * 0.7 / figures.trials(records) == pytest.approx(spread, rel=0.05)
    assert figures.trials(records) <= len(sizes)


def test_a_perfect_text_has_the_best_figures() -> None:
    (one,) = [record(0)]
    one["texts"][MODEL]["text"] = one["true"]
    metrics = figures.measure([one], print)
    measured = figures.tables([one], metrics)[0]["writers"][MODEL]
    for metric in metrics:
        best = 0 if metric.LOWER_IS_BETTER else 100 if metric.UNITS == "0 to 100" else 1
        assert measured["metrics"][metric.NAME] == pytest.approx(best, abs=1e-5), metric.NAME
    assert measured["near_length"]["value"] == 1
    assert measured["similar"]["0.9"]["value"] == 1
    assert all(written == true for written, true in measured["keywords"].values())


def test_the_fallback_is_right_where_either_is() -> None:
    for model in figures.OUTCOMES:
        for emitter in figures.OUTCOMES:
            sides = [
                {"text": who, "verdict": {"behaves": outcome}, "metrics": {"bleu": 1.0}}
                for who, outcome in ((MODEL, model), (EMITTER, emitter))
            ]
            chosen = or_else(*sides)
            assert (chosen["verdict"]["behaves"] == "same") == ("same" in (model, emitter))
            assert chosen["from"] == chosen["text"] == (MODEL if model == "same" else EMITTER)
            assert chosen["metrics"] == {}, "measured anew, so that no two share what is changed"


def test_a_metric_that_cannot_be_computed_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*texts: Any) -> None:
        raise WhetError("the embedding model is not installed", fix="pip install it")

    monkeypatch.setattr("whet.metrics.solidity.similarity.cosines", missing)
    said: list[str] = []
    records = [record(at) for at in range(3)]
    metrics = figures.measure(records, said.append)
    names = {metric.NAME for metric in metrics}
    assert "semantic_similarity" not in names
    assert "edit_distance" in names
    assert len(said) == 1
    assert said[0].startswith("semantic_similarity is left out: the embedding model is not installed")
    table = figures.tables(records, metrics)[0]
    assert "similar" not in table["writers"][MODEL]
    assert "semantic_similarity" not in records[0]["texts"][FALLBACK]["metrics"]
    assert figures.bounds([one["true"] for one in records], said.append) is None
    assert said[1].startswith("floor and ceiling of the similarity are left out: the embedding model is not")


def test_texts_that_cannot_be_read_whole_are_counted() -> None:
    records = [record(at) for at in range(12)]
    all_of_them = figures.tables(records, figures.measure(records, print))[0]["writers"]
    errors = {name: figures_["errors"] for name, figures_ in all_of_them.items()}
    assert errors["untrained"] == 12
    assert errors[EMITTER] == errors["nearest example"] == 0
    assert errors[MODEL] == 11, "all that are cut"
    assert "errors" not in figures.tables(records, [])[0]["writers"][MODEL]


def test_without_a_judge_there_are_no_verdicts_and_without_functions_no_tables() -> None:
    records = [record(at) for at in range(3)]
    for one in records:
        for text in one["texts"].values():
            text["verdict"] = None
    table = figures.tables(records, figures.measure(records, print))[0]
    assert not {"same", "behaves", "parses"} & table["writers"][MODEL].keys()
    assert figures.tables([], figures.measure([], print)) == [
        {"by": "all", "group": "", "functions": 0, "distinct": 0, "writers": {}}
    ]


def test_a_judge_without_an_evm_is_refused_before_anything_is_made(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.sol").write_text("contract A { }")
    pairs = Stage(name="two", objective="sft", data=[SoliditySource(path=str(tmp_path / "a.sol"))], steps=1)
    recipe = Recipe(
        name="a",
        output=str(tmp_path / "runs"),
        stages=[pairs],
        evaluate=Evaluate(solidity=WrittenSolidity()),
        chat_template="plain",
    )
    monkeypatch.setitem(sys.modules, "pyrevm", None)
    monkeypatch.delitem(sys.modules, "whet.evm.replay.reference", raising=False)
    monkeypatch.delattr("whet.evm.replay.reference", raising=False)
    with pytest.raises(WhetError, match="pyrevm, is not installed"):
        pipeline.open_run(recipe).prepare()
    recipe.evaluate.solidity = WrittenSolidity(judge=False)
    require_possible(pipeline.open_run(recipe))


def test_a_recipe_without_solidity_cannot_ask_for_it(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.sol").write_text("contract A { }")
    asks = Evaluate(solidity=WrittenSolidity())
    other = Stage(name="one", data=[{"source": "text", "path": str(tmp_path / "a.txt")}], steps=1)
    with pytest.raises(RecipeError, match="no stage has `source: solidity`"):
        Recipe(name="a", stages=[other], evaluate=asks)
    pairs = Stage(name="two", objective="sft", data=[SoliditySource(path=str(tmp_path / "a.sol"))], steps=1)
    recipe = Recipe(name="a", stages=[other, pairs], evaluate=asks, chat_template="plain")
    assert recipe.evaluate.solidity == WrittenSolidity(
        functions=40, new_tokens=512, judge=True, decoding=Greedy()
    )
