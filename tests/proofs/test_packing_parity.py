"""Proof: a document in a packed row is computed as if it were alone.

Its losses and the gradients it causes are those of a row of its own (1e-5: another row length rounds otherwise);
replacing its neighbours changes nothing of it; and its loss has exactly no gradient in their embeddings. For every
family (and one with grouped heads), tied and not, every attention, in training and evaluation, with and without
checkpointing, a cache, and compilation.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.models.test_families import CPU, SPECIAL, packed_batch, small_decoder
from tests.proofs.bench import plain_mask
from tests.proofs.families import Granite, decoder_of
from whet.errors import IsolationError
from whet.evaluate.score import score
from whet.models import attention, decoder, selfcheck
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.shape import Shape
from whet.objectives.pretrain import Pretrain
from whet.packing import IGNORED, Batch
from whet.progress import Task
from whet.tokenstore import TokenStore, TokenWriter
from whet.train.loop import validation_loss
from whet.train.sharding import Sharding
from whet.train.world import ALONE

FAMILIES: dict[str, Callable[..., Decoder]] = {
    "llama": lambda tied=True: small_decoder("rmsnorm", "rope", tied=tied),
    "gpt2": lambda tied=True: small_decoder("layernorm", "learned", tied=tied),
    "gpt_neox": lambda tied=True: small_decoder("layernorm", "rope", tied=tied),
    "granite, grouped heads": lambda tied=True: decoder_of(Granite, tied=tied),
}
ATTENTIONS = ["whet_packed", "sdpa", "eager"]
LENGTHS, PADDING = [7, 20, 1, 12], 5
every_family = pytest.mark.parametrize("family", FAMILIES)
every_attention = pytest.mark.parametrize("attention_name", ATTENTIONS)


def made(family: str, attention_name: str = "whet_packed", *, tied: bool = True) -> Decoder:
    model = FAMILIES[family](tied=tied)
    model.model.set_attn_implementation(attention_name)
    return model


def row() -> Batch:
    return packed_batch(LENGTHS, padding=PADDING)


def alone(batch: Batch) -> list[Batch]:
    """Each document of a one-row batch in a row of its own, without padding."""
    found = []
    for segment in range(1, int(batch.segments.max()) + 1):
        part = batch.segments[0] == segment
        arrays = (batch.inputs, batch.labels, batch.positions, batch.segments)
        found.append(Batch(*(array[:, part] for array in arrays), (0,)))
    return found


def gradients(model: Decoder, batches: list[Batch]) -> torch.Tensor:
    """Of the summed loss, in one vector."""
    model.model.zero_grad()
    for batch in batches:
        model.nll_sum(batch).backward()  # type: ignore[no-untyped-call]
    return torch.cat([w.grad.flatten() for w in model.model.parameters() if w.grad is not None])


def require_packed_is_alone(model: Decoder) -> None:
    """Losses of each label, and the gradient of the sum."""
    batch = row()
    together, apart = model.nll_each(batch), torch.cat([model.nll_each(part) for part in alone(batch)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
    found, expected = gradients(model, [batch]), gradients(model, alone(batch))
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def require_neighbours_change_nothing(model: Decoder, bar: float = 1e-6) -> None:
    """One document after the other is kept while all others and the padding are replaced."""
    batch = row()
    before = model.hidden(batch).detach()
    for segment in range(1, len(LENGTHS) + 1):
        kept = batch.segments == segment
        other = packed_batch(LENGTHS, seed=segment, padding=PADDING)
        changed = replace(batch, inputs=np.where(kept, batch.inputs, other.inputs))
        assert (changed.inputs[~kept] != batch.inputs[~kept]).any()
        after, mask = model.hidden(changed).detach(), torch.from_numpy(kept)
        assert float((after[mask] - before[mask]).abs().max()) <= bar
        assert float((after[~mask] - before[~mask]).abs().max()) > 1e-3, "the others did change"


@contextmanager
def embeddings_of(model: Decoder) -> Iterator[list[torch.Tensor]]:
    """The embeddings (B, L, D) of the next forwards, with their gradients kept."""
    seen: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    handle = model.model.get_input_embeddings().register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def require_no_gradient_into_neighbours(model: Decoder) -> None:
    """The loss of one document, backward: exactly 0 at every position of the others."""
    batch = row()
    for segment in (2, 4):
        kept = batch.segments == segment
        with embeddings_of(model) as seen:
            model.nll_sum(replace(batch, labels=np.where(kept, batch.labels, IGNORED))).backward()  # type: ignore[no-untyped-call]
        (embedded,) = seen
        grad, mask = embedded.grad, torch.from_numpy(kept)
        assert grad is not None
        assert float(grad[mask].abs().sum()) > 0
        assert float(grad[~mask].abs().max()) == 0.0


@pytest.mark.parametrize("tied", [True, False])
@every_attention
@every_family
def test_every_family_and_attention(family: str, attention_name: str, tied: bool) -> None:
    for training in (False, True):
        model = made(family, attention_name, tied=tied)
        model.model.train(training)
        require_packed_is_alone(model)
        require_neighbours_change_nothing(model)
        require_no_gradient_into_neighbours(model)
        selfcheck.check(model)


@every_attention
@every_family
def test_with_gradient_checkpointing(family: str, attention_name: str) -> None:
    model = made(family, attention_name)
    model.use_gradient_checkpointing()
    model.model.train()
    require_packed_is_alone(model)
    require_neighbours_change_nothing(model)
    require_no_gradient_into_neighbours(model)


@every_attention
@every_family
def test_in_bf16(family: str, attention_name: str) -> None:
    """Coarser, but as closed: what is masked has no weight at all."""
    model = made(family, attention_name)
    model.precision = "bf16"
    model.model.train()
    with model.autocast():
        require_neighbours_change_nothing(model)
    require_no_gradient_into_neighbours(model)
    batch = row()
    apart = torch.cat([model.nll_each(part) for part in alone(batch)])
    torch.testing.assert_close(model.nll_each(batch), apart, atol=2e-2, rtol=0)


@every_family
def test_in_float64(family: str) -> None:
    """With the digits of float64, packed is alone to a hundred billionth."""
    model = made(family)
    model.model.double()
    batch = row()
    apart = torch.cat([model.nll_each(part) for part in alone(batch)])
    torch.testing.assert_close(model.nll_each(batch), apart, atol=1e-11, rtol=0)
    found, expected = gradients(model, [batch]), gradients(model, alone(batch))
    assert float((found - expected).norm() / expected.norm()) < 1e-11


compilers = pytest.mark.parametrize(
    "backend",
    [
        "eager",
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
                ),
            ],
        ),
    ],
)


@compilers
@pytest.mark.parametrize(
    "family", [name if name == "llama" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_compiled(family: str, backend: str) -> None:
    model = made(family)
    model.model.train()
    model.compile(backend=backend)
    batch = row()
    found = gradients(model, [batch])
    expected = gradients(made(family), alone(batch))
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    require_neighbours_change_nothing(model)
    require_no_gradient_into_neighbours(model)


@pytest.mark.slow
@compilers
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@every_family
def test_compiled_with_checkpointing(family: str, precision: str, backend: str) -> None:
    model = made(family)
    model.precision = precision
    model.use_gradient_checkpointing()
    model.model.train()
    model.compile(backend=backend)
    with model.autocast():
        require_neighbours_change_nothing(model)
    require_no_gradient_into_neighbours(model)
    if precision == "fp32":
        found, expected = gradients(model, [row()]), gradients(made(family), alone(row()))
        assert float((found - expected).norm() / expected.norm()) < 1e-5


def logits_of(model: Decoder, batch: Batch, *, use_cache: bool, mask: bool) -> torch.Tensor:
    """(L, V) from plain transformers' forward."""
    given = {"attention_mask": plain_mask(torch.from_numpy(batch.segments))} if mask else {}
    with torch.no_grad():
        output = model.model(
            input_ids=torch.from_numpy(batch.inputs),
            position_ids=torch.from_numpy(batch.positions),
            use_cache=use_cache,
            **given,
        )
    logits: torch.Tensor = output.logits[0]
    return logits


