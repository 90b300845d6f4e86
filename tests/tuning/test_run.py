"""A base tuned on conversations, from the recipe to an answer: what lies in the folders, and that others can read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.bases import make_base, write_tuning
from whet import pipeline, store
from whet.errors import WhetError
from whet.progress import Reporter
from whet.recipe.decoding import Greedy
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat
from whet.text.conversation import Message
from whet.tokenstore import TokenStore
from whet.use.chat import Talk, converse
from whet.use.merge import merge
from whet.use.run import generate, open_model


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    """A finished run. Read only."""
    folder = tmp_path_factory.mktemp("tuned")
    recipe = write_tuning(folder)
    run = pipeline.open_run(str(recipe), [f"output={folder / 'runs'}"], Reporter())
    pipeline.run_all(run)
    return run


def model_of(run: pipeline.Run, stage: str = "chat") -> Path:
    return run.folder / "stages" / stage / "model"


def test_only_answers_are_learned(tuned: pipeline.Run) -> None:
    prepared = store.open_artefact(tuned.folder / "prepared", "prepared")
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    held = TokenStore.open(prepared.folder / "chat" / "train", tokenizer.vocab_size)
    for document in range(5):
        ids, learned = held.document(document), held.learned_of(document).astype(bool)
        text = tokenizer.backend.decode(ids[learned].tolist(), skip_special_tokens=False)
        whole = tokenizer.backend.decode(ids.tolist(), skip_special_tokens=False)
        answers = [part.split("<|im_end|>")[0] for part in whole.split("<|im_start|>assistant\n")[1:]]
        assert text == "".join(f"{answer}<|im_end|>" for answer in answers)
        assert all(answer.startswith("First ") for answer in answers)


def test_the_folder_is_an_adapter_that_peft_reads(tuned: pipeline.Run) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, base = model_of(tuned), Path(tuned.recipe.model.base)  # type: ignore[union-attr]
    names = {item.name for item in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "README.md"} <= names
    assert not names & {"config.json", "model.safetensors"}, "the base is not saved again"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with open_model(folder, device="cpu", chat=True) as ours:
        ours.decoder.precision = "fp32"
        ids = ours.asked([Message("user", "How do I read a row 7?")])
        said = tokenizer.apply_chat_template(
            [{"role": "user", "content": "How do I read a row 7?"}], add_generation_prompt=True
        )
        assert list(said["input_ids"] if isinstance(said, dict) or hasattr(said, "keys") else said) == ids
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits
            found = ours.decoder.model(torch.tensor([ids])).logits
    assert torch.allclose(found.float(), expected, atol=1e-4) or _coarse(ours.decoder, found, expected)


def _coarse(decoder: Any, found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Where the frozen weights are held in bf16, as close as that allows."""
    return decoder.model.dtype == torch.bfloat16 and torch.allclose(found.float(), expected, atol=0.1)


def test_training_taught_something(tuned: pipeline.Run) -> None:
    matrix = json.loads((tuned.folder / "evaluation" / "evaluation.json").read_text())["matrix"]
    bits = matrix["bits_per_byte"]
    assert bits["chat"]["chat"]["value"] < bits["base"]["chat"]["value"]


def test_the_answers_end_where_the_template_says(tuned: pipeline.Run) -> None:
    settings = json.loads((model_of(tuned) / "generation_config.json").read_text())
    tokenizer = tokenizers.load(model_of(tuned))
    stop = tokenizer.backend.token_to_id("<|im_end|>")
    assert stop in settings["eos_token_id"]
    with open_model(model_of(tuned), device="cpu", chat=True) as model:
        assert stop in model.decoder.stop_ids


def test_prompts_in_use_are_the_prompts_of_training(tuned: pipeline.Run) -> None:
    """For every conversation prepared: what is asked in use is what stood before each answer."""
    prepared = tuned.folder / "prepared"
    tokenizer = tokenizers.load(prepared / "tokenizer")
    held = TokenStore.open(prepared / "chat" / "train", tokenizer.vocab_size)
    lines = (Path(tuned.loaded.origin).parent / "chats.jsonl").read_text().splitlines()
    with Chat.of(model_of(tuned)) as chat:
        for document, about in zip(range(len(held)), held.origins(), strict=True):
            said = json.loads(lines[int(about["origin"].rpartition(":")[2]) - 1])["messages"]
            messages = [Message(one["role"], one["content"]) for one in said]
            ids, learned = held.document(document).tolist(), held.learned_of(document)
            begins = (np.flatnonzero(np.diff(learned.astype(int)) == 1) + 1).tolist()
            answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
            assert len(begins) == len(answers)
            for begin, answer in zip(begins, answers, strict=True):
                assert chat.prompt_ids(messages[:answer]) == ids[:begin]


