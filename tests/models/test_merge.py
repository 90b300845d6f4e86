"""Merging: the merged folder is the adapted model, in plain transformers too, and what is not is not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.random_models import (
    CPU,
    KINDS,
    LLAMA,
    TIED,
    VOCAB,
    Settings,
    logits,
    saved,
    some_ids,
    stir,
    targets,
    tiny,
)  # fmt: skip
from whet import store
from whet.errors import ArtefactError, WhetError
from whet.models import adapters, merge
from whet.models.adapters import attach, load_adapter, save_adapter
from whet.models.build import Held, load_base
from whet.models.decoder import Decoder
from whet.models.families.base import FAMILIES, Family
from whet.models.quantize import Quantization

HELD_OUT = [some_ids(40, seed)[0].tolist() for seed in range(4)]
BASES: list[Held | Quantization] = [
    "fp32", Quantization("nf4"), Quantization("fp4", double=False), Quantization("int8")
]  # fmt: skip


def make(
    tmp_path: Path,
    kind: type[Family] = LLAMA,
    *,
    tied: bool = True,
    weights: Held | Quantization = "fp32",
    ids: tuple[int, ...] = (),
    precision: str = "fp32",
) -> tuple[Path, Path, Decoder]:
    """Folders of a base and of an adapter that was trained on it, and the two as one model."""
    base = saved(tmp_path / "base", kind, tied=tied)
    decoder = load_base(base, device=CPU, precision=precision, weights=weights)
    attach(decoder, Settings(), targets(tiny(kind, tied=tied)), ids, seed=4)
    stir(decoder)
    save_adapter(decoder, tmp_path / "adapter", "someone/base")
    decoder.model.eval()
    return base, tmp_path / "adapter", decoder


def merged(tmp_path: Path, base: Path, adapter: Path, **more: Any) -> merge.Comparison:
    return merge.merge(base, adapter, tmp_path / "merged", **{"held_out": HELD_OUT, "device": CPU, **more})


@pytest.mark.parametrize("weights", BASES, ids=str)
@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_adapted_here_and_in_plain_transformers(
    kind: type[Family], tied: bool, weights: Held | Quantization, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base, adapter, decoder = make(tmp_path, kind, tied=tied, weights=weights)
    said: list[str] = []
    compared = merged(tmp_path, base, adapter, weights=weights, say=said.append)
    expected = logits(decoder, some_ids())
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        found = plain(input_ids=some_ids()).logits
    scale = expected.abs().max()
    assert (found - expected).abs().max() <= 1e-5 * scale
    assert compared.largest_logit_difference <= 1e-5 * compared.largest_logit
    assert compared.token_agreement == 1.0
    assert compared.positions == 160
    assert any(("nf4" in line or "fp32" in line or "int8" in line or "fp4" in line) for line in said)
    untouched = logits(tiny(kind, tied=tied), some_ids())
    assert (found - untouched).abs().max() > 0.01 * scale, "the adapter matters"


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_new_tokens_are_merged_and_the_vocabulary_grows(
    kind: type[Family], tied: bool, tmp_path: Path
) -> None:
    ids = (5, VOCAB, VOCAB + 2)
    base, adapter, decoder = make(tmp_path, kind, tied=tied, ids=ids)
    held_out = [some_ids(40, seed, VOCAB + 3)[0].tolist() for seed in range(4)]
    merged(tmp_path, base, adapter, held_out=held_out)
    result = load_base(tmp_path / "merged", device=CPU, precision="fp32")
    assert result.model.config.vocab_size == VOCAB + 3
    table = result.model.get_input_embeddings().weight
    old = tiny(kind, tied=tied).model.get_input_embeddings().weight
    same = [index for index in range(VOCAB) if index not in ids]
    assert torch.equal(table[same], old[same])
    expected = logits(decoder, torch.tensor(held_out[:1]))
    assert (logits(result, torch.tensor(held_out[:1])) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_shards_tokenizer_and_generation_config_go_along(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base, adapter, decoder = make(tmp_path)
    (base / "tokenizer.json").write_text('{"of": "base"}')
    (base / "chat_template.jinja").write_text("base")
    (adapter / "tokenizer.json").write_text('{"of": "adapter"}')
    (adapter / "tokenizer_config.json").write_text("{}")
    (base / "generation_config.json").write_text('{"do_sample": true}')
    merged(tmp_path, base, adapter, shard_bytes=100_000)
    folder = tmp_path / "merged"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 2
    assert all((folder / name).stat().st_size < 110_000 for name in files)
    assert json.loads((folder / "tokenizer.json").read_text()) == {"of": "adapter"}
    assert (folder / "tokenizer_config.json").exists()
    assert not (folder / "chat_template.jinja").exists(), "one tokenizer's files, not two's"
    assert json.loads((folder / "generation_config.json").read_text())["do_sample"] is True
    assert "whet" not in (folder / "config.json").read_text()
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            plain(input_ids=some_ids()).logits, logits(decoder, some_ids()), atol=2e-4, rtol=1e-4
        )
    record = store.open_artefact(folder, merge.KIND).record
    assert record["comparison"]["token_agreement"] == 1.0


@pytest.mark.parametrize("save_as", ["bf16", "fp16"])
def test_half_width_is_written_and_compared_with_wider_bounds(save_as: merge.SaveAs, tmp_path: Path) -> None:
    base, adapter, _ = make(tmp_path)
    compared = merged(tmp_path, base, adapter, save_as=save_as)
    result = load_base(tmp_path / "merged", device=CPU, precision=save_as, weights="compute")
    assert {weight.dtype for weight in result.model.parameters()} == {
        {"bf16": torch.bfloat16, "fp16": torch.float16}[save_as]
    }
    assert 0 < compared.mean_kl_nats < 1e-2


@pytest.mark.parametrize("weights", ["compute", Quantization("nf4"), Quantization("int8")], ids=str)
def test_a_base_in_bf16_is_merged_as_it_was_held(weights: Held | Quantization, tmp_path: Path) -> None:
    """Compared in fp32, so the bounds are those of fp32: rounding in training is none of the merge's."""
    base, adapter, decoder = make(tmp_path, weights=weights, precision="bf16", ids=(5, VOCAB))
    compared = merged(tmp_path, base, adapter, weights=weights, precision="bf16")
    assert compared.largest_logit_difference <= 1e-5 * compared.largest_logit
    result = load_base(tmp_path / "merged", device=CPU, precision="fp32")
    norms = [name for name, _ in result.model.named_parameters() if "norm" in name]
    state = decoder.model.state_dict()
    for name in norms:
        assert torch.equal(result.model.state_dict()[name], state[name].float()), name


