"""Families trained from nothing: counts, plain transformers loads what is saved, packing isolates, the loss is the plain one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from whet.errors import IsolationError, WhetError
from whet.models import chunked, decoder, selfcheck
from whet.models.attention_blocks import BLOCK, blocks
from whet.models.build import load_model, new_model, save_model
from whet.models.decoder import Decoder
from whet.models.families.base import family_for, from_nothing
from whet.models.shape import SIZES, Shape
from whet.packing import IGNORED, Batch

SPECIAL = {"pad": 0, "bos": 2, "eos": 3}
CPU = torch.device("cpu")
SMALL = Shape(norm="", positions="", d_model=32, layers=2, heads=2, d_ff=48, context=64, vocab_size=101)
KINDS = [(kind.NORM, kind.POSITIONS) for kind in from_nothing()]


def small_decoder(norm: str, positions: str, *, tied: bool = True, dropout: float = 0.0) -> Decoder:
    shape = replace(SMALL, norm=norm, positions=positions, tie_embeddings=tied, dropout=dropout)
    return new_model(shape, SPECIAL, seed=3, device=CPU, precision="fp32")


def packed_batch(lengths: list[int], seed: int = 0, *, padding: int = 0) -> Batch:
    """One row of several documents."""
    draw = np.random.default_rng(seed)
    total = sum(lengths) + padding
    inputs, labels = draw.integers(0, 101, (1, total)), draw.integers(0, 101, (1, total))
    positions = np.concatenate([*(np.arange(n) for n in lengths), np.zeros(padding, int)])[None]
    segments = np.concatenate([*(np.full(n, i + 1) for i, n in enumerate(lengths)), np.zeros(padding, int)])[
        None
    ]
    labels[segments == 0] = IGNORED
    return Batch(inputs, labels, positions, segments, tuple(range(len(lengths))))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("size", ["tiny", "large"])
def test_parameter_counts_are_exact(size: str, norm: str, positions: str, tied: bool) -> None:
    from transformers import AutoModelForCausalLM

    shape = Shape(norm=norm, positions=positions, vocab_size=32_000, tie_embeddings=tied, **SIZES[size])
    family = family_for(norm, positions)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(family.config(shape, SPECIAL))
    assert (
        sum(weight.numel() for weight in model.parameters()) == family.outline(family.settings(shape)).total
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_plain_transformers_gives_the_same_logits(
    norm: str, positions: str, tied: bool, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    ours = small_decoder(norm, positions, tied=tied)
    save_model(ours, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, 101, (2, 40), generator=torch.Generator().manual_seed(1))
    batch = Batch(
        ids.numpy(), ids.numpy(), np.tile(np.arange(40), (2, 1)), np.ones((2, 40), np.int64), (0, 1)
    )
    ours.model.eval()
    with torch.no_grad():
        expected = plain(input_ids=ids).logits
        found = ours.head(ours.hidden(batch))
    assert (tmp_path / "config.json").read_text().find("whet") == -1, "a saved model says nothing of whet"
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    again = load_model(tmp_path, device=CPU, precision="fp32")
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), ours.model.parameters(), strict=True)
    )


@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_packed_is_alone(norm: str, positions: str) -> None:
    """Each document of a packed, padded row has the losses it has in a row of its own."""
    model = small_decoder(norm, positions)
    model.model.eval()
    batch = packed_batch([7, 20, 1, 12], padding=5)
    together = model.nll_each(batch)
    alone = []
    for segment in range(1, 5):
        part = batch.segments[0] == segment
        rows = [array[:, part] for array in (batch.inputs, batch.labels, batch.positions, batch.segments)]
        alone.append(model.nll_each(Batch(*rows, (0,))))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_selfcheck_passes_and_finds_a_leak(
    norm: str, positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_decoder(norm, positions)
    selfcheck.check(model)

    def leaky(segments: torch.Tensor) -> torch.Tensor:
        length = segments.shape[1]
        return torch.ones(length, length, dtype=torch.bool).tril().expand(len(segments), 1, length, length)

    monkeypatch.setattr(decoder, "packed_mask", leaky)
    with pytest.raises(IsolationError, match="crosses documents"):
        selfcheck.check(model)


def test_selfcheck_finds_a_wrong_chunked_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_decoder("rmsnorm", "rope")
    right = chunked.nll_sum
    monkeypatch.setattr(chunked, "nll_sum", lambda *args, **more: right(*args, **more) * 1.001)
    with pytest.raises(IsolationError, match="chunked loss"):
        selfcheck.check(model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_chunked_loss_and_every_gradient_are_the_plain_ones(
    norm: str, positions: str, tied: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "chunk_positions", lambda vocab_size: chunk)
    model = small_decoder(norm, positions, tied=tied)
    batch = packed_batch([20, 17], padding=3)
    model.nll_sum(batch).backward()
    found = {name: weight.grad.clone() for name, weight in model.model.named_parameters()}
    model.model.zero_grad()
    logits = model.head(model.hidden(batch)).flatten(0, 1)
    functional.cross_entropy(logits, torch.from_numpy(batch.labels).flatten(), reduction="sum").backward()
    for name, weight in model.model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, atol=2e-4, rtol=2e-4, msg=name)


def test_a_scaled_head_keeps_its_scaling() -> None:
    """The loss goes through the head as a module: what is done to the logits there counts."""

    class Scaled(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return 5.0 * torch.tanh(self.inner(hidden) / 5.0) * 0.5

    model = small_decoder("rmsnorm", "rope", tied=False)
    plain = model.nll_sum(packed_batch([20]))
    model.head = Scaled(model.head)
    assert abs(model.nll_sum(packed_batch([20])).item() - plain.item()) > 1e-3
    assert selfcheck.chunked_difference(model) < 1e-5


@pytest.mark.parametrize("length", [1, 2, 33, 257, 700])
def test_attention_on_the_cpu_is_torchs_own(length: int) -> None:
    """The explicit kernel against scaled_dot_product_attention, values and gradients, and grouped heads."""
    from whet.models.attention import _explicit

    draw = torch.Generator().manual_seed(5)
    query = torch.randn(2, 4, length, 8, generator=draw, dtype=torch.float64, requires_grad=True)
    key, value = (
        torch.randn(2, 2, length, 8, generator=draw, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    cuts = torch.tensor([[0.3], [0.9]]) * length
    mask = decoder.packed_mask((torch.arange(length) >= cuts).long())
    found = _explicit(query, key, value, mask, 0.0, None).transpose(1, 2)
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    ours = torch.autograd.grad((found * upstream).sum(), (query, key, value), retain_graph=True)
    theirs = torch.autograd.grad((expected * upstream).sum(), (query, key, value))
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def test_blocks_of_queries_cover_a_row_once() -> None:
    for length in range(1, 1200):
        cuts = blocks(length)
        assert [place for start, end in cuts for place in range(start, end)] == list(range(length))
        assert max(end - start for start, end in cuts) <= BLOCK


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = small_decoder("rmsnorm", "rope")
    torch.manual_seed(2)
    second = small_decoder("rmsnorm", "rope")
    assert all(
        torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True)
    )


def test_no_stock_architecture_for_the_fourth_cell() -> None:
    with pytest.raises(WhetError, match="no stock architecture"):
        family_for("rmsnorm", "learned")


@pytest.mark.parametrize("kind", from_nothing(), ids=lambda kind: kind.NAME)
def test_families_say_where_dropout_is(kind: type) -> None:
    """Dropout acts in training and not in evaluation, in every family."""
    model = small_decoder(kind.NORM, kind.POSITIONS, dropout=0.3)
    batch = packed_batch([30])
    model.model.train()
    assert model.nll_sum(batch).item() != model.nll_sum(batch).item()
    model.model.eval()
    assert model.nll_sum(batch).item() == model.nll_sum(batch).item()


@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_gradient_checkpointing_changes_no_gradient(norm: str, positions: str) -> None:
    plain, saving = small_decoder(norm, positions), small_decoder(norm, positions)
    saving.use_gradient_checkpointing()
    for model in (plain, saving):
        model.model.train()
        model.nll_sum(packed_batch([20, 17], padding=3)).backward()
    assert all(block.gradient_checkpointing for block in saving.family.blocks(saving.model))
    for found, expected in zip(saving.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad)
