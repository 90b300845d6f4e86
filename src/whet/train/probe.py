"""Before the first step: the stage's largest micro-batch, forward and backward, so that memory runs out now or never.

Weights, optimiser, progress and random numbers are afterwards what they were, bit for bit: gradients are made and
forgotten, no update is made. In place of an optimiser state that is not there yet as many bytes are held, and where a
step has several micro-batches the pass is made twice, so that the second finds gradients as later ones do.

Left out: what the update needs for itself (Muon: copies of one matrix), when the activations are gone; validation,
whose batches are as large, without gradients; saving. On a CPU the system may end the process instead of refusing
memory, so the plan is compared with what is free first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whet import packing
from whet.errors import OutOfMemory, WhetError
from whet.memory import weights
from whet.models.decoder import Decoder
from whet.objectives.base import Objective
from whet.packing import Batch
from whet.progress import amount
from whet.tokenstore import Int64
from whet.train.data import TrainingData
from whet.train.optim import Optimizer
from whet.train.sharding import Sharding

MOST_LOOKED_AT = 200_000
"""Micro-batches among which the largest is looked for."""
MOST_PACKED = 20_000
"""Of those that could be the largest so many are packed to see: some seconds; where they do not settle it, the largest
of them is taken."""
SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Probed:
    """What the largest micro-batch took. Bytes of tensors on this device, weights and optimiser among them."""

    rows: int
    length: int
    measured_bytes: int
    planned_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        """For the stage's record."""
        return {
            "rows": self.rows,
            "length": self.length,
            "measured_bytes": self.measured_bytes,
            "planned_bytes": self.planned_bytes,
        }


def probe(
    decoder: Decoder,
    objective: Objective,
    optimizer: Optimizer,
    training: TrainingData,
    sharding: Sharding,
    planned: dict[str, Any],
    *,
    where: str,
) -> Probed:
    """Run the stage's largest micro-batch; every process calls it. `planned` is the stage's part of the plan.

    Raises OutOfMemory with the changes that would save most if memory runs out; `where` names the stage.
    """
    batch = largest(training, int(planned["steps"]))
    rows, length = batch.inputs.shape
    passes = 2 if training.stage.accumulation > 1 else 1
    with (
        explained(planned, where, f"the largest micro-batch ({rows} x {length:,} tokens)"),
        _same_random(decoder),
    ):
        decoder.model.train()
        before = held_bytes(decoder, optimizer)
        state = _state_to_come(decoder, optimizer, training.stage.optimizer)
        try:
            peak = peak_above(partial(_pass, decoder, objective, batch, sharding, passes), decoder.device)
        finally:
            optimizer.forget_gradients()
        measured = before + (0 if state is None else state.numel()) + peak
    found = planned.get("memory")
    return Probed(int(rows), int(length), measured, None if found is None else int(found["allocated_bytes"]))


def largest(training: TrainingData, steps: int) -> Batch:
    """The micro-batch with the most positions among those of the stage's steps; packed rows all have as many."""
    stage = training.stage
    count = min(steps * stage.accumulation * training.launch.size, MOST_LOOKED_AT)
    rows = training.order.at(0, count * stage.batch_size).reshape(count, stage.batch_size)
    at = 0
    if training.rows.loose:
        at = _most_positions(training.rows.pieces.length[training.rows.order[rows]], training.rows.length)
    return packing.batch_of(
        training.store, training.rows, rows[at], training.pad_id, None, stage.prompt_loss_weight
    )


def _most_positions(sizes: Int64, longest: int) -> int:
    """Which micro-batch of examples, (micro-batches, examples) tokens, takes the most positions when it is packed.

    Those that could take most are packed first, until no other can take more.
    """
    bounds = packing.positions_at_most(sizes, longest)
    most = found = 0
    for at in np.argsort(-bounds, kind="stable")[:MOST_PACKED].tolist():
        if bounds[at] <= most:
            break
        at_row, width = packing.balanced(sizes[at].tolist(), longest)
        if (max(at_row) + 1) * width > most:
            most, found = (max(at_row) + 1) * width, at
    return found


def _pass(decoder: Decoder, objective: Objective, batch: Batch, sharding: Sharding, passes: int) -> None:
    """As the loop does it, with the loss of this batch alone."""
    for number in range(passes):
        with sharding.gradients(last=number == passes - 1):
            loss = sharding.call(partial(objective.loss_sum, decoder, batch))
            (loss / max(objective.weight(batch), 1.0)).backward()  # type: ignore[no-untyped-call]