def test_what_differs_is_not_kept_and_the_old_result_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter, _ = make(tmp_path)
    merged(tmp_path, base, adapter)
    before = {file.name: file.read_bytes() for file in (tmp_path / "merged").iterdir()}
    right = adapters.Adapter.product
    monkeypatch.setattr(adapters.Adapter, "product", lambda self, name: right(self, name) * 1.5)
    with pytest.raises(ArtefactError, match="something else") as refusal:
        merged(tmp_path, base, adapter)
    assert "largest logit difference" in str(refusal.value)
    assert {file.name: file.read_bytes() for file in (tmp_path / "merged").iterdir()} == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["adapter", "base", "merged"]


def test_a_quantized_base_merged_into_the_original_weights_is_found(tmp_path: Path) -> None:
    """What the comparison is for: the adapter was trained on other weights than it is merged into."""
    base, adapter, decoder = make(tmp_path, weights=Quantization("fp4"))
    other = load_base(base, device=CPU, precision="fp32")
    load_adapter(other, adapter)
    found = merge.compare(other, decoder, HELD_OUT)
    assert not found.within(merge.TOLERANCES["bf16"])


def test_the_same_model_twice_has_no_difference(tmp_path: Path) -> None:
    _, _, decoder = make(tmp_path)
    found = merge.compare(decoder, decoder, HELD_OUT)
    assert (found.largest_logit_difference, found.mean_kl_nats, found.token_agreement) == (0.0, 0.0, 1.0)
    assert found.positions == 160


def test_figures_of_a_comparison() -> None:
    """Two positions, by hand: ln 2 nats of divergence at one of them, another token there."""
    one = torch.tensor([[0.0, -1e9, -1e9], [1.0, 0.0, 0.0]])
    other = torch.cat([torch.tensor([[0.0, 0.0, -1e9]]) + torch.tensor([[0.0, 1e-3, 0.0]]), one[1:]])
    found = merge._compared([one], [other])
    assert found.mean_kl_nats == pytest.approx(0.5 * (torch.tensor(2.0).log().item() + 5e-4), rel=1e-3)
    assert found.token_agreement == 0.5
    broken = merge._compared([one, one], [one, one * float("nan")])
    assert not broken.within(merge.TOLERANCES["bf16"])


def test_what_others_put_there_is_not_replaced(tmp_path: Path) -> None:
    base, adapter, _ = make(tmp_path)
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "notes.txt").write_text("mine")
    for to in (tmp_path / "merged", base, adapter):
        before = sorted(file.name for file in to.iterdir())
        with pytest.raises(ArtefactError, match="no merge made it"):
            merge.merge(base, adapter, to, held_out=HELD_OUT, device=CPU)
        assert sorted(file.name for file in to.iterdir()) == before


@pytest.mark.parametrize("case", ["another base", "no text", "an adapter as base", "damaged adapter"])
def test_what_cannot_be_merged_leaves_nothing(case: str, tmp_path: Path) -> None:
    base, adapter, _ = make(tmp_path)
    held_out: Any = HELD_OUT
    if case == "another base":
        base = saved(tmp_path / "other", FAMILIES.get("gpt2"))
    elif case == "no text":
        held_out = [[], [1]]
    elif case == "an adapter as base":
        base = adapter
    else:
        (adapter / adapters.WEIGHTS).write_bytes(b"x" * 100)
    with pytest.raises(WhetError):
        merged(tmp_path, base, adapter, held_out=held_out)
    assert not (tmp_path / "merged").exists()
