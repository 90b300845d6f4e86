"""The plan before the download: targets, what is said of them, the table, the command line. No torch, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whet.cli import app
from whet.errors import RecipeError, WhetError
from whet.memory.cards import GIB
from whet.models import known
from whet.plan import show
from whet.plan.ahead import Outlook, look_ahead, stage_memory
from whet.plan.picture import svg
from whet.plan.subject import Asked, by_options, cards_of, subject_of, this_machine, training_of
from whet.plan.table import table
from whet.recipe.load import load_recipe

CODER = "Qwen/Qwen2.5-Coder-32B"
RECIPE = """
name: decompiler
seed: 1
model:
  base: {base}
  quantization: nf4
  adapter: {{rank: 8, targets: [q_proj, v_proj], dropout: 0.0}}
stages:
  - name: first
    data: [{{source: text, path: notes}}]
    sequence_length: 512
    batch_size: 4
    accumulation: 2
    gradient_checkpointing: true
    keep: 5
  - name: second
    data: [{{source: text, path: notes}}]
    optimizer: adamw_8bit
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("text", "utf-8")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.format(base="meta-llama/Llama-3.2-3B"), "utf-8")
    return path


def text_of(outlook: Outlook) -> str:
    return "\n".join(show.told(outlook))


def test_a_model_by_name() -> None:
    outlook = look_ahead(CODER, Asked(cards="48GB", length=4096, batch=2, quantization="nf4"))
    (prospect,) = outlook.prospects
    training = prospect.training
    assert (training.length, training.batch, training.quantization) == (4096, 2, "nf4")
    assert training.checkpointing, "on unless it is switched off"
    assert prospect.estimate.verdict == "fits"
    assert prospect.largest_batch >= 2
    assert prospect.largest_length >= 4096
    text = text_of(outlook)
    assert "32,763,876,352 parameters" in text
    assert "trained: 33,554,432 parameters" in text
    assert "of 48.0 GiB: fits" in text
    assert "not known: there is no peak" in text
    assert outlook.subject.source == "sizes that come with whet"


def test_a_folder_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(known.facts("meta-llama/Llama-3.2-1B")), "utf-8")
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    for target in (tmp_path, tmp_path / "config.json"):
        outlook = look_ahead(str(target), Asked(cards="24GB"))
        assert outlook.subject.outline.total == 1_235_814_400
        assert {part.name: part.bytes.expected for part in outlook.prospects[0].estimate.disk}["base"] == 1000


def test_a_recipe_with_a_base(recipe: Path) -> None:
    outlook = look_ahead(str(recipe), Asked(cards="rtx4090"))
    first, second = outlook.prospects
    training = first.training
    assert (training.rank, training.targets, training.adapter_dropout) == (8, ("q_proj", "v_proj"), 0.0)
    assert (training.length, training.batch, training.accumulation) == (512, 4, 2)
    assert training.checkpointing
    assert not second.training.checkpointing
    assert (second.training.optimizer, second.training.length) == ("adamw_8bit", 2048)
    assert first.estimate.trained == 2_293_760
    assert first.tokens is None
    assert "before the data is prepared" in text_of(outlook)


def test_overrides_reach_the_plan(recipe: Path) -> None:
    outlook = look_ahead(
        str(recipe),
        Asked(cards="4x48GB"),
        ["stages.first.batch_size=1", "model.adapter=null", "model.quantization=none"],
    )
    first = outlook.prospects[0]
    assert first.training.batch == 1
    assert first.training.rank is None
    assert first.training.sharding in ("ddp", "fsdp2")


def test_options_of_a_model_are_not_for_recipes(recipe: Path) -> None:
    with pytest.raises(WhetError, match="--batch: a recipe says that itself"):
        look_ahead(str(recipe), Asked(batch=3))
    with pytest.raises(WhetError, match="--set is for recipes"):
        look_ahead(CODER, Asked(), ["seed=1"])


def test_a_recipe_from_nothing() -> None:
    outlook = look_ahead("scratch-quickstart", Asked(cards="cpu 16GB"))
    assert outlook.subject.download_bytes == 0
    for prospect in outlook.prospects:
        assert prospect.estimate.trained == prospect.estimate.parameters == outlook.subject.outline.total
        assert "base" not in {part.name for part in prospect.estimate.disk}
        assert not prospect.training.cards.card.on_cuda


def test_tokens_of_an_earlier_plan(recipe: Path) -> None:
    run = recipe.parent / "runs/decompiler"
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"stages": [{"name": "first", "tokens": 5_000_000}]}), "utf-8")
    first, second = look_ahead(str(recipe), Asked(cards="rtx4090", price_per_hour=2.0)).prospects
    assert (first.tokens, second.tokens) == (5_000_000, None)
    assert first.seconds is not None
    low, expected, high = first.seconds
    assert low < expected < high
    assert first.cost is not None
    assert first.cost[1] == pytest.approx(2.0 * expected / 3600)


