"""A model of a run that writes functions: how the recipe says to ask it, and the whole command with one that is random."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import whet
from tests.bases import make_base
from tests.evm.fixtures.rewrite import fill, purse
from whet import store
from whet.cli import app
from whet.evm.decompile.asking import Asks, NotAsked
from whet.evm.pairs.prompt import TASK, Prompt
from whet.evm.solc.cache import VARIABLE
from whet.models.generation import TOGETHER, generate_all
from whet.use.writer import SAMPLE

pytest.importorskip("pyrevm")
pytest.importorskip("eth_abi")

ASKED = Prompt(TASK["hidden"], "// function\nfunction f_00000001() public {\n  stop\n}", ())
RECIPE = """
name: pairs
stages:
  - name: first
    data: [{source: solidity, npm: ["solmate@6.8.0"], metadata: hidden, prompt_tokens: 900, names: context}]
  - name: second
    data:
      - {source: solidity, path: /nowhere/at/all, metadata: shown, prompt_tokens: 300, emitted: true}
      - {source: conversations, path: chats.jsonl}
  - name: third
    data: [{source: conversations, path: chats.jsonl}]
evaluate:
  decoding: [{kind: greedy}, {kind: sample, temperature: 0.7, top_k: 9}]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a chat template and room for a prompt."""
    return make_base(tmp_path_factory.mktemp("base") / "base", max_position_embeddings=1024)


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with three stages, all of them that model."""
    folder = tmp_path_factory.mktemp("runs") / "pairs"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE, "utf-8")
    for name in ("first", "second", "third"):
        with store.staged(folder / "stages" / name / "model", kind="model", key=name, record={}) as work:
            for file in base.iterdir():
                shutil.copy(file, work / file.name)
    return folder


@pytest.mark.parametrize(
    ("stage", "asks"),
    [
        ("first", Asks("hidden", 900, False)),
        ("second", Asks("shown", 300, True)),
        ("third", Asks("shown", 300, True)),
        (None, Asks("shown", 300, True)),
    ],
)
def test_a_run_is_asked_as_its_recipe_says(run: Path, stage: str | None, asks: Asks) -> None:
    said: list[str] = []
    with whet.open_writer(run, stage=stage, say=said.append) as writer:
        assert writer.asks == asks
        assert writer.settings["sample"] == whet.Sample(temperature=0.7, top_k=9).model_dump()
    assert [one for one in said if "learned the authors' names" not in one] == []
    assert bool(said) is (stage != "first"), "the first was trained with the prompt's names"


