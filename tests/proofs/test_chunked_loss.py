"""Proof: the loss that never makes the whole logits is the plain cross-entropy, and so is every gradient.

For tied and untied heads, with a bias, scaled or capped as stock architectures do it behind their output matrix,
with LoRA on the head, for chunks that divide and do not, for rows without labels, in float64 and in bf16. The
reference is transformers' own forward wherever there is one. A family whose head forgets what its architecture
does to the logits is refused before training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.models.test_families import KINDS, packed_batch, small_decoder
from tests.proofs.bench import plain_mask
from tests.proofs.families import SCALED, Cohere, Foreign, Gemma2, Granite, decoder_of
from whet.errors import IsolationError, TrainingError
from whet.models import chunked, decoder, selfcheck
from whet.models.decoder import Decoder
from whet.models.head import ScaledHead
from whet.packing import IGNORED, Batch

N, D, V = 37, 12, 23


def plain_nll(model: Decoder, batch: Batch) -> torch.Tensor:
    """Summed over the labels, from the logits of the model's own forward."""
    logits = model.model(
        input_ids=torch.from_numpy(batch.inputs),
        position_ids=torch.from_numpy(batch.positions),
        attention_mask=plain_mask(torch.from_numpy(batch.segments)),
        use_cache=False,
    ).logits
    labels = torch.from_numpy(batch.labels).flatten()
    return functional.cross_entropy(logits.flatten(0, 1), labels, ignore_index=IGNORED, reduction="sum")


def gradients(model: Decoder, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: w.grad.clone() for name, w in model.model.named_parameters() if w.grad is not None}


def require_same_gradients(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], bar: float
) -> None:
    assert found.keys() == expected.keys()
    whole = torch.stack([g.norm() for g in expected.values()]).norm()
    for name, grad in expected.items():
        assert float((found[name] - grad).norm()) <= bar * float(grad.norm() + 1e-3 * whole), name