def test_tokens_and_price_by_hand() -> None:
    (prospect,) = look_ahead(CODER, Asked(cards="a100", tokens=10**9, price_per_hour=1.5)).prospects
    assert prospect.seconds is not None
    assert "costs" in text_of(look_ahead(CODER, Asked(cards="a100", tokens=10**9, price_per_hour=1.5)))


def test_a_measured_speed_is_taken_as_it_is() -> None:
    outlook = look_ahead(CODER, Asked(cards="48GB", tokens=1_000_000, tokens_per_s=500.0))
    assert outlook.prospects[0].seconds == (2000.0, 2000.0, 2000.0)
    assert "500 tok/s (as measured)" in text_of(outlook)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"quantization": "nf5"}, "nf5"),
        ({"precision": "fp8"}, "fp8"),
        ({"sharding": "zero3"}, "zero3"),
        ({"optimizer": "sgd"}, "sgd"),
        ({"cards": "4xwonder"}, "no card"),
        ({"full": True, "quantization": "nf4"}, "cannot be trained"),
        ({"targets": ["q_prj"]}, "q_prj"),
    ],
    ids=str,
)
def test_mistakes(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(WhetError, match=says) as error:
        look_ahead(CODER, Asked(**{"cards": "48GB", **asked}))
    assert error.value.fix


def test_unknown_targets(tmp_path: Path) -> None:
    with pytest.raises(WhetError, match="do not come with whet") as error:
        look_ahead("Llama-3.2-3B", Asked())
    assert "meta-llama/Llama-3.2-3B" in error.value.fix
    with pytest.raises(RecipeError):
        look_ahead(str(tmp_path / "none.yaml"), Asked())


def test_what_does_not_fit_says_what_would_help() -> None:
    outlook = look_ahead(
        "meta-llama/Llama-3.1-8B", Asked(cards="rtx2080ti", batch=4, quantization="nf4", checkpointing=False)
    )
    (prospect,) = outlook.prospects
    assert prospect.training.precision == "fp16"
    assert prospect.estimate.verdict == "too large"
    text = text_of(outlook)
    assert "does not fit" in text
    assert "gradient_checkpointing=true" in text
    assert "together these make it fit" in text
    assert any("no bf16 and no FlashAttention-2" in notice for notice in outlook.notices)
    saved = [change.saves_bytes for change in prospect.changes]
    assert saved == sorted(saved, reverse=True)


def test_cards_share_what_one_cannot_hold() -> None:
    asked = Asked(cards="4x80GB", length=2048)
    (prospect,) = look_ahead("meta-llama/Llama-3.1-70B", asked).prospects
    assert prospect.training.sharding == "fsdp2"
    assert prospect.estimate.verdict == "fits"
    packed = look_ahead("meta-llama/Llama-3.1-70B", replace(asked, quantization="nf4", sharding="fsdp2"))
    assert any("charged whole to every card" in notice for notice in packed.notices)
    assert not any("autocast" in notice for notice in packed.notices)
    full = look_ahead("meta-llama/Llama-3.1-8B", replace(asked, full=True))
    assert any("autocast" in notice for notice in full.notices)


def test_only_planned_architectures() -> None:
    outlook = look_ahead("deepseek-ai/DeepSeek-V3", Asked(cards="8xH200", quantization="nf4"))
    assert any("does not load them" in notice for notice in outlook.notices)
    assert any("not quantized" in notice for notice in outlook.notices)
    assert "for one token" in text_of(outlook)


def test_the_bars_are_as_long_as_the_bytes() -> None:
    full, half = show._bar(0, 100, 100), show._bar(0, 50, 100)
    assert len(full) == show.WIDTH
    assert len(half) == show.WIDTH // 2
    assert show._bar(50, 25, 100) == " " * (show.WIDTH // 2) + "█" * (show.WIDTH // 4)
    assert show._bar(0, 1, 10_000).strip(), "a little is still seen"
    assert show._bar(0, 50, 100, limit=75).index("│") == 3 * show.WIDTH // 4


def test_the_picture() -> None:
    outlook = look_ahead(CODER, Asked(cards="48GB", quantization="nf4"))
    drawn = svg(outlook.prospects)
    assert drawn.startswith("<svg")
    assert drawn.count("<title>") == 1 + len(outlook.prospects[0].estimate.parts)
    assert "quantization constants" in drawn
    named = replace(outlook.prospects[0], name="<script>")
    assert "<script>" not in svg([named])


def test_the_table_over_models() -> None:
    asked = Asked(cards="4x48GB", length=4096)
    lines = {(line.model, line.quantization): line for line in table(["all"], asked, cards_of(asked))}
    assert {name for name, _ in lines} == set(known.KNOWN)
    assert {how for _, how in lines} == {"none", "int8", "nf4"}
    assert lines["meta-llama/Llama-3.1-8B", "none"].estimate.verdict == "fits"
    assert lines["meta-llama/Llama-3.1-405B", "nf4"].estimate.verdict == "too large"
    assert lines["meta-llama/Llama-3.1-405B", "nf4"].largest_length == 0
    coder = lines[CODER, "none"]
    assert (coder.estimate.training.sharding, coder.estimate.verdict) == ("fsdp2", "fits")
    assert coder.largest_length >= 4096
    text = "\n".join(show.told_table(list(lines.values()), cards_of(asked)))
    assert "fits, fsdp2" in text
    assert "too large" in text
    only = table(["bigcode/starcoder2-3b"], replace(asked, quantization="int8"), cards_of(asked))
    assert [(line.model, line.quantization) for line in only] == [("bigcode/starcoder2-3b", "int8")]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *words])
    return result.exit_code, result.stdout


