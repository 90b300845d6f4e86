"""The plan room: recipe and prepared data in, what training will take out. Arithmetic only, no torch.

Counted exactly: parameters, rows, steps, tokens, the mix of sources, the overflow rule's effect,
floating-point operations. With fill-in-the-middle, tokens and operations are projected from some rearranged
pieces.
Memory of each stage's training on this machine, and disk, are as `whet.memory` says. What needs no data can be asked
for before there is any: `whet.plan.ahead`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whet import order, packing, store
from whet.errors import DataError, WhetError
from whet.fill_in_the_middle import BY_DRAW, PSM, RESERVE, SPM, arranger_for, outcomes_told
from whet.order import Order
from whet.packing import Rows
from whet.plan.ahead import stage_memory
from whet.plan.size import Size, size_of
from whet.progress import Reporter, amount
from whet.recipe.schema import Recipe, Stage
from whet.records import SCHEMA_VERSION
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore

PLAN = "plan.json"
STAYS_PLAIN = 0.05
"""A larger share of pieces that cannot be rearranged is a notice."""
SAMPLED_BATCHES = 200
"""How many micro-batches of examples are packed to see how full they are."""
SAMPLED_PIECES = 1000
"""How many pieces are rearranged to see what comes of it (about a third of a second)."""
MANY_PASSES = 4
"""Up to here repeating data costs little against new data (Muennighoff et al. 2023, arXiv 2305.16264)."""


def run(recipe: Recipe, folder: Path, prepared: store.Artefact, reporter: Reporter) -> dict[str, Any]:
    """Write `folder/plan.json`, say it in two lines a stage, and refuse what cannot fit on the disk."""
    size = size_of(recipe, int(prepared.record["tokenizer"]["vocab_size"]))
    stages = [_stage(recipe, stage, size, prepared) for stage in recipe.stages]
    plan: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        **size.described(),
        "stages": stages,
    }
    plan["notices"] = [notice for stage in stages for notice in _notices(stage)]
    plan["disk_bytes"] = _disk_bytes(stages)
    _check_disk(folder, plan["disk_bytes"])
    store.write_sealed(folder / PLAN, plan)
    _say(plan, reporter)
    return plan


def _say(plan: dict[str, Any], reporter: Reporter) -> None:
    reporter.say(
        f"plan: {_size_told(plan)}, {amount(sum(stage['flops'] for stage in plan['stages']), 'FLOP')} in all"
    )
    for stage in plan["stages"]:
        reporter.say(
            f"  {stage['name']}: {stage['steps']:,} steps, {amount(stage['tokens'])} tokens, "
            f"{stage['epochs']:.2f} epochs of {stage['rows']:,} {stage['unit']}"
        )
        if stage["memory"]:
            reporter.say(f"    {_memory_told(stage['memory'])}")
        if stage["learned_share"] < 1:
            reporter.say(
                f"    {stage['learned_share']:.1%} of the tokens are learned, the rest is read; "
                f"packed, {stage['filled_share']:.1%} of the positions hold a token"
            )
        if stage["mix"]:
            tokens = sum(part["tokens"] for part in stage["mix"])
            reporter.say(f"    mix: {', '.join(_mixed(part, tokens) for part in stage['mix'])}")
        if stage["fill_in_the_middle"]:
            reporter.say(f"    {_told(stage)}")
    for notice in plan["notices"]:
        reporter.notice(notice)


def _size_told(plan: dict[str, Any]) -> str:
    known = plan["parameters"]
    if known is None:
        return f"an architecture that whet does not know ({plan['family']}): its size is not planned"
    told = f"{amount(known['total'])} parameters ({plan['family']})"
    if known["trainable"] < known["total"]:
        told += f", {known['trainable']:,} of them trained ({known['trainable'] / known['total']:.2%})"
    return told


def _memory_told(memory: dict[str, Any]) -> str:
    total = memory["total_bytes"]
    return (
        f"memory: {amount(total['expected'], 'B')} at the peak ({memory['moment']}), {amount(total['low'])} to "
        f"{amount(total['high'], 'B')}, of {amount(memory['memory_bytes'], 'B')}"
    )


def _told(stage: dict[str, Any]) -> str:
    middles = stage["fill_in_the_middle"]
    return (
        f"fill-in-the-middle: {middles['reserved_share']:.1%} of the positions reserved, "
        f"rows {stage['filled_share']:.1%} full; of {middles['pieces']:,} pieces looked at "
        f"{outcomes_told(middles['outcomes'])}"
    )


def _mixed(part: dict[str, Any], tokens: int) -> str:
    return f"{part['tokens'] / tokens:.1%} {part['source']} ({part['passes']:.2f} passes)"


def _notices(stage: dict[str, Any]) -> Iterator[str]:
    left_out, unseen = _left_out(stage), stage["curriculum_rows_unseen"]
    if left_out:
        yield left_out
    if stage["overflow"].get("pieces_unlearned"):
        yield (
            f"stage {stage['name']}: {stage['overflow']['pieces_unlearned']} conversations have no answer within "
            f"{stage['sequence_length']} tokens ({stage['overflow']['rule']}) and are not learned from"
        )
    for part in stage["mix"]:
        if part["passes"] > MANY_PASSES:
            yield (
                f"stage {stage['name']}: source {part['source']} is repeated {part['passes']:.1f} times "
                "to meet its weight; above about four, new text would teach more"
            )
    if unseen:
        yield (
            f"stage {stage['name']}: it ends in an epoch that the curriculum orders; "
            f"the hardest {unseen:,} of {stage['rows']:,} rows are not reached in it"
        )
    plain = _stays_plain(stage)
    if plain:
        yield plain
    if stage["memory"] and stage["memory"]["verdict"] == "too large":
        saved = ", ".join(
            f"{change['setting']} saves {amount(change['saves_bytes'], 'B')}"
            for change in stage["memory"]["changes"]
        )
        yield f"stage {stage['name']}: {_memory_told(stage['memory'])}, which is too little; {saved or 'see whet plan'}"


def _left_out(stage: dict[str, Any]) -> str | None:
    over = stage["overflow"]
    if not over["tokens_cut"]:
        return None
    return (
        f"stage {stage['name']}: {over['documents_over']} documents are longer than "
        f"{stage['sequence_length']}; {over['tokens_cut']:,} tokens are left out ({over['rule']})"
    )


def _stays_plain(stage: dict[str, Any]) -> str | None:
    """Where fill-in-the-middle cannot do what was asked for many of the pieces that were drawn."""
    if not stage["fill_in_the_middle"]:
        return None
    outcomes: dict[str, int] = stage["fill_in_the_middle"]["outcomes"]
    drawn = {name: count for name, count in outcomes.items() if name != BY_DRAW}
    stayed = {name: count for name, count in drawn.items() if name not in (PSM, SPM) and count}
    if sum(stayed.values()) <= STAYS_PLAIN * sum(drawn.values()):
        return None
    told = ", ".join(f"{count} {name.removeprefix('plain: ')}" for name, count in stayed.items())
    return (
        f"stage {stage['name']}: of {sum(drawn.values())} pieces drawn for fill-in-the-middle, "
        f"{sum(stayed.values())} stay plain ({told})"
    )


def _stage(recipe: Recipe, stage: Stage, size: Size, prepared: store.Artefact) -> dict[str, Any]:
    assert stage.sequence_length is not None
    vocab_size = int(prepared.record["tokenizer"]["vocab_size"])
    training = TokenStore.open(prepared.folder / stage.name / "train", vocab_size)
    planned = order.of_stage(training, stage, recipe.seed, RESERVE if stage.fill_in_the_middle else 0)
    rows = planned.rows
    per_step = recipe.rows_per_step(stage)
    steps = packing.step_count(len(rows), per_step, steps=stage.steps, epochs=stage.epochs)
    if stage.warmup(steps) > steps:
        raise DataError(
            f"the warm-up ({stage.warmup(steps)} steps) is longer than the stage ({steps} steps)",
            where=f"stages.{stage.name}.warmup_steps",
            fix="shorten it, or train longer",
        )
    rearranged = _rearranged(stage, training, rows, prepared, recipe.seed)
    mix = planned.mix(steps * per_step)
    plain = steps * per_step * rows.tokens / len(rows)
    if mix and training.learned is None:
        plain = sum(part["tokens"] for part in mix)
    added = rearranged["positions_added_per_epoch"] / len(rows) if rearranged else 0.0
    tokens = round(plain + steps * per_step * added)
    return {
        "name": stage.name,
        "sequence_length": stage.sequence_length,
        "rows": len(rows),
        "filled_share": _filled_share(planned, stage)
        if rows.loose
        else rows.filled_share + added / rows.length,
        "rows_per_step": per_step,
        "unit": "examples" if rows.loose else "rows",
        "steps": steps,
        "tokens": tokens,
        "learned_share": rows.labels / rows.tokens,
        "epochs": steps * per_step / len(rows),
        "flops": tokens
        * size.flops_per_token(rows.tokens // len(rows) if rows.loose else stage.sequence_length),
        "memory": stage_memory(recipe, stage, size.outline) if size.outline else None,
        "overflow": {"rule": stage.overflow, **rows.pieces.overflow},
        "mix": mix,
        "curriculum_rows_unseen": _unseen(stage, planned, steps * per_step),
        "fill_in_the_middle": rearranged,
    }


def _filled_share(planned: Order, stage: Stage) -> float:
    """Of the positions of the first micro-batches, how many hold a token: examples are packed when they are read."""
    lengths = planned.rows.pieces.length
    count = min(SAMPLED_BATCHES, max(1, len(planned) // stage.batch_size))
    real = positions = 0
    for number in range(count):
        sizes = lengths[planned.rows.order][planned.at(number * stage.batch_size, stage.batch_size)].tolist()
        at_row, width = packing.balanced(sizes, planned.rows.length)
        real, positions = real + sum(sizes), positions + (max(at_row) + 1) * width
    return real / positions


def _rearranged(
    stage: Stage, training: TokenStore, rows: Rows, prepared: store.Artefact, seed: int
) -> dict[str, Any] | None:
    """What fill-in-the-middle reserves, and what it does to some pieces of the first epoch, evenly spread.

    Raises DataError if the tokenizer lacks the sentinels or alters parts of texts.
    """
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    arranger = arranger_for(stage.fill_in_the_middle, tokenizer, seed, stage.name)
    if arranger is None:
        return None
    pieces = len(rows.pieces.start)
    chosen = np.unique(np.linspace(0, pieces - 1, min(pieces, SAMPLED_PIECES)).astype(np.int64)).tolist()
    found = arranger.count(training, rows, chosen, epoch=0)
    return {
        **found.as_dict(),
        "positions_added_per_epoch": round(found.added * pieces / len(chosen)),
        "reserved_positions": RESERVE * pieces,
        "reserved_share": RESERVE * pieces / (len(rows) * rows.length),
    }


def _unseen(stage: Stage, planned: Order, drawn: int) -> int:
    """Rows of an epoch that goes from easy to hard which the stage ends before."""
    epochs, rest = divmod(drawn, len(planned))
    ordered = stage.curriculum is not None and epochs < stage.curriculum.epochs
    return len(planned) - rest if ordered and rest else 0


def _disk_bytes(stages: list[dict[str, Any]]) -> int:
    """Checkpoints kept, one being written, best weights and model of every stage; 0 for an unknown architecture."""
    return sum(sum(stage["memory"]["disk_bytes"].values()) for stage in stages if stage["memory"])


def _check_disk(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        raise WhetError(
            f"training needs about {amount(needed, 'B')} of disk, {amount(free, 'B')} are free",
            where=str(folder),
            fix="free some space, set output elsewhere, or lower keep",
        )
