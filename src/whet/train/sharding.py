"""torch's own DDP and FSDP2 around a decoder, and whole tensors in and out of what they hold.

Both wrap a module whose forward is any function of the decoder, so that one objective may run the body
and the head as it likes within a single forward of the wrapper: DDP prepares its gradient buckets there,
FSDP2 gathers embeddings, last norm and head there (the blocks gather themselves).

Gradients are averaged over the processes by both; the loop multiplies the loss by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from whet.errors import TrainingError
from whet.models.decoder import Decoder
from whet.train.world import World

Kind = Literal["ddp", "fsdp2"]


class _Called(nn.Module):
    """Holds the model's parameters; its forward is the function it is given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], torch.Tensor]) -> torch.Tensor:
        return function()


class Sharding:
    """How the processes of a world share one decoder. Made before the optimiser, which needs the final parameters."""

    def __init__(self, decoder: Decoder, world: World, kind: Kind) -> None:
        self.decoder, self.world, self.kind = decoder, world, kind
        self._module: Any = None
        if world.size > 1:
            self._module = self._wrapped(_Called(decoder.model))
            self._require_what_was_asked()

    def _wrapped(self, called: _Called) -> Any:
        if self.kind == "ddp":
            return DistributedDataParallel(called, gradient_as_bucket_view=True)
        for block in self.decoder.family.blocks(self.decoder.model):
            fully_shard(block)
        return fully_shard(called)

    def _require_what_was_asked(self) -> None:
        """Raise TrainingError unless the processes and the kind of parameters are those of the recipe."""
        size = distributed.get_world_size()
        parameters = list(self.decoder.model.parameters())
        sharded = sum(isinstance(weight, DTensor) for weight in parameters)
        expected = len(parameters) if self.kind == "fsdp2" else 0
        if size != self.world.size or sharded != expected:
            raise TrainingError(
                f"{size} processes with {sharded} of {len(parameters)} parameters sharded, "
                f"expected {self.world.size} with {expected}",
                where=f"sharding: {self.kind}",
            )

    def call(self, function: Callable[[], torch.Tensor]) -> torch.Tensor:
        """`function()` with whole weights in place."""
        if self._module is None:
            return function()
        result: torch.Tensor = self._module(function)
        return result

    def gradients(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of a micro-batch: DDP sums over processes only with the step's last one.

        FSDP2 sums with every one, since whole gradients are what there is no room for.
        """
        if isinstance(self._module, DistributedDataParallel) and not last:
            return self._module.no_sync()
        return nullcontext()

    def release(self) -> None:
        """After a forward without a backward: forget the gathered weights, which the next update makes stale."""
        if isinstance(self._module, FSDPModule):
            self._module.reshard()


def trained(decoder: Decoder) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: all of a whole model, or an adapter's."""
    return {name: weight for name, weight in decoder.model.named_parameters() if weight.requires_grad}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with all its parts; every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def put_whole(weights: dict[str, torch.Tensor], decoder: Decoder) -> None:
    """Let whole tensors take the places of the trained parameters' parts, wherever these stand: a model to be saved.

    `weights` has every one of `trained`. The model cannot be run afterwards; no other process takes part.
    """
    parts = trained(decoder)
    assert weights.keys() == parts.keys(), "what is trained is what was gathered"
    whole_of = {id(part): nn.Parameter(weights[name]) for name, part in parts.items()}
    for module in decoder.model.modules():
        for name, part in module._parameters.items():
            if id(part) in whole_of:
                module._parameters[name] = whole_of[id(part)]


def like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A whole tensor, held as `weight` is: on its device and, if it has its shape, sharded like it."""
    if isinstance(weight, DTensor):
        if tensor.shape == weight.shape:
            return distribute_tensor(
                tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
            )
        return tensor.to(weight.device, copy=True)
    return tensor.to(weight.device, copy=True)


def multiply(tensors: Iterable[torch.Tensor], factor: float) -> None:
    """In place; a factor of one is left out."""
    if factor != 1.0:
        torch._foreach_mul_(list(tensors), factor)
