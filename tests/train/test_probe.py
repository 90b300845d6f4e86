"""The probe before the first step: it changes nothing, finds the largest micro-batch, and explains what fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.memory.real import batch, built
from whet.errors import TrainingError
from whet.memory.operators import How
from whet.objectives.pretrain import Pretrain
from whet.packing import LOOSE_LENGTH, Pieces, balanced, pack, positions_at_most, singles
from whet.train import probe as probing
from whet.train.optim import Optimizer
from whet.train.probe import explained, held_bytes, knobs, largest, peak_above, probe, warning
from whet.train.sharding import Sharding
from whet.train.world import ALONE

HOW = How(rows=2, length=64, compute=2, base="fp32", all_learned=True)
CHANGE = {"setting": "batch_size=1", "saves_bytes": 3 * 10**9, "makes_it_fit": True, "what": "", "costs": ""}
PLANNED: dict[str, Any] = {
    "steps": 3,
    "memory": {"allocated_bytes": 123, "total_bytes": {"expected": 10**18}, "changes": [CHANGE] * 5},
}


def stage(**more: Any) -> Any:
    """What the optimiser and the probe read of a stage."""
    return SimpleNamespace(
        optimizer="adamw", learning_rate=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, momentum=0.95,
        batch_size=2, accumulation=1, prompt_loss_weight=0.0, **more,
    )  # fmt: skip


def everything(decoder: Any, optimizer: Optimizer) -> list[torch.Tensor]:
    """Copies of all that must stay as it is."""
    tensors = [*decoder.model.parameters(), *optimizer.state_tensors().values()]
    return [tensor.detach().clone() for tensor in tensors] + [torch.get_rng_state()]


@pytest.mark.parametrize("begun", [False, True], ids=["first step", "resumed"])
@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
def test_it_changes_nothing(begun: bool, optimizer_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = stage()
    own.optimizer = optimizer_name
    decoder, rows = built("llama", HOW, None), batch(2, 64)
    optimizer = Optimizer(decoder, own)
    if begun:
        (decoder.nll_sum(rows) / 100).backward()  # type: ignore[no-untyped-call]
        optimizer.step(1e-3)
    monkeypatch.setattr(probing, "largest", lambda training, steps: rows)
    before = everything(decoder, optimizer)
    sharding = Sharding(decoder, ALONE, "ddp")
    found = probe(
        decoder, Pretrain(), optimizer, SimpleNamespace(stage=own), sharding, PLANNED, where="stage first"
    )  # type: ignore[arg-type]
    after = everything(decoder, optimizer)
    assert len(before) == len(after)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(weight.grad is None for weight in decoder.model.parameters())
    assert (found.rows, found.length, found.planned_bytes) == (2, 64, 123)
    state = 2 if optimizer_name == "adamw" else 1
    assert found.measured_bytes > (1 + state) * 4 * sum(w.numel() for w in decoder.model.parameters()) * 0.9


def test_a_probe_before_the_first_step_measures_what_later_steps_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The state that is not there yet is counted: the same figure as after a step."""
    own, rows = stage(), batch(2, 64)
    decoder = built("llama", HOW, None)
    optimizer = Optimizer(decoder, own)
    monkeypatch.setattr(probing, "largest", lambda training, steps: rows)
    sharding, figures = Sharding(decoder, ALONE, "ddp"), []
    for _ in range(2):
        found = probe(decoder, Pretrain(), optimizer, SimpleNamespace(stage=own), sharding, PLANNED, where="")  # type: ignore[arg-type]
        figures.append(found.measured_bytes)
        (decoder.nll_sum(rows) / 100).backward()  # type: ignore[no-untyped-call]
        optimizer.step(1e-3)
    assert figures[0] == pytest.approx(figures[1], rel=1e-3)


def pieces(lengths: list[int]) -> Pieces:
    sizes = np.asarray(lengths, np.int64)
    start = np.concatenate([[0], np.cumsum(sizes + 1)])[:-1].astype(np.int64)
    return Pieces(start, sizes, np.arange(len(sizes)), {})


class Store:
    """Tokens of made-up documents."""

    learned = None

    def __init__(self, count: int) -> None:
        self.tokens = np.arange(count, dtype=np.int64)


class Order:
    """Rows as they come, again and again."""

    def __init__(self, count: int) -> None:
        self.count = count

    def at(self, cursor: int, size: int) -> Any:
        return np.arange(cursor, cursor + size) % self.count