def test_it_answers_and_converses(tuned: pipeline.Run) -> None:
    result = generate(model_of(tuned), "How do I read a row?", Greedy(), new_tokens=6, device="cpu")
    assert result.chat
    assert result.new_tokens <= 6
    plain = generate(model_of(tuned), "def ", Greedy(), new_tokens=4, device="cpu", as_chat=False)
    assert not plain.chat
    shown: list[str] = []
    with open_model(model_of(tuned), device="cpu", chat=True) as model:
        talk = Talk(model, Greedy(), 4)
        converse(
            talk,
            iter(["How?\n", "\n", "And then?\n", "/new\n", "Why?\n", "/bye\n", "Never asked\n"]),
            shown.append,
        )
    assert [message.content for message in talk.messages if message.role == "user"] == ["Why?"]
    assert "(a new conversation)" in "".join(shown)


def test_a_second_time_nothing_is_done(tuned: pipeline.Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in tuned.folder.rglob("*.safetensors")}
    reporter = Reporter()
    pipeline.run_all(pipeline.open_run(str(tuned.folder), [], reporter))
    assert {path: path.stat().st_mtime_ns for path in tuned.folder.rglob("*.safetensors")} == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.adapter.targets=[c_attn]", "no linear layer of the model is named 'c_attn'"),
        ("stages.chat.sequence_length=4096", "longer than the 256 positions"),
        ("device=cuda", "is not there"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, override: str, words: str
) -> None:
    recipe = write_tuning(tmp_path)
    run = pipeline.open_run(str(recipe), [f"output={tmp_path / 'runs'}", override], Reporter())
    with pytest.raises(WhetError, match=words):
        pipeline.run_all(run)
    assert not (tmp_path / "runs").exists()


def test_every_weight_can_be_tuned(tmp_path: Path) -> None:
    recipe = write_tuning(tmp_path)
    overrides = [f"output={tmp_path / 'runs'}", "model.adapter=null", "stages.chat.learning_rate=1e-3"]
    run = pipeline.open_run(str(recipe), overrides, Reporter())
    pipeline.run_all(run)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_of(run))
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    changed = [
        not torch.equal(one, other) for one, other in zip(model.parameters(), base.parameters(), strict=True)
    ]
    assert all(changed)


