"""Evaluators by themselves give the figures of the evaluate room, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import whet
from whet import limits
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore


class Listening(whet.Reporter):
    """Keeps what is said."""

    def show_notice(self, text: str) -> None:
        """Kept only."""


@pytest.fixture(scope="module")
def run(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> whet.Run:
    """A finished run of the small recipe."""
    overrides = [
        f"output={tmp_path_factory.mktemp('runs')}", "stages.first.steps=2", "stages.second.steps=2", "evaluate.samples=0"
    ]  # fmt: skip
    opened = whet.open_run(recipe_file, overrides)
    whet.run_all(opened)
    return opened


@pytest.fixture(scope="module")
def model(run: whet.Run) -> Iterator[whet.OpenModel]:
    with whet.open_model(run.folder, device="cpu", precision="fp32") as opened:
        yield opened


def texts(run: whet.Run, split: str) -> list[str]:
    """What the second stage's split holds."""
    tokenizer = tokenizers.load(run.folder / "prepared/tokenizer")
    store = TokenStore.open(run.folder / "prepared/second" / split, tokenizer.vocab_size)
    return [tokenizer.decode(store.document(number).tolist()) for number in range(len(store))]


def estimated(metric: str, scores: whet.DocumentScores) -> whet.Estimate:
    return whet.estimate(metric, scores, seed=7, resamples=100)


@pytest.mark.parametrize("metric", ["bits_per_byte", "perplexity"])
def test_a_score_is_that_of_the_run(run: whet.Run, model: whet.OpenModel, metric: str) -> None:
    scores = whet.score(model, texts(run, "test"), length=64, stride=32)
    assert estimated(metric, scores) == run.evaluate().score("second", model="second", metric=metric)


def test_floors_and_their_differences_are_those_of_the_run(run: whet.Run, model: whet.OpenModel) -> None:
    held_out = texts(run, "test")
    scores = whet.score(model, held_out)
    found = whet.floors(texts(run, "train"), held_out, run.folder)
    recorded = run.evaluate().floors("second")
    assert [floor.order for floor in recorded] == [1, 2, 3, 4, 5]
    assert [estimated("bits_per_byte", floor) for floor in found] == [
        floor.bits_per_byte for floor in recorded
    ]
    apart = [whet.difference("bits_per_byte", scores, floor, seed=7, resamples=100) for floor in found]
    assert apart == [floor.difference for floor in recorded]


def test_an_estimate_reads_as_one_would_write_it() -> None:
    assert str(whet.Estimate(2.0, 1.5, 2.25)) == "2 (1.5 to 2.25)"
    assert str(whet.Estimate(2.0, None, None, "no interval: one document")) == "2 (no interval: one document)"


def test_a_folder_is_its_files(run: whet.Run, model: whet.OpenModel, tmp_path: Path) -> None:
    held_out = texts(run, "test")
    for number, text in enumerate(held_out):
        (tmp_path / f"{number:03}.py").write_text(text)
    (tmp_path / "picture.png").write_bytes(bytes(100))
    reporter = Listening()
    from_files = whet.score(model, tmp_path, reporter=reporter)
    again = whet.score(model, whet.TextSource(path=str(tmp_path)), reporter=reporter)
    expected = whet.score(model, held_out)
    for found in (from_files, again):
        assert np.array_equal(found.columns(), expected.columns())
    assert reporter.notices == ["1 documents left out: binary"]


def test_every_token_is_scored_once(run: whet.Run, model: whet.OpenModel) -> None:
    held_out = texts(run, "test")
    ids = model.tokenizer.encode_documents(held_out)
    for length, stride in ((64, 64), (16, 5), (8, 1)):
        scores = whet.score(model, held_out, length=length, stride=stride)
        assert scores.tokens.tolist() == [len(one) - 1 for one in ids]
        assert scores.text_bytes.tolist() == [len(text.encode()) for text in held_out]


def test_what_the_floors_leave_out_is_said(
    run: whet.Run, model: whet.OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FLOOR_TOKENS", 500)
    reporter = Listening()
    whet.floors(texts(run, "train"), texts(run, "test"), model, order=1, reporter=reporter)
    assert "counted on the first" in reporter.notices[0]


def test_what_cannot_be_measured(model: whet.OpenModel, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": "a", "completion": "b"}\n')
    wrong = {
        "no text to measure": lambda: whet.score(model, []),
        "one string": lambda: whet.score(model, "a text"),
        "not valid Unicode": lambda: whet.score(model, ["fine", "\ud800"]),
        "a source of conversations": lambda: whet.score(model, whet.ConversationSource(path=str(chats))),
        "do not fit": lambda: whet.score(model, ["a"], length=65),
        "stride of 9": lambda: whet.score(model, ["a"], length=8, stride=9),
        "stride of 0": lambda: whet.score(model, ["a"], stride=0),
        "text 1: not text, but PosixPath": lambda: whet.score(model, ["a", tmp_path]),  # type: ignore[list-item]
        "no texts, but int": lambda: whet.score(model, 3),  # type: ignore[arg-type]
        "order: must be at least 1": lambda: whet.floors(["a"], ["a"], model, order=0),
    }
    for words, ask in wrong.items():
        with pytest.raises(whet.DataError, match=words):
            ask()
    with pytest.raises(whet.RecipeError, match="there is nothing at"):
        whet.score(model, tmp_path / "nothing")
    scores = whet.score(model, ["a b c", "d e f"])
    with pytest.raises(whet.WhetError, match="did you mean 'perplexity'"):
        whet.estimate("perplexty", scores)
    with pytest.raises(whet.WhetError, match="resamples: must be at least 1, not 0"):
        whet.estimate("perplexity", scores, resamples=0)
    with pytest.raises(whet.WhetError, match="seed: must be at least 0, not -1"):
        whet.difference("perplexity", scores, scores, seed=-1)
    with pytest.raises(whet.WhetError, match="level: must be between 0 and 1, not 95"):
        whet.difference("perplexity", scores, scores, level=95)
