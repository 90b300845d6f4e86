"""The plan room: recipe and prepared data in, what training will take out. Arithmetic only, no torch.

Counted exactly: parameters, rows, steps, tokens, the overflow rule's effect, floating-point operations.
Bounded: bytes of weights, gradients, optimiser state, and disk. Not here yet: activation memory and time.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whet import packing, store
from whet.errors import DataError, WhetError
from whet.models.families.base import family_for
from whet.models.shape import Shape, flops_per_token
from whet.progress import Reporter, amount
from whet.recipe.schema import Model, Recipe, Stage
from whet.records import SCHEMA_VERSION
from whet.tokenstore import TokenStore

PLAN = "plan.json"
FP32_BYTES = 4


def run(recipe: Recipe, folder: Path, prepared: store.Artefact, reporter: Reporter) -> dict[str, Any]:
    """Write `folder/plan.json`, say it in two lines a stage, and refuse what cannot fit on the disk."""
    vocab_size = int(prepared.record["tokenizer"]["vocab_size"])
    shape = shape_of(recipe.model, vocab_size)
    family = family_for(shape.norm, shape.positions)
    parts = family.parameters(shape)
    total = sum(parts.values())
    stages = [_stage(stage, shape, parts, prepared, vocab_size) for stage in recipe.stages]
    plan: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "family": family.NAME,
        "model": asdict(shape),
        "shape": {name: getattr(shape, name) for name in ("d_model", "layers", "heads", "d_ff", "context")},
        "parameters": {
            "total": total,
            "embedding": parts["embedding"],
            "other": total - parts["embedding"],
            "by_component": parts,
        },
        "memory_bytes": {
            "weights": total * FP32_BYTES,
            "gradients": total * FP32_BYTES,
            "optimizer": _optimizer_bytes(recipe, parts),
        },
        "stages": stages,
    }
    plan["notices"] = [notice for stage in stages if (notice := _left_out(stage))]
    plan["disk_bytes"] = _disk_bytes(recipe, plan)
    _check_disk(folder, plan["disk_bytes"])
    store.write_sealed(folder / PLAN, plan)
    _say(plan, reporter)
    return plan


def _say(plan: dict[str, Any], reporter: Reporter) -> None:
    total, flops = plan["parameters"]["total"], sum(stage["flops"] for stage in plan["stages"])
    reporter.say(f"plan: {amount(total)} parameters ({plan['family']}), {amount(flops, 'FLOP')} in all")
    for stage in plan["stages"]:
        reporter.say(
            f"  {stage['name']}: {stage['steps']:,} steps, {amount(stage['tokens'])} tokens, "
            f"{stage['epochs']:.2f} epochs of {stage['rows']:,} rows"
        )
    for notice in plan["notices"]:
        reporter.notice(notice)


def _left_out(stage: dict[str, Any]) -> str | None:
    over = stage["overflow"]
    if not over["tokens_cut"]:
        return None
    return (
        f"stage {stage['name']}: {over['documents_over']} documents are longer than "
        f"{stage['sequence_length']}; {over['tokens_cut']:,} tokens are left out ({over['rule']})"
    )


def shape_of(model: Model, vocab_size: int) -> Shape:
    """The recipe's model with the vocabulary its tokenizer turned out to have."""
    names = (
        "norm",
        "positions",
        "d_model",
        "layers",
        "heads",
        "d_ff",
        "context",
        "dropout",
        "tie_embeddings",
    )
    return Shape(vocab_size=vocab_size, **{name: getattr(model, name) for name in names})


def _stage(
    stage: Stage, shape: Shape, parts: dict[str, int], prepared: store.Artefact, vocab_size: int
) -> dict[str, Any]:
    assert stage.sequence_length is not None
    training = TokenStore.open(prepared.folder / stage.name / "train", vocab_size)
    rows = packing.plan_rows(training, stage.sequence_length, stage.overflow)
    per_step = stage.batch_size * stage.accumulation
    steps = packing.step_count(len(rows), per_step, steps=stage.steps, epochs=stage.epochs)
    if stage.warmup_steps > steps:
        raise DataError(
            f"the warm-up ({stage.warmup_steps} steps) is longer than the stage ({steps} steps)",
            where=f"stages.{stage.name}.warmup_steps",
            fix="shorten it, or train longer",
        )
    tokens = round(steps * per_step * rows.tokens / len(rows))
    return {
        "name": stage.name,
        "sequence_length": stage.sequence_length,
        "rows": len(rows),
        "filled_share": rows.filled_share,
        "steps": steps,
        "tokens": tokens,
        "epochs": steps * per_step / len(rows),
        "flops": tokens * flops_per_token(shape, parts, stage.sequence_length),
        "overflow": {"rule": stage.overflow, **rows.pieces.overflow},
    }


def _optimizer_bytes(recipe: Recipe, parts: dict[str, int]) -> int:
    """AdamW keeps two numbers per weight, Muon one per weight of a matrix."""
    matrices = parts["attention"] + parts["feed_forward"]
    muon = any(stage.optimizer == "muon" for stage in recipe.stages)
    return (2 * sum(parts.values()) - (matrices if muon else 0)) * FP32_BYTES


def _disk_bytes(recipe: Recipe, plan: dict[str, Any]) -> int:
    """Checkpoints kept, one being written, the best weights and the model of every stage."""
    weights = plan["memory_bytes"]["weights"]
    checkpoint = weights + plan["memory_bytes"]["optimizer"]
    return sum((stage.keep + 1) * checkpoint + 2 * weights for stage in recipe.stages)


def _check_disk(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        raise WhetError(
            f"training needs about {amount(needed, 'B')} of disk, {amount(free, 'B')} are free",
            where=str(folder),
            fix="free some space, set output elsewhere, or lower keep",
        )