def test_a_base_without_template_takes_the_recipes(tmp_path: Path) -> None:
    recipe = write_tuning(tmp_path)
    (tmp_path / "base" / "chat_template.jinja").unlink()
    run = pipeline.open_run(str(recipe), [f"output={tmp_path / 'runs'}"], Reporter())
    with pytest.raises(WhetError, match="no chat template"):
        pipeline.prepare(run)
    run = pipeline.open_run(str(recipe), [f"output={tmp_path / 'runs'}", "chat_template=alpaca"], Reporter())
    prepared = pipeline.prepare(run)
    assert "### Response:" in (prepared.folder / "tokenizer" / "chat_template.jinja").read_text()


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "mistral"])
def test_other_families(tmp_path: Path, family: str) -> None:
    make_base(tmp_path / "base", family)
    recipe = write_tuning(tmp_path, family)
    run = pipeline.open_run(
        str(recipe), [f"output={tmp_path / 'runs'}", "stages.chat.steps=2", "evaluate.samples=0"], Reporter()
    )
    pipeline.run_all(run)
    assert (model_of(run) / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("save_as", ["fp32", "bf16"])
def test_the_merged_model_is_the_adapted_one(tuned: pipeline.Run, tmp_path: Path, save_as: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    said: list[str] = []
    found = merge(model_of(tuned), tmp_path / "merged", save_as=save_as, device="cpu", say=said.append)
    assert found.positions > 100
    assert found.largest_logit_difference < (1e-4 if save_as == "fp32" else 0.5)
    assert any("largest logit difference" in line for line in said)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.chat_template == (model_of(tuned) / "chat_template.jinja").read_text()
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in model.generation_config.eos_token_id
    answer = generate(tmp_path / "merged", "How?", Greedy(), new_tokens=4, device="cpu")
    assert answer.chat, "it still knows how it was asked"
    with pytest.raises(WhetError, match="is there already"):
        merge(model_of(tuned), tmp_path / "merged", device="cpu")


def test_a_second_stage_goes_on_with_the_adapter(tmp_path: Path) -> None:
    """As in a curriculum of lengths: the later stage starts from the earlier one's adapter, not from a fresh one."""
    recipe = write_tuning(tmp_path)
    text = recipe.read_text()
    begin, end = text.index("  - name: chat"), text.index("evaluate:")
    later = (
        text[begin:end]
        .replace("name: chat", "name: longer")
        .replace("learning_rate: 1e-2", "learning_rate: 1e-9")
    )
    recipe.write_text(text[:end] + later + text[end:])
    run = pipeline.open_run(str(recipe), [f"output={tmp_path / 'runs'}", "evaluate.samples=0"], Reporter())
    pipeline.run_all(run)
    from safetensors.torch import load_file

    first, second = (
        load_file(model_of(run, stage) / "adapter_model.safetensors") for stage in ("chat", "longer")
    )
    assert first.keys() == second.keys()
    assert any(bool(value.abs().max() > 0) for name, value in first.items() if "lora_B" in name)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_preview_shows_what_is_learned(tuned: pipeline.Run) -> None:
    from rich.console import Console

    from whet.prepare.preview import preview, render

    prepared = store.open_artefact(tuned.folder / "prepared", "prepared")
    shown = preview(prepared, tuned.recipe, rows=3)
    assert len(shown.rows) == 3
    for row in shown.rows:
        (piece,) = row.pieces
        learned = "".join(token.text for token in piece.tokens if token.learned)
        assert learned.startswith("First ")
        assert learned.endswith("<|im_end|>")
        assert "How do I" not in learned
    with Console(width=100, record=True, file=open("/dev/null", "w")) as console:
        render(shown, console)


def test_an_adapter_is_not_used_on_another_base(tmp_path: Path) -> None:
    recipe = write_tuning(tmp_path)
    run = pipeline.open_run(
        str(recipe), [f"output={tmp_path / 'runs'}", "stages.chat.steps=1", "evaluate.samples=0"], Reporter()
    )
    pipeline.train(run)
    make_base(tmp_path / "base", seed=9)
    with pytest.raises(WhetError, match="not the one that this adapter was made for"):
        generate(model_of(run), "How?", Greedy(), new_tokens=2, device="cpu")
    with pytest.raises(WhetError, match="not the one that this adapter was made for"):
        merge(model_of(run), tmp_path / "merged", device="cpu")
    assert not (tmp_path / "merged").exists()


def test_a_base_that_moved_is_the_same_base(tmp_path: Path) -> None:
    recipe = write_tuning(tmp_path)
    overrides = [f"output={tmp_path / 'runs'}", "stages.chat.steps=1", "evaluate.samples=0"]
    run = pipeline.open_run(str(recipe), overrides, Reporter())
    pipeline.train(run)
    weights = store.file_hash(model_of(run) / "adapter_model.safetensors")
    (tmp_path / "base").rename(tmp_path / "moved")
    overrides.append(f"model.base={tmp_path / 'moved'}")
    pipeline.run_all(pipeline.open_run(str(recipe), overrides, Reporter()))
    assert store.file_hash(model_of(run) / "adapter_model.safetensors") == weights, (
        "nothing was trained again"
    )


def test_a_single_long_conversation_held_out_costs_no_training(tmp_path: Path) -> None:
    recipe = write_tuning(tmp_path)
    reporter = Reporter()
    run = pipeline.open_run(
        str(recipe),
        [f"output={tmp_path / 'runs'}", "stages.chat.sequence_length=64", "stages.chat.steps=1",
         "prepare.validation_share=0.02", "prepare.test_share=0.0", "seed=11"],
        reporter,
    )  # fmt: skip
    pipeline.train(run)
    assert (model_of(run) / "adapter_model.safetensors").exists()