def test_the_command_prints_text_json_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    code, text = run(CODER, "--cards", "48GB", "--quantization", "nf4", "--picture", str(picture))
    assert code == 0
    assert "GiB" in text
    assert picture.read_text("utf-8").startswith("<svg")
    code, text = run(CODER, "--cards", "48GB", "--targets", "q_proj,v_proj", "--rank", "4", "--json")
    told = json.loads(text)
    (training,) = told["trainings"]
    assert (training["settings"]["rank"], training["settings"]["targets"]) == (4, ["q_proj", "v_proj"])
    assert training["memory"]["total_bytes"]["low"] < training["memory"]["total_bytes"]["high"]
    assert told["parameters"]["total"] == 32_763_876_352
    code, text = run("--models", "bigcode/starcoder2-3b,bigcode/starcoder2-15b", "--cards", "24GB", "--json")
    assert [line["quantization"] for line in json.loads(text)] == ["none", "int8", "nf4"] * 2


def test_the_command_wants_a_target() -> None:
    result = CliRunner().invoke(app, ["plan"])
    assert isinstance(result.exception, WhetError)


def test_no_torch_is_imported() -> None:
    code = (
        "import sys; from whet.plan.ahead import Asked, look_ahead; from whet.plan import show\n"
        f"list(show.told(look_ahead({CODER!r}, Asked(cards='48GB'))))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_this_machine_has_a_processor_at_least() -> None:
    card = this_machine().card
    assert card.memory_bytes > GIB


def test_every_recipe_key_that_costs_memory_is_read(recipe: Path) -> None:
    """A change of each such key changes the training that is planned."""
    cards = cards_of(Asked(cards="cpu 64GB"))
    base = load_recipe(str(recipe)).recipe
    before = training_of(base, base.stages[0], cards)
    for item in (
        "stages.first.sequence_length=1024", "stages.first.batch_size=1", "stages.first.accumulation=4",
        "stages.first.optimizer=adamw_8bit", "stages.first.gradient_checkpointing=false", "precision=fp32",
        "model.quantization=int8", "model.double_quantization=false", "model.adapter.rank=64",
        "model.adapter.targets=mlp", "model.adapter.dropout=0.5", "model.new_tokens=[\"<a>\"]",
    ):  # fmt: skip
        changed = load_recipe(str(recipe), [item]).recipe
        assert training_of(changed, changed.stages[0], cards) != before, item


def test_the_stage_of_a_run_has_its_memory(recipe: Path) -> None:
    """What plan.json holds, and the probe and its message read."""
    loaded = load_recipe(
        str(recipe), ["stages.first.batch_size=64", "stages.first.gradient_checkpointing=false"]
    ).recipe
    outline = subject_of(str(recipe), Asked(), this_machine()).outline
    told = json.loads(json.dumps(stage_memory(loaded, loaded.stages[0], outline)))
    assert told["allocated_bytes"] < told["total_bytes"]["expected"] < told["total_bytes"]["high"]
    assert told["verdict"] in ("fits", "tight", "too large")
    assert set(told["disk_bytes"]) == {"checkpoints", "best and result"}, "the base is there already"
    settings = [change["setting"] for change in told["changes"]]
    assert "gradient_checkpointing=true" in settings
    assert "batch_size=32" in settings
    assert all(change["saves_bytes"] > 0 for change in told["changes"])


def test_defaults_of_options() -> None:
    training = by_options(Asked(), cards_of(Asked(cards="rtx4090")))
    assert (training.rank, training.targets, training.length, training.batch) == (16, "attention", 2048, 1)
    assert by_options(Asked(full=True), cards_of(Asked(cards="rtx4090"))).rank is None
    assert subject_of(CODER, Asked(), this_machine()).trainings[0][0] == "training"
