"""Families that are only loaded: a folder that transformers saved is read, isolates documents, gives the same logits.

Tiny and random; the sizes of the real ones are in test_known.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.models.test_families import CPU, packed_batch
from tests.models.tiny import COMMON, LATENT, TINY
from whet.errors import ArtefactError, IsolationError
from whet.models import selfcheck
from whet.models.build import load_model, save_model
from whet.models.decoder import Decoder
from whet.models.families.base import FAMILIES, from_nothing
from whet.models.generation import generate
from whet.packing import Batch
from whet.recipe.schema import Greedy

LOADED = sorted(
    {kind.NAME for kind in FAMILIES if not kind.PLAN_ONLY} - {kind.NAME for kind in from_nothing()}
)

WINDOWED: list[tuple[str, dict[str, Any]]] = [
    ("mistral", {"sliding_window": 16}),
    ("starcoder2", {"sliding_window": 16}),
    ("phi3", {"sliding_window": 16}),
    ("qwen2", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1}),
    ("qwen3", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1}),
]


def saved(folder: Path, name: str, settings: dict[str, Any]) -> Path:
    """A random model as transformers saves it."""
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **settings)).save_pretrained(folder)
    return folder


def load(folder: Path) -> Decoder:
    return load_model(folder, device=CPU, precision="fp32")


def rows(length: int) -> Batch:
    ids = np.random.default_rng(1).integers(0, 101, (2, length))
    return Batch(ids, ids, np.tile(np.arange(length), (2, 1)), np.ones_like(ids), (0, 1))


@pytest.mark.parametrize("name", LOADED)
def test_loaded_as_transformers_loads_it(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "theirs", name, TINY[name])
    ours, plain = load(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ours.model.eval()
    assert name == ours.family.NAME
    batch = rows(40)
    with torch.no_grad():
        expected = plain(input_ids=torch.from_numpy(batch.inputs)).logits
        torch.testing.assert_close(ours.head(ours.hidden(batch)), expected, atol=1e-5, rtol=1e-5)
    save_model(ours, tmp_path / "ours")
    again = load(tmp_path / "ours")
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), ours.model.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", LOADED)
def test_the_start_up_check_passes_and_packed_is_alone(name: str, tmp_path: Path) -> None:
    decoder = load(saved(tmp_path, name, TINY[name]))
    selfcheck.check(decoder)
    decoder.model.eval()
    batch = packed_batch([7, 20, 1, 12], padding=5)
    together, alone = decoder.nll_each(batch), []
    for segment in range(1, 5):
        part = batch.segments[0] == segment
        arrays = (batch.inputs, batch.labels, batch.positions, batch.segments)
        alone.append(decoder.nll_each(Batch(*(array[:, part] for array in arrays), (0,))))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", LOADED)
def test_blocks_are_found(name: str, tmp_path: Path) -> None:
    decoder = load(saved(tmp_path, name, TINY[name]))
    assert len(list(decoder.family.blocks(decoder.model))) == 2
    decoder.use_gradient_checkpointing()
    decoder.nll_sum(packed_batch([20])).backward()
    assert all(weight.grad is not None for weight in decoder.model.parameters())


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
@pytest.mark.parametrize("window", [16, None])
def test_a_window_that_is_switched_off_is_none(name: str, window: int | None, tmp_path: Path) -> None:
    """As in the hub's files: a window, and `use_sliding_window: false`."""
    folder = saved(tmp_path, name, TINY[name])
    config = json.loads((folder / "config.json").read_text())
    config.pop("layer_types", None)
    (folder / "config.json").write_text(
        json.dumps({**config, "use_sliding_window": False, "sliding_window": window, "max_window_layers": 0})
    )
    selfcheck.check(load(folder))


@pytest.mark.parametrize(("name", "more"), WINDOWED)
def test_a_window_shorter_than_the_context_is_refused(
    name: str, more: dict[str, Any], tmp_path: Path
) -> None:
    decoder = load(saved(tmp_path, name, {**TINY[name], **more}))
    with pytest.raises(IsolationError, match="looks back 16 positions"):
        selfcheck.check(decoder)


@pytest.mark.parametrize(("name", "more"), WINDOWED)
def test_texts_are_continued_through_the_window(name: str, more: dict[str, Any], tmp_path: Path) -> None:
    """Generation is transformers' own, masks included: a window that training refuses is kept there."""
    folder = saved(tmp_path, name, {**TINY[name], **more})
    prompt = np.random.default_rng(2).integers(4, 101, 30).tolist()
    ours = generate(load(folder), prompt, Greedy(), new_tokens=30, seed=1)
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    theirs = plain.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False)[0, 30:].tolist()
    assert ours == [index for index in theirs if index != 3]
    assert len(ours) > 5


@pytest.mark.parametrize("name", ["mistral", "starcoder2", "phi3"])
def test_a_window_as_long_as_the_context_is_none(name: str, tmp_path: Path) -> None:
    selfcheck.check(load(saved(tmp_path, name, {**TINY[name], "sliding_window": 64})))


@pytest.mark.parametrize("name", ["deepseek_v2", "deepseek_v3"])
def test_what_is_only_planned_is_not_loaded(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, name, LATENT)
    with pytest.raises(ArtefactError, match=f"'{name}'.*plans such models"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("mistral", {"sliding_window": 0}, "sliding_window"),
        ("mistral", {"sliding_window": "16"}, "sliding_window"),
        ("starcoder2", {"sliding_window": 2**40}, "sliding_window"),
        ("starcoder2", {"use_bias": "yes"}, "use_bias"),
        ("starcoder2", {"norm_epsilon": -1}, "norm_epsilon"),
        ("phi3", {"original_max_position_embeddings": 10**9}, "original_max_position_embeddings"),
        ("phi3", {"resid_pdrop": 2.0}, "resid_pdrop"),
        ("qwen2", {"max_window_layers": -1}, "max_window_layers"),
        ("qwen2", {"use_sliding_window": 1}, "use_sliding_window"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 2}, "layer_types"),
        ("qwen2", {"layer_types": "full_attention"}, "layer_types"),
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types.*each of 2 layers"),
        ("qwen3", {"layer_types": ["sliding_attention"] * 2}, "layer_types.*switched off"),
        ("qwen3", {"head_dim": 15}, "head_dim"),
        ("qwen3", {"attention_bias": None}, "attention_bias"),
    ],
    ids=str,
)
def test_settings_of_another_kind_are_refused_by_name(
    name: str, wrong: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, name, TINY[name])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **wrong}))
    with pytest.raises(ArtefactError, match=says):
        load(folder)


def test_the_families_of_this_file() -> None:
    assert LOADED == ["mistral", "phi3", "qwen2", "qwen3", "starcoder2"]
    assert COMMON["max_position_embeddings"] == 64
