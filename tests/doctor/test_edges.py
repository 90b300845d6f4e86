"""What looks wrong and is not, and what is wrong and looks well: each at the edge of a check."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.material import change_record, found, write_case
from tests.doctor.test_planted import evaluated, model_of
from whet import pipeline, store
from whet.doctor.case import Case
from whet.doctor.checks import data
from whet.doctor.checks.data import _same_answers, _sequences
from whet.doctor.checks.output import _loops, _texts
from whet.doctor.checks.tokenizer import _other
from whet.recipe.load import load_recipe
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore, TokenWriter


def test_an_evaluation_of_other_results_is_not_looked_at(run: Path) -> None:
    evaluated(run, "The value is " + "read the file, " * 12)
    assert found(run) == ["looping output"]
    change_record(run / "evaluation", lambda record: record["results"].update(chat="of another training"))
    diagnosis = pipeline.diagnose(str(run))
    assert diagnosis.healthy
    assert "another result of stage chat" in diagnosis.not_looked["output"]


def test_output_that_is_empty(run: Path) -> None:
    evaluated(run, " ")
    assert found(run) == ["incoherent output"]


def test_an_adapter_without_settings_of_generation_stops_where_its_base_does(run: Path) -> None:
    """As other programs save one: the template beside it, no fixtures, no generation_config.json."""
    for name in ("chat_fixtures.json", "generation_config.json", store.MANIFEST):
        (model_of(run) / name).unlink()
    assert "stop tokens" not in found(model_of(run))


def test_an_adapter_whose_base_is_nowhere(run: Path) -> None:
    path = model_of(run) / "adapter_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**settings, "base_model_name_or_path": str(run / "nowhere")}), "utf-8")
    (model_of(run) / store.MANIFEST).unlink()
    diagnosis = pipeline.diagnose(str(model_of(run)))
    assert diagnosis.healthy
    assert "base cannot be had" in diagnosis.not_looked["targets"]


def test_a_base_of_an_architecture_that_nobody_knows(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    settings = tmp_path / "base" / "config.json"
    config = json.loads(settings.read_text("utf-8"))
    odd: dict[str, Any] = {
        "model_type": "novel",
        "bos_token_id": None,
        "eos_token_id": [0, 0.5, "2", -1, 2**70],
        "pad_token_id": {},
    }
    settings.write_text(json.dumps({**config, **odd, "vocab_size": None}), "utf-8")
    diagnosis = pipeline.diagnose(str(case))
    assert diagnosis.healthy
    assert "novel" in diagnosis.not_looked["targets"]
    assert not any("the check failed" in why for why in diagnosis.not_looked.values())


def test_healthy_settings_of_a_base(tmp_path: Path) -> None:
    """Rows padded to a multiple, several end tokens, another end of text in config.json than in the tokenizer."""
    case = write_case(tmp_path)
    ids = tokenizers.load(tmp_path / "base")
    (turn,) = (index for index, name in ids.special_tokens.items() if name == "<|im_end|>")
    settings = tmp_path / "base" / "config.json"
    config = json.loads(settings.read_text("utf-8"))
    for eos in (turn, [turn, ids.special_ids["eos"]], None):
        padded = {
            "vocab_size": ids.vocab_size + 128,
            "eos_token_id": eos,
            "bos_token_id": None,
            "pad_token_id": -1,
        }
        settings.write_text(json.dumps({**config, **padded}), "utf-8")
        assert found(case) == []


def test_tokens_that_are_left_out(tmp_path: Path) -> None:
    """An added token may be; a word that is missing makes it another tokenizer."""
    case = Case("", load_recipe(str(write_case(tmp_path)), []).recipe)
    folder = Path(shutil.copytree(tmp_path / "base", tmp_path / "other"))
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] != "<fim_pad>"]
    content["model"]["vocab"].pop("<fim_pad>", None)
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    assert not list(_other(case, folder, tokenizers.load(folder)))
    content["model"]["vocab"]["Ġnobody"] = content["model"]["vocab"].pop(list(content["model"]["vocab"])[-1])
    content["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    assert list(_other(case, folder, tokenizers.load(folder)))


def stored(folder: Path, answers: list[list[int]]) -> TokenStore:
    writer = TokenWriter(folder, 1000, masked=True)
    for answer in answers:
        writer.add([5, 6, *answer], text_bytes=3, about={}, learned=[False, False, *[True] * len(answer)])
    writer.finish()
    writer.close()
    return TokenStore.open(folder, 1000)


def test_labels_are_no_one_sided_answers(tmp_path: Path) -> None:
    labels = [[number % 2] for number in range(600)]
    assert not list(_same_answers(stored(tmp_path / "labels", labels)))
    refused = [[1] if number % 2 else [number % 900, 7] for number in range(600)]
    assert list(_same_answers(stored(tmp_path / "refused", refused)))
    always = [[1] if number % 20 else [2] for number in range(600)]
    assert list(_same_answers(stored(tmp_path / "always", always)))


def test_answers_are_compared_all_through_the_material(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LOOKED_AT", 100)
    first = [[1] if number < 100 else [number % 900, 7] for number in range(1000)]
    assert not list(_same_answers(stored(tmp_path / "first", first)))


def test_conversations_that_are_dropped_are_none(tmp_path: Path) -> None:
    (stage,) = load_recipe(str(write_case(tmp_path)), ["stages.chat.overflow=drop"]).recipe.stages
    long = stored(tmp_path / "long", [[7] * (300 if number % 2 else 20) for number in range(600)])
    count, unit = _sequences(long, stage)
    assert (count, "300 more are dropped" in unit) == (300, True)


def test_answers_that_are_cut_before_their_end(run: Path) -> None:
    def cut(record: dict[str, Any]) -> None:
        (stage,) = record["stages"]
        stage["chat"]["answers_cut"] = stage["chat"]["examples"] // 2

    change_record(run / "prepared", cut)
    assert found(run) == []
    assert found(run, "stages.chat.overflow=truncate_right") == ["stop tokens"]


def test_overfitting_of_a_short_stage(run: Path) -> None:
    """Few logged steps, but validations."""
    lines = [{"step": 10 * at, "validation_loss": 2.0 + at * at / 10} for at in range(4)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "stages" / "chat" / "log.jsonl").write_text(text, "utf-8")
    assert found(run) == ["overfitting"]


def test_a_stage_that_takes_its_steps_is_not_out_of_memory(run: Path) -> None:
    """Whatever its plan says: it is under way, or was stopped."""
    shutil.rmtree(model_of(run))
    shutil.rmtree(run / "evaluation")
    assert found(run, "stages.chat.batch_size=1000000") == []


def test_text_that_repeats_as_its_reference_does() -> None:
    line = "0x{0:02x}, mapping({1} => uint256) public {1}Of; "
    table = "".join(line.format(number, f"name{number}") for number in range(40))
    other = "".join(line.format(number, f"word{number}") for number in range(40, 80))
    assert not _loops(other, table)
    assert _loops("the same thing again, " * 20, table)


def test_scripts_without_spaces_loop_too() -> None:
    assert _loops("这是一个测试。" * 20, "")
    assert _loops("a" * 600, "")
    assert not _loops("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳", "")


def test_output_that_was_decoded_greedily_alone() -> None:
    """A small model loops then, however healthy it is."""
    record = {"samples": [{"reference": "", "outputs": [{"decoding": "greedy", "text": "again " * 50}]}] * 4}
    assert list(_texts(record, greedy=False)) == []
    assert len(list(_texts(record, greedy=True))) == 4
