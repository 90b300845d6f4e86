"""Proof: whet's loop is a plain training loop, written here again in a few lines of torch with nothing of whet's.

Whole logits from the model's own forward, torch's cross-entropy on all labels of a step at once, torch's
optimisers, gradient clipping that acts, warm-up and cosine from their formulas. Compared: every loss, every
gradient norm, every learning rate, the final weights.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.proofs.bench import CPU, SHAPE, SPECIAL, Bench, plain_mask, settings
from whet import packing
from whet.models.build import new_model

STEPS, WARMUP, PEAK, DECAY, CLIP = 12, 3, 3e-3, 0.1, 0.1


def cosine_with_warmup(step: int) -> float:
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def plain_optimizers(model: torch.nn.Module, kind: str) -> list[torch.optim.Optimizer]:
    """Matrices between embedding and head with decay, the rest without."""
    named = dict(model.named_parameters())
    matrices = [weight for name, weight in named.items() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in named.items() if weight.ndim != 2 or "embed" in name]
    if kind == "muon":
        muon = torch.optim.Muon(
            matrices, lr=PEAK, weight_decay=DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
        return [muon, torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0)]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, betas=(0.9, 0.95))]


def plain_training(
    bench: Bench, kind: str, rows_a_step: int, dtype: torch.dtype
) -> tuple[list[tuple[float, float, float]], torch.nn.Module]:
    model = new_model(SHAPE, SPECIAL, seed=5, device=CPU, precision="fp32").model.to(dtype)
    model.set_attn_implementation("sdpa")
    optimizers = plain_optimizers(model, kind)
    data, seen = bench.loop.training, []
    for step in range(STEPS):
        rows = packing.row_at(len(data.rows), 3, step * rows_a_step, rows_a_step)
        batch = packing.batch_of(data.store, data.rows, rows, 0)
        logits = model(
            input_ids=torch.from_numpy(batch.inputs),
            position_ids=torch.from_numpy(batch.positions),
            attention_mask=plain_mask(torch.from_numpy(batch.segments)),
            use_cache=False,
        ).logits
        labels = torch.from_numpy(batch.labels)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = cosine_with_warmup(step)
            optimizer.step()
            optimizer.zero_grad()
        seen.append((loss.item(), norm.item(), cosine_with_warmup(step)))
    return seen, model


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(
    ("kind", "dtype", "bar"),
    [
        ("adamw", torch.float64, 1e-9),
        ("adamw", torch.float32, 1e-4),
        # Muon's bfloat16 turns a last bit of the gradient into 0.4 % of an update, see test_accumulation.py.
        ("muon", torch.float64, 1e-3),
        ("muon", torch.float32, 5e-3),
    ],
)
def test_the_loop_is_a_plain_loop(
    integers: Path, tmp_path: Path, kind: str, dtype: torch.dtype, bar: float, accumulation: int
) -> None:
    chosen = settings(
        optimizer=kind, schedule="cosine", warmup_steps=WARMUP, learning_rate=PEAK, weight_decay=DECAY,
        grad_clip=CLIP, batch_size=4, accumulation=accumulation,
    )  # fmt: skip
    bench = Bench(integers, tmp_path, chosen, steps=STEPS, dtype=dtype)
    bench.run()
    expected, model = plain_training(bench, kind, 4 * accumulation, dtype)
    found = [
        (line["loss"], line["grad_norm"], line["learning_rate"]) for line in bench.lines if "loss" in line
    ]
    assert all(norm > CLIP for _, norm, _ in expected), "clipping acts in every step"
    assert np.allclose(found, expected, rtol=bar, atol=0), np.divide(found, expected) - 1
    for (name, ours), theirs in zip(bench.decoder.model.named_parameters(), model.parameters(), strict=True):
        off = (ours - theirs).detach().norm() / theirs.detach().norm()
        assert float(off) < 10 * bar, name