@pytest.mark.parametrize("use_cache", [True, False])
@every_family
def test_plain_transformers_with_our_mask(family: str, use_cache: bool) -> None:
    """The mask alone keeps documents apart, cache or no cache; and the plain forward gives our losses."""
    model = made(family, "sdpa")
    model.model.eval()
    batch = row()
    logits = logits_of(model, batch, use_cache=use_cache, mask=True)
    labels = torch.from_numpy(batch.labels[0])
    losses = functional.cross_entropy(logits, labels, reduction="none")[labels != IGNORED]
    torch.testing.assert_close(losses, model.nll_each(batch), atol=1e-5, rtol=0)
    apart = torch.cat([logits_of(model, part, use_cache=use_cache, mask=False) for part in alone(batch)])
    torch.testing.assert_close(logits[: len(apart)], apart, atol=1e-5, rtol=0)


@every_family
def test_position_ids_alone_leak_as_soon_as_there_is_a_cache(family: str) -> None:
    """Why the mask is explicit. If a later transformers closes this, the mask does no harm."""
    model = made(family, "sdpa")
    model.model.eval()
    batch = packed_batch(LENGTHS)
    apart = torch.cat([logits_of(model, part, use_cache=False, mask=False) for part in alone(batch)])
    leak = float((logits_of(model, batch, use_cache=True, mask=False) - apart).abs().max())
    if leak < 1e-3:
        pytest.skip("this transformers keeps documents apart by their positions, cache or not")
    assert leak > 1e-3
    assert float((logits_of(model, batch, use_cache=True, mask=True) - apart).abs().max()) < 1e-5


@every_family
def test_validation_packed_is_validation_alone(family: str) -> None:
    """And training mode is as before afterwards."""
    model = made(family)
    model.model.train()
    batch = row()
    apart = alone(batch)
    one = Sharding(model, ALONE, "ddp")
    packed = validation_loss(model, Pretrain(), [batch], one)
    assert packed == pytest.approx(validation_loss(model, Pretrain(), apart, one), abs=1e-5)
    assert model.model.training


