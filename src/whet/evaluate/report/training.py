"""How training went: the loss of every stage over the tokens it saw, its learning rate and gradient norm,
and what it cost.

The smoothed line is a centred mean; the caption says over how many logged steps. Tokens count from the
start of each stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.evaluate.report.charts import (
    MOST_POINTS,
    Curve,
    Dot,
    Line,
    Point,
    Scale,
    axis,
    path,
    points,
    scale_over,
    smooth,
    window,
)
from whet.evaluate.report.fields import number, part, parts, text
from whet.evaluate.report.wording import (
    ABSENT,
    count,
    decimal,
    duration,
    flops,
    memory,
    rate,
    round_count,
    share,
    significant,
    whole,
)


@dataclass(frozen=True, slots=True)
class StageTraining:
    name: str
    loss: Curve | None
    small: list[Curve]
    best: str
    steps_drawn: str
    averaged: int
    thinned: bool


@dataclass(frozen=True, slots=True)
class Training:
    stages: list[StageTraining]
    facts: list[tuple[str, list[str]]]
    """(what, its value in each stage): a table that stays narrow on a phone."""
    model: str
    peak: str


def training(data: Mapping[str, Any]) -> Training | None:
    """The section, or None when nothing was trained yet."""
    stages = parts(data, "train", "stages")
    if not stages:
        return None
    peak = number(data, "train", "peak_flops_per_s")
    return Training(
        stages=[_stage(stage) for stage in stages],
        facts=_facts(stages),
        model=_model(part(data, "plan")),
        peak=flops(peak) if peak is not None else "",
    )


def _facts(stages: list[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Every fact; those that few runs have only where a stage has one."""
    always = [(label, [write(stage) for stage in stages]) for label, write in FACTS]
    rare = [(label, [write(stage) for stage in stages]) for label, write in RARE_FACTS]
    return [*always, *((label, values) for label, values in rare if set(values) != {ABSENT})]


def _model(plan: Mapping[str, Any]) -> str:
    """One line on the model's shape, of what the plan knows."""
    shape = part(plan, "shape")
    said = [
        (text(plan, "family"), "{} family"),
        (_whole(shape, "layers"), "{} layers"),
        (_whole(shape, "d_model"), "width {}"),
        (_whole(shape, "heads"), "{} heads"),
        (_whole(shape, "d_ff"), "feed-forward {}"),
        (_whole(shape, "context"), "context of {} tokens"),
    ]
    return ", ".join(phrase.format(value) for value, phrase in said if value)


def _whole(data: Mapping[str, Any], key: str) -> str:
    value = number(data, key)
    return "" if value is None else whole(value)


def _stage(stage: Mapping[str, Any]) -> StageTraining:
    log = parts(stage, "log")
    loss = points(log, "loss")
    small = [
        _small(log, "learning_rate", "Learning rate", rate, averaged=False),
        _small(log, "grad_norm", "Gradient norm", significant, averaged=True),
    ]
    return StageTraining(
        name=text(stage, "name"),
        loss=_loss(stage, loss) if loss else None,
        small=[curve for curve in small if curve],
        best=_best_words(stage),
        steps_drawn=whole(len(loss)),
        averaged=window(len(loss)),
        thinned=len(loss) > MOST_POINTS,
    )


def _loss(stage: Mapping[str, Any], loss: list[Point]) -> Curve:
    validation = parts(stage, "validation")
    held_out = points(validation, "loss")
    x = _tokens_scale([*loss, *held_out])
    y = scale_over(value for _, value in [*loss, *held_out])
    return Curve(
        title="Loss, nats per token",
        spoken=f"Training loss from {decimal(loss[0][1])} to {decimal(smooth(loss)[-1][1])} nats per token.",
        x_ticks=axis(x, round_count),
        y_ticks=axis(y, round_count),
        lines=[
            Line("raw", "training, as logged", path(loss, x, y)),
            Line("smooth", "training, smoothed", path(smooth(loss), x, y)),
        ],
        dots=_dots(stage, validation, x, y),
        tall=True,
    )


def _tokens_scale(line: Sequence[Point]) -> Scale:
    return Scale(0.0, max([tokens for tokens, _ in line if tokens > 0], default=1.0))