def test_entries_that_differ_are_asked_as_all_of_them(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(run, folder)
    text = RECIPE.replace(
        "{source: conversations", "{source: solidity, metadata: hidden, prompt_tokens: 500}", 1
    )
    (folder / "recipe.yaml").write_text(
        text.replace(", path: chats.jsonl}\n  - name: third", "\n  - name: third")
    )
    assert whet.open_writer(folder, stage="second").asks == Asks("both", 500, False)
    (folder / "recipe.yaml").write_text(RECIPE.replace("hidden", "sideways"))
    with pytest.raises(whet.WhetError, match="not one that whet wrote"):
        whet.open_writer(folder, stage="first")
    (folder / "recipe.yaml").write_text(RECIPE.replace("0.7", "hot"))
    with pytest.raises(whet.WhetError, match=r"evaluate\.decoding: .*not one that whet wrote"):
        whet.open_writer(folder)


def test_a_model_that_was_not_trained_on_pairs_is_asked_and_that_is_said(base: Path) -> None:
    said: list[str] = []
    with whet.open_writer(base, best_of=3, new_tokens=5, say=said.append) as writer:
        assert writer.asks == Asks()
        assert writer.settings["sample"] == SAMPLE.model_dump()
        assert "was not trained on `source: solidity`" in said[0]
        texts = list(writer.propose(ASKED))
        assert len(texts) == 3
        assert texts == list(writer.propose(ASKED))
    with whet.open_model(base, device="cpu", chat=True, say=said.append) as model:
        alone = model.answer(
            [whet.Message("system", ASKED.task), whet.Message("user", ASKED.text)], new_tokens=5
        )
    assert texts[0].text == alone.text


def test_a_text_that_is_cut_says_where(base: Path) -> None:
    with whet.open_writer(base, best_of=2, new_tokens=5, say=lambda _: None) as writer:
        assert [one.cut for one in writer.propose(ASKED)] == ["cut at 5 tokens"] * 2
        model = writer._opened()
        messages = [whet.Message("system", ASKED.task), whet.Message("user", ASKED.text)]
        room = model.decoder.context - len(model.asked(messages))
        longer = Prompt(ASKED.task, ASKED.text + "\u3042" * (room // 3 - 1), ())  # of three tokens each
        assert [one.cut[:9] for one in writer.propose(longer)] == [f"cut at {3 + room % 3} "] * 2
        assert next(writer.propose(longer)).cut.endswith(" tokens, the model's context")


def test_many_texts_are_drawn_a_few_at_a_time_as_they_are_asked_for(base: Path) -> None:
    rows: list[int] = []
    with whet.open_writer(base, best_of=20, new_tokens=3, device="cpu", say=lambda _: None) as writer:
        model = writer._opened()
        model.decoder.model.get_input_embeddings().register_forward_pre_hook(
            lambda _, given: rows.append(len(given[0]))
        )
        texts = writer.propose(ASKED)
        first = [next(texts) for _ in range(9)]
        assert set(rows) == {1, TOGETHER}
        last = list(texts)
        assert max(rows) == TOGETHER
        assert len(last) == 11
        assert first + last == list(writer.propose(ASKED))
        assert first[1:] != last[:8]
        ids = model.asked([whet.Message("system", ASKED.task), whet.Message("user", ASKED.text)])
        drawn = generate_all(model.decoder, [ids] * TOGETHER, writer.sample, new_tokens=3, seed=42)
        assert [one.text for one in first[1:]] == [model.tokenizer.decode(one.ids) for one in drawn]


def test_there_must_be_room_for_an_answer(base: Path) -> None:
    with (
        whet.open_writer(base, say=lambda _: None) as writer,
        pytest.raises(NotAsked, match="tokens of prompt, more than the model's context of 1,024"),
    ):
        next(writer.propose(Prompt(ASKED.task, "x " * 2000, ())))


def test_what_decides_the_texts_decides_the_identity(base: Path, run: Path, tmp_path: Path) -> None:
    def identity(target: Path, **more: Any) -> str:
        return whet.open_writer(target, say=lambda _: None, **more).identity

    other = tmp_path / "base"
    shutil.copytree(base, other)
    assert identity(other) == identity(base)
    (other / "README.md").write_text("slower today")
    assert identity(other) == identity(base)
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    found = [identity(other), identity(base), identity(base, best_of=2), identity(base, new_tokens=9)]
    found += [
        identity(base, seed=1),
        identity(base, device="cpu"),
        identity(run),
        identity(run, stage="first"),
    ]
    assert len(set(found)) == len(found)


def test_mistakes(base: Path, tmp_path: Path) -> None:
    with pytest.raises(whet.ArtefactError, match="there is no such folder"):
        whet.open_writer(tmp_path / "nothing")
    with pytest.raises(whet.ArtefactError, match="no trained model here"):
        whet.open_writer(tmp_path)
    with pytest.raises(whet.WhetError, match="--best-of: must be at least 1"):
        whet.open_writer(base, best_of=0)
    plain = make_base(tmp_path / "plain", template=None)
    with (
        whet.open_writer(plain, say=lambda _: None) as writer,
        pytest.raises(whet.WhetError, match="template"),
    ):
        next(writer.propose(ASKED))


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The compiler's answers for the contract."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    fill(tmp_path / "cache")
    return tmp_path / "cache"


def command(*arguments: str) -> int:
    return int(
        app(["decompile", purse().runtime.hex(), "--calls", "60", *arguments], standalone_mode=False) or 0
    )


def test_the_whole_command_with_a_model_that_knows_nothing(
    base: Path, cached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(base), "--best-of", "2", "--new-tokens", "12", "--device", "cpu"]
    assert command(*options, "--json") == 0
    out, err = capsys.readouterr()
    raw = json.loads(out)
    assert raw["tries"] == {"no function": 24}
    assert (raw["by_model"], raw["labels"]) == (0, {"same": 13})
    assert raw["model"]["name"] == str(base)
    assert all(len(one["asked"]["tries"]) == 2 for one in raw["functions"] if one["of"])
    assert "texts: 0 of the model, 13 of the emitter, 24 of the model's were cut" in err
    assert raw["solidity"].count("(model: 2 texts, 2 no function; 2 cut at 12 tokens)") == 12
    tries = [one for each in raw["functions"] if each["of"] for one in each["asked"]["tries"]]
    assert all(one["reason"].startswith("cut at 12 tokens: ") for one in tries)
    assert "was not trained on" in err

    assert command(*options, "--json") == 0
    again, said = capsys.readouterr()
    assert json.loads(again) == raw
    assert "from the cache" in said
    assert command(*options, "--json", "--no-cache") == 0
    anew = json.loads(capsys.readouterr().out)
    assert anew | {"seconds": 0} == raw | {"seconds": 0}

    page = tmp_path / "page.html"
    assert command(*options, "--html", str(page)) == 0
    assert "The model&#39;s, try 2: no function" in page.read_text("utf-8")
    alone = command("--json")
    assert alone == 0
    bare = json.loads(capsys.readouterr().out)
    assert bare["model"] is None
    assert bare["source"] == raw["source"]


def test_several_contracts_one_after_the_other(
    base: Path, cached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.hex").write_text(purse().runtime.hex())
    (folder / "broken.hex").write_text("600")
    options = [
        "--calls",
        "60",
        "--model",
        str(base),
        "--best-of",
        "1",
        "--new-tokens",
        "4",
        "--device",
        "cpu",
    ]
    with pytest.raises(whet.WhetError, match="1 of 3 inputs failed"):
        app(["decompile", str(folder), "--out", str(tmp_path / "out"), *options], standalone_mode=False)
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["a.sol", "b.sol"]
    assert (
        "text: emitter (model: 1 text, 1 no function; 1 cut at 4 tokens)"
        in (tmp_path / "out/b.sol").read_text()
    )


def test_a_person_may_end_the_asking(
    base: Path, cached: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.use.writer import RunWriter

    def leave(self: RunWriter, prompt: Prompt) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunWriter, "propose", leave)
    with whet.open_writer(base, say=lambda _: None) as writer, pytest.raises(KeyboardInterrupt):
        whet.show_decompiled([purse().runtime.hex()], calls=60, model=writer)
    out, _ = capsys.readouterr()
    assert "contract Decompiled {" in out
    assert "model not asked: interrupted" in out
    kept = list((cached / "decompiled").rglob("*.zst"))
    assert len(kept) == 1, "the emitter's alone"


@pytest.mark.parametrize("option", ["--no-verify", "--no-compile"])
def test_nothing_is_believed(base: Path, option: str) -> None:
    with pytest.raises(
        whet.WhetError, match=f"nothing that a model writes would be checked\n.*leave out {option}"
    ):
        command("--model", str(base), option)


def test_without_torch_it_says_so_before_anything_is_done(base: Path) -> None:
    program = f"import sys; sys.modules['torch'] = None; import whet\nwhet.open_writer({str(base)!r})\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "WhetError: --model: a model needs torch, which is not installed" in done.stderr
