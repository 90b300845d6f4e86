"""The tape against torch: what is saved, what is held at most, and when, for every family that whet trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.memory.real import LLAMA, SETTINGS, batch, built, names_within, outline_of, saved_bytes
from whet.memory.operators import How
from whet.memory.sketch import Sketch, micro_batches
from whet.memory.tape import Tape
from whet.train.probe import peak_above

CPU = torch.device("cpu")
FULL = How(rows=2, length=512, compute=2, base="fp32", all_learned=True)
ADAPTED = replace(FULL, base="compute", rank=8)
TOLERANCE = 0.02


def measured(family: str, how: How, wanted: str | list[str] | None, passes: int = 1) -> int:
    """Bytes that a second step holds at most beyond the model."""
    decoder, rows = built(family, how, wanted), batch(how.rows, how.length)

    def step() -> None:
        for _ in range(passes):
            (decoder.nll_sum(rows) / 100).backward()  # type: ignore[no-untyped-call]

    step()
    for weight in decoder.model.parameters():
        weight.grad = None
    return peak_above(step, CPU)


def planned(family: str, how: How, wanted: str | list[str] | None, passes: int = 1) -> int:
    """The same, from the tape."""
    own = replace(how, targets=names_within(family, wanted))
    return micro_batches(outline_of(family), own, passes=passes).peak.total


@pytest.mark.parametrize("precision", [2, 4], ids=["bf16", "fp32"])
@pytest.mark.parametrize("family", list(SETTINGS))
def test_every_weight_trained(family: str, precision: int) -> None:
    how = replace(FULL, compute=precision)
    assert planned(family, how, None) == pytest.approx(measured(family, how, None), rel=TOLERANCE)


@pytest.mark.parametrize("family", list(SETTINGS))
def test_adapters(family: str) -> None:
    assert planned(family, ADAPTED, "all-linear") == pytest.approx(
        measured(family, ADAPTED, "all-linear"), rel=TOLERANCE
    )


@pytest.mark.parametrize("wanted", [None, "attention"], ids=["full", "adapter"])
@pytest.mark.parametrize("family", list(SETTINGS))
def test_gradient_checkpointing(family: str, wanted: str | None) -> None:
    how = replace(FULL if wanted is None else ADAPTED, checkpointing=True)
    assert planned(family, how, wanted) == pytest.approx(measured(family, how, wanted), rel=TOLERANCE)


@pytest.mark.parametrize(
    ("how", "wanted", "passes"),
    [
        (replace(ADAPTED, adapter_dropout=True), "attention", 1),
        (replace(ADAPTED, adapter_dropout=True, checkpointing=True), "all-linear", 1),
        (replace(ADAPTED, compute=4), ["q_proj", "v_proj"], 1),
        (replace(FULL, rows=1, length=512), None, 1),
        (replace(FULL, rows=1, length=1280), None, 1),
        (replace(ADAPTED, rows=2, length=1280), "attention", 1),
        (replace(FULL, rows=1, length=2304), None, 1),
        (replace(ADAPTED, rows=2, length=2304), "attention", 1),
        (replace(FULL, rows=3), None, 1),
        (FULL, None, 2),
    ],
    ids=[
        "dropout",
        "dropout again",
        "fp32",
        "one row",
        "long row",
        "long row, adapter",
        "fused",
        "fused adapter",
        "two chunks",
        "two passes",
    ],
)
def test_the_other_ways(how: How, wanted: str | list[str] | None, passes: int) -> None:
    assert planned("llama", how, wanted, passes) == pytest.approx(
        measured("llama", how, wanted, passes), rel=TOLERANCE
    )


@pytest.mark.parametrize("wanted", [None, "attention"], ids=["full", "adapter"])
def test_many_tokens(wanted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is the peak, and its chunks are shorter: plan and model shorten them alike."""
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 100_000}
    monkeypatch.setitem(SETTINGS, "llama", {**LLAMA, **narrow})
    how = replace(FULL if wanted is None else ADAPTED, rows=1, length=640)
    found = measured("llama", how, wanted)
    assert planned("llama", how, wanted) == pytest.approx(found, rel=TOLERANCE)
    assert found < 640 * 100_000 * 4 * 2, "all logits at once would take more"


@pytest.mark.parametrize("wanted", [None, "all-linear"], ids=["full", "adapter"])
@pytest.mark.parametrize("family", list(SETTINGS))
def test_saved_tensors(family: str, wanted: str | None) -> None:
    """What autograd keeps after the forward pass of the body: copies of weights and activations, tensor by tensor."""
    how = replace(FULL if wanted is None else ADAPTED, targets=names_within(family, wanted))
    decoder, rows = built(family, how, wanted), batch(how.rows, how.length)
    with saved_bytes(decoder) as found, decoder.autocast():
        hidden = decoder.hidden(rows)
    tape = Tape()
    shadow = Sketch(outline_of(family), how, tape).hidden()
    assert shadow.size == hidden.numel()
    last = shadow.size * shadow.width  # alive, and saved by nobody
    assert tape.total - last == pytest.approx(found[0], rel=0.01)


def test_passing_over_equal_blocks_is_exact() -> None:
    """The same blocks as one run, of which only three are sketched, and as runs of one, which all are."""
    outline = outline_of("llama")
    ((count, block),) = outline.blocks
    apart = replace(outline, blocks=((1, block),) * count)
    for how in (
        FULL,
        replace(FULL, checkpointing=True),
        replace(ADAPTED, targets=frozenset({"self_attn.q_proj"})),
    ):
        whole, parts = micro_batches(outline, how), micro_batches(apart, how)
        for phase in ("forward", "loss", "backward", "update"):
            assert whole.peaks[phase] == parts.peaks[phase], phase


def test_nothing_is_left_but_gradients() -> None:
    tape = micro_batches(outline_of("llama"), FULL)
    assert {kind for kind, size in tape.held.items() if size} == {"gradients"}
    trained = outline_of("llama").total * 4
    assert tape.held["gradients"] == pytest.approx(trained, rel=0.01)


def test_sharded_gradients_are_parts() -> None:
    alone, shared = (micro_batches(outline_of("llama"), FULL, shards=n).held["gradients"] for n in (1, 4))
    assert shared == pytest.approx(alone / 4, rel=1e-3)
