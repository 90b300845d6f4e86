"""Adapters: the gradients are those of a plain loop with peft, files go both ways, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from tests.models.random_models import (
    CPU,
    KINDS,
    LLAMA,
    TIED,
    VOCAB,
    Settings,
    gradients,
    logits,
    packed,
    relative,
    saved,
    some_ids,
    stir,
    targets,
    tiny,
)  # fmt: skip
from tests.proofs.families import SCALED, Foreign, decoder_of
from whet.errors import ArtefactError, WhetError
from whet.models import adapters, selfcheck
from whet.models.adapters import attach, load_adapter, parameters, save_adapter
from whet.models.build import load_base
from whet.models.families.base import Family
from whet.models.generation import generate
from whet.recipe.schema import Greedy

NEW = [7, 50, 99]
GROWN = [50, VOCAB + 1, VOCAB + 3]


def plain_peft(folder: Path, settings: Settings, names: list[str], rows: Any = None) -> Any:
    """peft and transformers alone, with the weights of the folder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, use_rslora=settings.rslora, target_modules=names,
        trainable_token_indices=rows, task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(model, config)


def base_and_peft(tmp_path: Path, kind: type[Family], tied: bool, **settings: Any) -> Any:
    """A decoder with a stirred adapter, and plain peft with the same numbers."""
    folder = saved(tmp_path / "base", kind, tied=tied)
    ours = load_base(folder, device=CPU, precision="fp32")
    ours.model.eval()
    chosen = Settings(**settings)
    attach(ours, chosen, targets(ours), seed=5)
    stir(ours)
    plain = plain_peft(folder, chosen, targets(tiny(kind, tied=tied)))
    copied = {
        name.replace(".weight", ".default.weight"): weight.detach().clone()
        for name, weight in parameters(ours).items()
    }
    plain.base_model.model.load_state_dict(copied, strict=False)
    return ours, plain


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_a_plain_loop_with_peft(
    kind: type[Family], tied: bool, rslora: bool, tmp_path: Path
) -> None:
    """Packed, masked and chunked here; one document after another, whole logits there."""
    ours, plain = base_and_peft(tmp_path, kind, tied, rslora=rslora)
    batch = packed([17, 9, 30])
    found = gradients(ours, batch)
    for segment in (1, 2, 3):
        part = batch.segments[0] == segment
        ids, labels = (torch.from_numpy(array[:, part]) for array in (batch.inputs, batch.labels))
        functional.cross_entropy(plain(input_ids=ids).logits[0], labels[0], reduction="sum").backward()
    expected = {
        name.removeprefix("base_model.model."): weight.grad
        for name, weight in plain.named_parameters()
        if weight.requires_grad
    }
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert relative(found[name], gradient) < 1e-4, name


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_trains_and_the_base_stays_bit_for_bit(kind: type[Family]) -> None:
    decoder = tiny(kind)
    attach(decoder, Settings(), targets(decoder), seed=1)
    own = set(map(id, parameters(decoder).values()))
    assert {id(weight) for weight in decoder.model.parameters() if weight.requires_grad} == own
    before = {
        name: weight.clone() for name, weight in decoder.model.named_parameters() if id(weight) not in own
    }
    optimizer = torch.optim.AdamW(parameters(decoder).values(), lr=0.1, weight_decay=0.5)
    for _ in range(2):  # A has no gradient while B is zero
        decoder.nll_sum(packed([20, 11])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for name, weight in decoder.model.named_parameters():
        if name in before:
            assert torch.equal(weight, before[name]), name
    assert all(weight.abs().sum() > 0 for weight in parameters(decoder).values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_nothing_and_depends_on_the_seed_alone(
    kind: type[Family], tmp_path: Path
) -> None:
    folder = saved(tmp_path / "base", kind)
    made = []
    for number, weights in enumerate(("fp32", "compute", "fp32")):
        torch.manual_seed(number)
        decoder = load_base(
            folder, device=CPU, precision="bf16" if weights == "compute" else "fp32", weights=weights
        )
        decoder.model.eval()
        state = torch.get_rng_state()
        before = logits(decoder, some_ids())
        attach(decoder, Settings(), targets(decoder), seed=11 if number < 2 else 12)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(logits(decoder, some_ids()), before)
        made.append({name: weight.detach() for name, weight in parameters(decoder).items()})
    one, half, other = made
    assert all(weight.dtype == torch.float32 for weight in half.values())
    assert all(torch.equal(one[name], half[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_selfcheck_checkpointing_and_generation_work_with_an_adapter(kind: type[Family]) -> None:
    decoder, saving = tiny(kind, tied=False), tiny(kind, tied=False)
    for one in (decoder, saving):
        attach(one, Settings(), targets(one), NEW, seed=1)
        stir(one)
        selfcheck.check(one)
        one.model.train()
    saving.use_gradient_checkpointing()
    expected, found = (gradients(one, packed([17, 20])) for one in (decoder, saving))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert generate(decoder, [2, 5, 7], Greedy(), new_tokens=4, seed=0) is not None


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: kind.NAME)
def test_what_is_done_behind_the_output_matrix_stays(kind: type[Foreign], tied: bool) -> None:
    """Logits that are scaled or capped, embeddings that are scaled: with an adapter and trained rows as without."""
    decoder, whole = (decoder_of(kind, tied=tied) for _ in range(2))
    attach(decoder, Settings(), targets(decoder), NEW, seed=1)
    found, expected = gradients(decoder, packed([33, 12])), gradients(whole, packed([33, 12]))
    rows = {name: gradient for name, gradient in found.items() if "token_adapter" in name}
    assert len(rows) == 1 if tied else len(rows) == 2
    for name, gradient in rows.items():
        assert relative(gradient, expected[name.partition(".token_adapter")[0] + ".weight"][NEW]) < 1e-4
    stir(decoder)
    selfcheck.check(decoder)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_blocks_give_the_same_gradients(kind: type[Family]) -> None:
    decoder = tiny(kind)
    attach(decoder, Settings(), targets(decoder), NEW, seed=1)
    stir(decoder)
    decoder.model.train()
    plain = gradients(decoder, packed([17, 20]))
    decoder.compile(backend="aot_eager")
    compiled = gradients(decoder, packed([17, 20]))
    assert plain.keys() == compiled.keys()
    assert all(relative(compiled[name], plain[name]) < 1e-4 for name in plain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_in_half_width_trains_an_adapter_in_fp32(kind: type[Family], tmp_path: Path) -> None:
    folder = saved(tmp_path / "base", kind)
    exact = load_base(folder, device=CPU, precision="fp32")
    half = load_base(folder, device=CPU, precision="bf16", weights="compute")
    for decoder in (exact, half):
        attach(decoder, Settings(), targets(decoder), NEW, seed=1)
        stir(decoder)
    selfcheck.check(half)
    frozen = {weight.dtype for weight in half.model.parameters() if not weight.requires_grad}
    assert frozen == {torch.bfloat16}
    expected, found = (gradients(one, packed([17, 20])) for one in (exact, half))
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        assert relative(found[name], gradient) < 0.1, name


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_new_rows_are_the_only_ones_that_train(kind: type[Family], tied: bool, tmp_path: Path) -> None:
    """Their gradients are those rows of the whole table's gradient, through body, head and chunks."""
    decoder, whole = (tiny(kind, tied=tied) for _ in range(2))
    attach(decoder, Settings(), targets(decoder), NEW, seed=1)
    batch = packed([33, 12])
    expected, found = gradients(whole, batch), gradients(decoder, batch)
    rows = {name: gradient for name, gradient in found.items() if "token_adapter" in name}
    assert len(rows) == 1 if tied else len(rows) == 2
    for name, gradient in rows.items():
        table = name.partition(".token_adapter")[0] + ".weight"
        assert relative(gradient, expected[table][NEW]) < 1e-4, name
    before = decoder.model.get_input_embeddings().weight.detach().clone()
    optimizer = torch.optim.AdamW(parameters(decoder).values(), lr=0.1)
    decoder.nll_sum(batch).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    after = decoder.model.get_input_embeddings().weight.detach()
    same = [index for index in range(VOCAB) if index not in NEW]
    assert torch.equal(after[same], before[same])
    assert (after[NEW] != before[NEW]).any(1).all()


@pytest.mark.parametrize("ids", [[], NEW, GROWN], ids=["no tokens", "old rows", "new rows"])
@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_files_go_to_peft_and_back(kind: type[Family], tied: bool, ids: list[int], tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = saved(tmp_path / "base", kind, tied=tied)
    ours = load_base(base, device=CPU, precision="fp32", weights="compute")
    ours.model.eval()
    attach(ours, Settings(alpha=6), targets(ours), ids, seed=3)
    stir(ours)
    save_adapter(ours, tmp_path / "ours", "someone/base")
    size = max([VOCAB, *(index + 1 for index in ids)])
    expected = logits(ours, some_ids(vocabulary=size))

    plain = AutoModelForCausalLM.from_pretrained(base)
    if size > VOCAB:  # whoever adds tokens resizes first, as always with transformers
        plain.resize_token_embeddings(size, mean_resizing=False)
        for module in (plain.get_input_embeddings(), plain.get_output_embeddings()):
            with torch.no_grad():
                module.weight[VOCAB:] = module.weight[:VOCAB].mean(0)
    loaded = PeftModel.from_pretrained(plain, tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(input_ids=some_ids(vocabulary=size)).logits, expected, atol=1e-5, rtol=1e-5
        )
    loaded.save_pretrained(tmp_path / "peft", save_embedding_layers=False)

    for folder in ("ours", "peft"):
        again = load_base(base, device=CPU, precision="fp32", weights="compute")
        again.model.eval()
        read = load_adapter(again, tmp_path / folder)
        assert read.rank == 4
        assert read.alpha == 6
        for name, weight in parameters(ours).items():
            assert torch.equal(parameters(again)[name], weight), name
        assert torch.equal(logits(again, some_ids(vocabulary=size)), expected)
        save_adapter(again, tmp_path / f"{folder} again", "someone/base")
        assert (tmp_path / f"{folder} again" / adapters.WEIGHTS).read_bytes() == (
            tmp_path / "ours" / adapters.WEIGHTS
        ).read_bytes()


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_embedding_alone_as_peft_names_them(
    kind: type[Family], tied: bool, tmp_path: Path
) -> None:
    """A plain list of ids means the input embedding; an untied head keeps its rows."""
    base = saved(tmp_path / "base", kind, tied=tied)
    plain = plain_peft(base, Settings(), targets(tiny(kind, tied=tied)), NEW)
    draw = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in plain.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=draw) * 0.1)
    plain.eval().save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    ours = load_base(base, device=CPU, precision="fp32", weights="compute")
    ours.model.eval()
    load_adapter(ours, tmp_path / "adapter")
    with torch.no_grad():
        expected = plain(input_ids=some_ids()).logits
    torch.testing.assert_close(logits(ours, some_ids()), expected, atol=1e-5, rtol=1e-5)


def test_targets_are_named_shortly_where_that_is_clear(tmp_path: Path) -> None:
    decoder = tiny(LLAMA)
    every = [name for name in targets(decoder) if name.endswith(("q_proj", "v_proj"))]
    attach(decoder, Settings(), every, seed=1)
    save_adapter(decoder, tmp_path / "every", "x")
    values = json.loads((tmp_path / "every" / adapters.CONFIG).read_text())
    assert values["target_modules"] == ["q_proj", "v_proj"]
    assert values["base_model_name_or_path"] == "x"
    other = tiny(LLAMA)
    one = [name for name in every if ".0." in name]
    attach(other, Settings(), one, seed=1)
    save_adapter(other, tmp_path / "one", "x")
    values = json.loads((tmp_path / "one" / adapters.CONFIG).read_text())
    assert values["target_modules"] == sorted(one)


@pytest.mark.parametrize(("names", "says"), [
    ([], "needs layers"), (["model.layers.7.self_attn.q_proj"], "has no layer"), (["model.norm"], "no linear layer"),
    (["model.embed_tokens"], "no linear layer"), (["q_proj"], "has no layer"),
])  # fmt: skip
def test_targets_that_are_none_are_refused(names: list[str], says: str) -> None:
    decoder = tiny(LLAMA)
    with pytest.raises(WhetError, match=says):
        attach(decoder, Settings(), names, seed=1)
    assert not adapters.is_attached(decoder)


def test_one_model_has_one_adapter(tmp_path: Path) -> None:
    decoder = tiny(LLAMA)
    attach(decoder, Settings(), targets(decoder), seed=1)
    save_adapter(decoder, tmp_path, "x")
    with pytest.raises(WhetError, match="already"):
        attach(decoder, Settings(), targets(decoder), seed=1)
    with pytest.raises(WhetError, match="already"):
        load_adapter(decoder, tmp_path)


def settings(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / adapters.CONFIG
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        found = load_file(folder / adapters.WEIGHTS)
        change(found)
        save_file(found, folder / adapters.WEIGHTS)

    return spoil


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
OTHER = FIRST.replace("lora_A", "lora_B")
ROWS = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"


def only_pickle(folder: Path) -> None:
    (folder / adapters.WEIGHTS).unlink()
    (folder / adapters.PICKLE).write_bytes(b"\x80\x04.")


def not_finite(found: dict[str, torch.Tensor]) -> None:
    found[FIRST] = found[FIRST].clone()
    found[FIRST][0, 0] = float("nan")


def elsewhere(found: dict[str, torch.Tensor]) -> None:
    for name in (FIRST, OTHER):
        found[name.replace("layers.0", "layers.9")] = found.pop(name)


def holes(folder: Path) -> None:
    """A file of holes as long as its header says: terabytes of zeros on no disk at all."""
    side = 2**20
    header = {
        name: {
            "dtype": "F32",
            "shape": [side, side],
            "data_offsets": [at * 4 * side**2, (at + 1) * 4 * side**2],
        }
        for at, name in enumerate((FIRST, OTHER))
    }
    raw = json.dumps(header).encode()
    with (folder / adapters.WEIGHTS).open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + 8 * side**2)


CASES = {
    "8 TB of holes": (holes, "the most is"),
    "no config": (lambda folder: (folder / adapters.CONFIG).unlink(), "no adapter_config.json"),
    "only a pickle": (only_pickle, "a pickle"),
    "no weights": (lambda folder: (folder / adapters.WEIGHTS).unlink(), "no such file"),
    "not JSON": (lambda folder: (folder / adapters.CONFIG).write_text("r: 4"), "not JSON"),
    "weights that are none": (lambda folder: (folder / adapters.WEIGHTS).write_bytes(b"x" * 99), "not safetensors"),
    "another method": (settings(peft_type="IA3"), "whet reads LORA"),
    "no method": (settings(peft_type=None), "whet reads LORA"),
    "DoRA": (settings(use_dora=True), "use_dora"),
    "PiSSA": (settings(init_lora_weights="pissa"), "changes the base"),
    "LoftQ": (settings(init_lora_weights="loftq"), "changes the base"),
    "biases": (settings(bias="all"), "bias"),
    "whole modules": (settings(modules_to_save=["lm_head"]), "modules_to_save"),
    "ranks by layer": (settings(rank_pattern={"q_proj": 8}), "rank_pattern"),
    "alphas by layer": (settings(alpha_pattern={"q_proj": 8}), "alpha_pattern"),
    "a key of the future": (settings(use_quora=True), "use_quora"),
    "another rank": (settings(r=8), "has the shape"),
    "no rank": (settings(r=0), "r: '0'"),
    "a rank in words": (settings(r="4"), "r: '4'"),
    "a fraction of a rank": (settings(r=4.5), "r: '4.5'"),
    "an alpha of true": (settings(lora_alpha=True), "lora_alpha"),
    "dropout of 1": (settings(lora_dropout=1), "lora_dropout"),
    "a layer too many": (tensors(elsewhere), "has no layer"),
    "half an adapter": (tensors(lambda found: found.pop(OTHER)), "other half"),
    "another width": (
        tensors(lambda found: found.update({FIRST: found[FIRST][:, :32].contiguous()})), "has the shape"),
    "a vector": (tensors(lambda found: found.update({FIRST: found[FIRST][0].contiguous()})), "no matrix"),
    "not finite": (tensors(not_finite), "finite"),
    "whole numbers": (tensors(lambda found: found.update({FIRST: found[FIRST].int()})), "holds I32"),
    "what is no adapter": (
        tensors(lambda found: found.update({"base_model.model.lm_head.weight": found[FIRST].clone()})), "no part of a LoRA"),
    "names without the prefix": (
        tensors(lambda found: found.update({FIRST[17:]: found.pop(FIRST)})), "no part of a LoRA"),
    "nothing": (tensors(lambda found: found.clear()), "holds no adapter"),
    "rows without ids": (settings(trainable_token_indices=None), "does not name"),
    "too few ids": (settings(trainable_token_indices=[7, 50]), "does not name the 3 rows"),
    "ids twice": (settings(trainable_token_indices=[7, 7, 50]), "does not name"),
    "negative ids": (settings(trainable_token_indices=[-1, 7, 50]), "does not name"),
    "a vocabulary of a million": (settings(trainable_token_indices=[7, 50, 999_999]), "adds the id 999,999"),
    "ids without rows": (tensors(lambda found: found.pop(ROWS)), "does not have"),
    "rows of another width": (
        tensors(lambda found: found.update({ROWS: found[ROWS][:, :9].contiguous()})), "9 wide"),
    "rows of a layer": (
        tensors(lambda found: found.update({ROWS.replace("embed_tokens", "norm"): found.pop(ROWS)})), "does not name|neither"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_adapters_are_refused_before_anything_is_changed(case: str, tmp_path: Path) -> None:
    spoil, says = CASES[case]
    maker = tiny(LLAMA)
    attach(maker, Settings(), targets(maker), NEW, seed=1)
    save_adapter(maker, tmp_path, "someone/llama")
    spoil(tmp_path)
    decoder = tiny(LLAMA)
    before = {name: weight.clone() for name, weight in decoder.model.state_dict().items()}
    with pytest.raises(ArtefactError, match=says) as refusal:
        load_adapter(decoder, tmp_path)
    assert str(tmp_path) in str(refusal.value)
    after = decoder.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not adapters.is_attached(decoder)


def test_another_base_is_named(tmp_path: Path) -> None:
    maker = tiny(LLAMA)
    attach(maker, Settings(), targets(maker), seed=1)
    save_adapter(maker, tmp_path, "someone/llama")
    other = tiny(next(param.values[0] for param in KINDS if param.id == "gpt2"))
    with pytest.raises(ArtefactError, match=r"does not fit[\s\S]*someone/llama"):
        load_adapter(other, tmp_path)


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("kind", KINDS)
def test_trained_rows_beside_the_table_are_pefts_own(kind: type[Family], tied: bool, tmp_path: Path) -> None:
    """Logits and gradients against peft's arithmetic, which copies the table; packed against one document at a time."""
    folder = saved(tmp_path / "base", kind, tied=tied)
    ours = load_base(folder, device=CPU, precision="fp32", weights="compute")
    attach(ours, Settings(), targets(ours), NEW, seed=5)
    stir(ours)
    save_adapter(ours, tmp_path / "adapter", str(folder))
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder), tmp_path / "adapter", is_trainable=True
    ).eval()
    ours.model.eval()
    batch = packed([17, 30])
    found = gradients(ours, batch)
    for segment in (1, 2):
        part = batch.segments[0] == segment
        ids, labels = (torch.from_numpy(array[:, part]) for array in (batch.inputs, batch.labels))
        functional.cross_entropy(plain(input_ids=ids).logits[0], labels[0], reduction="sum").backward()
    expected = {
        name.removeprefix("base_model.model."): weight.grad
        for name, weight in plain.named_parameters()
        if weight.requires_grad
    }
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert relative(found[name], gradient) < 1e-4, name
