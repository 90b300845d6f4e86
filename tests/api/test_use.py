"""A model in use from Python: opened once, asked in every way, and what is asked one by one is asked together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import whet
from tests.bases import make_base
from whet.text import tokenizer as tokenizers
from whet.text.chat import FIXTURES_FILE, Chat, save
from whet.text.chat import chat as chats

PROMPTS = ["def ", "def read_row(", "x", "    return total"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a chat template that whet did not tune."""
    return make_base(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with fixtures, as whet leaves a model that was tuned on conversations."""
    folder = make_base(tmp_path_factory.mktemp("talking") / "base")
    with Chat.of(folder) as chat:
        save(chat, folder)
    return folder


def opened(folder: Path, **more: Any) -> whet.OpenModel:
    return whet.open_model(folder, device="cpu", precision="fp32", **more)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("stop", [[], ["e", "qu"]])
def test_together_is_one_by_one(base: Path, batch_size: int, stop: list[str]) -> None:
    decoding = whet.Greedy(stop=stop)
    with opened(base) as model:
        alone = [model.generate(prompt, decoding, new_tokens=12) for prompt in PROMPTS]
        together = model.generate_all(PROMPTS, decoding, new_tokens=12, batch_size=batch_size)
        assert model.generate_all([]) == []
    assert [(one.prompt, one.text, one.ended) for one in together] == [
        (one.prompt, one.text, one.ended) for one in alone
    ]
    assert ("stop" in {one.ended for one in alone}) == bool(stop)
    assert [one.prompt_tokens for one in together] == [one.prompt_tokens for one in alone]


def test_one_call_is_an_opened_model(base: Path) -> None:
    decoding = whet.Sample(temperature=1.5)
    once = whet.generate(base, "def ", decoding, new_tokens=12, seed=3, device="cpu")
    with whet.open_model(base, device="cpu") as model:
        again = model.generate("def ", decoding, new_tokens=12, seed=3)
        other = model.generate("def ", decoding, new_tokens=12, seed=4)
    assert once.text == again.text != other.text
    assert set(once.as_dict()) >= {
        "prompt",
        "text",
        "ended",
        "new_tokens",
        "tokens_per_s",
        "decoding",
        "seed",
    }


@pytest.mark.parametrize("stop", [[], ["e"], ["never to be seen"]])
@pytest.mark.parametrize("suffix", [None, "\n    return"])
def test_pieces_make_up_the_text(base: Path, stop: list[str], suffix: str | None) -> None:
    pieces: list[str] = []
    around: list[str] = []
    asked: dict[str, Any] = {"suffix": suffix, "new_tokens": 12}
    with opened(base) as model:
        written = model.generate("def ", whet.Greedy(stop=stop), on_text=pieces.append, **asked)
        model.generate("def ", whet.Greedy(stop=stop), on_text=around.append, echo=True, **asked)
    assert "".join(pieces) == written.text
    assert "".join(around) == f"def {written.text}{suffix or ''}"
    assert all(one not in written.text for one in stop)


def test_answers(talking: Path, base: Path) -> None:
    with opened(talking) as model:
        plain = model.answer("How?", new_tokens=4)
        told = model.answer([whet.Message("system", "Be brief."), whet.Message("user", "How?")], new_tokens=4)
        assert told.text == model.answer("How?", system="Be brief.", new_tokens=4).text
        assert told.prompt_tokens > plain.prompt_tokens
        assert (plain.chat, plain.prompt, told.prompt) == (True, "How?", "How?")
        assert not model.generate("How?", new_tokens=4).chat
    assert whet.generate(talking, "How?", new_tokens=4, device="cpu").chat, "as it was tuned"
    with opened(base) as model, pytest.raises(whet.WhetError, match="chat=True"):
        model.answer("How?")
    said: list[str] = []
    with opened(base, chat=True, say=said.append) as model:
        model.answer("How?", new_tokens=4)
    assert any("was not tuned on conversations" in line for line in said)


def test_ways_to_ask_that_exclude_one_another(talking: Path, base: Path) -> None:
    with pytest.raises(whet.WhetError, match="two ways to ask"):
        whet.generate(talking, "a", suffix="b", as_chat=True)
    with pytest.raises(whet.WhetError, match="a system message is for"):
        whet.generate(base, "a", system="b")


@pytest.mark.parametrize("kind", ["talking", "base"])
def test_opening_reads_the_tokenizer_once(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, counted = request.getfixturevalue(kind), {"tokenizer": 0, "chat": 0}
    load, make = tokenizers.load, Chat.__init__

    def loading(path: Path) -> Any:
        counted["tokenizer"] += 1
        return load(path)

    def making(self: Chat, *arguments: Any) -> None:
        counted["chat"] += 1
        make(self, *arguments)

    monkeypatch.setattr(tokenizers, "load", loading)
    monkeypatch.setattr(chats, "load", loading)
    monkeypatch.setattr(Chat, "__init__", making)
    with opened(folder, chat=True, say=lambda text: None) as model:
        model.answer("How?", new_tokens=2)
    assert counted == {"tokenizer": 1, "chat": 1}


def test_a_template_that_changed_is_refused_and_its_process_ended(talking: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(talking, tmp_path / "changed"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("'\n'", "'\n\n'"))
    closed: list[Chat] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chat, "close", lambda self: closed.append(self))
        with pytest.raises(whet.DataError, match="no longer do what the model was trained with"):
            opened(folder)
    assert len(closed) == 1
    closed[0]._process.close()
    assert (folder / FIXTURES_FILE).exists()


def test_threads_draw_what_one_would(base: Path) -> None:
    """torch has one random state in a process, which a seed sets for a while."""
    with opened(base) as model:
        asked = list(range(4)) * 2

        def draw(seed: int) -> str:
            return model.generate("def ", whet.Sample(temperature=1.5), new_tokens=12, seed=seed).text

        alone = [draw(seed) for seed in asked]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(draw, asked)) == alone


def test_a_notebook_shows_which_model_it_is(base: Path) -> None:
    """Not its vocabulary."""
    with opened(base) as model, opened(base) as other:
        model.generate("a", whet.Greedy(stop=["b"]), new_tokens=1)
        assert repr(model) == f"OpenModel(folder={base!r})"
        assert len({model, other}) == 2


def test_what_cannot_be_asked(talking: Path) -> None:
    with opened(talking) as model:
        wrong: dict[str, Callable[[], object]] = {
            "one string is not several prompts": lambda: model.generate_all("def "),
            "batch_size: must be at least 1, not 0": lambda: model.generate_all(["a"], batch_size=0),
            "new_tokens: must be at least 1, not 0": lambda: model.generate("a", new_tokens=0),
            "seed: needs more than 64 bits": lambda: model.generate("a", new_tokens=1, seed=2**64),
            "prompt: not valid Unicode": lambda: model.generate_all(["a", "\ud800"]),
            "a prompt is text, not list": lambda: model.generate(["a"]),  # type: ignore[arg-type]
            "nothing is asked": lambda: model.answer([]),
            "there is no role 'robot'": lambda: model.answer([whet.Message("robot", "a")]),
            "a message is no dict": lambda: model.answer([{"role": "user"}]),  # type: ignore[list-item]
            "new_tokens: must be at least 1, not -1": lambda: whet.Talk(model, whet.Greedy(), -1).answer("a"),
            "not valid Unicode": lambda: model.answer("\ud800"),
        }
        for words, ask in wrong.items():
            with pytest.raises(whet.WhetError, match=words):
                ask()
        assert model.generate("a", new_tokens=1, seed=-1).seed == -1


def test_what_cannot_be_opened(base: Path) -> None:
    wrong: dict[str, Callable[[], object]] = {
        "there is no such folder": lambda: whet.open_model("~/nowhere"),
        "no trained model here": lambda: whet.open_model(base.parent),
        "is one model, without a stage 'a'": lambda: whet.open_model(base, stage="a"),
        "device: gpu is not there": lambda: whet.open_model(base, device="gpu"),
        "precision: there is no type 'fp64'": lambda: whet.open_model(base, precision="fp64"),
        "save_as: there is no type 'int8'": lambda: whet.merge(base, "merged", save_as="int8"),
        "stop: Input should be a valid list": lambda: whet.choose_decoding(preset="beam", stop="end"),
    }
    for words, ask in wrong.items():
        with pytest.raises(whet.WhetError, match=words):
            ask()