def hidden_and_labels(which: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    hidden = torch.randn(N, D, generator=draw, dtype=dtype)
    labels = torch.randint(0, V, (N,), generator=draw)
    if which == "none labelled":
        labels[:] = IGNORED
    if which == "a third labelled":
        labels[torch.arange(N) % 3 != 0] = IGNORED
    if which == "first half labelled":
        labels[N // 2 :] = IGNORED
    if which == "empty":
        hidden, labels = hidden[:0], labels[:0]
    return hidden, labels


class Wrapped(nn.Module):
    """Some head that is not a plain matrix."""

    def __init__(self, inner: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.change(self.inner(hidden))


HEADS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda inner: inner,
    "scaled": lambda inner: ScaledHead(inner, scale=0.3),
    "capped": lambda inner: ScaledHead(inner, cap=1.5),
    "scaled and capped": lambda inner: ScaledHead(inner, scale=2.0, cap=1.0),
    "any module": lambda inner: Wrapped(inner, lambda logits: logits.sin() * 3),
}


@pytest.mark.parametrize("chunk", [1, 8, 37, 64])
@pytest.mark.parametrize(
    "labelled", ["all", "a third labelled", "first half labelled", "none labelled", "empty"]
)
@pytest.mark.parametrize("kind", HEADS)
def test_loss_and_gradients_in_float64(kind: str, labelled: str, chunk: int) -> None:
    """Hidden states, weights and bias; 37 is prime, so only 1 and 37 divide it."""
    torch.manual_seed(2)
    linear = nn.Linear(D, V, bias=True).double()
    head = HEADS[kind](linear)
    hidden, labels = hidden_and_labels(labelled, torch.float64)
    results = []
    for ours in (True, False):
        leaf = hidden.clone().requires_grad_()
        if ours:
            loss = chunked.nll_sum(leaf, labels, head, chunk=chunk)
        else:
            loss = functional.cross_entropy(head(leaf), labels, ignore_index=IGNORED, reduction="sum")
        (loss * 0.25).backward()  # type: ignore[no-untyped-call]
        assert loss.dtype == torch.float64
        results.append([loss.detach(), leaf.grad, linear.weight.grad, linear.bias.grad])
        linear.zero_grad()
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    if labelled in ("none labelled", "empty"):
        assert all(float(part.abs().sum()) == 0.0 for part in results[0])
    each = chunked.nll_each(hidden, labels, head, chunk=chunk)
    assert float(each.sum()) == pytest.approx(float(results[1][0]), rel=1e-12)
    assert each.shape == labels.shape


@pytest.mark.parametrize("kind", HEADS)
def test_under_bf16_autocast(kind: str) -> None:
    """The chunks round as the whole does: only sums over chunks are taken in another order."""
    torch.manual_seed(2)
    linear = nn.Linear(D, V)
    head = HEADS[kind](linear)
    hidden, labels = hidden_and_labels("a third labelled", torch.float32)
    results = []
    for ours in (True, False):
        leaf = hidden.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if ours:
                loss = chunked.nll_sum(leaf, labels, head, chunk=8)
            else:
                loss = functional.cross_entropy(
                    head(leaf).float(), labels, ignore_index=IGNORED, reduction="sum"
                )
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.dtype == torch.float32
        results.append([loss.detach(), leaf.grad, linear.weight.grad, linear.bias.grad])
        linear.zero_grad()
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=2e-2)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("labelled", ["all", "some rows", "none"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_whole_models_against_transformers(
    norm: str, positions: str, tied: bool, labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every parameter's gradient; a tied head shares its matrix with the embedding, which the body feeds too."""
    monkeypatch.setattr(decoder, "chunk_positions", lambda vocab_size: 7)
    model = small_decoder(norm, positions, tied=tied)
    model.model.double()
    batches = [packed_batch([20, 17], seed, padding=3) for seed in range(3)]
    parts = zip(*((b.inputs, b.labels, b.positions, b.segments) for b in batches), strict=True)
    batch = Batch(*(np.concatenate(part) for part in parts), documents=(0, 1))
    if labelled != "all":
        batch.labels[1 if labelled == "some rows" else slice(None)] = IGNORED
    loss, expected = model.nll_sum(batch), plain_nll(model, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    require_same_gradients(gradients(model, loss), gradients(model, expected), 1e-10)
    each = model.nll_each(batch)
    assert len(each) == batch.label_count
    assert float(each.sum()) == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)


def test_a_tied_head_gets_both_gradients() -> None:
    """From the output and from the look-up: neither alone is the whole."""
    tied, untied = (small_decoder("rmsnorm", "rope", tied=tied) for tied in (True, False))
    untied.model.load_state_dict(tied.model.state_dict())
    assert tied.head.weight is tied.model.get_input_embeddings().weight
    batch = packed_batch([20, 17])
    whole = gradients(tied, tied.nll_sum(batch))["model.embed_tokens.weight"]
    parts = gradients(untied, untied.nll_sum(batch))
    look_up, output = parts["model.embed_tokens.weight"], parts["lm_head.weight"]
    assert look_up.norm() > 0.01 * whole.norm()
    assert output.norm() > 0.01 * whole.norm()
    torch.testing.assert_close(whole, look_up + output, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: kind.NAME)
def test_scaled_and_capped_heads_are_those_of_transformers(kind: type[Foreign], tied: bool) -> None:
    """The mean loss that the plain model computes itself, and every gradient; the self-check agrees."""
    model = decoder_of(kind, tied=tied, spread=40.0)
    selfcheck.check(model)
    batch = packed_batch([20, 17], padding=3)
    loss, expected = model.nll_sum(batch), plain_nll(model, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    require_same_gradients(gradients(model, loss), gradients(model, expected), 1e-4)
    alone = packed_batch([30])
    labels = torch.from_numpy(np.concatenate([[[IGNORED]], alone.labels[:, :-1]], 1))  # it shifts them itself
    own = model.model(input_ids=torch.from_numpy(alone.inputs), labels=labels, use_cache=False).loss
    alone.labels[:, -1] = IGNORED
    assert model.nll_sum(alone).item() / alone.label_count == pytest.approx(own.item(), rel=1e-5)


@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: kind.NAME)
def test_a_family_that_forgets_its_scaling_is_refused(kind: type[Foreign]) -> None:
    """With fresh weights, whose small logits hardly feel a cap of 30: the check looks at large ones too."""
    model = decoder_of(kind)
    selfcheck.check(model)
    model.head = model.model.get_output_embeddings()
    assert selfcheck.chunked_difference(model) < 1e-5, "the chunked loss alone cannot see it"
    with pytest.raises(IsolationError, match=r"own forward.*\n?.*head\(\)") as error:
        selfcheck.check(model)
    assert kind.NAME in str(error.value)


WRONG: list[tuple[type[Foreign], dict[str, Any]]] = [
    (Cohere, {"scale": 0.0628}),
    (Granite, {"scale": 6.0}),
    (Gemma2, {"cap": 29.0}),
    (Gemma2, {"cap": 30.0, "scale": 0.99}),
]


@pytest.mark.parametrize(("kind", "given"), WRONG, ids=str)
def test_a_head_with_the_wrong_constant_is_refused(kind: type[Foreign], given: dict[str, Any]) -> None:
    model = decoder_of(kind)
    model.head = ScaledHead(model.model.get_output_embeddings(), **given)
    with pytest.raises(IsolationError, match="own forward"):
        selfcheck.check(model)


def test_attention_that_whet_does_not_do_is_refused() -> None:
    """Soft-capped scores and a window that is shorter than the context: left out, they would go unseen."""
    with pytest.raises(TrainingError, match="softcap"):
        selfcheck.check(decoder_of(Gemma2, attn_logit_softcapping=50.0))
    with pytest.raises(IsolationError, match="looks back 8 positions"):
        selfcheck.check(decoder_of(Gemma2, sliding_window=8))


def with_lora(model: Decoder, *targets: str) -> Decoder:
    """The same model, frozen, with LoRA of rank 4 on these modules, as peft makes it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(8)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), lora_dropout=0.0)
    adapted = get_peft_model(model.model, config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:  # zero at first: its partner would get no gradient
                weight.normal_(0, 0.1)
    return Decoder(model.model, model.family, precision="fp32")


LORA = {
    "llama": lambda: small_decoder("rmsnorm", "rope", tied=False),
    "gpt_neox": lambda: small_decoder("layernorm", "rope", tied=False),
    "gemma2": lambda: decoder_of(Gemma2, tied=False, spread=40.0),
    "cohere": lambda: decoder_of(Cohere, tied=False, spread=40.0),
}


@pytest.mark.parametrize("chunk", [1, 7, 37, 1024])
@pytest.mark.parametrize("name", LORA)
def test_lora_on_the_head(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter acts in the loss, gets its gradient, and the frozen matrix gets none; also under a scaled head."""
    monkeypatch.setattr(decoder, "chunk_positions", lambda vocab_size: chunk)
    plain = LORA[name]()
    target = next(n for n, m in plain.model.named_modules() if m is plain.model.get_output_embeddings())
    batch = packed_batch([20, 17], padding=3)
    without = plain.nll_sum(batch).item()
    model = with_lora(plain, target, "q_proj" if name != "gpt_neox" else "query_key_value")
    model.model.double()
    loss, expected = model.nll_sum(batch), plain_nll(model, batch)
    assert abs(loss.item() - without) > 1e-3, "the adapter acts"
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    found = gradients(model, loss)
    of_head = {n for n in found if n.startswith(target)}
    assert len(of_head) == 2
    assert all("lora" in n for n in found), "only adapters"
    assert all(float(found[n].norm()) > 0 for n in found)
    require_same_gradients(found, gradients(model, expected), 1e-5)
    selfcheck.check(model)


def test_a_frozen_head_gets_no_gradient_and_passes_on_the_hidden_states() -> None:
    model = small_decoder("rmsnorm", "rope", tied=False)
    model.head.weight.requires_grad_(False)
    batch = packed_batch([20, 17], padding=3)
    loss, expected = model.nll_sum(batch), plain_nll(model, batch)
    found = gradients(model, loss)
    assert "lm_head.weight" not in found
    require_same_gradients(found, gradients(model, expected), 1e-4)
