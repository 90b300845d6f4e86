"""Model folders from someone who means harm: each is refused by name before it can do any."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.attack.conftest import calm
from tests.attack.folders import CANARY, CODE, CONFIG, INDEX, WEIGHTS, Case, edit, pickled, shards, tensors
from tests.attack.model_cases import CASES, FIRST
from whet.errors import ArtefactError, WhetError
from whet.models.build import load_model, new_model, save_model
from whet.models.decoder import Decoder
from whet.models.families.base import from_nothing
from whet.models.shape import Shape
from whet.recipe.schema import Greedy
from whet.use import run as use

CPU = torch.device("cpu")


def load(folder: Path) -> Decoder:
    return load_model(folder, device=CPU, precision="fp32")


def generate(folder: Path) -> str:
    return use.generate(folder, "def ", Greedy(), new_tokens=4, device="cpu").text


def weights(decoder: Decoder) -> dict[str, torch.Tensor]:
    return dict(decoder.model.named_parameters())


def same(one: Decoder, other: Decoder) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_folder_is_refused_by_name(case: Case, model: Path) -> None:
    case.spoil(model)
    with calm():
        with pytest.raises(ArtefactError, match=case.says) as refusal:
            load(model)
        with pytest.raises(WhetError):
            generate(model)
    assert str(model) in refusal.value.where
    assert not list(model.rglob(CANARY))


def test_the_cases_are_many_and_their_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 90


def test_the_good_folder_is_used(model: Path) -> None:
    assert generate(model)
    assert not list(model.rglob(CANARY))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_width_are_read(dtype: torch.dtype, model: Path) -> None:
    before = load(model)
    tensors(lambda found: found.update({name: value.to(dtype) for name, value in found.items()}))(model)
    after = weights(load(model))
    for name, value in weights(before).items():
        assert torch.equal(after[name], value.to(dtype).float())


def test_shards_are_read(model: Path) -> None:
    before = load(model)
    shards(lambda folder, weight_map: None)(model)
    assert (model / INDEX).exists()
    assert not (model / WEIGHTS).exists()
    assert same(load(model), before)


def test_what_older_versions_saved_besides_is_left_out(model: Path) -> None:
    before = load(model)

    def add(found: dict[str, torch.Tensor]) -> None:
        found["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        found["lm_head.weight"] = found[FIRST].clone()

    tensors(add)(model)
    assert same(load(model), before)


@pytest.mark.parametrize("kind", [kind.NAME for kind in from_nothing()])
def test_names_of_older_files(kind: str, tmp_path: Path) -> None:
    """The body alone (as the first GPT-2 was saved), and GPT-NeoX's own name for the head."""
    family = next(one for one in from_nothing() if kind == one.NAME)
    shape = Shape(
        norm=family.NORM, positions=family.POSITIONS, d_model=32, layers=1, heads=2, d_ff=48, context=64,
        vocab_size=101, tie_embeddings=kind == "gpt2",
    )  # fmt: skip
    made = new_model(shape, {"pad": 0, "bos": 2, "eos": 3}, seed=1, device=CPU, precision="fp32")
    save_model(made, tmp_path)
    prefix = f"{made.model.base_model_prefix}."

    def rename(found: dict[str, torch.Tensor]) -> None:
        for name in list(found):
            other = name.removeprefix(prefix).replace(
                "lm_head.", "embed_out." if kind == "gpt_neox" else "lm_head."
            )
            found[other] = found.pop(name)
        if kind == "gpt2":
            found["h.0.attn.bias"] = torch.ones(1, 1, 64, 64)

    tensors(rename)(tmp_path)
    assert same(load(tmp_path), made)


def test_links_within_a_download_are_followed(model: Path, tmp_path: Path) -> None:
    """The hub's cache: snapshots of links into the blobs beside them."""
    cache = tmp_path / "models--someone--x"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(model.iterdir())):
        shutil.copy2(file, cache / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert same(load(snapshot), load(model))


def test_a_template_for_chats_is_not_rendered(model: Path) -> None:
    evil = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for a in range(10**9) %}{{ a }}{% endfor %}"
    edit(model / "tokenizer_config.json", chat_template=evil)
    (model / "chat_template.jinja").write_text(evil)
    assert generate(model)


def test_a_generation_config_decides_nothing(model: Path) -> None:
    before = generate(model)
    (model / "generation_config.json").write_text(
        json.dumps({
            "do_sample": True, "temperature": 99.0, "max_new_tokens": 10**9, "min_length": 60, "num_beams": 50,
            "eos_token_id": 5, "suppress_tokens": list(range(5, 400)), "prompt_lookup_num_tokens": 9,
            "cache_implementation": "someone/cache", "assistant_model": "someone/model",
        })
    )  # fmt: skip
    edit(model / CONFIG, temperature=99.0, do_sample=True, suppress_tokens=list(range(5, 400)), min_length=60)
    assert generate(model) == before


def test_where_a_model_came_from_is_not_visited(model: Path) -> None:
    (model / "modeling_x.py").write_text(CODE)
    edit(
        model / CONFIG, _name_or_path="someone/model", base_model_name_or_path="someone/model",
        architectures=["modeling_x.X"], dtype="os", torch_dtype="os", tokenizer_class="tokenization_x.X",
    )  # fmt: skip
    assert generate(model)
    assert not list(model.rglob(CANARY))
    assert load(model).model.config._name_or_path == ""


def test_pickles_beside_weights_stay_closed(model: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        (model / name).write_bytes(pickled(model))
    assert generate(model)
    assert not list(model.rglob(CANARY))


def test_loading_draws_no_random_numbers(model: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load(model)
    assert torch.equal(torch.rand(1), expected)


def test_the_refusal_reaches_the_command_line(
    model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.cli import main

    edit(model / CONFIG, auto_map={"AutoConfig": "configuration_x.X"})
    monkeypatch.setattr("sys.argv", ["whet", "generate", str(model), "--prompt", "def "])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 4
    said = capfd.readouterr().err
    assert re.search(r"config\.json.*auto_map", said, re.DOTALL)
    assert "Traceback" not in said