def _state_to_come(decoder: Decoder, optimizer: Optimizer, name: str) -> torch.Tensor | None:
    """As many bytes as the optimiser's state will have; None where it is there already."""
    if optimizer.state_tensors():
        return None
    matrices = {id(weight) for weight in _muon_matrices(optimizer)}
    muon = sum(_own(weight).numel() for _, weight in optimizer.parameters if id(weight) in matrices)
    others = [_own(weight).numel() for _, weight in optimizer.parameters if id(weight) not in matrices]
    return torch.zeros(weights.optimizer_bytes(name, others, muon), dtype=torch.uint8, device=decoder.device)


def _muon_matrices(optimizer: Optimizer) -> Iterator[torch.Tensor]:
    for part in optimizer.parts:
        if type(part).__name__ == "Muon":
            for group in part.param_groups:
                yield from group["params"]


def held_bytes(decoder: Decoder, optimizer: Optimizer) -> int:
    """Bytes of this process's weights, buffers and optimiser state, each storage once."""
    tensors = [*decoder.model.parameters(), *decoder.model.buffers(), *optimizer.state_tensors().values()]
    for weight in decoder.model.parameters():
        tensors += _constants(weight)
    storages = {}
    for tensor in tensors:
        own = _own(tensor)
        storages[own.untyped_storage().data_ptr()] = own.untyped_storage().nbytes()
    return sum(storages.values())


def _constants(weight: Any) -> list[torch.Tensor]:
    """The scales of a quantized weight, where bitsandbytes keeps them beside it."""
    state = getattr(weight, "quant_state", None)
    nested = getattr(state, "state2", None)
    found = [getattr(weight, "SCB", None), *(getattr(part, "absmax", None) for part in (state, nested))]
    return [tensor for tensor in found if isinstance(tensor, torch.Tensor)]


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor that is spread over several."""
    local = getattr(tensor, "to_local", None)
    return local() if local is not None else tensor


@contextmanager
def _same_random(decoder: Decoder) -> Iterator[None]:
    """Random numbers drawn within are drawn again afterwards."""
    devices = [decoder.device] if decoder.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def peak_above(call: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors held at most during `call`, beyond what is held now. On a CPU by torch's allocation events."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return int(torch.cuda.max_memory_allocated(device) - before)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints that it finds no GPU
    with torch.autograd.profiler.profile(profile_memory=True, use_kineto=True) as events:
        call()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in events.kineto_results.events()
        if event.name() == "[memory]" and event.device_type().name == "CPU"
    ]
    now = most = 0
    for _, change in sorted(changes, key=lambda found: found[0]):
        now += change
        most = max(most, now)
    return most


def free_bytes() -> int | None:
    """RAM that can be had without swapping (Linux); None where it is not known."""
    with suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text("ascii")
        return int(text.split("MemAvailable:", 1)[1].split("kB", 1)[0]) * 1024
    return None


def warning(planned: dict[str, Any], device: torch.device) -> str | None:
    """What to say before anything is loaded on a CPU: it may have too little memory, and would not refuse it."""
    found, free = planned.get("memory"), free_bytes()
    if found is None or free is None or device.type != "cpu" or found["total_bytes"]["expected"] <= free:
        return None
    return (
        f"training is planned to take {amount(found['total_bytes']['expected'], 'B')} of memory, {amount(free, 'B')} are "
        f"free; {knobs(planned)}"
    )


@contextmanager
def explained(planned: dict[str, Any], where: str, doing: str) -> Iterator[None]:
    """Turns running out of memory within into OutOfMemory, which says what would help."""
    try:
        yield
    except WhetError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        found = planned.get("memory")
        expected = f", planned were {amount(found['total_bytes']['expected'], 'B')}" if found else ""
        raise OutOfMemory(
            f"the device has too little memory for {doing}{expected}", where=where, fix=knobs(planned)
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on a device, or in torch's allocator for CPUs."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def knobs(planned: dict[str, Any]) -> str:
    """The changes that save most, with what they save."""
    changes = (planned.get("memory") or {}).get("changes", [])[:SUGGESTED]
    if not changes:
        return "smaller batch_size with more accumulation, gradient_checkpointing: true, or a shorter sequence_length"
    told = "; ".join(
        f"{change['setting']} saves {amount(change['saves_bytes'], 'B')}"
        + (" and makes it fit" if change["makes_it_fit"] else "")
        for change in changes
    )
    return f"{told} (--set, in this stage or model)"