def _dots(stage: Mapping[str, Any], validation: list[Mapping[str, Any]], x: Scale, y: Scale) -> list[Dot]:
    """The validation points; the best comes last, so that it is drawn on top."""
    dots = []
    for row in validation:
        tokens, loss = number(row, "tokens"), number(row, "loss")
        if tokens is not None and loss is not None:
            kind = "best" if _is_best(stage, row) else "validation"
            label = f"step {whole(number(row, 'step'))}, {count(tokens)} tokens: {decimal(loss, 3)}"
            dots.append(Dot(kind, x.place(tokens), round(100 - y.place(loss), 2), label))
    return sorted(dots, key=lambda dot: dot.kind == "best")


def _is_best(stage: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    step = number(row, "step")
    return step is not None and step == number(stage, "best_step")


def _best(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((row for row in parts(stage, "validation") if _is_best(stage, row)), {})


def _best_words(stage: Mapping[str, Any]) -> str:
    """`3.214 nats per token (1.52 bits per byte) at step 400, after 3.2 M tokens`."""
    row = _best(stage)
    loss, bits = number(row, "loss"), number(row, "bits_per_byte")
    if loss is None:
        return ""
    in_bits = f" ({decimal(bits, 3)} bits per byte)" if bits is not None else ""
    return (
        f"{decimal(loss, 3)} nats per token{in_bits} at step {whole(number(row, 'step'))}, "
        f"after {count(number(row, 'tokens'))} tokens"
    )


def _small(
    log: list[Mapping[str, Any]],
    key: str,
    title: str,
    write: Callable[[float | None], str],
    *,
    averaged: bool,
) -> Curve | None:
    line = points(log, key)
    if not line:
        return None
    x, y = _tokens_scale(line), scale_over((value for _, value in line), zero=True)
    raw = Line("raw" if averaged else "smooth", "as logged", path(line, x, y))
    return Curve(
        title=title,
        spoken=f"{title} from {write(line[0][1])} to {write(line[-1][1])}.",
        x_ticks=axis(x, round_count, 4),
        y_ticks=axis(y, rate if write is rate else round_count, 3),
        lines=[raw, Line("smooth", "smoothed", path(smooth(line), x, y))] if averaged else [raw],
    )


def _batch(stage: Mapping[str, Any]) -> str:
    rows, length = number(stage, "batch_rows"), number(stage, "sequence_length")
    return ABSENT if rows is None or length is None else f"{whole(rows)} × {whole(length)} tokens"


def _mix(stage: Mapping[str, Any]) -> str:
    """What was learned of each source, beside what was wanted."""
    sources = [
        f"{share(number(one, 'share'))} {text(one, 'source')} (wanted {share(number(one, 'weight_share'))})"
        for one in parts(stage, "mix")
    ]
    return ", ".join(sources) or ABSENT


def _curriculum(stage: Mapping[str, Any]) -> str:
    about = part(stage, "curriculum")
    if not about:
        return ABSENT
    return (
        f"by {text(about, 'by')}, {_whole(about, 'bands')} bands, for {_whole(about, 'epochs')} of the epochs"
    )


FACTS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("Optimiser", lambda stage: text(stage, "optimizer") or ABSENT),
    ("Schedule", lambda stage: text(stage, "schedule") or ABSENT),
    ("Learning rate", lambda stage: rate(number(stage, "learning_rate"))),
    ("Batch", _batch),
    ("Steps", lambda stage: whole(number(stage, "steps"))),
    ("Tokens", lambda stage: whole(number(stage, "tokens"))),
    ("Passes over the data", lambda stage: decimal(number(stage, "epochs"))),
    ("Time", lambda stage: duration(number(stage, "seconds"))),
    ("Tokens per second", lambda stage: whole(number(stage, "tokens_per_s"))),
    ("Share of matmul peak", lambda stage: share(number(stage, "peak_share"))),
    ("Peak memory", lambda stage: memory(number(stage, "peak_memory_bytes"))),
    ("Compiled", lambda stage: text(stage, "compile") or ABSENT),
    ("Best validation loss", lambda stage: decimal(number(_best(stage), "loss"), 3)),
)

RARE_FACTS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("Tokens by source", _mix),
    ("Easy rows first", _curriculum),
)