@every_family
def test_scoring_windows_is_scoring_alone(family: str, tmp_path: Path) -> None:
    """Documents of all lengths; longer ones in overlapping windows, of which each sees its own context only."""
    model = made(family)
    draw = np.random.default_rng(7)
    lengths, length, stride = [2, 9, 24, 25, 26, 60, 3, 100], 24, 10
    documents = [draw.integers(4, 101, size).tolist() for size in lengths]
    writer = TokenWriter(tmp_path / "split", 101)
    for ids in documents:
        writer.add(ids, text_bytes=1, about={})
    writer.finish()
    writer.close()
    store = TokenStore.open(tmp_path / "split", 101)
    found = score(model, store, length=length, stride=stride, pad_id=0, task=Task("", None))
    expected = []
    for ids in documents:
        inputs, total, scored = len(ids) - 1, 0.0, 0
        while scored < inputs:
            end = min(inputs, length if scored == 0 else scored + stride)
            window = torch.tensor([ids[max(0, end - length) : end]])
            with torch.no_grad():
                logits = model.model(window, use_cache=False).logits[0, -(end - scored) :]
            total += float(
                functional.cross_entropy(logits, torch.tensor(ids[scored + 1 : end + 1]), reduction="sum")
            )
            scored = end
        expected.append(total)
    assert found.nll_nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens.tolist() == [size - 1 for size in lengths]


@pytest.fixture
def explicit_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Row lengths that whet's own CPU attention was used for."""
    calls: list[int] = []
    right = attention._explicit

    def counting(query: torch.Tensor, *more: Any) -> torch.Tensor:
        calls.append(query.shape[2])
        return right(query, *more)

    monkeypatch.setattr(attention, "_explicit", counting)
    return calls


@every_family
def test_rows_longer_than_the_explicit_attention(
    family: str, explicit_calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LONGEST is lowered to 16 here: the row takes torch's kernel, two of its documents alone take ours."""
    monkeypatch.setattr(attention, "LONGEST", 16)
    model = made(family)
    model.model.train()
    require_packed_is_alone(model)
    assert set(explicit_calls) == {1, 7, 12}
    require_neighbours_change_nothing(model)
    require_no_gradient_into_neighbours(model)


def test_a_row_of_2100_positions(explicit_calls: list[int]) -> None:
    """No constant changed: the row is longer than LONGEST, its documents are not."""
    shape = Shape(
        norm="rmsnorm", positions="rope", d_model=16, layers=2, heads=2, d_ff=32, context=4096, vocab_size=101
    )
    model = new_model(shape, SPECIAL, seed=3, device=CPU, precision="fp32")
    batch = packed_batch([1200, 600, 300])
    assert batch.inputs.shape[1] == 2100 > attention.LONGEST
    found = gradients(model, [batch])
    assert explicit_calls == []
    expected = gradients(model, alone(batch))
    assert set(explicit_calls) == {1200, 600, 300}
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    torch.testing.assert_close(
        model.nll_each(batch), torch.cat([model.nll_each(part) for part in alone(batch)]), atol=1e-5, rtol=0
    )
    with embeddings_of(model) as seen:
        model.nll_sum(replace(batch, labels=np.where(batch.segments == 2, batch.labels, IGNORED))).backward()  # type: ignore[no-untyped-call]
    grad = seen[0].grad
    assert grad is not None
    assert float(grad[:, :1200].abs().max()) == float(grad[:, 1800:].abs().max()) == 0.0
    assert float(grad[:, 1200:1800].abs().max()) > 0.0


def deaf(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any) -> Any:
    """An attention that goes by position alone and does not hear the mask."""
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_family_that_ignores_the_mask_is_refused(family: str) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register("deaf", deaf)
    AttentionMaskInterface.register("deaf", sdpa_mask)
    model = made(family, "deaf")
    with pytest.raises(IsolationError, match="crosses documents"):
        selfcheck.check(model)
    with pytest.raises(AssertionError):
        require_packed_is_alone(model)
    with pytest.raises(AssertionError):
        require_neighbours_change_nothing(model)
    with pytest.raises(AssertionError):
        require_no_gradient_into_neighbours(model)


@every_family
def test_a_mask_that_shows_the_future_is_refused(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are apart, so only the comparison with the model's own forward can see it."""
    monkeypatch.setattr(
        decoder, "packed_mask", lambda segments: (segments[:, :, None] == segments[:, None, :])[:, None]
    )
    model = made(family)
    assert selfcheck.isolation_difference(model) < 1e-5
    with pytest.raises(IsolationError, match="own forward"):
        selfcheck.check(model)


def test_a_boolean_mask_under_eager_attention_would_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers' eager attention adds the mask to the scores: a boolean one would hide nothing."""
    monkeypatch.setattr(Decoder, "_mask", lambda self, segments: decoder.packed_mask(segments))
    with pytest.raises(IsolationError, match="crosses documents"):
        selfcheck.check(made("llama", "eager"))


def test_a_difference_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "isolation_difference", lambda model: float("nan"))
    with pytest.raises(IsolationError, match="nan"):
        selfcheck.check(made("llama"))
