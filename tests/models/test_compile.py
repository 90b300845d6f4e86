"""Compiling changes no result beyond rounding, compiles each kind of block once, and leaves validation uncompiled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters

from tests.models.test_families import CPU, KINDS, SMALL, SPECIAL, packed_batch
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.objectives.pretrain import Pretrain
from whet.train.loop import validation_loss
from whet.train.sharding import Sharding
from whet.train.world import ALONE

BATCHES = [packed_batch([13, 40, 11], seed) for seed in range(2)]


def deep_decoder(norm: str, positions: str) -> Decoder:
    shape = replace(SMALL, norm=norm, positions=positions, layers=12)
    return new_model(shape, SPECIAL, seed=3, device=CPU, precision="fp32")


def gradients(decoder: Decoder) -> list[torch.Tensor]:
    decoder.model.zero_grad()
    for batch in BATCHES:
        decoder.nll_sum(batch).backward()  # type: ignore[no-untyped-call]
    return [weight.grad.clone() for weight in decoder.model.parameters() if weight.grad is not None]


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_twelve_blocks_share_one_graph_and_give_the_plain_gradients(
    norm: str, positions: str, checkpointing: bool
) -> None:
    decoder = deep_decoder(norm, positions)
    plain = gradients(decoder)
    if checkpointing:
        decoder.use_gradient_checkpointing()
    decoder.compile(backend="aot_eager")
    before = graphs()
    compiled = gradients(decoder)
    assert graphs() - before == 2, "one for the blocks, one for the loss"
    assert len(plain) == len(compiled)
    for one, other in zip(plain, compiled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_validation_compiles_nothing() -> None:
    decoder = deep_decoder("rmsnorm", "rope")
    plain = validation_loss(decoder, Pretrain(), BATCHES, Sharding(decoder, ALONE, "ddp"))
    decoder.compile(backend="aot_eager")
    gradients(decoder)
    before = graphs()
    assert validation_loss(decoder, Pretrain(), BATCHES, Sharding(decoder, ALONE, "ddp")) == plain
    validation_loss(decoder, Pretrain(), [packed_batch([9], 4)], Sharding(decoder, ALONE, "ddp"))
    assert graphs() == before