def data(rows: Any, count: int) -> Any:
    return SimpleNamespace(
        stage=stage(),
        rows=rows,
        order=Order(len(rows)),
        store=Store(count),
        pad_id=0,
        launch=SimpleNamespace(size=1),
    )


def test_the_largest_of_packed_rows_is_any() -> None:
    found = largest(data(pack(pieces([30] * 40), 64), 2000), steps=5)
    assert found.inputs.shape == (2, 64)


def test_the_largest_of_examples_takes_most_positions() -> None:
    lengths = [20] * 20
    lengths[7], lengths[12], lengths[13] = 900, 2000, 2040
    rows = singles(pieces(lengths), 4096)
    found = largest(data(rows, sum(lengths) + 50), steps=10)
    sizes = [balanced([lengths[at], lengths[at + 1]], 4096) for at in range(0, 20, 2)]
    most = max((max(at_row) + 1) * width for at_row, width in sizes)
    assert found.inputs.size == most
    assert found.inputs.shape[1] <= LOOSE_LENGTH


def test_the_largest_is_not_the_one_with_the_most_tokens() -> None:
    """One long and one short example leave half of a row empty; a hundred micro-batches have more tokens."""
    lengths = [1100, 1050] * 100
    lengths[60:62] = [2040, 60]
    found = largest(data(singles(pieces(lengths), 4096), sum(lengths) + 300), steps=100)
    assert found.inputs.shape == (2, 2040)


@pytest.mark.parametrize("longest", [1000, 2048, 3001, 8192])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_the_largest_of_all_micro_batches(size: int, longest: int) -> None:
    """Against packing every one; and the bound, by which most are passed over, is one."""
    draw = np.random.default_rng(size * longest)
    for share in (0.05, 0.5, 1.0):
        lengths = draw.integers(1, max(2, int(longest * share)) + 1, 60 * size)
        long = draw.random(len(lengths)) < 0.1
        lengths = np.where(long, draw.integers(longest // 2, longest + 1, len(lengths)), lengths)
        sizes = [balanced(own.tolist(), longest) for own in lengths.reshape(60, size)]
        positions = [(max(at_row) + 1) * width for at_row, width in sizes]
        assert (positions_at_most(lengths.reshape(60, size), longest) >= positions).all()
        given = data(singles(pieces(lengths.tolist()), longest), int(lengths.sum()) + 10**4)
        given.stage.batch_size = size
        assert largest(given, steps=60).inputs.size == max(positions)


def test_steps_that_are_not_taken_do_not_count() -> None:
    lengths = [20] * 20
    lengths[19] = 2000
    found = largest(data(singles(pieces(lengths), 4096), sum(lengths) + 50), steps=3)
    assert found.inputs.size < 100


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: 99 bytes"
        ),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_running_out_of_memory_is_explained(error: BaseException) -> None:
    with (
        pytest.raises(TrainingError, match="too little memory for the probe") as told,
        explained(PLANNED, "stage a", "the probe"),
    ):
        raise error
    assert told.value.where == "stage a"
    assert told.value.fix.count("batch_size=1 saves 3 GB and makes it fit") == 3


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained(PLANNED, "", ""):
        raise RuntimeError("shapes do not fit")


def test_real_memory_that_is_not_there_is_explained() -> None:
    with pytest.raises(TrainingError, match="too little memory"), explained(PLANNED, "", "it"):
        torch.empty(2**60, dtype=torch.uint8)


def test_without_a_plan_there_is_advice_all_the_same() -> None:
    assert "gradient_checkpointing" in knobs({"memory": None})


def test_a_processor_is_warned_beforehand() -> None:
    told = warning(PLANNED, torch.device("cpu"))
    assert told is not None
    assert "batch_size=1" in told
    assert warning(PLANNED, torch.device("cuda")) is None
    assert warning({"memory": None}, torch.device("cpu")) is None


def test_allocations_are_counted_exactly() -> None:
    def call() -> None:
        first = torch.empty(1000, dtype=torch.float32)
        second = torch.empty(500, dtype=torch.float32)
        del first
        third = torch.empty(100, dtype=torch.float32)
        del second, third

    assert peak_above(call, torch.device("cpu")) == 6000


def test_tied_weights_are_held_once() -> None:
    decoder = built("qwen2", HOW, None)
    optimizer = Optimizer(decoder, stage())
    weights = 4 * sum(weight.numel() for weight in decoder.model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in decoder.model.buffers())
    assert held_bytes(decoder, optimizer) == pytest.approx(weights + buffers, rel=1e-6)
